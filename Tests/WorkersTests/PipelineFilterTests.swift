// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Workers

/// Which rows a destination takes: filters, rows that it lacks, tables that are refused.
extension PipelineTests {
    @Suite(.serialized) struct Filters {
        private static func setFilter(
            _ world: PipelineFixture, _ table: String, _ filter: String, sync: String = "1"
        ) throws {
            try world.source.sql(
                world.config,
                """
                UPDATE pipelines_destination_table_sync
                SET filter_sql = '\(filter.replacingOccurrences(of: "'", with: "''"))'
                WHERE table_name = '\(table)' AND pipeline_destination_id = \(sync)
                """)
        }

        /// What the destination has is what the source's condition says.
        private static func untilFiltered(
            _ world: PipelineFixture, _ table: String, _ condition: String, target: String? = nil
        ) throws {
            let order = "ORDER BY t::text COLLATE \"C\""
            try world.eventually("\(table) has the rows of which \(condition)") {
                try world.destination.sql(
                    world.destinationDatabase,
                    "SELECT t::text FROM \(target ?? table) t \(order)")
                    == world.source.sql(
                        world.sourceDatabase,
                        "SELECT t::text FROM \(table) t WHERE \(condition) \(order)")
            }
        }

        /// Says that all before it has been applied.
        private static func mark(_ world: PipelineFixture, _ number: Int) throws {
            try world.source.sql(world.sourceDatabase, "INSERT INTO marks VALUES (\(number))")
            try world.eventually("mark \(number) arrives") {
                try world.destination.sql(
                    world.destinationDatabase, "SELECT FROM marks WHERE id = \(number)"
                ).count == 1
            }
        }

        @Test(
            "rows enter and leave a filter by what changes, in both of its forms",
            arguments: [
                "state = 'open'; amount >= 1000000000.5",
                """
                {"version": 2, "interLogic": [], "groups": [{"intraLogic": "AND", "conditions": [
                {"column": "state", "operator": "=", "value": "open"},
                {"column": "amount", "operator": ">=", "value": "1000000000.5"}]}]}
                """,
            ])
        func entersAndLeaves(_ filter: String) throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY, state text, amount numeric")
            try world.table("marks", "id int PRIMARY KEY")
            try Self.setFilter(world, "items", filter)
            try world.startManager()
            try world.untilRunning()
            let condition = "state = 'open' AND amount >= 1000000000.5"
            try world.source.run(world.sourceDatabase) { sql in
                _ = try sql(
                    """
                    INSERT INTO items SELECT i, CASE WHEN i % 2 = 0 THEN 'open' ELSE 'shut' END,
                        1000000000 + i % 3 FROM generate_series(1, 1500) i
                    """)
                // NULL is not true.
                _ = try sql("INSERT INTO items VALUES (2000, NULL, 2e9), (2001, 'open', NULL)")
            }
            try Self.mark(world, 1)
            try Self.untilFiltered(world, "items", condition)
            try world.source.run(world.sourceDatabase) { sql in
                _ = try sql("UPDATE items SET state = 'open' WHERE id % 5 = 0")
                _ = try sql("UPDATE items SET amount = 1 WHERE id % 7 = 0")
                _ = try sql("UPDATE items SET id = id + 10000 WHERE id % 11 = 0")
                _ = try sql("UPDATE items SET id = id + 10000, state = 'shut' WHERE id % 13 = 0")
                _ = try sql("DELETE FROM items WHERE id % 17 = 0")
                _ = try sql(
                    "BEGIN; UPDATE items SET state = 'shut'; UPDATE items SET state = 'open'; END")
            }
            try Self.mark(world, 2)
            try Self.untilFiltered(world, "items", condition)
            #expect(try world.count("items") > 400)
            try world.source.sql(world.sourceDatabase, "UPDATE items SET state = 'shut'")
            try Self.mark(world, 3)
            #expect(try world.count("items") == 0)
        }

