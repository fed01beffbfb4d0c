// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import LibPQ
import PostgresFixture
import Testing

@testable import Broker

/// The table as PostgreSQL has it, and as the simulation has it: the same questions have the same answers.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct ShareTableTests {
    private static let server = Result {
        let server = try PostgresServer()
        try server.sql("postgres", ShareSchema.script)
        return server
    }

    private struct Holder {
        var name = UUIDText.random()
        var number: Int64 = 0
        var answer: ShareAnswer?
        var share = 0
        var weight = 1
    }

    /// Sessions that stand for connections of sidecars, and the one that asks.
    private struct Sessions {
        let asker: BlockingConnection
        let others: [BlockingConnection]

        init(_ server: PostgresServer) throws {
            func connect() throws -> BlockingConnection {
                try BlockingConnection.connect(
                    ConnectionString.parse(server.address), wakeup: ThreadWakeup(),
                    patience: Patience())
            }
            asker = try connect()
            others = try (0..<4).map { _ in try connect() }
            // Those of the case before are gone: a session that nobody claims may be anybody's.
            while try count() != others.count + 1 {}
        }

        private func count() throws -> Int {
            let row = try ShareTableTests.run(
                asker,
                .init(
                    text: """
                        select count(*) from pg_stat_activity, pg_sleep(0.01)
                        where backend_type = 'client backend'
                        """, values: []))
            return Int(row?.first ?? "") ?? 0
        }

        var backends: [Int32] { others.map(\.backendProcessID) }
    }

    fileprivate static func run(
        _ connection: BlockingConnection, _ statement: ShareTalk.Statement
    ) throws -> [String]? {
        try connection.sendStatement(
            statement.text,
            statement.values.map {
                StatementParameter(type: 0, isBinary: false, bytes: $0.map { Array($0.utf8) })
            }, binaryResult: false)
        var row: [String]?
        while let result = try connection.nextResult(Patience()) {
            if result.status == .error {
                #expect(result.error.sqlState == "55000", "\(result.error)")
            } else if result.rowCount == 1 {
                row = (0..<result.columnCount).map { result.text(0, $0) ?? "" }
            }
        }
        return row
    }

    @Test(arguments: UInt64(1)...12)
    func `random questions`(seed: UInt64) throws {
        let sessions = try Sessions(Self.server.get())
        var random = SeededGenerator(seed: seed)
        func chance(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
        let bound = "bound \(seed)"
        let total = chance(4...60)
        let spare = chance(0...2)
        _ = try Self.run(
            sessions.asker,
            .init(
                text: "insert into pglease.bound values ($1, $2::integer, $3::integer)",
                values: [bound, "\(total)", "\(spare)"]))
        var table = ShareTable(total: total, spare: spare)
        var holders = (0..<chance(1...9)).map { _ in Holder() }
        var eras: [String: String] = [:]
        for step in 1...150 {
            let place = chance(0...holders.count - 1)
            if chance(0...29) == 0 { holders[place] = Holder() }
            if chance(0...9) == 0 { holders[place].weight = chance(1...4) }
            let isOvertaken = chance(0...19) == 0 && holders[place].number > 0
            if !isOvertaken { holders[place].number += 1 }
            let since = [0, 200, 1000, 1000, 5000, chance(0...9000)][chance(0...5)]
            let backends = sessions.backends.filter { _ in chance(0...3) == 0 }
            var question = ShareQuestion(
                number: holders[place].number, era: holders[place].answer?.era,
                clock: holders[place].answer?.clock ?? 0,
                since: Int64(chance(0...19) == 0 ? 40_000 : since),
                used: chance(0...max(0, holders[place].share)),
                want: [0, 1, 3, 20, 50][chance(0...4)])
            let row = try Self.run(
                sessions.asker,
                ShareTalk.question(
                    bound, holder: holders[place].name, host: "host", weight: holders[place].weight,
                    question, backends: backends))
            // The table calls its eras by other names than the model.
            question.era = question.era.map { eras[$0] ?? $0 }
            let now = Instant(nanoseconds: 1_000_000_000_000)
            let answer = table.ask(
                question, of: identity(holders[place].name), weight: holders[place].weight,
                backends: Set(backends.map { Int($0) }),
                alive: {
                    sessions.backends.map { ShareTable.Backend(id: Int($0), startedAt: now) }
                }, now: now)
            guard let row, var found = ShareTalk.answer(row) else {
                #expect(answer == nil, "step \(step): only PostgreSQL was overtaken")
                continue
            }
            holders[place].answer = found
            holders[place].share = found.share
            if let answer { eras[found.era] = answer.era }
            found.era = answer?.era ?? ""
            #expect(found == answer, "step \(step): \(question)")
        }
        let sum = try #require(
            try Self.run(
                sessions.asker,
                .init(
                    text: """
                        select coalesce(sum(share), 0), (select taken from pglease.state where bound = $1)
                        from pglease.share where bound = $1
                        """, values: [bound])))
        #expect(sum == ["\(table.taken)", "\(table.taken)"])
        #expect(table.taken <= total - spare)
    }

    /// In the order of their names, as the table has them.
    private func identity(_ name: String) -> Int {
        Int(name.filter { $0 != "-" }.prefix(15), radix: 16) ?? 0
    }
}
