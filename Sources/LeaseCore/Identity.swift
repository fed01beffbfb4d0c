// SPDX-License-Identifier: Apache-2.0

/// Core and shell name things by slot and generation, never by reference: a callback that comes
/// late carries an old generation, is counted and dropped.
public protocol GenerationalIdentity: Hashable, Sendable, CustomStringConvertible {
    var slot: UInt32 { get }
    var generation: UInt32 { get }

    init(slot: UInt32, generation: UInt32)
}

extension GenerationalIdentity {
    public var description: String { "\(slot).\(generation)" }
}

/// A server connection, from the order to open it until the shell has closed it.
@frozen public struct ServerID: GenerationalIdentity {
    public let slot: UInt32
    public let generation: UInt32

    @inlinable
    public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}

/// A client session, from accept to close. The shell gives these out.
@frozen public struct ClientID: GenerationalIdentity {
    public let slot: UInt32
    public let generation: UInt32

    @inlinable
    public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// Who is no client, and never was.
    static var nobody: ClientID { ClientID(slot: .max, generation: .max) }
}

/// A pool: one (database, user) and its server connections. The shell gives these out, and never
/// the same number twice.
@frozen public struct PoolID: Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt32

    @inlinable
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    public var description: String { "pool \(rawValue)" }
}

/// A group of clients that share caps and a turn in the queue. The shell gives these out by name.
@frozen public struct GroupID: Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt32

    @inlinable
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    public var description: String { "group \(rawValue)" }

    /// The engine's own, of those that listen for the clients of a pool (`PoolHub`). The shell counts from 1.
    @inlinable
    public static var ofHubs: GroupID { GroupID(0) }
}

/// A client process, as long as it has sessions. The shell gives these out, and never the same
/// number twice.
@frozen public struct PeerID: Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt32

    @inlinable
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    public var description: String { "peer \(rawValue)" }
}

/// One lease. Counts up for the life of the broker.
@frozen public struct LeaseID: Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64

    @inlinable
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    public var description: String { "\(rawValue)" }
}

/// An interned set of GUC values (a client's startup parameters, and what it set since). 0 is the
/// server's own defaults.
@frozen public struct ProfileID: Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt32
    /// Which of the profile's settings bear on what a statement means when it is parsed: the same number
    /// for all profiles that differ in none of them. It travels with the profile, so that nothing is
    /// looked up for a statement.
    public let meaning: UInt32

    @inlinable
    public init(_ rawValue: UInt32, meaning: UInt32 = 0) {
        self.rawValue = rawValue
        self.meaning = meaning
    }

    @inlinable
    public static var serverDefault: ProfileID { ProfileID(0) }

    public var description: String { "profile \(rawValue)" }
}

/// Where the engine keeps a pool: sessions name it thus, so that nothing is looked up for a query.
@frozen public struct PoolSlot: GenerationalIdentity {
    public let slot: UInt32
    public let generation: UInt32

    @inlinable
    public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}
