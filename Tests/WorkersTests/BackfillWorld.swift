// SPDX-License-Identifier: Apache-2.0

import Foundation
import LeaseClient
import Logging
import PostgresFixture
import Testing

@testable import Workers

/// Three databases of one test, a broker in front of them, and one pipeline from `source` to
/// `destination`.
final class BackfillWorld: Sendable {
    let postgres: PostgresServer
    let broker: BackfillBroker
    let config: String
    let source: String
    let destination: String

    /// With `poolSize`, connections for each of the three databases, with `settings` and with `ownBroker`, the
    /// broker is the test's own; with `ownPostgres` both are.
    init(
        poolSize: Int? = nil, settings: [String: String] = [:], ownBroker: Bool = false,
        ownPostgres: Bool = false
    ) async throws {
        postgres = try ownPostgres ? PostgresServer() : PostgresServer.shared.get()
        let number = UInt32.random(in: .min ... .max)
        (config, source, destination) = ("c\(number)", "s\(number)", "d\(number)")
        for database in [config, source, destination] {
            try postgres.sql("postgres", "CREATE DATABASE \(database)")
        }
        if poolSize != nil || !settings.isEmpty || ownBroker || ownPostgres {
            broker = try BackfillBroker(
                postgres,
                settings.merging(["default_pool_size": "\(poolSize ?? 10)"]) { own, _ in own })
            try await broker.start()
        } else {
            broker = try await BackfillBroker.shared.value
        }
        let client = try LeaseClient(broker.address(config))
        defer { client.close() }
        try await Migration().run(client)
        try postgres.sql(
            config,
            """
            INSERT INTO sources (id, name, pg_host, pg_port, pg_database, pg_username,
                publication_name, replication_name)
            VALUES (1, 'source', '\(broker.folder)', \(broker.port), '\(source)', 'tester',
                'p', 'r');
            INSERT INTO pipelines (id, name, source_id) VALUES (1, 'pipeline', 1);
            """)
        try addDestination(1, database: destination)
    }

    func addDestination(_ id: Int, database: String) throws {
        try postgres.sql(
            config,
            """
            INSERT INTO destinations (id, name, type, config) VALUES (\(id), 'destination \(id)',
                'POSTGRES', jsonb_build_object('host', '\(broker.folder)', 'port', \(broker.port),
                'database', '\(database)', 'user', 'tester', 'password', 'unused'));
            INSERT INTO pipelines_destination (id, pipeline_id, destination_id)
            VALUES (\(id), 1, \(id));
            """)
    }

    /// The table at the source with `rows` of it, and the same, empty, at the destination, which
    /// takes it.
    func addTable(
        _ name: String, _ definition: String = "id bigint PRIMARY KEY, name text, amount numeric",
        rows: Int = 0,
        _ row: String = "n, 'name ' || n, n / 100.0", targetDefinition: String? = nil,
        filter: String? = nil
    ) throws {
        try postgres.sql(source, "CREATE TABLE \(name) (\(definition));")
        if rows > 0 {
            try postgres.sql(
                source,
                "INSERT INTO \(name) SELECT \(row) FROM generate_series(1, \(rows)) AS n;")
        }
        try postgres.sql(
            destination, "CREATE TABLE \(name) (\(targetDefinition ?? definition));")
        try takeTable(name, destination: 1, filter: filter)
    }

    func takeTable(_ name: String, destination: Int, filter: String? = nil) throws {
        try postgres.sql(
            config,
            """
            INSERT INTO pipelines_destination_table_sync (pipeline_destination_id, table_name,
                table_name_target, filter_sql)
            VALUES (\(destination), '\(name)', '\(name)', \(literal(filter)));
            """)
    }

    /// A new PENDING job, as the web backend makes it.
    @discardableResult
    func addJob(_ table: String, filter: String? = nil) throws -> Int {
        let id = try postgres.sql(
            config,
            """
            INSERT INTO queue_backfill_data (pipeline_id, source_id, table_name, filter_sql)
            VALUES (1, 1, '\(table)', \(literal(filter))) RETURNING id;
            """)
        return try #require(Int(id))
    }

    private func literal(_ text: String?) -> String {
        text.map { "'" + $0.replacingOccurrences(of: "'", with: "''") + "'" } ?? "NULL"
    }

    // MARK: What is there

    func job(_ id: Int, _ columns: String) throws -> String {
        try postgres.sql(
            config, "SELECT \(columns) FROM queue_backfill_data q WHERE id = \(id)")
    }

