// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// What the world will do, in order of time, and first in first out at one moment.
struct Timeline<Action> {
    private var entries: [(at: Instant, order: Int, action: Action)] = []
    private var count = 0

    var next: Instant? { entries.last?.at }

    mutating func add(_ action: Action, at moment: Instant) {
        count += 1
        // Kept with the earliest last. The newest of equals goes before them.
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].at > moment { low = middle + 1 } else { high = middle }
        }
        entries.insert((moment, count, action), at: low)
    }

    mutating func pop() -> Action? { entries.popLast()?.action }
}
