// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresFixture
import Testing

/// What the manager does with its processes.
extension PipelineTests {
    @Suite(.serialized) struct Manager {
        @Test("pause stops it at once, start continues, nothing is lost")
        func pauseAndStart() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            let (_, log) = try world.startManager()
            try world.untilRunning()
            try world.set("PAUSE")
            try world.eventually("PAUSED") { try world.status() == "PAUSED" }
            #expect(world.children().isEmpty)
            // It obeyed: no SIGKILL was needed.
            #expect(world.text(log).contains("the pipeline has stopped"))
            #expect(!world.text(log).contains("is killed"))
            try world.source.sql(world.sourceDatabase, "INSERT INTO items VALUES (1), (2)")
            try world.set("START")
            try world.untilRunning()
            try world.eventually("the rows arrive") { try world.isSame("items") }
        }

        @Test("it obeys at once while it waits for a lock at the destination")
        func stopsInStatement() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            try world.startManager(["--grace", "60"])
            try world.untilRunning()
            try world.destination.run(world.destinationDatabase) { sql in
                _ = try sql("BEGIN; LOCK TABLE items")
                try world.source.sql(world.sourceDatabase, "INSERT INTO items VALUES (1)")
                try world.eventually("it waits for the lock") {
                    try world.destination.sql(
                        world.destinationDatabase, "SELECT count(*) FROM pg_locks WHERE NOT granted"
                    ) != [["0"]]
                }
                #expect(try world.console("SHOW LEASES").contains("pipeline.apply"))
                try world.set("PAUSE")
                try world.eventually("PAUSED") { try world.status() == "PAUSED" }
                _ = try sql("COMMIT")
            }
            #expect(try world.count("items") == 0)
            try world.set("START")
            try world.eventually("the row arrives") { try world.isSame("items") }
        }

        @Test("refresh restarts it once; an update of its row alone does not; a real change does")
        func refreshOnce() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            let (_, log) = try world.startManager()
            try world.untilRunning()
            func starts() -> Int {
                world.text(log).components(separatedBy: "the pipeline is started").count - 1
            }
            #expect(starts() == 1)
            try world.set("REFRESH")
            try world.eventually("it is START again") {
                try world.source.sql(world.config, "SELECT status FROM pipelines") == [["START"]]
            }
            try world.untilRunning()
            #expect(starts() == 2)
            // Everything that could restart it again has been seen after a few heartbeats.
            func heartbeats(_ count: Int) throws {
                for _ in 0..<count {
                    let old = try world.source.sql(
                        world.config, "SELECT heartbeat_at FROM pglease_pipeline_claim")
                    try world.eventually("a heartbeat") {
                        try world.source.sql(
                            world.config, "SELECT heartbeat_at FROM pglease_pipeline_claim") != old
                    }
                }
            }
            try heartbeats(5)
            #expect(starts() == 2)
            try world.source.sql(
                world.config,
                """
                UPDATE pipelines
                SET updated_at = now(), ready_refresh = true, last_refresh_at = now()
                """
            )
            try heartbeats(5)
            #expect(starts() == 2)
            try world.table("more", "id int PRIMARY KEY")
            try world.eventually("restarted for the new table") { starts() == 3 }
            try world.eventually("the new table is published") {
                try world.source.sql(
                    world.sourceDatabase, "SELECT count(*) FROM pg_publication_tables") == [["2"]]
            }
            try world.source.sql(world.sourceDatabase, "INSERT INTO more VALUES (1)")
            try world.eventually("its row arrives") { try world.isSame("more") }
        }

        @Test("a pipeline that is removed is stopped")
        func removed() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            try world.startManager()
            try world.untilRunning()
            try world.source.sql(world.config, "DELETE FROM pipelines")
            try world.eventually("no process") { world.children().isEmpty }
            #expect(
                try world.source.sql(world.config, "SELECT count(*) FROM pglease_pipeline_claim")
                    == [["0"]])
        }

        @Test("two managers run one process; the other takes over when the first is killed")
        func twoManagers() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            let (first, _) = try world.startManager()
            try world.untilRunning()
            let child = world.children()
            let (_, log) = try world.startManager()
            try world.eventually("the second one looks at the table") {
                world.text("broker.log").components(separatedBy: "application=pipelines").count > 2
            }
            try world.source.sql(world.sourceDatabase, "INSERT INTO items VALUES (1)")
            try world.eventually("the row arrives") { try world.isSame("items") }
            #expect(world.children() == child)
            #expect(!world.text(log).contains("the pipeline is started"))
            first.kill()
            // Its process goes with it, and the claim runs out.
            try world.eventually("another process") {
                let now = world.children()
                return now.count == 1 && now != child
            }
            try world.source.sql(world.sourceDatabase, "INSERT INTO items VALUES (2)")
            try world.eventually("the second row arrives") { try world.isSame("items") }
        }

        @Test("SIGTERM ends the manager and its processes; the metadata say so")
        func terminates() throws {
            let world = try PipelineFixture()
            try world.table("items", "id int PRIMARY KEY")
            let (manager, _) = try world.startManager()
            try world.untilRunning()
            manager.signal(SIGTERM)
            #expect(manager.waitUntilExit() == .exited(0))
            #expect(world.children().isEmpty)
            #expect(try world.status() == "PAUSED")
            #expect(
                try world.source.sql(world.config, "SELECT count(*) FROM pglease_pipeline_claim")
                    == [["0"]])
        }

        @Test("the server connections of a pipeline stay below ten, and each names its group")
        func fewConnections() throws {
            let world = try PipelineFixture(poolSize: 5)
            try world.table("items", "id int PRIMARY KEY, v int")
            try world.startManager()
            try world.untilRunning()
            var most = 0
            try world.source.run(world.sourceDatabase) { sql in
                for round in 0..<40 {
                    _ = try sql(
                        """
                        INSERT INTO items SELECT i, 0
                        FROM generate_series(\(round * 50), \(round * 50 + 49)) i
                        """
                    )
                    var now = 0
                    for cluster in [world.source, world.destination] {
                        now += Int(
                            try cluster.sql(
                                "postgres",
                                """
                                SELECT count(*) FROM pg_stat_activity WHERE datname IN
                                    ('\(world.sourceDatabase)', '\(world.destinationDatabase)')
                                    AND pid <> pg_backend_pid()
                                    AND backend_type <> 'autovacuum worker'
                                """)[0][0] ?? "")!
                    }
                    most = max(most, now)
                }
            }
            try world.eventually("all rows") { try world.isSame("items") }
            // One of them is this test's own, one the walsender.
            #expect(most - 1 < 10, "\(most - 1) connections")
            #expect(try world.console("SHOW GROUPS").contains("pipeline-orders"))
        }
    }
}
