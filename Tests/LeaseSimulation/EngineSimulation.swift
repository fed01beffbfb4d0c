// SPDX-License-Identifier: Apache-2.0

/// Seeded runs of the engine in its fake world.
package struct EngineSimulation {
    /// What went wrong, or nil.
    package static func run(
        seed: UInt64, steps: Int, trace: ((String) -> Void)? = nil
    ) -> String? {
        var run = EngineRun(seed: seed, trace: trace)
        return run.run(steps: steps)
    }

    /// The last lines of what happened in a run that failed.
    package static func history(seed: UInt64, steps: Int, lines: Int) -> [String] {
        var history: [String] = []
        _ = run(seed: seed, steps: steps) {
            history.append($0)
            if history.count > 2 * lines { history.removeFirst(lines) }
        }
        return history.suffix(lines)
    }
}
