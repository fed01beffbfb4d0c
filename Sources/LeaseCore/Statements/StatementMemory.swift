// SPDX-License-Identifier: Apache-2.0

/// Bytes of statements that are kept for clients, and how many that may be.
///
/// Invariant: `used` is the sum of the bodies in the `StatementTable` and of the unnamed statements of all
/// `ClientStream`s. A short statement is always kept, so `used` may pass `limit` by those.
package struct StatementMemory: Sendable {
    /// `max_statement_memory`, bytes.
    package var limit = 1 << 28
    package private(set) var used = 0

    /// A statement up to this is kept whatever the limit is: a client is never refused what all use.
    static let short = 65_536

    package init() {}

    /// Whether a statement of so many bytes may be kept besides the others.
    func mayKeep(_ count: Int) -> Bool { count <= Self.short || count <= limit - used }

    mutating func take(_ count: Int) { used += count }

    mutating func release(_ count: Int) {
        used -= count
        assert(used >= 0, "more bytes of statements are let go of than were kept")
    }
}
