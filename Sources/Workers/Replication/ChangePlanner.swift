import LeaseClient
import PostgresWire

/// A statement for a destination, and what to say of it when it fails.
struct PlannedStatement: Sendable {
    var sql: SQL
    var target: QualifiedName
    /// Rows of the source that it carries; 0 for what is not a row.
    var rows: Int
    /// When it changes nothing, this one is for the row instead.
    var otherwise: SQL?
    /// When it did change something, this one follows.
    var andThen: SQL?
}

/// Turns changes into statements, in their order. Pure.
///
/// Changes of the same kind to the same table that follow one another become one statement; of
/// several versions of a row in it the last one counts. Nothing is moved past a change of another
/// table, so foreign keys of the destination hold where they held at the source.
struct ChangePlanner {
    private enum Kind { case upsert, delete }

    private struct Run {
        var statement: RowStatement
        var kind: Kind
        /// For each column its values.
        var columns: [[String?]]
        var rows = 0
        var bytes = 0
        /// Where a key's row stands in `columns`.
        var places: [[String?]: Int] = [:]
        /// Changes that it holds, replaced versions included.
        var changes = 0
    }

    static let rowLimit = 1000
    static let byteLimit = 1 << 20

    private var run: Run?
    private(set) var statements: [PlannedStatement] = []

    mutating func takeStatements() -> [PlannedStatement] {
        defer { statements = [] }
        return statements
    }

    mutating func insert(
        _ new: PgoutputMessage.Tuple, _ statement: RowStatement
    ) throws(ReplicationProtocolError) {
        upsert(try statement.mapping.complete(new), statement)
    }

    mutating func update(
        old: PgoutputMessage.OldTuple?, new: PgoutputMessage.Tuple, _ statement: RowStatement
    ) throws(ReplicationProtocolError) {
        let mapping = statement.mapping
        let (row, known) = try mapping.partial(new, filledFrom: old)
        switch mapping.identity {
        case .key(let key):
            let newKey = key.map { row[$0] }
            let oldKey = try old.map { old throws(ReplicationProtocolError) in
                let tuple = try mapping.partial(old.tuple, filledFrom: nil).row
                return key.map { tuple[$0] }
            }
            let isMoved = oldKey != nil && oldKey != newKey
            if known.count == mapping.columns.count {
                if isMoved, let oldKey { delete(oldKey, key, statement) }
                upsert(row, statement)
            } else if isMoved, let oldKey {
                move(row, known, key, from: oldKey, to: newKey, statement)
            } else {
                changeSome(row, known, key, newKey, statement)
            }
        case .wholeRow:
            guard case .row(let tuple)? = old else {
                throw mapping.failure("an Update without the whole old row")
            }
            flush()
            append(
                statement.updateWhole(
                    try mapping.complete(tuple), known, to: row), statement, rows: 1)
        case .none: throw mapping.failure("an Update of a table without replica identity")
        }
    }

    mutating func delete(
        old: PgoutputMessage.OldTuple, _ statement: RowStatement
    ) throws(ReplicationProtocolError) {
        let mapping = statement.mapping
        let row = try mapping.partial(old.tuple, filledFrom: nil).row
        switch mapping.identity {
        case .key(let key): delete(key.map { row[$0] }, key, statement)
        case .wholeRow:
            flush()
            append(statement.deleteWhole(row), statement, rows: 1)
        case .none: throw mapping.failure("a Delete of a table without replica identity")
        }
    }

    mutating func truncate(_ targets: [QualifiedName], restartsIdentity: Bool) {
        flush()
        guard let first = targets.first else { return }
        let names = targets.map {
            quotedIdentifier($0.schema) + "." + quotedIdentifier($0.name)
        }
        // Tables that the source truncated along with them are named too, so nothing cascades here.
        statements.append(
            PlannedStatement(
                sql: SQL(
                    "TRUNCATE \(names.joined(separator: ", "))"
                        + (restartsIdentity ? " RESTART IDENTITY" : "")),
                target: first, rows: 0))
    }

    /// A statement that stands where the changes are.
    mutating func add(_ sql: SQL, target: QualifiedName) {
        flush()
        statements.append(PlannedStatement(sql: sql, target: target, rows: 0))
    }

