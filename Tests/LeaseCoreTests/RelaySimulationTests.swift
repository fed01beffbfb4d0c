import LeaseSimulation
import Testing

/// Seeded runs of the relay in a fake world.
@Suite struct RelaySimulationTests {
    @Test func noSeedBreaksAPromise() {
        for seed in 1...300 as ClosedRange<UInt64> {
            let failure = RelaySimulation.run(seed: seed, steps: 400)
            #expect(failure == nil)
            if failure != nil { return }
        }
    }
}
