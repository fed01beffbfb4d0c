// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresFixture
import Testing

/// Everything that needs the clusters runs one after the other: some tests stop them.
@Suite(.serialized, .timeLimit(.minutes(5))) struct PipelineTests {}

/// What a pipeline brings to a destination, with real servers, a real broker and real processes.
extension PipelineTests {
    @Suite(.serialized) struct Replication {
        @Test("inserts, updates, deletes and truncates arrive")
        func changesArrive() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY, name text, price numeric(10,2)")
            try world.table("pairs", "a int, b text, v text, PRIMARY KEY (a, b)")
            try world.table("log", "at timestamptz, line text")
            try world.startManager()
            try world.untilRunning()
            try world.source.run(world.sourceDatabase) { sql in
                _ = try sql(
                    """
                    INSERT INTO items SELECT i, 'name ' || i, i * 1.5
                    FROM generate_series(1, 3000) i
                    """)
                _ = try sql("UPDATE items SET price = NULL WHERE id % 3 = 0")
                _ = try sql("DELETE FROM items WHERE id % 7 = 0")
                // Keys change, and a key that was deleted comes back.
                _ = try sql("UPDATE items SET id = id + 100000 WHERE id % 11 = 0")
                _ = try sql("INSERT INTO items VALUES (7, 'it''s \"back\" \\ {}', 0)")
                _ = try sql("INSERT INTO pairs SELECT 1, i::text, '' FROM generate_series(1, 50) i")
                _ = try sql(
                    "BEGIN; DELETE FROM pairs; INSERT INTO pairs VALUES (1, '1', 'new'); END")
                _ = try sql("INSERT INTO log SELECT now(), 'line' FROM generate_series(1, 20)")
            }
            for table in ["items", "pairs", "log"] {
                try world.eventually("\(table) are the same") { try world.isSame(table) }
            }
            try world.source.sql(
                world.sourceDatabase,
                "BEGIN; TRUNCATE items, log; INSERT INTO items VALUES (1); END")
            for table in ["items", "log"] {
                try world.eventually("\(table) truncated") { try world.isSame(table) }
            }
            #expect(try world.count("items") == 1)
            try world.eventually("the rows are counted") {
                try world.source.sql(
                    world.config,
                    """
                    SELECT sum(record_count) >= 3000 FROM data_flow_record_monitoring
                    WHERE table_name = 'LANDING_ITEMS'
                    """) == [["t"]]
            }
        }

