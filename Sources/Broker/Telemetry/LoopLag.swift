// SPDX-License-Identifier: Apache-2.0

/// The longest turn of the event loop of late: how long an event may have waited for its turn.
///
/// A window and the one before it are kept, so that a long turn is told for one to two windows.
struct LoopLag {
    private var current: Int64 = 0
    private var former: Int64 = 0

    /// In nanoseconds.
    var longest: Int64 { max(current, former) }

    mutating func record(_ nanoseconds: Int64) { current = max(current, nanoseconds) }

    mutating func roll() {
        former = current
        current = 0
    }
}
