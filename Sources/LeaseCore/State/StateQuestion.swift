// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// What the broker asks a server at the end of a lease that may have left something in its session.
///
/// One text, answered with rows of four columns: what it is, its name, its value, and more of it. Values of
/// clients come in hexadecimal digits, as the bytes that the database has: `client_encoding` is the client's.
/// Every name and operator is qualified, since the client's search path is in force.
package struct StateQuestion: Equatable, Sendable {
    package let text: String
    /// These settings, and no others; nil: all.
    package let names: [String]?

    /// `taint` says what may be left, `names` which settings if that is known, `classNames` of which settings of
    /// classes something was ever heard.
    /// `functions` are called, and nobody has looked at them yet. `brought` are names of statements that may have been
    /// dropped.
    package init(
        about taint: SessionTaint, names: SettingNames?, classNames: [String],
        functions: [[UInt8]] = [], brought: [[UInt8]] = [], isPinned: Bool
    ) {
        var parts = [Self.identity]
        let isOpen = taint.has(.other) || taint.has(.functions)
        let onlyNames =
            isOpen || taint.has(.libraries)
            ? nil : names.flatMap { $0.isComplete ? $0.names : nil }
        var asked: [String]? = []
        if isOpen || taint.has(.libraries) || taint.has(.settings) || taint.has(.localNames)
            || taint.has(.harmlessSettings) || taint.has(.unclaimedSetting)
        {
            if let onlyNames {
                asked = onlyNames.filter { $0 != "seed" }
                parts += Self.named(asked ?? [])
            } else {
                asked = nil
                let known = classNames + (names?.names ?? []).filter { $0.contains(".") }
                parts.append(Self.allSettings)
                parts += Self.named(Array(Set(known)).sorted())
            }
        }
        self.names = asked
        if isPinned || isOpen || taint.has(.temporaryObjects) { parts.append(Self.temporary) }
        if isPinned || isOpen || taint.has(.cursors) { parts.append(Self.cursors) }
        if isPinned || isOpen || taint.has(.advisoryLocks) { parts.append(Self.locks) }
        if isPinned || isOpen || taint.has(.listen) { parts.append(Self.channels) }
        if isOpen || taint.has(.preparedStatements) { parts.append(Self.statements) }
        if !brought.isEmpty { parts.append(Self.kept(of: brought)) }
        if !functions.isEmpty {
            parts.append(Self.verdicts(on: functions))
            parts.append(Self.namesInSources(of: functions))
        }
        // Its own conditions are in force: a serializable transaction that is deferrable would wait here.
        text =
            "BEGIN ISOLATION LEVEL READ COMMITTED;" + parts.joined(separator: " UNION ALL ")
            + ";COMMIT"
    }

    private static func hexadecimal(_ value: String) -> String {
        "pg_catalog.encode(pg_catalog.convert_to(\(value),"
            + "pg_catalog.getdatabaseencoding()),'hex')"
    }

    private static let identity =
        "SELECT 'role'::pg_catalog.text,''::pg_catalog.text,"
        + hexadecimal("pg_catalog.current_setting('role')")
        + ",''::pg_catalog.text UNION ALL SELECT 'user','',"
        + hexadecimal("session_user::pg_catalog.text") + ",''"

    /// `more` says of a setting whether its role could not set it again.
    private static let allSettings =
        "SELECT 'set',name," + hexadecimal("setting")
        + ",CASE WHEN context OPERATOR(pg_catalog.=) 'superuser'"
        + " AND pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'off'"
        + " THEN 'locked' ELSE '' END"
        + " FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'"
        + " AND pg_catalog.strpos(name,'transaction_') OPERATOR(pg_catalog.<>) 1"

    private static func named(_ names: [String]) -> [String] {
        guard !names.isEmpty else { return [] }
        let list = names.map { asciiLiteral($0) }.joined(separator: ",")
        return [
            "SELECT 'set',n," + hexadecimal("pg_catalog.current_setting(n,true)")
                + ",'' FROM pg_catalog.unnest(ARRAY[\(list)]::pg_catalog.text[]) AS n"
        ]
    }

    /// What is in a schema depends on it, a temporary one too.
    private static let temporary =
        "(SELECT 'temporary','','','' FROM pg_catalog.pg_depend"
        + " WHERE refclassid OPERATOR(pg_catalog.=) 2615"
        + " AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() LIMIT 1)"
    private static let cursors =
        "(SELECT 'cursor','','','' FROM pg_catalog.pg_cursors WHERE is_holdable LIMIT 1)"
    private static let locks =
        "(SELECT 'lock','','','' FROM pg_catalog.pg_locks"
        + " WHERE locktype OPERATOR(pg_catalog.=) 'advisory'"
        + " AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() LIMIT 1)"
    private static let channels =
        "SELECT 'channel',''," + hexadecimal("c")
        + ",'' FROM pg_catalog.pg_listening_channels() AS c"
    private static let statements =
        "SELECT 'statement'," + hexadecimal("name") + "," + hexadecimal("statement")
        + ",pg_catalog.array_to_string(parameter_types::pg_catalog.oid[],' ')"
        + " FROM pg_catalog.pg_prepared_statements WHERE from_sql"

    private static func kept(of names: [[UInt8]]) -> String {
        let list = names.map { asciiLiteral(String(decoding: $0, as: UTF8.self)) }
            .joined(separator: ",")
        return "SELECT 'kept'," + hexadecimal("name")
            + ",'','' FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql"
            + " AND name OPERATOR(pg_catalog.=) ANY (ARRAY[\(list)]::pg_catalog.text[])"
    }

    /// Whether a function of the name may leave something: one whose source hints at it, of a language that is not
    /// read here, or a system's own that runs a text. And what the others call.
    private static func verdicts(on names: [[UInt8]]) -> String {
        let list = names.map { asciiLiteral(String(decoding: $0, as: UTF8.self)) }
            .joined(separator: ",")
        return "SELECT 'function'," + hexadecimal("w")
            + ",CASE WHEN pg_catalog.bool_or(" + isOpaque + ") THEN 'opaque' ELSE '' END,"
            + "coalesce(pg_catalog.string_agg((SELECT pg_catalog.string_agg(DISTINCT "
            + "pg_catalog.lower(m[1]),' ') FROM pg_catalog.regexp_matches(p.prosrc,"
            + "E'([[:alpha:]_][[:alnum:]_$]*)\"?[[:space:]]*[(]','g') AS m"
            + " WHERE p.pronamespace OPERATOR(pg_catalog.<>) 11"
            + " AND l.lanname OPERATOR(pg_catalog.=) ANY (ARRAY['sql','plpgsql']::pg_catalog.name[])"
            + "),' '),'') FROM pg_catalog.unnest(ARRAY[\(list)]::pg_catalog.text[]) AS w"
            + " LEFT JOIN pg_catalog.pg_proc AS p"
            + " ON p.proname OPERATOR(pg_catalog.=) w::pg_catalog.name"
            + " LEFT JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang"
            + " GROUP BY w"
    }

    /// What in their sources looks like the setting of a class.
    private static func namesInSources(of functions: [[UInt8]]) -> String {
        let list = functions.map { asciiLiteral(String(decoding: $0, as: UTF8.self)) }
            .joined(separator: ",")
        return "(SELECT DISTINCT 'class',pg_catalog.lower(m[1]),'',''"
            + " FROM pg_catalog.pg_proc AS p, pg_catalog.regexp_matches(p.prosrc,"
            + "E'([[:alpha:]_][[:alnum:]_$]*([.][[:alpha:]_][[:alnum:]_$]*)+)','g') AS m"
            + " WHERE p.proname OPERATOR(pg_catalog.=)"
            + " ANY (ARRAY[\(list)]::pg_catalog.name[])"
            + " AND p.pronamespace OPERATOR(pg_catalog.<>) 11"
            + " AND p.prosrc OPERATOR(pg_catalog.~*) E'\\\\m(set|set_config)\\\\M'"
            + " AND pg_catalog.strpos(m[1],'pg_catalog.') OPERATOR(pg_catalog.<>) 1 LIMIT 64)"
    }

    private static let isOpaque =
        "CASE WHEN p.oid IS NULL THEN false WHEN p.pronamespace OPERATOR(pg_catalog.=) 11"
        + " THEN p.proname OPERATOR(pg_catalog.=) ANY (ARRAY['set_config','setseed','query_to_xml',"
        + "'query_to_xmlschema','query_to_xml_and_xmlschema','pg_replication_origin_session_setup']"
        + "::pg_catalog.name[])"
        + " WHEN l.lanname OPERATOR(pg_catalog.=) ANY (ARRAY['internal','c']::pg_catalog.name[])"
        + " THEN false WHEN l.lanname OPERATOR(pg_catalog.<>) ALL"
        + " (ARRAY['sql','plpgsql']::pg_catalog.name[]) THEN true"
        + " WHEN p.prosrc OPERATOR(pg_catalog.=) '' THEN true"
        + " ELSE p.prosrc OPERATOR(pg_catalog.~*)"
        + " E'\\\\m(set|reset|set_config|setseed|temp|temporary|pg_temp[_0-9]*|pg_settings|execute|call"
        + "|listen|unlisten|hold|prepare|deallocate|discard|load|pg_(try_)?advisory_(un)?lock[a-z_]*"
        + "|dblink[a-z_]*)\\\\M' END"
}