        @Test("rows without a key enter and leave, too")
        func withoutKey() throws {
            let world = try PipelineFixture()
            try world.table("lines", "state text, body jsonb, doc json")
            try world.table("marks", "id int PRIMARY KEY")
            try world.source.sql(world.sourceDatabase, "ALTER TABLE lines REPLICA IDENTITY FULL")
            try Self.setFilter(world, "lines", "state = 'open'")
            try world.startManager()
            try world.untilRunning()
            try world.source.run(world.sourceDatabase) { sql in
                for state in ["open", "shut", "open"] {
                    _ = try sql(
                        """
                        INSERT INTO lines SELECT '\(state)', jsonb_build_object('n', i % 3),
                            '{"a" :1}' FROM generate_series(1, 6) i
                        """)
                }
                let first = "ctid = (SELECT min(ctid) FROM lines WHERE state ="
                _ = try sql("UPDATE lines SET state = 'shut' WHERE \(first) 'open')")
                _ = try sql("UPDATE lines SET state = 'open' WHERE \(first) 'shut')")
                _ = try sql("UPDATE lines SET body = '{}' WHERE \(first) 'open')")
                _ = try sql("DELETE FROM lines WHERE \(first) 'open')")
                _ = try sql("DELETE FROM lines WHERE \(first) 'shut')")
            }
            try Self.mark(world, 1)
            try Self.untilFiltered(world, "lines", "state = 'open'")
        }

        @Test("rows with unchanged large values that enter a filter or are missing are whole")
        func largeValues() throws {
            let world = try PipelineFixture()
            let definition = "id int PRIMARY KEY, state text, body text, updated int DEFAULT 0"
            for table in ["docs", "all_docs", "by_body"] { try world.table(table, definition) }
            try world.table("marks", "id int PRIMARY KEY")
            try Self.setFilter(world, "docs", "state = 'open'")
            try Self.setFilter(world, "by_body", "body LIKE 'x%'")
            // There before the pipeline, and no backfill: the destination has none of them.
            for table in ["docs", "all_docs", "by_body"] {
                try world.source.sql(
                    world.sourceDatabase,
                    """
                    INSERT INTO \(table) SELECT i, 'shut', CASE WHEN i % 2 = 0 THEN 'x' ELSE 'y' END
                        || (SELECT string_agg(md5(random()::text), '')
                            FROM generate_series(1, 500 + i)) FROM generate_series(1, 30) i
                    """)
            }
            try world.startManager()
            try world.untilRunning()
            try world.source.run(world.sourceDatabase) { sql in
                for table in ["docs", "all_docs", "by_body"] {
                    _ = try sql("UPDATE \(table) SET updated = 1")
                    _ = try sql("UPDATE \(table) SET state = 'open' WHERE id <= 20")
                    _ = try sql("UPDATE \(table) SET state = 'shut' WHERE id <= 3")
                    // Keys move, and what was changed is gone when it is asked for.
                    _ = try sql("UPDATE \(table) SET id = id + 100 WHERE id BETWEEN 5 AND 8")
                    _ = try sql("UPDATE \(table) SET state = 'open', id = 200 WHERE id = 25")
                    _ = try sql("UPDATE \(table) SET updated = 2 WHERE id = 12")
                    _ = try sql("DELETE FROM \(table) WHERE id IN (10, 11)")
                    _ = try sql("UPDATE \(table) SET body = 'x small' WHERE id = 13")
                    _ = try sql("UPDATE \(table) SET updated = 3 WHERE id = 106")
                }
            }
            try Self.mark(world, 1)
            try Self.untilFiltered(world, "docs", "state = 'open'")
            try Self.untilFiltered(world, "all_docs", "true")
            try Self.untilFiltered(world, "by_body", "body LIKE 'x%'")
            #expect(try world.count("docs") > 10)
        }

        @Test("more missing rows than can be fetched: an error that asks for a backfill")
        func tooManyMissing() throws {
            let world = try PipelineFixture()
            try world.table("docs", "id int PRIMARY KEY, state text, body text")
            try world.source.sql(
                world.sourceDatabase,
                """
                ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
                INSERT INTO docs SELECT i, 'new', repeat('x', 2100) || i
                FROM generate_series(1, \(RowFetcher.rowLimit + 1)) i
                """)
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(world.sourceDatabase, "UPDATE docs SET state = 'seen'")
            try world.eventually("ERROR with what to do") {
                let row = try world.metadata()[0]
                return row[0] == "ERROR"
                    && row[1]?.contains("public.docs") == true
                    && row[1]?.contains("backfill the table") == true
            }
            #expect(try world.count("docs") == 0)
            // What a backfill does.
            try world.destination.sql(
                world.destinationDatabase,
                """
                INSERT INTO docs SELECT i, 'seen', repeat('x', 2100) || i
                FROM generate_series(1, \(RowFetcher.rowLimit + 1)) i
                """)
            try world.source.sql(
                world.sourceDatabase, "UPDATE docs SET state = 'again' WHERE id = 1")
            try world.eventually("it goes on") {
                try world.destination.sql(
                    world.destinationDatabase, "SELECT state FROM docs WHERE id = 1"
                ) == [["again"]]
            }
            #expect(try world.isSame("docs"))
        }

