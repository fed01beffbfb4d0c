// SPDX-License-Identifier: Apache-2.0

import LeaseClient

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

    /// What the destination did not have in an earlier attempt.
    private let fetched: FetchedRows
    private var run: Run?
    private(set) var statements: [PlannedStatement] = []

    init(fetched: FetchedRows = FetchedRows()) { self.fetched = fetched }

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
        var (row, known) = try mapping.partial(new, filledFrom: old)
        switch mapping.identity {
        case .key(let key):
            let oldRow = try old.map { old throws(ReplicationProtocolError) in
                try mapping.partial(old.tuple, filledFrom: nil).row
            }
            // A key that is large and has not changed is in the old one alone.
            if let oldRow {
                for column in key where !known.contains(column) {
                    row[column] = oldRow[column]
                    known.append(column)
                }
            }
            let newKey = key.map { row[$0] }
            let oldKey = oldRow.map { row in key.map { row[$0] } }
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
            changeWhole(try mapping.complete(tuple), known, to: row, statement)
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

    mutating func truncate(_ targets: [TableName], restartsIdentity: Bool) {
        flush()
        guard let first = targets.first else { return }
        let names = targets.map(\.quoted)
        // Tables that the source truncated along with them are named too, so nothing cascades here.
        statements.append(
            PlannedStatement(
                sql: SQL(
                    "TRUNCATE \(names.joined(separator: ", "))"
                        + (restartsIdentity ? " RESTART IDENTITY" : "")),
                target: first))
    }

    /// A statement that stands where the changes are.
    mutating func add(_ sql: SQL, target: TableName) {
        flush()
        statements.append(PlannedStatement(sql: sql, target: target))
    }

    /// Makes statements of what has been collected.
    mutating func flush() {
        guard let run = run.take(), run.rows > 0 else { return }
        let statement = run.statement
        switch (run.kind, statement.mapping.identity) {
        case (.delete, .key(let key)):
            append(statement.delete(run.columns, key: key), statement, rows: run.changes)
        case (.delete, .wholeRow), (.delete, .none):
            preconditionFailure("only keys are collected for a delete")
        case (.upsert, .key(let key)):
            // First, as a row that is not wanted any more may have what another one now has.
            if let sql = statement.deleteUnwanted(run.columns, key: key) {
                append(sql, statement, rows: 0)
            }
            append(statement.upsert(run.columns), statement, rows: run.changes)
        case (.upsert, .wholeRow), (.upsert, .none):
            append(statement.upsert(run.columns), statement, rows: run.changes)
        }
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
                || Self.overtakes(key, current)
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

    /// Whether a later version of a row would stand before other rows that were changed in between.
    private static func overtakes(_ key: [String?], _ run: Run) -> Bool {
        guard run.statement.mapping.keepsOrder, let place = run.places[key] else { return false }
        return place != run.rows - 1
    }

    /// Some values of a row are unknown, since they have not changed.
    private mutating func changeSome(
        _ row: [String?], _ known: [Int], _ key: [Int], _ keyValues: [String?],
        _ statement: RowStatement
    ) {
        let id = RowIdentity(table: statement.mapping.source, key: keyValues)
        if case .some(.some(let rest)) = fetched[id] {
            return upsert(Self.fill(row, known, from: rest), statement)
        }
        flush()
        let changed = known.filter { !key.contains($0) }
        statements.append(
            PlannedStatement(
                sql: changed.isEmpty
                    ? statement.find(keyValues, key: key)
                    : statement.update(changed, of: row, where: key, oldKey: keyValues),
                target: statement.mapping.target, source: statement.mapping.source, rows: 1,
                isFiltered: statement.filter != nil,
                missing: missing(id, row, known, key, statement)))
        if let sql = statement.deleteUnwanted(keyValues, key: key) {
            append(sql, statement, rows: 0)
        }
    }

    /// The same for a row that has got another key. What the destination has under the old one is
    /// not carried over: a backfill, or what was fetched, may have brought another row there, which
    /// has that key by now. So the rest is the source's, by the new key.
    private mutating func move(
        _ row: [String?], _ known: [Int], _ key: [Int], from oldKey: [String?],
        to newKey: [String?], _ statement: RowStatement
    ) {
        delete(oldKey, key, statement)
        changeSome(row, known, key, newKey, statement)
    }

    /// Nil when it is known that the source has no such row any more either: what became of it
    /// follows.
    private func missing(
        _ id: RowIdentity, _ row: [String?], _ known: [Int], _ key: [Int],
        _ statement: RowStatement
    ) -> MissingRow? {
        if case .some = fetched[id] { return nil }
        return MissingRow(
            id: id, mapping: statement.mapping, key: key,
            isWanted: statement.isWanted(row, known: known))
    }

    /// What the stream says counts: the rest is as it is now, and if it has changed since, that
    /// change follows.
    private static func fill(
        _ row: [String?], _ known: [Int], from rest: [String?]
    ) -> [String?] {
        var filled = rest
        for column in known { filled[column] = row[column] }
        return filled
    }

    /// Changes a row without a key. One that was not wanted before is not there, and is inserted.
    private mutating func changeWhole(
        _ old: [String?], _ known: [Int], to row: [String?], _ statement: RowStatement
    ) {
        flush()
        statements.append(
            PlannedStatement(
                sql: statement.updateWhole(old, known, to: row),
                target: statement.mapping.target, source: statement.mapping.source, rows: 1,
                isFiltered: statement.filter != nil,
                otherwise: statement.filter == nil ? nil : statement.upsert(row.map { [$0] }),
                andThen: statement.deleteWholeUnwanted(row)))
    }

    private mutating func append(_ sql: SQL, _ statement: RowStatement, rows: Int) {
        statements.append(
            PlannedStatement(
                sql: sql, target: statement.mapping.target, source: statement.mapping.source,
                rows: rows, isFiltered: statement.filter != nil))
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
