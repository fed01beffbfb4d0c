// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What is known of the functions that texts of one pool call: whether they may leave something in their session.
///
/// No tag and no text shows what a function does. A name that nobody knows yet is asked of the server at the end of
/// its lease (`StateQuestion`), once: one that no function has (a keyword, a table), or functions whose
/// source gives no hint, cost nothing from then on. Shared by the connections of the pool.
package final class FunctionMemo {
    enum Verdict: Equatable {
        case harmless
        /// As harmless, but what it answers is the session's own: what was drawn from sequences.
        case reader
        /// It may leave anything: the server is asked each time.
        case opaque
        /// As harmless as what it calls itself.
        case depends([[UInt8]])
    }

    private var verdicts: [[UInt8]: Verdict] = [:]
    /// Hashes of the harmless ones, for the first look.
    private var harmless: Set<UInt64> = []
    private var bornAt = Instant.zero
    /// Settings of classes that the sources of functions name: no list of the server's has them.
    private(set) var classNames: [String] = []
    /// Some text or function asks what the session has drawn from sequences.
    private(set) var hasReaders = false

    /// Anybody can make up names.
    private static let limit = 4096
    /// Functions can be replaced from elsewhere.
    private static let lifetime = Duration.seconds(60)

    /// Words that stand in front of a parenthesis and can name no function without quotes.
    private static let keywords = [
        "all", "and", "any", "array", "as", "between", "by", "case", "cast", "check", "coalesce",
        "distinct", "else", "except", "exists", "extract", "filter", "from", "greatest",
        "group", "grouping", "having", "in", "intersect", "into", "is", "join", "key", "least",
        "like", "limit", "not", "nullif", "offset", "on", "or", "order", "over", "overlay",
        "partition", "position", "primary", "references", "returning", "row", "rows", "select",
        "set", "some", "substring", "table", "then", "treat", "trim", "union", "unique", "using",
        "values", "when", "where", "window", "with",
    ]

    /// The server's own, and so well known that nobody has another of the name that is called with the same
    /// arguments.
    private static let wellKnown = [
        "abs", "array_agg", "array_length", "avg", "bool_and", "bool_or", "char_length",
        "clock_timestamp", "concat", "count", "current_database", "current_schema",
        "current_schemas", "current_setting", "date_part", "date_trunc", "floor", "format",
        "format_type", "gen_random_uuid", "generate_series", "has_schema_privilege",
        "has_table_privilege", "inet_server_port", "json_agg", "json_build_object", "jsonb_agg",
        "jsonb_build_object", "length", "lower", "max", "md5", "min", "mod", "now",
        "pg_backend_pid",
        "pg_get_expr", "pg_get_userbyid", "pg_is_in_recovery", "pg_sleep", "pg_table_is_visible",
        "quote_ident", "quote_literal", "random", "repeat", "replace", "round", "row_number",
        "row_to_json", "string_agg", "sum", "to_char", "to_regclass", "to_timestamp",
        "txid_current", "unnest", "upper", "version",
    ]

    private static let readers = ["currval", "lastval"]

    package init() { addKeywords() }

    private var knowsNothing: Bool {
        verdicts.count <= Self.keywords.count + Self.wellKnown.count + Self.readers.count
    }

    private func addKeywords() {
        for word in Self.readers { verdicts[Array(word.utf8)] = .reader }
        for word in Self.keywords + Self.wellKnown {
            verdicts[Array(word.utf8)] = .harmless
            harmless.insert(CalledNames.hash(of: Array(word.utf8)))
        }
    }

    /// Whether all that the text calls is harmless. Its first parenthesis is at `first`.
    func clears(_ sql: UnsafeRawBufferPointer, from first: Int) -> Bool {
        for index in first..<sql.count where sql[index] == UInt8(ascii: "(") {
            guard let name = CalledNames.name(before: index, in: sql) else { continue }
            if !harmless.contains(CalledNames.hash(name, of: sql)) { return false }
        }
        return true
    }

    /// The names that the text calls and that are not harmless, so far as is known, and whether something of it asks
    /// for the session's sequences.
    package func doubts(in sql: UnsafeRawBufferPointer) -> [[UInt8]] {
        var names: [[UInt8]] = []
        for index in 0..<sql.count where sql[index] == UInt8(ascii: "(") {
            guard let name = CalledNames.name(before: index, in: sql) else { continue }
            let spelled = CalledNames.spelled(name, of: sql)
            if harmless.contains(CalledNames.hash(of: spelled)) { continue }
            if verdicts[spelled] == .reader {
                hasReaders = true
            } else if !names.contains(spelled) {
                names.append(spelled)
            }
        }
        return names
    }

    /// These are values of a statement's parameters: what they call is called by what it calls.
    func noteValues(_ values: UnsafeRawBufferPointer) {
        if !hasReaders { _ = doubts(in: values) }
    }

    /// Of these names those that a server must be asked about, with what they are known to depend on.
    func unknown(among names: [[UInt8]]) -> [[UInt8]] {
        var unknown: [[UInt8]] = []
        var open = names
        var seen: Set<[UInt8]> = []
        while let name = open.popLast(), unknown.count < 64 {
            guard seen.insert(name).inserted else { continue }
            switch verdicts[name] {
            case nil: unknown.append(name)
            case .depends(let others)?: open += others
            case .harmless?, .reader?, .opaque?: break
            }
        }
        return unknown
    }

    /// What a server says of a name.
    func learn(_ name: [UInt8], isOpaque: Bool, calls: [[UInt8]], now: Instant) {
        if verdicts.count >= Self.limit { forget() }
        if knowsNothing { bornAt = now }
        if calls.contains(where: { verdicts[$0] == .reader }) { hasReaders = true }
        verdicts[name] = isOpaque ? .opaque : calls.isEmpty ? .harmless : .depends(calls)
        if verdicts[name] == .harmless { harmless.insert(CalledNames.hash(of: name)) }
    }

    /// True if one of them is new.
    func learn(classNames names: [String]) -> Bool {
        let before = classNames.count
        for name in names where classNames.count < 256 && !classNames.contains(name) {
            classNames.append(name)
        }
        return classNames.count > before
    }

    /// Settles what depends on others, as far as these are known.
    func settle() {
        var hasChanged = true
        while hasChanged {
            hasChanged = false
            for (name, verdict) in verdicts {
                guard case .depends(let calls) = verdict else { continue }
                // Its own name is a recursion.
                let others = calls.filter { $0 != name }
                if others.contains(where: { verdicts[$0] == .opaque }) {
                    verdicts[name] = .opaque
                    hasChanged = true
                } else if others.allSatisfy({ verdicts[$0] == .harmless }) {
                    verdicts[name] = .harmless
                    harmless.insert(CalledNames.hash(of: name))
                    hasChanged = true
                } else if others.allSatisfy({
                    verdicts[$0] == .harmless || verdicts[$0] == .reader
                }) {
                    verdicts[name] = .reader
                    hasChanged = true
                }
            }
        }
    }

    /// Somebody has made or changed a function.
    func forget() {
        verdicts.removeAll()
        harmless.removeAll()
        classNames.removeAll()
        addKeywords()
    }

    func forgetIfOld(_ now: Instant) {
        if !knowsNothing, now - bornAt >= Self.lifetime { forget() }
    }
}
