/// Core and shell name things by slot and generation, never by reference: a callback that comes
/// late carries an old generation, is counted and dropped.
package protocol GenerationalIdentity: Hashable, Sendable, CustomStringConvertible {
    var slot: UInt32 { get }
    var generation: UInt32 { get }
}

extension GenerationalIdentity {
    package var description: String { "\(slot).\(generation)" }
}

/// A server connection, from the order to open it until the shell has closed it.
package struct ServerID: GenerationalIdentity {
    package let slot: UInt32
    package let generation: UInt32

    @inlinable
    package init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}

/// A client session, from accept to close. The shell gives these out.
package struct ClientID: GenerationalIdentity {
    package let slot: UInt32
    package let generation: UInt32

    @inlinable
    package init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}

/// A pool: one (database, user) and its server connections. The shell gives these out, and never
/// the same number twice.
package struct PoolID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt32

    @inlinable
    package init(_ rawValue: UInt32) { self.rawValue = rawValue }

    package var description: String { "pool \(rawValue)" }
}

/// A group of clients that share caps and a turn in the queue. The shell gives these out by name.
package struct GroupID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt32

    @inlinable
    package init(_ rawValue: UInt32) { self.rawValue = rawValue }

    package var description: String { "group \(rawValue)" }
}

/// One lease. Counts up for the life of the broker.
package struct LeaseID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    @inlinable
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    package var description: String { "\(rawValue)" }
}

/// An interned set of GUC values (a client's startup parameters, and what it set since). 0 is the
/// server's own defaults.
package struct ProfileID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt32

    @inlinable
    package init(_ rawValue: UInt32) { self.rawValue = rawValue }

    package static let serverDefault = ProfileID(0)

    package var description: String { "profile \(rawValue)" }
}
