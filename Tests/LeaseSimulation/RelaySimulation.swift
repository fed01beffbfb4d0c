/// Seeded runs of the relay in its fake world.
///
/// One seed is one run: a pool mode, clients, servers, with or without faults. A run without faults
/// is compared with what direct connections would have shown, message by message.
package struct RelaySimulation {
    /// What went wrong, or nil. With `ignoresSettings` the shell forgets to tell the relay which settings its
    /// clients have in force: that must go wrong.
    package static func run(
        seed: UInt64, steps: Int, ignoresSettings: Bool = false, trace: ((String) -> Void)? = nil
    ) -> String? {
        var world = RelayWorld(seed: seed)
        world.trace = trace
        world.ignoresSettings = ignoresSettings
        do throws(RelayWorld.Violation) {
            try world.run(steps: steps)
            return nil
        } catch {
            return "relay seed \(seed), \(steps) steps: \(error)"
        }
    }
}
