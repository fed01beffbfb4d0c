// SPDX-License-Identifier: Apache-2.0

/// What a walsender is asked for.
package enum ReplicationKind: String, CaseIterable, Sendable {
    /// Of the whole cluster.
    case physical
    /// Of one database.
    case logical
}

/// Who a client says it is and the settings it starts with. The user is never empty.
package struct StartupMessage: Sendable {
    package var majorVersion: Int
    package var minorVersion: Int
    package var user: String
    package var database: String?
    package var replication: String?
    /// The raw `options` parameter, see ``StartupOptions``. The server applies it before
    /// `parameters`, which win.
    package var options: String?
    /// All others in their order: settings by name, `application_name` and `client_encoding` among
    /// them.
    package var parameters: [(name: String, value: String)]
    /// Names that begin with `_pq_.`: extensions of the protocol, answered by
    /// NegotiateProtocolVersion.
    package var protocolExtensions: [String]

    package init(
        user: String, database: String? = nil, options: String? = nil,
        parameters: [(name: String, value: String)] = []
    ) {
        majorVersion = 3
        minorVersion = 0
        self.user = user
        self.database = database
        replication = nil
        self.options = options
        self.parameters = parameters
        protocolExtensions = []
    }

    /// The database asked for; without one, it is named as the user, as in PostgreSQL.
    package var databaseOrUser: String {
        guard let database, !database.isEmpty else { return user }
        return database
    }

    /// The last `application_name` given; the server keeps the last as well.
    package var applicationName: String? {
        let key = "application_name"
        return parameters.last {
            $0.name.utf8.count == key.utf8.count
                && ($0.name == key || CanonicalParameter.canonicalName($0.name) == key)
        }?.value
    }

    /// The newest minor version that is spoken here, PostgreSQL 18's.
    package static let newestMinorVersion = 2

    /// What is spoken with the client.
    package var spokenMinorVersion: Int { min(minorVersion, Self.newestMinorVersion) }

    /// It asks for more than there is, and is told so.
    package var asksForMore: Bool {
        minorVersion > Self.newestMinorVersion || !protocolExtensions.isEmpty
    }

    /// From 3.2 on the key of cancel requests is longer than four bytes.
    package var hasLongCancelKey: Bool { minorVersion >= 2 }

    /// The kind of walsender that the session is to be: `replication` is `database` or a true boolean. nil: none.
    package var replicationKind: ReplicationKind? {
        guard let replication else { return nil }
        if replication == "database" { return .logical }
        return CanonicalParameter.boolean(replication) == true ? .physical : nil
    }

    /// A walsender of no database, for physical replication.
    package var wantsPhysicalReplication: Bool { replicationKind == .physical }

    /// Reads a whole packet whose length has been checked and whose code is `version`.
    init(version: UInt32, packet: UnsafeRawBufferPointer) throws(WireError) {
        majorVersion = Int(version >> 16)
        minorVersion = Int(version & 0xffff)
        guard majorVersion == 3 else {
            throw .unsupportedProtocol(major: majorVersion, minor: minorVersion)
        }
        parameters = []
        protocolExtensions = []
        user = ""

        var offset = 8
        while offset < packet.count, packet[offset] != 0 {
            guard let nameRange = cString(in: packet, from: offset),
                let valueRange = cString(in: packet, from: nameRange.upperBound + 1)
            else { throw .startupPacketLayout }
            guard let name = Self.text(UnsafeRawBufferPointer(rebasing: packet[nameRange])) else {
                throw .startupParameterEncoding("?")
            }
            let bytes = UnsafeRawBufferPointer(rebasing: packet[valueRange])
            if let value = Self.text(bytes) {
                take(name: name, value: value)
            } else {
                take(name: name, value: try Self.plain(bytes, of: name))
            }
            offset = valueRange.upperBound + 1
        }
        guard offset == packet.count - 1 else { throw .startupPacketLayout }
        if let replication, replication != "database",
            CanonicalParameter.boolean(replication) == nil
        {
            throw .replicationValue(replication)
        }
        guard !user.isEmpty else { throw .missingUser }
    }

    /// nil: it is not UTF-8. Nearly always it is ASCII, which is valid at a glance.
    private static func text(_ bytes: UnsafeRawBufferPointer) -> String? {
        isASCII(bytes)
            ? String(decoding: bytes, as: UTF8.self) : String(validating: bytes, as: UTF8.self)
    }

    /// A value that is not UTF-8. PostgreSQL shows each byte of an `application_name` that is no printable
    /// ASCII as '?' (version 15 and before), whatever its encoding: nothing of it is lost. Other settings
    /// cannot be put in force with such a value by a statement.
    private static func plain(
        _ bytes: UnsafeRawBufferPointer, of name: String
    ) throws(WireError) -> String {
        let key = "application_name"
        if CanonicalParameter.canonicalName(name) == key {
            return String(
                decoding: bytes.map { (32...126).contains($0) ? $0 : UInt8(ascii: "?") },
                as: UTF8.self)
        }
        guard name == "options" else { throw .startupParameterEncoding(name) }
        // A sign that no option has stands for each such byte.
        let marked = bytes.map { $0 < 0x80 ? $0 : 0x1a }
        let value = String(decoding: marked, as: UTF8.self)
        for setting in try StartupOptions.parse(value)
        where setting.name.contains("\u{1a}")
            || (setting.value.contains("\u{1a}")
                && CanonicalParameter.canonicalName(setting.name) != key)
        {
            throw .startupParameterEncoding(name)
        }
        return String(decoding: marked.map { $0 == 0x1a ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
    }

    private mutating func take(name: String, value: String) {
        switch name {
        case "user": user = value
        case "database": database = value
        case "options": options = value
        case "replication": replication = value
        case _ where name.utf8.starts(with: "_pq_.".utf8): protocolExtensions.append(name)
        default: parameters.append((name: name, value: value))
        }
    }
}
