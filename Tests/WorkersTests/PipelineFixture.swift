// SPDX-License-Identifier: Apache-2.0

import Foundation
import LeaseClient
import PostgresFixture
import Testing

@testable import Workers

/// A world for one test: a config database, a source and a destination of its own on the two
/// clusters, a broker in front of them, and managers on it.
final class PipelineFixture {
    private static let brokerProgram = Fixture.program("pglease", "PGLEASE_BIN")
    private static let workersProgram = Fixture.program("pglease-workers", "PGLEASE_WORKERS_BIN")
    private nonisolated(unsafe) static var count = 0

    let source: PipelineCluster
    let destination: PipelineCluster
    let config: String
    let sourceDatabase: String
    let destinationDatabase: String
    let folder: String
    let port: Int
    private var broker: ChildProcess?
    private var managers: [ChildProcess] = []

    /// Everybody has to give the password `right`, which the tables keep encrypted.
    private let isSealed: Bool

    init(sourceUser: String = "tester", poolSize: Int = 10, isSealed: Bool = false) throws {
        self.isSealed = isSealed
        Self.count += 1
        source = try PipelineCluster.source.get()
        destination = try PipelineCluster.destination.get()
        (config, sourceDatabase, destinationDatabase) = (
            "config_\(Self.count)", "source_\(Self.count)", "dest_\(Self.count)"
        )
        folder = try Fixture.folder()
        port = try Fixture.freePort()
        try source.sql("postgres", "CREATE DATABASE \(config)")
        try source.sql("postgres", "CREATE DATABASE \(sourceDatabase)")
        try destination.sql("postgres", "CREATE DATABASE \(destinationDatabase)")
        try startBroker(poolSize)
        try migrate()
        try source.sql(
            config,
            """
            INSERT INTO sources (id, name, pg_host, pg_port, pg_database, pg_username, pg_password,
                publication_name, replication_name, is_publication_enabled, is_replication_enabled)
            VALUES (1, 'source', '\(source.folder)', \(source.port), '\(sourceDatabase)',
                '\(sourceUser)', '\(Self.sealedPassword)', 'pub', 'slot_\(Self.count)', true, true);
            INSERT INTO destinations (id, name, type, config)
            VALUES (1, 'destination', 'POSTGRES', '{"host": "\(destination.folder)",
                "port": \(destination.port), "database": "\(destinationDatabase)",
                "user": "tester", "password": "\(Self.sealedPassword)"}');
            INSERT INTO pipelines (id, name, source_id, status) VALUES (1, 'orders', 1, 'START');
            INSERT INTO pipelines_destination (id, pipeline_id, destination_id) VALUES (1, 1, 1);
            """)
    }

    deinit {
        for manager in managers { manager.kill() }
        broker?.kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// The bytes from 0 to 31, and `right` as Python's `cryptography` seals it with them.
    static let credentialKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    static let sealedPassword = "ZGVmZ2hpamtsbW5vOnK5Dg0sZjWKmBZxp1ZSyeoA0Q/1"

    // MARK: Processes

    private func startBroker(_ poolSize: Int) throws {
        let text = """
            [databases]
            \(config) = host=\(source.folder) port=\(source.port)
            \(sourceDatabase) = host=\(source.folder) port=\(source.port)
            \(destinationDatabase) = host=\(destination.folder) port=\(destination.port)
            [pglease]
            listen_port = \(port)
            unix_socket_dir = \(folder)
            listen_addr =
            pool_mode = transaction
            auth_type = \(isSealed ? "scram-sha-256" : "trust")
            auth_file = \(folder)/users
            admin_users = tester
            default_pool_size = \(poolSize)
            server_login_retry_min = 50ms
            server_login_retry = 500ms
            server_tls_sslmode = disable

            """
        try text.write(toFile: "\(folder)/pglease.ini", atomically: true, encoding: .utf8)
        let password = isSealed ? "right" : ""
        let users = ["tester", "plain", "sealed"].map { "\"\($0)\" \"\(password)\"\n" }
        try users.joined().write(toFile: "\(folder)/users", atomically: true, encoding: .utf8)
        broker = try launch(
            Self.brokerProgram, ["serve", "--config", "\(folder)/pglease.ini"], log: "broker.log")
        try Fixture.eventually("the broker's socket") {
            FileManager.default.fileExists(atPath: "\(folder)/.s.PGSQL.\(port)")
        }
    }

    private func migrate() throws {
        let process = try launch(Self.workersProgram, ["migrate"], log: "migrate.log")
        try #require(process.waitUntilExit() == .exited(0), "\(text("migrate.log"))")
    }

    /// Starts `pglease-workers pipelines` and returns its process and the name of its log.
    @discardableResult
    func startManager(_ more: [String] = []) throws -> (process: ChildProcess, log: String) {
        let log = "manager\(managers.count).log"
        let process = try launch(
            Self.workersProgram,
            [
                "pipelines", "--interval", "0.1", "--restart", "0.1", "--restart-limit", "1",
                "--claim-timeout", "2", "--no-migrate",
            ] + more, log: log)
        managers.append(process)
        return (process, log)
    }

    private func launch(
        _ program: String, _ arguments: [String], log: String
    ) throws -> ChildProcess {
        let common = [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "",
            "PGLEASE_BROKER": "\(folder):\(port)", "PGLEASE_PIPELINE_RETRY": "0.1",
            "PGLEASE_PIPELINE_RETRY_LIMIT": "0.5", "PGLEASE_PIPELINE_POLL": "0.1",
            "LOG_LEVEL": "debug",
        ]
        let address =
            isSealed
            ? [
                "ROSETTA_DB_HOST": folder, "ROSETTA_DB_PORT": "\(port)", "ROSETTA_DB_NAME": config,
                "ROSETTA_DB_USER": "tester", "ROSETTA_DB_PASSWORD": Self.sealedPassword,
                "CREDENTIAL_ENCRYPTION_KEY": Self.credentialKey,
            ]
            : ["DATABASE_URL": "host=\(folder) port=\(port) dbname=\(config) user=tester"]
        let process = try ChildProcess(
            program, arguments, environment: common.merging(address) { first, _ in first },
            output: .file("\(folder)/\(log)"))
        try process.killAtTheEnd("rm -rf \(folder)")
        return process
    }

    func text(_ log: String) -> String {
        (try? String(contentsOfFile: "\(folder)/\(log)", encoding: .utf8)) ?? ""
    }

    /// All managers' logs and the broker's last lines, for the message of a failure.
    func state() -> String {
        let logs = managers.indices.map { text("manager\($0).log").suffix(6000) }
        let rows = (try? metadata()) ?? []
        return logs.joined(separator: "\n---\n") + "\n--- broker\n"
            + text("broker.log").suffix(2000) + "\n--- metadata \(rows)"
    }

    /// The process ids of the pipeline processes that run now, by looking at /proc.
    func children(_ id: Int = 1) -> [pid_t] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { pid_t($0) }.filter { processID in
            guard
                let words = try? String(
                    contentsOfFile: "/proc/\(processID)/cmdline", encoding: .utf8),
                let environment = try? String(
                    contentsOfFile: "/proc/\(processID)/environ", encoding: .utf8)
            else { return false }
            return words.contains("\0pipeline\0--id\0\(id)\0")
                && environment.contains("PGLEASE_BROKER=\(folder):\(port)\0")
        }
    }

