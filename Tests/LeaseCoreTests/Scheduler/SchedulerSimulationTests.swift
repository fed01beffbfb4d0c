// SPDX-License-Identifier: Apache-2.0

import LeaseSimulation
import Testing

/// The scheduler in its fake world. `scripts/simulate` runs as many seeds as one likes.
struct SchedulerSimulationTests {
    /// A failure prints its seed; `scripts/simulate --seed S --steps 300 --trace` replays it.
    @Test(arguments: [1, 101, 201] as [UInt64])
    func keepsItsPromises(from first: UInt64) throws {
        for seed in first..<first + 100 {
            _ = try simulateScheduler(seed: seed, steps: 300)
        }
    }

    /// A group's guarantee keeps one place, and a connection that is being cleaned for its own
    /// process takes the other: who waits behind them is rightly left waiting.
    @Test func aGuaranteeBesideAConnectionThatIsCleaned() throws {
        _ = try simulateScheduler(seed: 619, steps: 600)
    }

    /// The same with a group's cap: the one that is cleaned will take its last place.
    @Test func aCapBesideAConnectionThatIsCleaned() throws {
        _ = try simulateScheduler(seed: 20174, steps: 300)
    }

    @Test func theSameSeedIsTheSameRun() throws {
        var traces: [[String]] = [[], []]
        for run in traces.indices {
            var lines: [String] = []
            _ = try simulateScheduler(seed: 11, steps: 200) { lines.append($0) }
            traces[run] = lines
        }
        #expect(traces[0].count > 200)
        #expect(traces[0] == traces[1])
    }
}
