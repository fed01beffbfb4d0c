// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// A seed that broke a promise.
package struct SimulationFailure: Error, CustomStringConvertible {
    package let seed: UInt64
    package let events: Int
    package let at: Instant
    package let violation: Violation

    package var description: String {
        "seed \(seed), event \(events), \(at.nanoseconds / 1_000) us: \(violation)"
    }
}

/// What a run without a violation did.
package struct SimulationReport: Sendable {
    package let events: Int
    package let grants: Int
    package let rejections: Int
    package let locks: Int
    package let lent: Int
}

/// Runs a world from a seed to its end.
package func simulateScheduler(
    seed: UInt64, steps: Int, trace: ((String) -> Void)? = nil
) throws(SimulationFailure) -> SimulationReport {
    var world = SchedulerWorld(seed: seed)
    world.trace = trace
    do throws(Violation) {
        try world.run(steps: steps)
    } catch {
        if let trace { world.describe(into: trace) }
        throw SimulationFailure(
            seed: seed, events: world.events, at: world.now, violation: error)
    }
    return SimulationReport(
        events: world.events, grants: world.grants, rejections: world.rejections,
        locks: world.locks, lent: world.lent)
}
