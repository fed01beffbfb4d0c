// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Testing

@testable import Workers

/// How changes become statements, how a relation meets a destination's table, and what a batch is.
@Suite struct ReplicationPlannerTests {
    private typealias Column = PgoutputMessage.Relation.Column

    private func relation(
        _ identity: PgoutputMessage.ReplicaIdentity = .primaryKey, name: String = "t",
        _ columns: [(String, Bool)] = [("id", true), ("v", false)]
    ) -> PgoutputMessage.Relation {
        .init(
            id: 1, schema: "public", name: name, identity: identity,
            columns: columns.map { Column(isKey: $0.1, name: $0.0, type: 25, modifier: -1) })
    }

    private func table(
        _ columns: [String] = ["id", "v"], keys: [[String]] = [["id"]], generated: Set<String> = [],
        uniqueIndexes: Int? = nil
    ) -> TableShape {
        TableShape(
            table: TableName(schema: "dest", name: "t"),
            columns: columns.map {
                TableColumn(
                    name: $0, type: "text", category: "S", isNotNull: true,
                    isGenerated: generated.contains($0), isIdentityAlways: false)
            },
            keys: keys.map { TableKey(columns: $0, isPrimary: false, isNullable: false) },
            uniqueIndexes: uniqueIndexes ?? keys.count)
    }

    private func statement(
        _ identity: PgoutputMessage.ReplicaIdentity = .primaryKey, keys: [[String]] = [["id"]],
        filter: String? = nil, uniqueIndexes: Int? = nil
    ) throws -> RowStatement {
        let mapping = try TableMapping(
            relation(identity), into: table(keys: keys, uniqueIndexes: uniqueIndexes))
        let expression = try FilterExpression(filterSQL: filter)
        return RowStatement(
            mapping, filter: try expression.map { try RowFilter($0, on: mapping) })
    }

    /// The first words of each statement, and how many rows of the source it stands for.
    private func plan(_ planner: inout ChangePlanner) -> [String] {
        planner.flush()
        return planner.takeStatements().map {
            "\($0.sql.text.prefix { $0 != " " }) \($0.rows)"
        }
    }

    @Test("changes of a kind that follow one another are one statement")
    func grouping() throws {
        var planner = ChangePlanner()
        let first = try statement()
        for id in 1...5 { try planner.insert([.text("\(id)"), .text("a")], first) }
        try planner.update(old: nil, new: [.text("3"), .text("b")], first)
        try planner.delete(old: .key([.text("1"), .null]), first)
        try planner.delete(old: .key([.text("2"), .null]), first)
        try planner.insert([.text("1"), .text("c")], first)
        #expect(plan(&planner) == ["INSERT 6", "DELETE 2", "INSERT 1"])
    }

    @Test("of several versions of a row in a statement the last one counts")
    func lastVersion() throws {
        var planner = ChangePlanner()
        let first = try statement()
        try planner.insert([.text("1"), .text("a")], first)
        try planner.insert([.text("2"), .text("b")], first)
        try planner.update(old: nil, new: [.text("1"), .null], first)
        planner.flush()
        let planned = planner.takeStatements()
        #expect(planned.count == 1)
        let arrays = planned[0].sql.parameters.map { $0 as? [String?] }
        #expect(arrays == [["1", "2"], [nil, "b"]])
    }

    @Test("a large run is cut")
    func cut() throws {
        var planner = ChangePlanner()
        let first = try statement()
        for id in 0..<2500 { try planner.insert([.text("\(id)"), .text("a")], first) }
        #expect(plan(&planner) == ["INSERT 1000", "INSERT 1000", "INSERT 500"])
        let large = String(repeating: "x", count: 600_000)
        for id in 0..<4 { try planner.insert([.text("\(id)"), .text(large)], first) }
        #expect(plan(&planner) == ["INSERT 2", "INSERT 2"])
    }

