// SPDX-License-Identifier: Apache-2.0

/// What a lease leaves behind in its session, and so must be cleaned away before the next one.
///
/// Too much is only a reset too many; too little would show one client's state to another. Where a
/// tag or a text leaves it open, it counts as left behind. What a function does inside the server
/// shows in neither, unless it is one of those known by name.
@frozen public struct SessionTaint: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    // Public and inlinable as in MessageKind; the generic ones of SetAlgebra go through a witness table.

    @inlinable public static var nothing: SessionTaint { SessionTaint(rawValue: 0) }
    @inlinable public var isEmpty: Bool { rawValue == 0 }

    @inlinable
    public mutating func formUnion(_ other: SessionTaint) {
        self = SessionTaint(rawValue: rawValue | other.rawValue)
    }

    @inlinable public static var settings: SessionTaint { SessionTaint(rawValue: 1) }
    @inlinable public static var preparedStatements: SessionTaint { SessionTaint(rawValue: 2) }
    @inlinable public static var listen: SessionTaint { SessionTaint(rawValue: 4) }
    @inlinable public static var cursors: SessionTaint { SessionTaint(rawValue: 8) }
    @inlinable public static var temporaryObjects: SessionTaint { SessionTaint(rawValue: 16) }
    @inlinable public static var advisoryLocks: SessionTaint { SessionTaint(rawValue: 32) }
    /// A procedure or DO block, which may have done any of the above, or something that nobody looked at.
    @inlinable public static var other: SessionTaint { SessionTaint(rawValue: 64) }

    /// A setting that is to follow its client, until it is known that it does.
    @inlinable public static var unclaimedSetting: SessionTaint { SessionTaint(rawValue: 128) }

    /// Settings that bear on the meaning of no text (`ParseMeaning`).
    @inlinable public static var harmlessSettings: SessionTaint { SessionTaint(rawValue: 256) }
    /// Settings that end with the transaction. Nothing of them is left behind.
    @inlinable public static var localSettings: SessionTaint { SessionTaint(rawValue: 512) }
    /// An explicit lease was here: what it left is never looked for.
    @inlinable public static var explicitLease: SessionTaint { SessionTaint(rawValue: 1024) }

    /// SET SEED or `setseed`: how far the random numbers have come cannot be asked.
    @inlinable public static var seed: SessionTaint { SessionTaint(rawValue: 2048) }
    /// LOAD.
    @inlinable public static var libraries: SessionTaint { SessionTaint(rawValue: 4096) }
    /// Connections of dblink.
    @inlinable public static var links: SessionTaint { SessionTaint(rawValue: 8192) }
    /// Something of the session's may have been taken away: nothing of that is left behind.
    @inlinable public static var removal: SessionTaint { SessionTaint(rawValue: 16384) }

    /// What texts show that goes to no other connection.
    @inlinable public static var pinning: SessionTaint {
        [.temporaryObjects, .advisoryLocks, .seed, .libraries, .links]
    }

    /// A function was called of which it is not known that it leaves nothing.
    @inlinable public static var functions: SessionTaint { SessionTaint(rawValue: 32768) }
    /// Settings of classes were set that end with the transaction: from then on the session knows their names.
    @inlinable public static var localNames: SessionTaint { SessionTaint(rawValue: 65536) }

    /// Something is left, or may be.
    @inlinable
    public var leavesSomething: Bool {
        rawValue & ~(SessionTaint.removal.rawValue | SessionTaint.localNames.rawValue) != 0
    }

    @inlinable
    public func has(_ other: SessionTaint) -> Bool { rawValue & other.rawValue != 0 }

    /// Whether some setting may have been set for the session.
    @inlinable
    public var changesSettings: Bool {
        rawValue & (SessionTaint.settings.rawValue | SessionTaint.harmlessSettings.rawValue) != 0
    }

    /// Whether a text that is parsed here may mean something else than in a session that has its client's
    /// profile in force and nothing besides.
    @inlinable
    public var changesMeaning: Bool {
        let mask =
            SessionTaint.settings.rawValue | SessionTaint.temporaryObjects.rawValue
            | SessionTaint.other.rawValue | SessionTaint.unclaimedSetting.rawValue
            | SessionTaint.localSettings.rawValue | SessionTaint.functions.rawValue
        return rawValue & mask != 0
    }

    @inlinable
    public mutating func subtractTaint(_ other: SessionTaint) {
        self = SessionTaint(rawValue: rawValue & ~other.rawValue)
    }

    /// What the command of this CommandComplete body (tag and NUL) leaves behind.
    ///
    /// Every CREATE counts: the tag does not say whether the object is in `pg_temp`.
    package static func ofCommandTag(_ tag: UnsafeRawBufferPointer) -> SessionTaint {
        guard tag.count > 2 else { return [] }
        let second = tag[1]
        switch tag[0] {
        case UInt8(ascii: "S"):
            // SELECT, SHOW, SAVEPOINT and SET CONSTRAINTS leave nothing.
            guard second == UInt8(ascii: "E"), tag[2] == UInt8(ascii: "T") else { return [] }
            return isTag(tag, "SET") ? .settings : []
        case UInt8(ascii: "C"):
            if second == UInt8(ascii: "A") { return isTag(tag, "CALL") ? .other : [] }
            if second == UInt8(ascii: "L") { return hasPrefix(tag, "CLOSE CURSOR") ? .removal : [] }
            return second == UInt8(ascii: "R") && hasPrefix(tag, "CREATE ") ? .temporaryObjects : []
        case UInt8(ascii: "D"):
            return ofTagWithD(tag)
        case UInt8(ascii: "L"):
            if second == UInt8(ascii: "I") { return .listen }
            return isTag(tag, "LOAD") ? .libraries : []
        case UInt8(ascii: "P"):
            return isTag(tag, "PREPARE") ? .preparedStatements : []
        case UInt8(ascii: "R"):
            // RESET goes back to the server's own default, which need not be the profile's.
            return isTag(tag, "RESET") ? .settings : []
        case UInt8(ascii: "U"):
            return isTag(tag, "UNLISTEN") ? .removal : []
        default:
            return []
        }
    }

    private static func ofTagWithD(_ tag: UnsafeRawBufferPointer) -> SessionTaint {
        if hasPrefix(tag, "DELETE") { return [] }
        if hasPrefix(tag, "DECLARE") { return .cursors }
        // The profile's settings are gone with the rest.
        if isTag(tag, "DISCARD ALL") { return [.settings, .removal] }
        if hasPrefix(tag, "DISCARD ") || hasPrefix(tag, "DROP ") { return .removal }
        return isTag(tag, "DO") ? .other : []
    }
}
