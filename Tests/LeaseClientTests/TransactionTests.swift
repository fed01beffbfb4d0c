// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LeaseClient

@Suite("Transactions, pipelines, notifications", .timeLimit(.minutes(5)))
struct TransactionTests {
    struct Failure: Error {}

    @Test("Commit, rollback and savepoints", arguments: Route.allCases)
    func transactions(_ route: Route) throws {
        try route.run { connection in
            try connection.execute("CREATE TEMP TABLE t (a int)")
            func count() throws -> Int {
                try connection.query("SELECT count(*) FROM t").one(Int.self)
            }
            let answer = try connection.withTransaction { transaction in
                try transaction.execute("INSERT INTO t VALUES (1)")
                thrown(Failure.self) {
                    try transaction.withTransaction { inner in
                        try inner.execute("INSERT INTO t VALUES (2)")
                        throw Failure()
                    }
                }
                // A statement that fails inside costs the inner one alone.
                _ = sqlError {
                    try transaction.withTransaction { try $0.query("SELECT 1 / 0") }
                }
                _ = try transaction.withTransaction { try $0.execute("INSERT INTO t VALUES (3)") }
                return "done"
            }
            #expect(answer == "done")
            #expect(try count() == 2)
            thrown(Failure.self) {
                try connection.withTransaction { transaction in
                    try transaction.execute("DELETE FROM t")
                    throw Failure()
                }
            }
            #expect(try count() == 2)
        }
    }

    @Test("Isolation and access mode", arguments: Route.allCases)
    func options(_ route: Route) throws {
        try route.run { connection in
            try connection.withTransaction(isolation: .serializable, readOnly: true) { inner in
                let isolation = try inner.query("SHOW transaction_isolation").one(String.self)
                #expect(isolation == "serializable")
                let readOnly = try inner.query("SHOW transaction_read_only").one(String.self)
                #expect(readOnly == "on")
                let error = leaseError {
                    try inner.withTransaction(isolation: .serializable) { _ in }
                }
                guard case LeaseError.Code.usage = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
            }
        }
    }

    @Test("An error that is swallowed is not committed in silence", arguments: Route.allCases)
    func swallowed(_ route: Route) throws {
        try route.run { connection in
            let error = sqlError {
                try connection.withTransaction { transaction in
                    _ = try? transaction.query("SELECT 1 / 0")
                }
            }
            #expect(error?.sqlState == "25P02")
            let answer = try connection.query("SELECT 1").one(Int.self)
            #expect(answer == 1)
        }
    }

    @Test("A pipeline answers in order, and stops at an error", arguments: Route.allCases)
    func pipelines(_ route: Route) throws {
        try route.run { connection in
            let good = try connection.pipeline(
                (1...50).map { "SELECT \($0), repeat('x', 10000)" })
            #expect(try good.map { try $0.get().one((Int, String).self).0 } == Array(1...50))
            try connection.execute("CREATE TEMP TABLE p (a int)")
            let bad = try connection.pipeline([
                "INSERT INTO p VALUES (1)", "SELECT 1 / 0", "INSERT INTO p VALUES (2)",
            ])
            #expect(try bad[0].get().affectedRows == 1)
            guard case .failure(let error) = bad[1], error.code == .sql else {
                Issue.record("\(bad[1])")
                return
            }
            #expect(error.sqlState == "22012")
            guard case .failure(let aborted) = bad[2], aborted.code == .pipelineAborted else {
                Issue.record("\(bad[2])")
                return
            }
            #expect(aborted.failedStatement == 1)
            // One implicit transaction.
            #expect(try connection.query("SELECT count(*) FROM p").one(Int.self) == 0)
            #expect(try connection.pipeline([]).isEmpty)
        }
    }

    @Test("A pipeline whose questions and answers are both large does not lock up")
    func largePipeline() throws {
        try Route.direct.run { connection in
            let text = String(repeating: "y", count: 200_000)
            let answers = try connection.pipeline(
                (0..<60).map { _ in "SELECT \(text)::text, repeat('z', 200000)" })
            #expect(
                try answers.allSatisfy { try $0.get().one().decode(String.self, at: 0) == text })
        }
    }

    @Test("Notifications come, also those that came early", arguments: Route.allCases)
    func notifications(_ route: Route) throws {
        let channel = "news \(route.rawValue)"
        try route.run { connection in
            try connection.listen(channel)
            #expect(try connection.waitForNotification(within: .zero) == nil)
            try connection.notify(channel, "own")
            let own = try connection.waitForNotification(within: .seconds(20))
            #expect(own?.channel == channel)
            #expect(own?.payload == "own")
            try Route.plain.run { try $0.notify(channel, "other") }
            let other = try connection.waitForNotification(within: .seconds(20))
            #expect(other?.payload == "other")
            #expect(other?.processID != own?.processID)
        }
    }
}