    @Test("a key that changes goes and comes; what is not known is left as it is")
    func updates() throws {
        var planner = ChangePlanner()
        let first = try statement()
        try planner.update(
            old: .key([.text("1"), .null]), new: [.text("2"), .text("b")], first)
        #expect(plan(&planner) == ["DELETE 1", "INSERT 1"])
        try planner.update(old: nil, new: [.text("1"), .unchanged], first)
        // Nothing is known to change, but the row must be there.
        #expect(plan(&planner) == ["SELECT 1"])
        try planner.update(
            old: .key([.text("1"), .null]), new: [.text("2"), .unchanged], first)
        planner.flush()
        let moved = planner.takeStatements()
        #expect(moved.map { $0.sql.text.prefix(6) } == ["DELETE", "SELECT"])
        #expect(moved[1].missing?.id.key == ["2"])
        // With the whole old row at hand nothing is unknown.
        let full = try statement(.full)
        try planner.update(
            old: .row([.text("1"), .text("long")]), new: [.text("1"), .unchanged], full)
        planner.flush()
        let known = planner.takeStatements()
        #expect(known[0].sql.parameters.map { $0 as? [String?] } == [["1"], ["long"]])
    }

    @Test("a row that is missing while its large value is unknown is told, fetched, and whole")
    func missingRows() throws {
        let first = try statement()
        let id = RowIdentity(table: TableName("t"), key: ["1"])
        var planner = ChangePlanner()
        try planner.update(old: nil, new: [.text("1"), .unchanged], first)
        planner.flush()
        #expect(planner.takeStatements().map { $0.missing?.id } == [id])
        // The source has it.
        var fetched = FetchedRows()
        fetched.add(id, ["ignored", "large"])
        planner = ChangePlanner(fetched: fetched)
        try planner.update(old: nil, new: [.text("1"), .unchanged], first)
        try planner.update(
            old: .key([.text("0"), .null]), new: [.text("1"), .unchanged], first)
        planner.flush()
        let planned = planner.takeStatements()
        #expect(planned.map { $0.sql.text.prefix(6) } == ["INSERT", "DELETE", "INSERT"])
        #expect(planned[0].sql.parameters.map { $0 as? [String?] } == [["1"], ["large"]])
        // The source has it no more: nobody asks again.
        fetched = FetchedRows()
        fetched.add(id, nil)
        planner = ChangePlanner(fetched: fetched)
        try planner.update(old: nil, new: [.text("1"), .unchanged], first)
        planner.flush()
        #expect(planner.takeStatements().map { $0.missing == nil } == [true])
    }

