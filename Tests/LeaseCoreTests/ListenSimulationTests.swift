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
}
