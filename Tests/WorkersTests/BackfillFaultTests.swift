// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresFixture
import Testing

@testable import Workers

/// What fails, fails loudly, and counts nothing that was not written.
@Suite("Backfill: failures, cancel and stop", .timeLimit(.minutes(5)))
struct BackfillFaultTests {
    @Test(
        "A destination that does not take the rows fails the job (D6)",
        arguments: [
            // The 51st row is refused: the batches before it stay, and are counted.
            ("id bigint PRIMARY KEY, name text, amount numeric CHECK (amount < 0.51)", 50, "23514"),
            ("id bigint PRIMARY KEY, name text", 0, "no column amount"),
            ("id bigint PRIMARY KEY, name int, amount numeric", 0, "22P02"),
            (nil, 0, "there is no table public.orders"),
        ])
    func refused(_ definition: String?, _ rows: Int, _ reason: String) async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100, targetDefinition: definition ?? "x int")
        if definition == nil { try world.postgres.sql(world.destination, "DROP TABLE orders") }
        let job = try world.addJob("orders")
        let summary = try await world.manager { $0.batchRows = 10 }.run(once: true)
        #expect(summary == BackfillSummary(failed: 1))
        #expect(
            try world.job(job, "status, is_error, count_record") == "FAILED|t|\(rows)")
        #expect(try world.job(job, "error_message").contains(reason))
        if definition != nil { #expect(try world.count(world.destination, "orders") == rows) }
        try await world.expectNoLeases()
    }

    @Test("Rows that a trigger swallows are not counted as written (D6)")
    func swallowed() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100)
        try world.postgres.sql(
            world.destination,
            """
            CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.id = 15 THEN RETURN NULL; END IF; RETURN NEW; END $$;
            CREATE TRIGGER swallow BEFORE INSERT ON orders FOR EACH ROW
                EXECUTE FUNCTION swallow();
            """)
        let job = try world.addJob("orders")
        _ = try await world.manager { $0.batchRows = 10 }.run(once: true)
        #expect(try world.job(job, "status, count_record") == "FAILED|10")
        #expect(try world.job(job, "error_message").contains("kept 9 of 10 rows"))
        #expect(try world.count(world.destination, "orders") == 10)
    }

    @Test("One of two destinations fails: the job fails, and a later start gets both right (D6)")
    func oneOfTwo() async throws {
        let world = try await BackfillWorld()
        let second = world.destination + "b"
        try world.postgres.sql("postgres", "CREATE DATABASE \(second)")
        try world.postgres.sql(
            second,
            """
            CREATE TABLE orders (id bigint PRIMARY KEY, name text,
                amount numeric CONSTRAINT small CHECK (amount < 0.31))
            """)
        try world.addDestination(2, database: second)
        try world.addTable("orders", rows: 100)
        try world.takeTable("orders", destination: 2)
        let job = try world.addJob("orders")
        _ = try await world.manager { $0.batchRows = 20 }.run(once: true)
        #expect(try world.job(job, "status, count_record") == "FAILED|20")
        try world.postgres.sql(second, "ALTER TABLE orders DROP CONSTRAINT small")
        try world.postgres.sql(
            world.config, "UPDATE queue_backfill_data SET status = 'PENDING'")
        _ = try await world.manager { $0.batchRows = 20 }.run(once: true)
        #expect(
            try world.job(job, "status, count_record, is_error, error_message")
                == "COMPLETED|100|f|")
        let digest = try world.digest(world.source, "orders")
        #expect(try world.digest(world.destination, "orders") == digest)
        #expect(try world.digest(second, "orders") == digest)
    }

    @Test(
        "Jobs that cannot be done as they are",
        arguments: [
            ("missing", nil, "no destination of pipeline 1 takes the table missing"),
            ("orders", "id = 1; DROP TABLE orders", "filter_sql"),
            ("orders", "secret = 1", "no column \"secret\""),
        ])
    func faults(_ table: String, _ filter: String?, _ reason: String) async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 5)
        let job = try world.addJob(table, filter: filter)
        _ = try await world.manager().run(once: true)
        #expect(try world.job(job, "status, is_error") == "FAILED|t")
        #expect(try world.job(job, "error_message").contains(reason))
        #expect(try world.count(world.source, "orders") == 5)
        #expect(try world.count(world.destination, "orders") == 0)
    }

    @Test("Cancelled while PENDING: never run")
    func cancelPending() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 5)
        let job = try world.addJob("orders")
        try world.postgres.sql(
            world.config, "UPDATE queue_backfill_data SET status = 'CANCELLED'")
        #expect(try await world.manager().run(once: true) == BackfillSummary())
        #expect(try world.job(job, "status, resume_attempts") == "CANCELLED|0")
        #expect(try world.count(world.destination, "orders") == 0)
    }

    @Test(
        "Cancelled while EXECUTING, in the middle of a statement: stays so, with what was written")
    func cancelExecuting() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100)
        let gate = try await world.closeGate(at: 51, of: "orders")
        let job = try world.addJob("orders")
        let manager = try world.manager {
            $0.batchRows = 10
            $0.claimTimeout = .milliseconds(300)
        }
        async let summary = manager.run(once: true)
        try await gate.eventuallyReached()
        try world.postgres.sql(
            world.config, "UPDATE queue_backfill_data SET status = 'CANCELLED'")
        // The statement waits at the gate, which stays closed: only the heartbeat can end it.
        #expect(try await summary == BackfillSummary(unfinished: 1))
        #expect(try world.job(job, "status, count_record, is_error") == "CANCELLED|50|f")
        #expect(try world.count(world.destination, "orders") == 50)
        try await world.expectNoLeases()
    }

    @Test("Stopped in the middle: PENDING at the last checkpoint, never COMPLETED, at once (D7)")
    func stop() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100)
        let gate = try await world.closeGate(at: 51, of: "orders")
        let job = try world.addJob("orders")
        let manager = try world.manager { $0.batchRows = 10 }
        async let summary = manager.run()
        try await gate.eventuallyReached()
        await manager.stop()
        #expect(try await summary == BackfillSummary(unfinished: 1))
        #expect(
            try world.job(job, "status, count_record, resume_attempts, owner IS NULL")
                == "PENDING|50|0|t")
        try await world.expectNoLeases()
        gate.open()
        let next = try await world.manager(owner: "next") { $0.batchRows = 10 }.run(once: true)
        #expect(next.completed == 1)
        #expect(
            try world.digest(world.source, "orders")
                == world.digest(world.destination, "orders"))
    }

    @Test(
        "Stopped while the config database cannot be reached: it ends all the same, and the job is left to its claim's end",
        arguments: [true, false])
    func stopWithoutConfig(hasJob: Bool) async throws {
        // Nothing else ends what waits here.
        let world = try await BackfillWorld(settings: ["query_wait_timeout": "0"])
        try world.addTable("orders", rows: 100)
        let gate = try await world.closeGate(at: 51, of: "orders")
        let job = hasJob ? try world.addJob("orders") : nil
        let manager = try world.manager(wait: .seconds(86_400)) {
            $0.batchRows = 10
            $0.stopGrace = .milliseconds(100)
        }
        async let summary = manager.run()
        if hasJob { try await gate.eventuallyReached() }
        _ = try world.broker.console("PAUSE \(world.config)")
        try await Fixture.eventually("the queue is asked for") {
            try world.broker.console("SHOW WAITERS").contains("|\(world.config)|")
        }
        await manager.stop()
        #expect(try await summary == BackfillSummary(unfinished: hasJob ? 1 : 0))
        _ = try world.broker.console("RESUME \(world.config)")
        try await world.expectNoLeases()
        guard let job else { return }
        #expect(
            try world.job(job, "status, count_record, owner IS NULL") == "EXECUTING|50|f")
        gate.open()
        let next = try await world.manager(owner: "next") {
            $0.batchRows = 10
            $0.claimTimeout = .milliseconds(300)
        }
        .run(once: true)
        #expect(next.completed == 1)
        #expect(
            try world.digest(world.source, "orders")
                == world.digest(world.destination, "orders"))
    }

    @Test("A job that a Python worker takes over in the middle is let go (D8)")
    func takenOver() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100)
        let gate = try await world.closeGate(at: 51, of: "orders")
        let job = try world.addJob("orders")
        let manager = try world.manager { $0.batchRows = 10 }
        async let summary = manager.run(once: true)
        try await gate.eventuallyReached()
        try world.postgres.sql(
            world.config,
            "UPDATE queue_backfill_data SET status = 'EXECUTING', resume_attempts = 2")
        gate.open()
        #expect(try await summary == BackfillSummary(unfinished: 1))
        #expect(try world.job(job, "status, count_record") == "EXECUTING|50")
    }

    @Test("A Python worker's half-done job goes on after its last key")
    func resumesPython() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100)
        let job = try world.addJob("orders")
        try world.postgres.sql(
            world.config,
            """
            UPDATE queue_backfill_data SET pk_column = 'id', last_pk_value = '40',
                count_record = 40, total_record = 100, resume_attempts = 1
            """)
        _ = try await world.manager { $0.batchRows = 7 }.run(once: true)
        #expect(try world.job(job, "status, count_record") == "COMPLETED|100")
        #expect(
            try world.postgres.sql(world.destination, "SELECT count(*), min(id) FROM orders")
                == "60|41")
    }

    @Test("A change that a pipeline applies is not overwritten with an older row")
    func mergeLock() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 10)
        try world.addJob("orders")
        // As a pipeline in the middle of its transaction.
        let pipeline = try BackfillGate(
            world.postgres, world.destination,
            lock: """
                pg_advisory_lock_shared(hashtextextended('pglease.merge:public.orders', 0))
                """)
        try await pipeline.eventuallyClosed()
        let manager = try world.manager()
        async let summary = manager.run(once: true)
        try await pipeline.eventuallyReached()
        // Had the batch been read before, it would bring the old name.
        try world.postgres.sql(world.source, "UPDATE orders SET name = 'new'")
        pipeline.open()
        #expect(try await summary.completed == 1)
        #expect(
            try world.postgres.sql(world.destination, "SELECT DISTINCT name FROM orders") == "new")
    }
}