    // MARK: The tables

    /// Makes a table on both sides and a sync for it.
    func table(_ name: String, _ definition: String) throws {
        try source.sql(sourceDatabase, "CREATE TABLE \(name) (\(definition))")
        try destination.sql(destinationDatabase, "CREATE TABLE \(name) (\(definition))")
        try source.sql(
            config,
            """
            INSERT INTO pipelines_destination_table_sync (pipeline_destination_id, table_name)
            VALUES (1, '\(name)')
            """)
    }

    /// A second destination, in the schema `second`, that takes the table too.
    func secondDestination(_ table: String) throws {
        try destination.sql(
            destinationDatabase,
            "CREATE SCHEMA second; CREATE TABLE second.\(table) (LIKE \(table) INCLUDING ALL)")
        try source.sql(
            config,
            """
            INSERT INTO destinations (id, name, type, config)
            SELECT 2, 'second', type, config || '{"schema": "second"}' FROM destinations;
            INSERT INTO pipelines_destination (id, pipeline_id, destination_id) VALUES (2, 1, 2);
            INSERT INTO pipelines_destination_table_sync (pipeline_destination_id, table_name)
            VALUES (2, '\(table)')
            """)
    }

    func rows(_ cluster: PipelineCluster, _ database: String, _ table: String) throws -> [[String?]]
    {
        try cluster.sql(database, "SELECT t::text FROM \(table) t ORDER BY t::text COLLATE \"C\"")
    }

    func isSame(_ table: String) throws -> Bool {
        try rows(source, sourceDatabase, table) == rows(destination, destinationDatabase, table)
    }

    func count(_ table: String) throws -> Int {
        Int(
            try destination.sql(destinationDatabase, "SELECT count(*) FROM \(table)")[0][0] ?? "")!
    }

    func metadata() throws -> [[String?]] {
        try source.sql(
            config,
            "SELECT status, last_error FROM pipeline_metadata WHERE pipeline_id = 1")
    }

    func status() throws -> String? { try metadata().first?[0] }

    func set(_ status: String) throws {
        try source.sql(
            config, "UPDATE pipelines SET status = '\(status)', updated_at = now() WHERE id = 1")
    }

    func eventually(_ what: String, _ condition: () throws -> Bool) throws {
        try Fixture.eventually(what, within: 40, { state() }, condition)
    }

    /// All values that the broker's console answers.
    func console(_ command: String) throws -> [String] {
        try LibPQConnection.rows(folder: folder, port: port, database: "pglease", command)
            .flatMap { $0 }.compactMap { $0 }
    }

    /// Waits until the pipeline says that it runs.
    func untilRunning() throws { try eventually("RUNNING") { try status() == "RUNNING" } }
}
