// SPDX-License-Identifier: Apache-2.0

import Foundation
import LibPQ
import PostgresFixture
import Testing

@testable import Workers

/// What a pipeline bears: processes killed, servers stopped, destinations that do not fit.
extension PipelineTests {
    @Suite(.serialized) struct Faults {
        /// A table whose rows would show any change that is lost or applied twice: it has no key.
        private static func prepare(_ world: PipelineFixture) throws {
            try world.table("accounts", "id int PRIMARY KEY, balance int")
            try world.table("journal", "number int, line text")
            try world.source.sql(
                world.sourceDatabase,
                "INSERT INTO accounts SELECT i, 0 FROM generate_series(1, 20) i")
            try world.destination.sql(
                world.destinationDatabase,
                "INSERT INTO accounts SELECT i, 0 FROM generate_series(1, 20) i")
        }

        /// Transactions that change both tables.
        private static func work(_ world: PipelineFixture, _ numbers: ClosedRange<Int>) throws {
            try world.source.run(world.sourceDatabase) { sql in
                for number in numbers {
                    _ = try sql(
                        """
                        BEGIN;
                        UPDATE accounts SET balance = balance + 1 WHERE id = \(number % 20 + 1);
                        INSERT INTO journal VALUES (\(number), 'a'), (\(number), 'b'); COMMIT
                        """)
                }
            }
        }

        private static func untilSame(_ world: PipelineFixture, rows: Int) throws {
            try world.eventually("\(rows) rows") { try world.count("journal") >= rows }
            #expect(try world.count("journal") == rows)
            try world.eventually("accounts are the same") { try world.isSame("accounts") }
            #expect(try world.isSame("journal"))
        }

        @Test("a process that is killed is started again, and nothing is lost or doubled")
        func killed() throws {
            let world = try PipelineFixture()
            try Self.prepare(world)
            try world.startManager()
            try world.untilRunning()
            var last = 0
            for round in 1...4 {
                try Self.work(world, (last + 1)...(last + 150))
                last += 150
                // In the middle: something has arrived, most has not.
                if round % 2 == 0 {
                    try world.eventually("some rows") { try world.count("journal") > 0 }
                }
                let old = world.children()
                for child in old { kill(child, SIGKILL) }
                try Self.work(world, (last + 1)...(last + 20))
                last += 20
                try world.eventually("another process") {
                    let now = world.children()
                    return now.count == 1 && !old.contains(now[0])
                }
            }
            try Self.untilSame(world, rows: 2 * last)
            try world.untilRunning()
            let error = try world.metadata()[0][1]
            #expect(error?.contains("signal 9") == true)
        }

        @Test("the source restarts", arguments: ["fast", "immediate"])
        func sourceRestarts(_ mode: String) throws {
            let world = try PipelineFixture()
            try Self.prepare(world)
            try world.startManager()
            try world.untilRunning()
            try Self.work(world, 1...100)
            try world.source.stop(mode)
            try world.source.start()
            try Self.work(world, 101...200)
            try Self.untilSame(world, rows: 400)
            try world.untilRunning()
        }

        @Test("the destination is down for a while: an error meanwhile, nothing lost afterwards")
        func destinationDown() throws {
            let world = try PipelineFixture()
            try Self.prepare(world)
            try world.startManager()
            try world.untilRunning()
            try Self.work(world, 1...50)
            try Self.untilSame(world, rows: 100)
            let child = world.children()
            try world.destination.stop()
            do {
                try Self.work(world, 51...100)
                try world.eventually("ERROR") { try world.status() == "ERROR" }
                #expect(
                    try world.source.sql(
                        world.config,
                        "SELECT is_error, error_message <> '' FROM pipelines_destination"
                    ) == [["t", "t"]])
                try Self.work(world, 101...150)
            } catch {
                try world.destination.start()
                throw error
            }
            try world.destination.start()
            try Self.untilSame(world, rows: 300)
            try world.untilRunning()
            try world.eventually("the destination's error is over") {
                try world.source.sql(world.config, "SELECT is_error FROM pipelines_destination")
                    == [["f"]]
            }
            // The process bore it: it was not restarted.
            #expect(world.children() == child)
        }