/// The answer.
package struct StateAnswer {
    package struct Statement: Equatable {
        /// As the client calls it.
        package var name: [UInt8]
        /// The text that has its PREPARE.
        package var text: [UInt8]
        package var parameterTypes: [UInt32]
    }

    /// nil: none.
    package private(set) var role: String?
    package private(set) var sessionUser = ""
    package private(set) var settings: [ProfileEntry] = []
    /// Names that were asked for and have no value.
    package private(set) var unset: [String] = []
    package private(set) var pins: PinReasons = []
    package private(set) var channels: [[UInt8]] = []
    package private(set) var statements: [Statement] = []
    package private(set) var classNames: [String] = []
    /// Of the names that were asked about: what a client has prepared and nothing has dropped.
    package private(set) var kept: [[UInt8]] = []
    package private(set) var functions: [(name: [UInt8], isOpaque: Bool, calls: [[UInt8]])] = []

    /// nil: these are no such rows.
    package init?(rows: [UInt8]) {
        var offset = 0
        let isRead = rows.withUnsafeBytes { bytes -> Bool in
            while offset < bytes.count {
                guard bytes.count - offset >= MessageHeader.size else { return false }
                let header = MessageHeader(bytes, at: offset)
                let start = offset + MessageHeader.size
                guard header.bodyLength >= 2, start + header.bodyLength <= bytes.count,
                    let columns = Self.columns(
                        UnsafeRawBufferPointer(rebasing: bytes[start..<start + header.bodyLength])),
                    add(columns)
                else { return false }
                offset = start + header.bodyLength
            }
            return true
        }
        guard isRead else { return nil }
    }

    private static func columns(_ body: UnsafeRawBufferPointer) -> [[UInt8]?]? {
        var columns: [[UInt8]?] = []
        var index = 2
        for _ in 0..<4 {
            guard index + 4 <= body.count else { return nil }
            let length = Int32(bigEndian: body.loadUnaligned(fromByteOffset: index, as: Int32.self))
            index += 4
            if length < 0 {
                columns.append(nil)
                continue
            }
            guard index + Int(length) <= body.count else { return nil }
            columns.append(Array(body[index..<index + Int(length)]))
            index += Int(length)
        }
        return index == body.count ? columns : nil
    }

    private mutating func add(_ columns: [[UInt8]?]) -> Bool {
        guard let kind = columns[0], let name = columns[1] else { return false }
        switch String(decoding: kind, as: UTF8.self) {
        case "role":
            guard let value = columns[2].flatMap(Self.text) else { return false }
            role = value == "none" ? nil : value
        case "user":
            guard let value = columns[2].flatMap(Self.text) else { return false }
            sessionUser = value
        case "set":
            let name = String(decoding: name, as: UTF8.self).lowercased()
            guard let digits = columns[2] else {
                unset.append(name)
                return true
            }
            if columns[3] == Array("locked".utf8) { pins.formUnion(.settings) }
            guard let value = Self.text(digits) else {
                // Not in UTF-8: it could not be written in a statement that means it everywhere.
                pins.formUnion(.settings)
                return true
            }
            settings.removeAll { $0.name == name }
            settings.append(ProfileEntry(name: name, value: value))
        case "temporary": pins.formUnion(.temporaryObjects)
        case "cursor": pins.formUnion(.heldCursors)
        case "lock": pins.formUnion(.advisoryLocks)
        case "channel":
            guard let channel = columns[2].flatMap(Self.bytes) else { return false }
            channels.append(channel)
        case "statement":
            guard let name = Self.bytes(name), let text = columns[2].flatMap(Self.bytes),
                let types = columns[3]
            else { return false }
            statements.append(
                Statement(
                    name: name, text: text,
                    parameterTypes: types.split(separator: UInt8(ascii: " "))
                        .compactMap { UInt32(String(decoding: $0, as: UTF8.self)) }))
        case "kept":
            guard let name = Self.bytes(name) else { return false }
            kept.append(name)
        case "class": classNames.append(String(decoding: name, as: UTF8.self))
        case "function":
            guard let name = Self.bytes(name), let verdict = columns[2], let calls = columns[3]
            else { return false }
            functions.append(
                (
                    name, !verdict.isEmpty,
                    calls.split(separator: UInt8(ascii: " ")).map { Array($0) }
                ))
        default: return false
        }
        return true
    }

    private static func text(_ digits: [UInt8]) -> String? {
        bytes(digits).flatMap { String(validating: $0, as: UTF8.self) }
    }

    private static func bytes(_ digits: [UInt8]) -> [UInt8]? {
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = value(of: digits[index]), let low = value(of: digits[index + 1])
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
