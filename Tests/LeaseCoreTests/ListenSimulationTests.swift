// SPDX-License-Identifier: Apache-2.0

import LeaseSimulation
import Testing

/// Seeded runs of clients that listen and notify through the engine. `scripts/simulate --machine listen` runs as many
/// seeds as one likes.
@Suite struct ListenSimulationTests {
    /// A failure prints its seed; `scripts/simulate --machine listen --seed S --steps 600 --trace` replays it.
    @Test(arguments: [1, 101, 201, 301] as [UInt64])
    func everyoneIsToldWhatADirectConnectionTells(from first: UInt64) {
        for seed in first..<first + 100 {
            let failure = ListenRun.run(seed: seed, steps: 600)
            #expect(failure == nil)
            if failure != nil { return }
        }
    }

    /// Each of these found a fault once: clients that held all connections waited for one to listen (5); a named
    /// LISTEN passed where nobody keeps its text (7); DISCARD ALL overtook the answers in front of it (15); what was
    /// told behind the broker's own query at the end of a lease was dropped (121); a founder's connection that was
    /// wanted back left a gap that nobody was told of (126); what a LISTEN gathered was told out of order (255).
    @Test(arguments: [5, 7, 15, 121, 126, 255, 367] as [UInt64])
    func seedsThatFoundSomething(_ seed: UInt64) {
        #expect(ListenRun.run(seed: seed, steps: 700) == nil)
    }
}
