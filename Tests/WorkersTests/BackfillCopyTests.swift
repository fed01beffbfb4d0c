// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresFixture
import Testing

@testable import Workers

/// That what is copied is what is there, whatever the table is like.
@Suite("Backfill: copying", .timeLimit(.minutes(5)))
struct BackfillCopyTests {
    @Test("A table with a key: all rows, in batches, and the counts say so")
    func simpleKey() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 2345)
        let job = try world.addJob("orders")
        let summary = try await world.manager { $0.batchRows = 100 }.run(once: true)
        #expect(summary == BackfillSummary(completed: 1))
        let digests = (
            try world.digest(world.source, "orders"), try world.digest(world.destination, "orders")
        )
        #expect(digests.0 == digests.1)
        #expect(
            try world.job(
                job, "status, count_record, total_record, pk_column, last_pk_value, is_error")
                == "COMPLETED|2345|2345|id|2345|f")
        #expect(
            try world.postgres.sql(
                world.config,
                """
                SELECT table_name, count(*), sum(record_count) FROM data_flow_record_monitoring
                GROUP BY 1
                """) == "LANDING_ORDERS|24|2345")
        try await world.expectNoLeases()
    }

    private func expectCopied(
        _ world: BackfillWorld, _ table: String,
        _ change: (inout BackfillOptions) -> Void = { _ in },
        location: SourceLocation = #_sourceLocation
    ) async throws {
        let job = try world.addJob(table)
        let summary = try await world.manager(change).run(once: true)
        let error = try world.job(job, "error_message")
        #expect(summary == BackfillSummary(completed: 1), "\(error)", sourceLocation: location)
        let digests = (
            try world.digest(world.source, table), try world.digest(world.destination, table)
        )
        #expect(digests.0 == digests.1, sourceLocation: location)
        let rows = try world.count(world.source, table)
        #expect(
            try world.job(job, "status, count_record, total_record")
                == "COMPLETED|\(rows)|\(rows)", sourceLocation: location)
    }

    @Test("A composite key: batches that end in the middle of a first column's rows")
    func compositeKey() async throws {
        let world = try await BackfillWorld()
        try world.addTable(
            "items", "shop text, number int, note text, PRIMARY KEY (shop, number)", rows: 1000,
            "'shop ' || n % 7, n, CASE WHEN n % 3 = 0 THEN NULL ELSE 'note' END")
        try await expectCopied(world, "items") { $0.batchRows = 64 }
        #expect(
            try world.postgres.sql(
                world.config, "SELECT pk_column IS NULL, checkpoint FROM queue_backfill_data")
                == #"t|{"values": ["shop 6", "1000"], "columns": ["shop", "number"]}"#)
    }

    @Test(
        "Keys of other types, with values that need care",
        arguments: [
            ("key text PRIMARY KEY, v int", #"E'a\\\tb\n' || n || ' ''"\\\\N é', n"#),
            ("key uuid PRIMARY KEY", "md5(n::text)::uuid"),
            ("key numeric PRIMARY KEY", "n / 7.0"),
            ("key double precision PRIMARY KEY", "n / 7.0"),
            ("key bytea PRIMARY KEY", "int4send(n)"),
            ("key char(10) PRIMARY KEY", "n::text"),
            (
                "key timestamptz PRIMARY KEY",
                "'2026-01-01'::timestamptz + n * interval '1.000001 s'"
            ),
            ("key interval PRIMARY KEY", "n * interval '1.5 s'"),
            ("key varchar(9) NOT NULL UNIQUE, v int", "n::text, n"),
            ("\"Key \"\"x\" int PRIMARY KEY, \"select\" text", "n, 'x'"),
        ])
    func keyTypes(_ definition: String, _ row: String) async throws {
        let world = try await BackfillWorld()
        try world.addTable("things", definition, rows: 150, row)
        try await expectCopied(world, "things") { $0.batchRows = 40 }
    }

    @Test(
        "No key: the whole table, also when it is empty, rows twice as often as they are",
        arguments: [0, 1, 5000])
    func noKey(_ rows: Int) async throws {
        let world = try await BackfillWorld()
        try world.addTable("log", "line text, at int", rows: rows, "'line ' || n % 10, n % 3")
        try await expectCopied(world, "log")
        // Nothing is left of the note that makes a repeated start harmless.
        #expect(try world.count(world.destination, "pglease_backfill_finished") == 0)
        try await world.expectNoLeases()
    }

    @Test("A nullable unique column is no key")
    func nullableUnique() async throws {
        let world = try await BackfillWorld()
        try world.addTable(
            "log", "id int UNIQUE, v int", rows: 100, "CASE WHEN n % 2 = 0 THEN n END, n")
        try await expectCopied(world, "log") { $0.batchRows = 10 }
    }

    @Test("An empty table, and one whose rows fill the last batch exactly", arguments: [0, 50])
    func edges(_ rows: Int) async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: rows)
        try await expectCopied(world, "orders") { $0.batchRows = 25 }
    }

    @Test("Wide rows: batches are cut by bytes, and no row is lost")
    func wideRows() async throws {
        let world = try await BackfillWorld()
        try world.addTable(
            "wide", "id int PRIMARY KEY, body text", rows: 60, "n, repeat(n::text, 50000)")
        try await expectCopied(world, "wide") { $0.batchBytes = 200_000 }
        try await world.expectNoLeases()
    }

    @Test("Generated columns are not copied, identities are")
    func generated() async throws {
        let world = try await BackfillWorld()
        try world.addTable(
            "sums",
            """
            id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int,
            b int GENERATED ALWAYS AS (a * 2) STORED
            """)
        try world.postgres.sql(
            world.source, "INSERT INTO sums (a) SELECT n FROM generate_series(1, 100) n")
        try await expectCopied(world, "sums") { $0.batchRows = 30 }
    }

    @Test(
        "Another schema, another name, a destination without an index: what was there is replaced")
    func deleteThenInsert() async throws {
        let world = try await BackfillWorld()
        try world.postgres.sql(
            world.source,
            """
            CREATE SCHEMA sales; CREATE TABLE sales.orders (id int PRIMARY KEY, v text);
            INSERT INTO sales.orders SELECT n, 'new' FROM generate_series(1, 100) n;
            """)
        try world.postgres.sql(
            world.destination,
            """
            CREATE TABLE copied (id bigint, v text);
            INSERT INTO copied SELECT n, 'old' FROM generate_series(50, 120) n;
            """)
        try world.takeTable("sales.orders", destination: 1)
        try world.postgres.sql(
            world.config,
            "UPDATE pipelines_destination_table_sync SET table_name_target = 'copied'")
        try world.addJob("sales.orders")
        let summary = try await world.manager { $0.batchRows = 30 }.run(once: true)
        #expect(summary.completed == 1)
        #expect(
            try world.postgres.sql(
                world.destination, "SELECT v, count(*), count(DISTINCT id) FROM copied GROUP BY 1")
                == "new|100|100\nold|20|20")
    }

    @Test("Filters of the job and of a destination; two destinations")
    func filters() async throws {
        let world = try await BackfillWorld()
        let second = world.destination + "b"
        try world.postgres.sql("postgres", "CREATE DATABASE \(second)")
        try world.postgres.sql(
            second, "CREATE TABLE orders (id bigint PRIMARY KEY, name text, amount numeric)")
        try world.addDestination(2, database: second)
        try world.addTable("orders", rows: 1000)
        try world.takeTable("orders", destination: 2, filter: "amount < 5")
        let job = try world.addJob(
            "orders",
            filter: """
                {"version":2,"groups":[{"conditions":[
                    {"column":"name","operator":"LIKE","value":"'; DROP TABLE orders; --"}]},
                  {"conditions":[{"column":"id","operator":"BETWEEN","value":101,"value2":"900"}]}],
                  "interLogic":["OR"]}
                """)
        let summary = try await world.manager { $0.batchRows = 90 }.run(once: true)
        #expect(summary.completed == 1)
        #expect(try world.job(job, "count_record, total_record") == "800|800")
        #expect(
            try world.postgres.sql(
                world.destination, "SELECT count(*), min(id), max(id) FROM orders")
                == "800|101|900")
        #expect(
            try world.postgres.sql(second, "SELECT count(*), min(id), max(id) FROM orders")
                == "399|101|499")
        #expect(
            try world.postgres.sql(
                world.config,
                """
                SELECT pipeline_destination_id, sum(record_count) FROM data_flow_record_monitoring
                GROUP BY 1 ORDER BY 1
                """) == "1|800\n2|399")
    }

    @Test("Source and destination in one database, with one connection")
    func oneDatabase() async throws {
        let world = try await BackfillWorld(poolSize: 1)
        try world.postgres.sql(
            world.config, "UPDATE destinations SET config = config || '{\"schema\": \"copy\"}'")
        try world.addTable("orders", rows: 100)
        try world.postgres.sql(
            world.source,
            "CREATE SCHEMA copy; CREATE TABLE copy.orders (LIKE orders INCLUDING ALL)")
        try world.postgres.sql(
            world.config,
            """
            UPDATE destinations SET config = config || jsonb_build_object('database',
                '\(world.source)')
            """)
        try world.addJob("orders")
        let summary = try await world.manager {
            $0.batchRows = 30
            $0.batchBytes = 100
        }.run(once: true)
        #expect(summary.completed == 1)
        #expect(try world.count(world.source, "copy.orders") == 100)
        try await world.expectNoLeases()
    }
}