    @Test("a filter: what it leaves out goes first, its values are parameters")
    func filtered() throws {
        var planner = ChangePlanner()
        let first = try statement(filter: "v <> 'x''y'")
        try planner.insert([.text("1"), .text("a")], first)
        try planner.update(old: nil, new: [.text("2"), .unchanged], first)
        planner.flush()
        let planned = planner.takeStatements()
        #expect(
            planned.map { $0.sql.text.prefix(6) } == ["DELETE", "INSERT", "SELECT", "DELETE"])
        #expect(planned[0].sql.text.contains("(\"v\" <> $3::text::text) IS NOT TRUE"))
        #expect(planned[1].sql.text.contains("WHERE \"v\" <> $3::text::text ON CONFLICT"))
        #expect(planned.map(\.isFiltered) == [true, true, true, true])
        for index in [0, 1] {
            #expect(planned[index].sql.parameters.last! as? String == "x'y")
        }
        // Whether it is wanted hangs on the value that is not known.
        #expect(planned[2].missing?.isWanted == nil)
        let known = try statement(filter: "id <> '7'")
        try planner.update(old: nil, new: [.text("2"), .unchanged], known)
        planner.flush()
        let asked = planner.takeStatements()[0].missing?.isWanted
        #expect(asked?.text.hasPrefix("SELECT FROM (SELECT $1::text::text AS \"id\")") == true)
        #expect(throws: FilterError.self) { try statement(filter: "gone = 1") }
    }

    @Test("where another unique index is, no version of a row overtakes other rows")
    func keepsOrder() throws {
        let one = try statement()
        let several = try statement(uniqueIndexes: 2)
        for (statement, plans) in [(one, ["INSERT 3"]), (several, ["INSERT 2", "INSERT 1"])] {
            var planner = ChangePlanner()
            try planner.insert([.text("2"), .text("z")], statement)
            try planner.update(old: nil, new: [.text("1"), .text("y")], statement)
            try planner.update(old: nil, new: [.text("2"), .text("x")], statement)
            #expect(plan(&planner) == plans)
        }
        // The last row of a statement may change as often as it likes.
        var planner = ChangePlanner()
        for _ in 0..<3 { try planner.insert([.text("2"), .text("z")], several) }
        #expect(plan(&planner) == ["INSERT 3"])
    }

    @Test("rows without a key: all values name them, or they are only inserted")
    func withoutKey() throws {
        var planner = ChangePlanner()
        let whole = try statement(.full, keys: [])
        #expect(whole.mapping.identity == .wholeRow)
        try planner.delete(old: .row([.text("1"), .null]), whole)
        #expect(plan(&planner) == ["DELETE 1"])
        let none = RowStatement(
            try TableMapping(
                relation(.nothing, [("id", false), ("v", false)]), into: table(keys: [])))
        try planner.insert([.text("1"), .text("a")], none)
        try planner.insert([.text("1"), .text("a")], none)
        #expect(plan(&planner) == ["INSERT 2"])
        #expect(throws: ReplicationProtocolError.self) {
            try planner.delete(old: .key([.text("1"), .null]), none)
        }
        #expect(throws: ReplicationProtocolError.self) { try planner.insert([.text("1")], none) }
    }

    @Test("names are quoted, values never pasted")
    func quoting() throws {
        let odd = "a\"; DROP TABLE x; --"
        var target = table([odd, "v"], keys: [[odd]])
        target.table = TableName(schema: "s\"", name: "t'")
        let made = RowStatement(
            try TableMapping(relation(.primaryKey, [(odd, true), ("v", false)]), into: target))
        let sql = made.upsert([["'"], ["\""]])
        #expect(sql.text.contains("\"s\"\"\".\"t'\" (\"a\"\"; DROP TABLE x; --\", \"v\")"))
        #expect(sql.parameters.count == 2)
    }

    @Test("a destination that does not fit is a clear error")
    func mismatches() {
        func problem(
            _ relation: PgoutputMessage.Relation, _ table: TableShape
        ) -> String {
            do {
                _ = try TableMapping(relation, into: table)
                return ""
            } catch {
                return error.description
            }
        }
        #expect(problem(relation(), table(["id"])).contains("column \"v\" is missing in dest.t"))
        #expect(problem(relation(), table(generated: ["v"])).contains("generated"))
        #expect(
            problem(relation(), table(keys: [])).contains(
                "CREATE UNIQUE INDEX ON \"dest\".\"t\" (\"id\")"))
        #expect(problem(relation(), table(keys: [["id", "v"]])).contains("no unique index"))
        #expect(problem(relation(), table(["more", "v", "id"])) == "")
        #expect(problem(relation(.full), table(keys: [["gone"], ["v"]])) == "")
    }

    @Test("a batch holds whole transactions, in memory or on disk")
    func batch() throws {
        var limits = TransactionBatch.Limits()
        limits.bytes = 1000
        limits.memory = 300
        let batch = TransactionBatch(limits)
        let begin = PgoutputBytes.of(pgoutputSamples[0])
        let commit = PgoutputBytes.of(pgoutputSamples[1])
        let insert = PgoutputBytes.of(
            .insert(relation: 1, new: [.text(String(repeating: "x", count: 90))]))
        var sent: [[UInt8]] = []
        func send(_ message: [UInt8]) throws {
            sent.append(message)
            try batch.append(message)
        }
        for _ in 0..<2 {
            try send(begin)
            #expect(!batch.isComplete)
            for _ in 0..<5 { try send(insert) }
            #expect(!batch.isComplete)
            try send(commit)
            #expect(batch.isComplete)
        }
        #expect(batch.isFull && batch.transactions == 2 && batch.spool.isOnDisk)
        #expect(batch.end == .init(rawValue: 0x16_B374_D878))
        for _ in 0..<2 {
            var read: [[UInt8]] = []
            try batch.spool.readAll { read.append($0) }
            #expect(read == sent)
        }
        batch.removeAll()
        #expect(batch.isEmpty && !batch.isComplete && !batch.spool.isOnDisk)
        #expect(throws: ReplicationProtocolError.self) { try batch.append(commit) }
    }

    @Test("pauses grow to their limit and begin anew")
    func pauses() {
        var random = SeededRandom(seed: 1)
        var delay = RetryDelay(first: .seconds(1), limit: .seconds(8))
        for bound in [1, 2, 4, 8, 8, 8] {
            let pause = delay.next(using: &random)
            #expect(pause >= .milliseconds(bound * 500) && pause <= .seconds(bound))
        }
        delay.succeeded()
        #expect(delay.next(using: &random) <= .seconds(1))
    }
}