    /// Makes a statement of what has been collected.
    mutating func flush() {
        guard let run = run.take(), run.rows > 0 else { return }
        let sql =
            switch (run.kind, run.statement.mapping.identity) {
            case (.delete, .key(let key)): run.statement.delete(run.columns, key: key)
            case (.delete, .wholeRow), (.delete, .none):
                preconditionFailure("only keys are collected for a delete")
            case (.upsert, _): run.statement.upsert(run.columns)
            }
        append(sql, run.statement, rows: run.changes)
    }

    // MARK: Rows

    private mutating func upsert(_ row: [String?], _ statement: RowStatement) {
        var key: [String?] = []
        if case .key(let columns) = statement.mapping.identity { key = columns.map { row[$0] } }
        collect(row, key: key, .upsert, statement)
    }

    private mutating func delete(_ key: [String?], _ columns: [Int], _ statement: RowStatement) {
        collect(key, key: key, .delete, statement)
    }

    private mutating func collect(
        _ values: [String?], key: [String?], _ kind: Kind, _ statement: RowStatement
    ) {
        if let current = run,
            current.kind != kind || current.statement.mapping != statement.mapping
                || current.rows >= Self.rowLimit || current.bytes >= Self.byteLimit
        {
            flush()
        }
        var current =
            run.take()
            ?? Run(
                statement: statement, kind: kind, columns: values.map { _ in [] })
        current.changes += 1
        current.bytes += values.reduce(0) { $0 + ($1?.utf8.count ?? 0) + 4 }
        if !key.isEmpty, let place = current.places[key] {
            for (column, value) in values.enumerated() { current.columns[column][place] = value }
        } else {
            if !key.isEmpty { current.places[key] = current.rows }
            for (column, value) in values.enumerated() { current.columns[column].append(value) }
            current.rows += 1
        }
        run = current
    }

    /// Some values of a row are unknown, since they have not changed. When the row is not there, a
    /// backfill has not come to it yet and will read it as it is then.
    private mutating func changeSome(
        _ row: [String?], _ known: [Int], _ key: [Int], _ keyValues: [String?],
        _ statement: RowStatement
    ) {
        flush()
        let changed = known.filter { !key.contains($0) }
        if changed.isEmpty { return }
        append(
            statement.update(changed, of: row, where: key, oldKey: keyValues), statement, rows: 1)
    }

    /// The same for a row that has got another key. A backfill may have brought it under the new
    /// one: then that is changed and the old one goes.
    private mutating func move(
        _ row: [String?], _ known: [Int], _ key: [Int], from oldKey: [String?],
        to newKey: [String?], _ statement: RowStatement
    ) {
        flush()
        statements.append(
            PlannedStatement(
                sql: statement.update(known, of: row, where: key, oldKey: newKey),
                target: statement.mapping.target, rows: 1,
                otherwise: statement.update(known, of: row, where: key, oldKey: oldKey),
                andThen: statement.delete(oldKey.map { [$0] }, key: key)))
    }

    private mutating func append(_ sql: SQL, _ statement: RowStatement, rows: Int) {
        statements.append(PlannedStatement(sql: sql, target: statement.mapping.target, rows: rows))
    }
}

extension TableMapping {
    func failure(_ problem: String) -> ReplicationProtocolError {
        ReplicationProtocolError(message: "change of \(source)", problem: problem)
    }

    /// All values of a row, in the order of ``columns``.
    func complete(
        _ tuple: PgoutputMessage.Tuple
    ) throws(ReplicationProtocolError) -> [String?] {
        let (row, known) = try partial(tuple, filledFrom: nil)
        guard known.count == columns.count else { throw failure("a value is missing") }
        return row
    }

    /// The values of a row and the columns that are known; the rest is nil. What the source left
    /// out because it did not change is in the old row, when the source sent all of it.
    func partial(
        _ tuple: PgoutputMessage.Tuple, filledFrom old: PgoutputMessage.OldTuple?
    ) throws(ReplicationProtocolError) -> (row: [String?], known: [Int]) {
        var row: [String?] = []
        var known: [Int] = []
        for (place, column) in columns.enumerated() {
            guard column.index < tuple.count else { throw failure("a row is too short") }
            var value = tuple[column.index]
            if value == .unchanged, case .row(let before)? = old, column.index < before.count {
                value = before[column.index]
            }
            switch value {
            case .null:
                row.append(nil)
                known.append(place)
            case .text(let text):
                row.append(text)
                known.append(place)
            case .unchanged: row.append(nil)
            case .binary: throw failure("a binary value, which was not asked for")
            }
        }
        return (row, known)
    }
}
