// SPDX-License-Identifier: Apache-2.0

/// What a session holds that can go to no other server connection: while it is there, the lease stays with its
/// client (it is *pinned*).
package struct PinReasons: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let temporaryObjects = PinReasons(rawValue: 1)
    /// DECLARE … WITH HOLD.
    package static let heldCursors = PinReasons(rawValue: 2)
    /// Of the session, not of a transaction.
    package static let advisoryLocks = PinReasons(rawValue: 4)
    /// More settings than are followed, or such as its role could not set again.
    package static let settings = PinReasons(rawValue: 8)
    /// SET SEED and setseed(): how far the random numbers have come, nobody can ask.
    package static let seed = PinReasons(rawValue: 16)
    /// LOAD.
    package static let libraries = PinReasons(rawValue: 32)
    /// Named connections of dblink.
    package static let links = PinReasons(rawValue: 64)
    /// It listens, and the pool has no connection to spare that would listen for it.
    package static let channels = PinReasons(rawValue: 128)
    /// PREPARE, of a text that cannot be taken apart.
    package static let statements = PinReasons(rawValue: 256)

    /// Each reason by its name in the console and in metrics, in their order there.
    package static let named: [(reason: PinReasons, name: String, words: String)] = [
        (.temporaryObjects, "temporary_objects", "temporary objects"),
        (.heldCursors, "held_cursors", "a cursor WITH HOLD"),
        (.advisoryLocks, "advisory_locks", "session advisory locks"),
        (.settings, "settings", "settings that cannot follow it"),
        (.seed, "seed", "a seed of random numbers"),
        (.libraries, "libraries", "a loaded library"),
        (.links, "dblink", "connections of dblink"),
        (.channels, "channels", "LISTEN"),
        (.statements, "statements", "prepared statements that cannot follow it"),
    ]

    /// `temporary_objects, advisory_locks`
    package var names: String {
        Self.named.filter { contains($0.reason) }.map(\.name).joined(separator: ", ")
    }

    /// As part of a sentence: `temporary objects and session advisory locks`.
    package var words: String {
        let all = Self.named.filter { contains($0.reason) }.map(\.words)
        guard let last = all.last, all.count > 1 else { return all.first ?? "" }
        return all.dropLast().joined(separator: ", ") + " and " + last
    }
}

/// `session_state`: what becomes of what a client of a transaction pool leaves in its session.
package enum SessionStatePolicy: String, CaseIterable, Sendable {
    /// What can follow the client to other connections does; what cannot pins its lease.
    case keep
    /// What can follow does; what cannot is refused.
    case refuse
    /// Nothing but settings that a statement alone set follows: as pgbouncer does.
    case drop
}

/// `isolation`: when a connection of a transaction pool is cleaned for its next client.
package enum LeaseIsolation: String, CaseIterable, Sendable {
    /// When something was seen that may have been left.
    case tracked
    /// Always.
    case strict
}
