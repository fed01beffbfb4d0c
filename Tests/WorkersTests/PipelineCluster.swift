// SPDX-License-Identifier: Apache-2.0

import LibPQ
import PostgresFixture

@testable import LeaseClient

/// A PostgreSQL of the tests' own that can decode its log. `plain` may not replicate; `sealed` is a
/// superuser with the password `right`.
final class PipelineCluster: Sendable {
    /// The sources and the config databases.
    static let source = Result { try PipelineCluster() }
    static let destination = Result { try PipelineCluster() }

    private let server: PostgresServer
    var folder: String { server.folder }
    var port: Int { server.port }

    init() throws {
        server = try PostgresServer(
            settings: { _ in
                """
                wal_level = logical
                max_wal_senders = 40
                max_replication_slots = 60
                """
            }, rules: "local all sealed scram-sha-256")
        try sql(
            "postgres",
            "CREATE ROLE plain LOGIN; CREATE ROLE sealed SUPERUSER LOGIN PASSWORD 'right'")
    }

    func start() throws { try server.start() }

    /// `fast` or `immediate`.
    func stop(_ mode: String = "fast") throws { try server.stop(mode) }

    /// Runs statements over a connection of their own; each call answers its rows as texts.
    @discardableResult
    func run<Answer>(
        _ database: String, _ body: ((String) throws -> [[String?]]) throws -> Answer
    ) throws -> Answer {
        try LibPQConnection.run(folder: folder, port: port, database: database, body)
    }

    @discardableResult
    func sql(_ database: String, _ text: String) throws -> [[String?]] {
        try run(database) { try $0(text) }
    }
}

/// A connection without a lease, to a server or a console.
enum LibPQConnection {
    static func run<Answer>(
        folder: String, port: Int, database: String,
        _ body: ((String) throws -> [[String?]]) throws -> Answer
    ) throws -> Answer {
        let wakeup = ThreadWakeup()
        let session = try Session.connect(
            [
                ("host", folder), ("port", "\(port)"), ("dbname", database), ("user", "tester"),
                ("client_encoding", "UTF8"),
            ], wakeup: wakeup, patience: Patience(until: .now.advanced(by: .seconds(20))),
            grace: .seconds(5))
        defer { session.connection.close() }
        return try body { sql in
            try session.runScript(sql, Interruption(waking: wakeup)).map { row in
                try (0..<row.count).map { try row.decode(String?.self, at: $0) }
            }
        }
    }

    static func rows(
        folder: String, port: Int, database: String, _ sql: String
    ) throws -> [[String?]] {
        try run(folder: folder, port: port, database: database) { try $0(sql) }
    }
}