        // With these seeds a key that one row left and another one got once brought that one's
        // large value.
        @Test("whatever the source does, the same is there in the end", arguments: [5, 7, 12])
        func randomChanges(_ seed: UInt64) throws {
            var random = SeededRandom(seed: seed)
            let world = try PipelineFixture()
            let tables = ["mixed", "filtered"]
            for table in tables {
                try world.table(
                    table,
                    "id int PRIMARY KEY, state text, body text, email text UNIQUE, n int DEFAULT 0")
                try world.source.sql(
                    world.sourceDatabase,
                    """
                    ALTER TABLE \(table) ALTER body SET STORAGE EXTERNAL;
                    INSERT INTO \(table) SELECT i, 'open', repeat('y', 3000) || i
                    FROM generate_series(1, 20) i
                    """)
            }
            try world.table("marks", "id int PRIMARY KEY")
            try Self.setFilter(world, "filtered", "state = 'open' AND n < 8")
            try world.startManager()
            try world.untilRunning()
            try world.source.run(world.sourceDatabase) { sql in
                for number in 1...150 {
                    let changes = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                        Self.change(&random)
                    }
                    for table in tables {
                        let text = changes.map { $0.replacingOccurrences(of: "T", with: table) }
                        _ = try sql("BEGIN; \(text.joined(separator: "; ")); COMMIT")
                    }
                    if number % 50 == 0 { for child in world.children() { kill(child, SIGKILL) } }
                }
                // What was never changed is not there.
                for table in tables { _ = try sql("UPDATE \(table) SET n = n + 1") }
            }
            try Self.mark(world, 1)
            try Self.untilFiltered(world, "mixed", "true")
            try Self.untilFiltered(world, "filtered", "state = 'open' AND n < 8")
        }

        /// A change of the table `T`; capital letters stand for nothing else.
        private static func change(_ random: inout SeededRandom) -> String {
            let id = Int.random(in: 1...40, using: &random)
            let other = Int.random(in: 1...40, using: &random)
            let state = ["open", "shut"].randomElement(using: &random)!
            let size = [10, 3000].randomElement(using: &random)!
            let email = Int.random(in: 1...6, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0, 1:
                return """
                    insert into T values (\(id), '\(state)', repeat('z', \(size)) || \(other))
                    on conflict do nothing
                    """
            case 2: return "delete from T where id = \(id)"
            case 3: return "update T set body = repeat('w', \(size)) where id = \(id)"
            case 4:
                return """
                    update T set id = \(other) where id = \(id)
                    and not exists (select from T where id = \(other))
                    """
            case 5:
                return """
                    update T set id = \(other), state = '\(state)' where id = \(id)
                    and not exists (select from T where id = \(other))
                    """
            case 6:
                return """
                    update T set email = null where email = 'e\(email)';
                    update T set email = 'e\(email)' where id = \(id)
                    """
            case 7: return "update T set n = (n + 3) % 10 where id % 3 = \(id % 3)"
            default: return "update T set state = '\(state)', n = n where id = \(id)"
            }
        }

        @Test("two destinations have a filter each")
        func filterOfEach() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY, name text")
            try world.secondDestination("items")
            try Self.setFilter(world, "items", "id < 30")
            try Self.setFilter(world, "items", "name IN ('a', 'c')", sync: "2")
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase,
                """
                INSERT INTO items SELECT i, chr(97 + i % 4) FROM generate_series(1, 60) i;
                UPDATE items SET name = 'c' WHERE id % 5 = 0
                """)
            try Self.untilFiltered(world, "items", "id < 30", target: "public.items")
            try Self.untilFiltered(
                world, "items", "name IN ('a', 'c')", target: "second.items")
        }

        @Test("a polled source says itself what is wanted, and what is wanted no more")
        func polled() throws {
            let world = try PipelineFixture(sourceUser: "plain")
            try world.table(
                "items",
                """
                id int PRIMARY KEY, state text, body text,
                updated_at timestamptz DEFAULT clock_timestamp()
                """)
            try world.source.sql(
                world.sourceDatabase, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain")
            try Self.setFilter(world, "items", "state = 'open' ; id <> 5")
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase,
                """
                INSERT INTO items SELECT i, CASE WHEN i % 2 = 0 THEN 'open' ELSE 'shut' END, 'x'
                FROM generate_series(1, 2400) i
                """)
            try Self.untilFiltered(world, "items", "state = 'open' AND id <> 5")
            try world.source.sql(
                world.sourceDatabase,
                """
                UPDATE items SET state = CASE state WHEN 'open' THEN 'shut' ELSE 'open' END,
                    updated_at = clock_timestamp() WHERE id % 3 = 0
                """)
            try Self.untilFiltered(world, "items", "state = 'open' AND id <> 5")
        }

        @Test("a filter that cannot be used stops the pipeline with its reason; nothing is lost")
        func wrongFilter() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            try world.startManager()
            try world.untilRunning()
            for (filter, reason) in [
                ("id = (SELECT 1)", "filter_sql"), ("gone = 1", "no column \"gone\""),
                ("id = 'a'", "invalid input syntax"),
            ] {
                try Self.setFilter(world, "items", filter)
                try world.source.sql(
                    world.sourceDatabase, "INSERT INTO items SELECT count(*) FROM items")
                try world.eventually("ERROR with \(reason)") {
                    let row = try world.metadata()[0]
                    return row[0] == "ERROR" && row[1]?.contains(reason) == true
                        && row[1]?.contains("items") == true
                }
            }
            try Self.setFilter(world, "items", "")
            try world.eventually("all arrive") { try world.isSame("items") }
            #expect(try world.count("items") == 3)
        }

        @Test("a table with custom_sql is left alone with its reason; the others go on")
        func customSQL() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            try world.table("special", "id int PRIMARY KEY")
            func error(_ table: String) throws -> [String?] {
                try world.source.sql(
                    world.config,
                    """
                    SELECT is_error, error_message FROM pipelines_destination_table_sync
                    WHERE table_name = '\(table)'
                    """)[0]
            }
            try world.source.sql(
                world.config,
                """
                UPDATE pipelines_destination_table_sync SET custom_sql = 'SELECT 1'
                WHERE table_name = 'special';
                UPDATE pipelines_destination_table_sync SET is_error = true, error_message = 'old'
                WHERE table_name = 'items'
                """)
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase,
                "INSERT INTO special VALUES (1); INSERT INTO items VALUES (1)")
            try world.eventually("the other table goes on") { try world.isSame("items") }
            #expect(try world.count("special") == 0)
            try world.eventually("each table's error is its own") {
                try error("special")[0] == "t" && error("items") == ["f", nil]
            }
            #expect(try error("special")[1]?.contains("custom_sql") == true)
            #expect(try world.status() == "RUNNING")
            // Mended, it takes what comes from then on.
            try world.source.sql(
                world.config, "UPDATE pipelines_destination_table_sync SET custom_sql = NULL")
            try world.eventually("the error is over") { try error("special") == ["f", nil] }
            try world.untilRunning()
            try world.eventually("what comes now arrives") {
                try world.source.sql(
                    world.sourceDatabase,
                    "INSERT INTO special SELECT max(id) + 1 FROM special")
                return try world.count("special") > 0
            }
        }

        @Test("a unique value that wanders from row to row in one transaction")
        func wanderingValue() throws {
            let world = try PipelineFixture()
            try world.table("users", "id int PRIMARY KEY, email text UNIQUE, n int DEFAULT 0")
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase, "INSERT INTO users VALUES (1, 'x'), (2, 'y'), (3, 'z')")
            try world.eventually("the users arrive") { try world.count("users") == 3 }
            try world.source.sql(
                world.sourceDatabase,
                """
                BEGIN;
                UPDATE users SET n = 1 WHERE id = 2;
                UPDATE users SET email = 'free' WHERE id = 1;
                UPDATE users SET email = 'x' WHERE id = 2;
                UPDATE users SET email = 'y' WHERE id = 3;
                UPDATE users SET email = 'w' WHERE id = 1;
                COMMIT
                """)
            try world.eventually("the users are the same") { try world.isSame("users") }
        }
    }
}