    func count(_ database: String, _ table: String) throws -> Int {
        try #require(Int(try postgres.sql(database, "SELECT count(*) FROM \(table)")))
    }

    /// A text that two tables share when they have the same rows.
    func digest(_ database: String, _ table: String) throws -> String {
        try postgres.sql(
            database,
            "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM \(table) t")
    }

    /// The leases on this test's databases, a line each.
    func leases() throws -> [Substring] {
        try broker.console("SHOW LEASES").split(separator: "\n").filter { line in
            [config, source, destination].contains { line.contains("|\($0)|") }
        }
    }

    /// All is back: no lease is held (defects D2, D12).
    func expectNoLeases() async throws {
        try await Fixture.eventually("all leases are back") { try leases().isEmpty }
    }

    // MARK: Managers

    /// In this process. Options for short tests: jobs are looked for at once.
    func manager(
        owner: String = "test", wait: Duration? = nil,
        _ change: (inout BackfillOptions) -> Void = { _ in }
    ) throws -> BackfillManager {
        var options = BackfillOptions()
        options.pollInterval = .milliseconds(20)
        change(&options)
        var configuration = try LeaseConfiguration()
        configuration.maximumConnections = options.maximumJobs + 2
        configuration.wait = wait ?? configuration.wait
        return BackfillManager(
            config: try LeaseClient(broker.address(config), configuration: configuration),
            clients: DatabaseClients(
                route: nil, applicationName: "backfill", configuration: configuration),
            owner: owner, options: options,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// A process of its own.
    func workers(_ arguments: String...) throws -> WorkersProcess {
        try WorkersProcess(
            ["backfill", "--poll", "0.05", "--broker", "\(broker.folder):\(broker.port)"]
                + arguments,
            environment: ["DATABASE_URL": broker.address(config)],
            log: "\(broker.folder)/workers.log")
    }

    // MARK: A gate

    /// Makes the destination's table wait, in the middle of a statement, when the row with this id
    /// comes, until the gate is opened.
    func closeGate(at id: Int, of table: String) async throws -> BackfillGate {
        let gate = try BackfillGate(postgres, destination)
        try await gate.eventuallyClosed()
        try postgres.sql(
            destination,
            """
            CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.id = \(id) THEN PERFORM pg_advisory_xact_lock_shared(42); END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER gate BEFORE INSERT ON \(table) FOR EACH ROW EXECUTE FUNCTION gate();
            """)
        return gate
    }
}

/// A session that holds a lock which others wait for.
final class BackfillGate: @unchecked Sendable {
    private let session: ChildProcess
    private let postgres: PostgresServer
    private let database: String

    /// `lock` is SQL that takes an advisory lock.
    init(
        _ postgres: PostgresServer, _ database: String, lock: String = "pg_advisory_lock(42)"
    ) throws {
        self.postgres = postgres
        self.database = database
        session = try ChildProcess(
            "\(Fixture.postgresPrograms)/psql",
            [
                "-X", "-q", "-h", postgres.folder, "-p", "\(postgres.port)", "-U", "tester", "-d",
                database,
            ], input: .written)
        try session.write("SELECT \(lock);\n")
    }

    func open() { session.kill() }

    func eventuallyClosed() async throws {
        try await Fixture.eventually("the gate is closed") { try locks("granted") == 1 }
    }

    func eventuallyReached() async throws {
        try await Fixture.eventually("somebody is at the gate") {
            try locks("NOT granted") > 0
        }
    }

    private func locks(_ condition: String) throws -> Int {
        let count = try postgres.sql(
            database,
            """
            SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND \(condition)
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """)
        return Int(count) ?? 0
    }
}

/// A running `pglease-workers`.
final class WorkersProcess: @unchecked Sendable {
    private let process: ChildProcess

    init(_ arguments: [String], environment: [String: String], log: String) throws {
        process = try ChildProcess(
            Fixture.program("pglease-workers", "PGLEASE_WORKERS_BIN"), arguments,
            environment: environment.merging(
                ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""]) { own, _ in own },
            output: .file(log))
        try process.killAtTheEnd()
    }

    func signal(_ number: Int32) { process.signal(number) }

    func kill() { process.kill() }

    func end() async throws -> ChildProcess.End {
        try await Fixture.eventually("the workers end") { !process.isRunning }
        return process.waitUntilExit()
    }
}