        @Test("the source's fast shutdown does not wait for a destination that is away")
        func sourceStopsWhileDestinationIsDown() throws {
            let world = try PipelineFixture()
            try Self.prepare(world)
            try world.startManager()
            try world.untilRunning()
            try Self.work(world, 1...20)
            try Self.untilSame(world, rows: 40)
            try world.destination.stop()
            var isSourceDown = false
            do {
                // Read by the pipeline, and confirmed by nobody.
                try Self.work(world, 21...60)
                try world.eventually("ERROR") { try world.status() == "ERROR" }
                try world.source.stop("fast")
                isSourceDown = true
                try world.source.start()
                isSourceDown = false
                try Self.work(world, 61...80)
            } catch {
                if isSourceDown { try world.source.start() }
                try world.destination.start()
                throw error
            }
            try world.destination.start()
            try Self.untilSame(world, rows: 160)
            try world.untilRunning()
        }

        @Test("nor for one that hangs")
        func sourceStopsWhileDestinationHangs() throws {
            let world = try PipelineFixture()
            try Self.prepare(world)
            try world.startManager()
            try world.untilRunning()
            try world.destination.run(world.destinationDatabase) { sql in
                _ = try sql("BEGIN; LOCK TABLE journal IN ACCESS EXCLUSIVE MODE")
                try Self.work(world, 1...20)
                try world.eventually("the apply waits") {
                    try sql("SELECT FROM pg_locks WHERE NOT granted").count > 0
                }
                try world.source.stop("fast")
                try world.source.start()
                _ = try sql("COMMIT")
            }
            try Self.untilSame(world, rows: 40)
            try world.untilRunning()
        }

