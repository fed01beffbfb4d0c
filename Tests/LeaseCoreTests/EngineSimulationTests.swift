import LeaseSimulation
import Testing

/// Seeded runs of the whole engine in a fake world. `scripts/simulate --machine engine` runs as many seeds as one
/// likes.
@Suite struct EngineSimulationTests {
    /// A failure prints its seed; `scripts/simulate --machine engine --seed S --steps 600 --trace` replays it.
    @Test(arguments: [1, 101, 201, 301] as [UInt64])
    func keepsItsPromises(from first: UInt64) {
        for seed in first..<first + 100 {
            let failure = EngineSimulation.run(seed: seed, steps: 600)
            #expect(failure == nil)
            if failure != nil { return }
        }
    }

    @Test func theSameSeedIsTheSameRun() {
        var traces: [[String]] = [[], []]
        for run in traces.indices {
            var lines: [String] = []
            _ = EngineSimulation.run(seed: 11, steps: 300) { lines.append($0) }
            traces[run] = lines
        }
        #expect(traces[0].count > 100)
        #expect(traces[0] == traces[1])
    }
}