        @Test("values of many types are the same text on both sides")
        func typesArrive() throws {
            let world = try PipelineFixture()
            for (cluster, database) in [
                (world.source, world.sourceDatabase),
                (world.destination, world.destinationDatabase),
            ] {
                try cluster.sql(
                    database,
                    """
                    CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text);
                    CREATE DOMAIN small AS int CHECK (VALUE < 100)
                    """)
            }
            try world.table(
                "kinds",
                """
                id bigint PRIMARY KEY, b bool, f4 real, f8 double precision, n numeric, t text,
                v varchar(5), c char(4), bits bit(3), vb bit varying(8), by bytea, d date,
                ts timestamp, tz timestamptz, i interval, u uuid, j json, jb jsonb, x xml,
                ia int[], ta text[], m mood, p pair, s small, net inet, r int4range, pt point,
                money money, o oid, ch "char"
                """)
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase,
                """
                SET timezone = 'Asia/Jakarta'; SET datestyle = 'SQL, DMY';
                INSERT INTO kinds VALUES (1, true, 0.1, 1.0/3, 'NaN', E'a\\tb\\\\n"''ü', 'abcde',
                    'ab', '101', '1100', '\\x00ff', '2024-02-29', '2024-01-02 03:04:05.678901',
                    '2024-06-01 00:00+07', '-1 day 2:03:04', gen_random_uuid(), '{"a" : 1}',
                    '{"b": [1, null]}', '<a>x</a>', '{1,NULL,3}', ARRAY['a,b', 'c"d', NULL, ''],
                    'ok', ROW(1, 'x,y'), 99, '10.0.0.1/8', '[1,5)', '(1.5,2)', 12.34, 42, 'z');
                INSERT INTO kinds (id) VALUES (2)
                """)
            try world.eventually("the row arrives") { try world.isSame("kinds") }
            #expect(try world.count("kinds") == 2)
        }

        @Test("large values that do not change are kept, by key and by whole row")
        func unchangedValues() throws {
            let world = try PipelineFixture()
            try world.table("docs", "id int PRIMARY KEY, state text, body text")
            try world.table("full_docs", "id int, state text, body text")
            try world.source.sql(
                world.sourceDatabase, "ALTER TABLE full_docs REPLICA IDENTITY FULL")
            try world.startManager()
            try world.untilRunning()
            try world.source.run(world.sourceDatabase) { sql in
                for table in ["docs", "full_docs"] {
                    // Random text does not compress, so it is kept out of line.
                    _ = try sql(
                        """
                        INSERT INTO \(table) SELECT i, 'new',
                            (SELECT string_agg(md5(random()::text), '')
                             FROM generate_series(1, 500 + i)) FROM generate_series(1, 5) i
                        """)
                    _ = try sql("UPDATE \(table) SET state = 'seen' WHERE id < 4")
                    _ = try sql("UPDATE \(table) SET id = 20 WHERE id = 2")
                    _ = try sql("DELETE FROM \(table) WHERE id = 5")
                }
                _ = try sql("INSERT INTO full_docs VALUES (9, 'twin', NULL), (9, 'twin', NULL)")
                _ = try sql(
                    "DELETE FROM full_docs WHERE ctid = (SELECT max(ctid) FROM full_docs)")
            }
            for table in ["docs", "full_docs"] {
                try world.eventually("\(table) are the same") { try world.isSame(table) }
            }
        }

        @Test("a change meets what a backfill has brought already")
        func mergesWithBackfill() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY, name text")
            try world.source.sql(
                world.sourceDatabase,
                "INSERT INTO items SELECT i, 'old' FROM generate_series(1, 9) i")
            try world.startManager()
            try world.untilRunning()
            // Rows that the backfill brings in states that the stream has not reached yet.
            try world.destination.sql(
                world.destinationDatabase,
                "INSERT INTO items SELECT i, 'backfilled' FROM generate_series(3, 12) i")
            try world.source.run(world.sourceDatabase) { sql in
                _ = try sql("UPDATE items SET name = 'new'")
                _ = try sql("INSERT INTO items SELECT i, 'new' FROM generate_series(10, 12) i")
                _ = try sql("UPDATE items SET id = 4, name = 'moved' WHERE id = 4")
                _ = try sql("DELETE FROM items WHERE id = 5")
            }
            try world.eventually("merged") { try world.isSame("items") }
        }

        @Test("tables that nobody wants and other schemas' targets")
        func mapping() throws {
            let world = try PipelineFixture()
            try world.source.sql(
                world.sourceDatabase,
                """
                CREATE SCHEMA sales;
                CREATE TABLE sales.orders (id int PRIMARY KEY, "Odd ""Name" text);
                CREATE TABLE other (id int PRIMARY KEY)
                """)
            try world.destination.sql(
                world.destinationDatabase,
                """
                CREATE SCHEMA landing;
                CREATE TABLE landing.orders_copy (extra text DEFAULT 'x', "Odd ""Name" text,
                    id int PRIMARY KEY)
                """)
            try world.source.sql(
                world.config,
                """
                INSERT INTO pipelines_destination_table_sync (pipeline_destination_id, table_name,
                    table_name_target) VALUES (1, 'sales.orders', 'landing.orders_copy')
                """)
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase,
                "INSERT INTO other VALUES (1); INSERT INTO sales.orders VALUES (1, 'a')")
            try world.eventually("the row arrives") {
                try world.destination.sql(
                    world.destinationDatabase,
                    "SELECT id, extra, \"Odd \"\"Name\" FROM landing.orders_copy"
                ) == [["1", "x", "a"]]
            }
        }

        @Test("two destinations get the same, each with its own progress")
        func twoDestinations() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY, name text")
            try world.secondDestination("items")
            try world.startManager()
            try world.untilRunning()
            try world.source.run(world.sourceDatabase) { sql in
                for id in 1...50 { _ = try sql("INSERT INTO items VALUES (\(id), 'a')") }
            }
            for table in ["public.items", "second.items"] {
                try world.eventually("\(table) has all") { try world.count(table) == 50 }
            }
            #expect(
                try world.destination.sql(
                    world.destinationDatabase,
                    """
                    SELECT count(DISTINCT applied_lsn) FROM (
                        SELECT applied_lsn FROM public.pglease_pipeline_progress UNION ALL
                        SELECT applied_lsn FROM second.pglease_pipeline_progress) p
                    """) == [["1"]])
        }

        @Test("two pipelines of one source have a slot each, and the second's goes with it")
        func twoPipelines() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY, name text")
            try world.table("orders", "id int PRIMARY KEY, name text")
            try world.source.sql(
                world.config,
                """
                INSERT INTO pipelines (id, name, source_id, status) VALUES (2, 'two', 1, 'START');
                INSERT INTO pipelines_destination (id, pipeline_id, destination_id)
                VALUES (2, 2, 1);
                UPDATE pipelines_destination_table_sync SET pipeline_destination_id = 2
                WHERE table_name = 'orders'
                """)
            func slots() throws -> [[String?]] {
                try world.source.sql(
                    world.sourceDatabase,
                    """
                    SELECT slot_name, active FROM pg_replication_slots
                    WHERE database = current_database() ORDER BY slot_name
                    """)
            }
            let (manager, _) = try world.startManager()
            let name = try #require(
                try world.source.sql(world.config, "SELECT replication_name FROM sources")[0][0])
            try world.eventually("both stream") {
                try slots() == [[name, "t"], ["\(name)_2", "t"]]
            }
            for number in 1...20 {
                try world.source.sql(
                    world.sourceDatabase,
                    "INSERT INTO items VALUES (\(number)); INSERT INTO orders VALUES (\(number))")
            }
            for table in ["items", "orders"] {
                try world.eventually("\(table) are the same") { try world.isSame(table) }
            }
            // A third comes and the first goes while no manager runs: the second keeps its slot.
            manager.signal(SIGTERM)
            manager.waitUntilExit()
            try world.source.sql(world.sourceDatabase, "INSERT INTO orders VALUES (21)")
            try world.source.sql(
                world.config,
                """
                DELETE FROM pipelines WHERE id = 1;
                INSERT INTO pipelines (id, name, source_id) VALUES (0, 'none', 1)
                """)
            try world.startManager()
            try world.eventually("what came meanwhile arrives") { try world.isSame("orders") }
            // Its own slot is dropped with it; the source's own one is not ours to drop.
            try world.source.sql(world.config, "DELETE FROM pipelines WHERE id = 2")
            try world.eventually("the slot is dropped") { try slots() == [[name, "f"]] }
            try world.eventually("and forgotten") {
                try world.source.sql(
                    world.config, "SELECT FROM pglease_pipeline_slot WHERE is_own"
                ).isEmpty
            }
        }

        @Test("encrypted passwords: of the config database, both sides, the replication connection")
        func encryptedPasswords() throws {
            let world = try PipelineFixture(sourceUser: "sealed", isSealed: true)
            try world.table("items", "id int PRIMARY KEY, name text")
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(world.sourceDatabase, "INSERT INTO items VALUES (1, 'a')")
            try world.eventually("the row arrives") { try world.isSame("items") }
            #expect(try world.count("items") == 1)
            #expect(!world.state().contains("right"))
        }

        @Test("a source that may not be decoded is polled, and the log says so")
        func polls() throws {
            let world = try PipelineFixture(sourceUser: "plain")
            try world.table(
                "items", "id int PRIMARY KEY, name text, updated_at timestamptz DEFAULT now()")
            try world.table("events", "id bigserial PRIMARY KEY, line text")
            try world.source.sql(
                world.sourceDatabase, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain")
            let (_, log) = try world.startManager()
            try world.untilRunning()
            try world.eventually("the log names the mode") {
                world.text(log).contains("polling") && world.text(log).contains("may not replicate")
            }
            try world.source.sql(
                world.sourceDatabase,
                """
                INSERT INTO items SELECT i, 'new' FROM generate_series(1, 2500) i;
                INSERT INTO events (line) SELECT 'line ' || i FROM generate_series(1, 2500) i
                """)
            for table in ["items", "events"] {
                try world.eventually("\(table) are the same") { try world.isSame(table) }
            }
            try world.source.sql(
                world.sourceDatabase,
                """
                UPDATE items SET name = 'changed', updated_at = clock_timestamp() WHERE id % 2 = 0;
                INSERT INTO events (line) VALUES ('one more')
                """)
            for table in ["items", "events"] {
                try world.eventually("\(table) are the same again") { try world.isSame(table) }
            }
        }
    }
}