        @Test("a transaction larger than memory, killed in the middle")
        func largeTransaction() throws {
            let world = try PipelineFixture()
            try Self.prepare(world)
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase,
                """
                INSERT INTO journal SELECT i, repeat('x', 300) FROM generate_series(1, 120000) i
                """)
            try world.eventually("the apply begins") {
                try world.destination.sql(
                    "postgres",
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE datname = '\(world.destinationDatabase)' AND state <> 'idle'
                        AND query LIKE 'INSERT%'
                    """
                ) != [["0"]]
            }
            for child in world.children() { kill(child, SIGKILL) }
            try world.eventually("all rows") { try world.count("journal") == 120_000 }
            try Self.work(world, 1...5)
            try world.eventually("and later ones") { try world.count("journal") == 120_010 }
            #expect(try world.isSame("journal"))
        }

        @Test("a destination that is slow does not lose the stream: keepalives are answered")
        func slowDestination() throws {
            let world = try PipelineFixture()
            try Self.prepare(world)
            try world.source.sql(
                "postgres", "ALTER ROLE tester SET wal_sender_timeout = '1s'")
            defer {
                _ = try? world.source.sql("postgres", "ALTER ROLE tester RESET wal_sender_timeout")
            }
            try world.startManager()
            try world.untilRunning()
            let before = try Self.walSender(world)
            try world.destination.run(world.destinationDatabase) { sql in
                _ = try sql("BEGIN; LOCK TABLE journal IN ACCESS EXCLUSIVE MODE")
                try Self.work(world, 1...10)
                // The sender asks after half a second, and gives up after one.
                for _ in 0..<6 {
                    let old = try Self.replyTime(world)
                    try world.eventually("a reply") { try Self.replyTime(world) != old }
                }
                _ = try sql("COMMIT")
            }
            try Self.untilSame(world, rows: 20)
            #expect(try Self.walSender(world) == before)
        }

        private static func replyTime(_ world: PipelineFixture) throws -> [[String?]] {
            try world.source.sql(
                "postgres",
                """
                SELECT reply_time FROM pg_stat_replication r JOIN pg_replication_slots s
                ON s.active_pid = r.pid WHERE database = '\(world.sourceDatabase)'
                """)
        }

        private static func walSender(_ world: PipelineFixture) throws -> [[String?]] {
            try world.source.sql(
                "postgres",
                """
                SELECT active_pid FROM pg_replication_slots
                WHERE database = '\(world.sourceDatabase)'
                """)
        }

        @Test("a table that is missing is an error that stays to be read, until it is mended")
        func missingTable() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY, name text")
            try world.destination.sql(world.destinationDatabase, "DROP TABLE items")
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(world.sourceDatabase, "INSERT INTO items VALUES (1, 'a')")
            try world.eventually("ERROR with its reason") {
                let row = try world.metadata()[0]
                return row[0] == "ERROR" && row[1]?.contains("public.items does not exist") == true
            }
            // Deaths and restarts later it is still the reason, not "exit status 1".
            let first = world.text("manager0.log").count
            try world.eventually("it died again") { world.text("manager0.log").count > first + 200 }
            #expect(try world.metadata()[0][1]?.contains("does not exist") == true)
            try world.set("PAUSE")
            try world.eventually("PAUSED") { try world.status() == "PAUSED" }
            #expect(try world.metadata()[0][1]?.contains("does not exist") == true)
            try world.destination.sql(
                world.destinationDatabase, "CREATE TABLE items (id int PRIMARY KEY, name text)")
            try world.set("START")
            try world.untilRunning()
            try world.eventually("the row arrives") { try world.isSame("items") }
            try world.eventually("the destination's error is over") {
                try world.source.sql(world.config, "SELECT is_error FROM pipelines_destination")
                    == [["f"]]
            }
        }

        @Test("a feed that nobody takes from is closed, so that it cannot hold up the source")
        func fullFeed() throws {
            let cluster = try PipelineCluster.source.get()
            try cluster.sql(
                "postgres",
                """
                CREATE TABLE feed (line text); CREATE PUBLICATION feed FOR TABLE feed
                """)
            try cluster.sql(
                "postgres", "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
            defer {
                _ = try? cluster.sql("postgres", "SELECT pg_drop_replication_slot('feed')")
                _ = try? cluster.sql("postgres", "DROP TABLE feed; DROP PUBLICATION feed")
            }
            let wakeup = ThreadWakeup()
            let patience = Patience(until: .now.advanced(by: .seconds(60)))
            let stream = try ReplicationStream.connect(
                [
                    ("host", cluster.folder), ("port", "\(cluster.port)"), ("user", "tester"),
                    ("dbname", "postgres"),
                ], wakeup: wakeup, patience: patience)
            try stream.start(slot: "feed", publication: "feed", from: "0/0", patience)
            try cluster.sql(
                "postgres", "INSERT INTO feed SELECT repeat('x', 100) FROM generate_series(1, 9999)"
            )
            let feed = ChangeFeed(
                stream, reader: wakeup, capacity: 10_000, patience: .milliseconds(50))
            try feed.reading {
                try Fixture.eventually("the source's sender has ended") {
                    try cluster.sql(
                        "postgres",
                        "SELECT FROM pg_replication_slots WHERE slot_name = 'feed' AND NOT active"
                    ).count == 1
                }
                // What was read before is not lost on the way.
                guard case .elements(let elements) = feed.take() else {
                    Issue.record("nothing was read")
                    return
                }
                #expect(elements.count > 50)
                #expect(feed.take() == .ended(.full))
            }
        }

        @Test("a column that the destination lacks is named")
        func missingColumn() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(
                world.sourceDatabase,
                "ALTER TABLE items ADD COLUMN note text; INSERT INTO items VALUES (1, 'a')")
            try world.eventually("ERROR with its reason") {
                try world.metadata()[0][1]?.contains("column \"note\" is missing") == true
            }
            try world.destination.sql(
                world.destinationDatabase, "ALTER TABLE items ADD COLUMN note text")
            try world.eventually("the row arrives") { try world.isSame("items") }
            try world.untilRunning()
        }

        @Test("a publication or slot that is missing and not wanted is a clear error")
        func notWanted() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            try world.source.sql(world.config, "UPDATE sources SET is_publication_enabled = false")
            try world.startManager()
            try world.eventually("the publication is named") {
                try world.metadata().first?[1]?.contains("publication \"pub\" does not exist")
                    == true
            }
            try world.source.sql(
                world.config,
                "UPDATE sources SET is_publication_enabled = true, is_replication_enabled = false")
            try world.eventually("the slot is named") {
                try world.metadata().first?[1]?.contains("replication slot") == true
            }
            try world.source.sql(world.config, "UPDATE sources SET is_replication_enabled = true")
            try world.untilRunning()
        }
    }
}
