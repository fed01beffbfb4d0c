// SPDX-License-Identifier: Apache-2.0

internal import CAllocations

/// Something that is done for every query, or nearly: what it costs is measured, and it allocates nothing.
package protocol HotPath: ~Copyable {
    /// Does it once more. The first few times warm it up.
    mutating func step()
}

extension HotPath where Self: ~Copyable {
    /// Allocations of so many steps, after a few that are not counted.
    package mutating func allocations(steps: Int) -> Int {
        for _ in 0..<64 { step() }
        let before = pglease_allocations()
        for _ in 0..<steps { step() }
        return Int(pglease_allocations() - before)
    }

    /// Nanoseconds for each step, the best of a few runs: what else the machine did is not its price.
    package mutating func nanoseconds(steps: Int) -> Double {
        var best = Double.infinity
        for _ in 0..<7 {
            let began = ContinuousClock.now
            for _ in 0..<steps { step() }
            let took = (ContinuousClock.now - began) / Double(steps)
            best = min(best, Double(took.components.attoseconds) / 1e9)
        }
        return best
    }
}

/// Whether allocations are counted at all.
package var allocationsAreCounted: Bool { pglease_counts_allocations() }
