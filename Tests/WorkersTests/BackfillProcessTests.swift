// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresFixture
import Testing

@testable import Workers

/// `pglease-workers backfill` as processes, and what happens when something is killed.
@Suite("Backfill: processes", .timeLimit(.minutes(5)))
struct BackfillProcessTests {
    @Test("Killed in the middle: another process goes on from the checkpoint (D5, D8)")
    func killed() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 1000)
        let gate = try await world.closeGate(at: 501, of: "orders")
        let job = try world.addJob("orders")
        let first = try world.workers("--batch-rows", "100", "--claim-timeout", "0.5")
        try await gate.eventuallyReached()
        #expect(try world.job(job, "status, count_record") == "EXECUTING|500")
        first.kill()
        gate.open()
        let second = try world.workers("--batch-rows", "100", "--claim-timeout", "0.5")
        try await Fixture.eventually("the job is done") {
            try world.job(job, "status") == "COMPLETED"
        }
        #expect(try world.job(job, "count_record, resume_attempts") == "1000|2")
        #expect(
            try world.digest(world.source, "orders")
                == world.digest(world.destination, "orders"))
        // The second start wrote what the first had not: 5 and 5 batches.
        #expect(try world.count(world.config, "data_flow_record_monitoring") == 10)
        second.signal(SIGTERM)
        #expect(try await second.end() == .exited(0))
        try await world.expectNoLeases()
    }

    @Test("A table without a key, killed in the middle: each row is there once")
    func killedWithoutKey() async throws {
        let world = try await BackfillWorld()
        try world.addTable("log", "id int, line text", rows: 1000, "n, 'line'")
        let gate = try await world.closeGate(at: 501, of: "log")
        let job = try world.addJob("log")
        let first = try world.workers("--claim-timeout", "0.5")
        try await gate.eventuallyReached()
        first.kill()
        gate.open()
        let second = try world.workers("--claim-timeout", "0.5")
        try await Fixture.eventually("the job is done") {
            try world.job(job, "status") == "COMPLETED"
        }
        #expect(try world.digest(world.source, "log") == world.digest(world.destination, "log"))
        second.signal(SIGTERM)
        #expect(try await second.end() == .exited(0))
    }

    @Test("Two processes: every job is run by one, once (D8)")
    func twoProcesses() async throws {
        let world = try await BackfillWorld()
        for number in 0..<12 {
            try world.addTable("t\(number)", rows: 200)
            try world.addJob("t\(number)")
        }
        let processes = try (0..<2).map { _ in
            try world.workers("--once", "--jobs", "3", "--batch-rows", "50")
        }
        for process in processes { #expect(try await process.end() == .exited(0)) }
        #expect(
            try world.postgres.sql(
                world.config,
                """
                SELECT status, count(*), sum(count_record), max(resume_attempts)
                FROM queue_backfill_data GROUP BY 1
                """) == "COMPLETED|12|2400|1")
        // A batch each, written once.
        #expect(try world.count(world.config, "data_flow_record_monitoring") == 48)
        for number in 0..<12 {
            #expect(try world.count(world.destination, "t\(number)") == 200)
        }
        try await world.expectNoLeases()
    }

    @Test(
        "Thirty jobs at once on pools of three: nobody fails, nobody has a connection more (D3, D4)",
        arguments: [false, true])
    func thirtyJobs(inOnePool: Bool) async throws {
        let world = try await BackfillWorld(poolSize: 3)
        for number in 0..<30 {
            try world.addTable("t\(number)", rows: 300)
            try world.addJob("t\(number)")
        }
        if inOnePool { try writeIntoTheSource(world) }
        let process = try world.workers("--once", "--jobs", "30", "--batch-rows", "50")
        var most = 0
        try await Fixture.eventually("all jobs are done") {
            let servers = try world.postgres.sql(
                "postgres",
                """
                SELECT count(*) FROM pg_stat_activity WHERE application_name <> 'psql'
                    AND datname IN ('\(world.config)', '\(world.source)', '\(world.destination)')
                """)
            most = max(most, Int(servers) ?? 0)
            return try world.postgres.sql(
                world.config,
                "SELECT count(*) FROM queue_backfill_data WHERE status <> 'COMPLETED'") == "0"
        }
        #expect(try await process.end() == .exited(0))
        // Three pools of three, with the reserve that a pool lock would be lent.
        #expect(most <= 3 * (3 + 3))
        #expect(
            try world.postgres.sql(
                world.config, "SELECT sum(count_record) FROM queue_backfill_data") == "9000")
        let place = inOnePool ? (world.source, "copy.") : (world.destination, "")
        for number in 0..<30 {
            #expect(try world.count(place.0, "\(place.1)t\(number)") == 300)
        }
        try await world.expectNoLeases()
    }

    /// The destination is another schema of the source's database.
    private func writeIntoTheSource(_ world: BackfillWorld) throws {
        let tables = (0..<30).map { "CREATE TABLE copy.t\($0) (LIKE t\($0) INCLUDING ALL);" }
        try world.postgres.sql(
            world.source, "CREATE SCHEMA copy; \(tables.joined(separator: "\n"))")
        try world.postgres.sql(
            world.config,
            """
            UPDATE destinations SET config = config || jsonb_build_object(
                'schema', 'copy', 'database', '\(world.source)')
            """)
    }

    @Test("The broker is killed and comes back: the jobs complete (D12)")
    func brokerRestart() async throws {
        let world = try await BackfillWorld(ownBroker: true)
        try world.addTable("orders", rows: 1000)
        let gate = try await world.closeGate(at: 501, of: "orders")
        let job = try world.addJob("orders")
        let process = try world.workers("--batch-rows", "100")
        try await gate.eventuallyReached()
        world.broker.kill()
        gate.open()
        try await world.broker.start()
        try await Fixture.eventually("the job is done") {
            try world.job(job, "status") == "COMPLETED"
        }
        #expect(
            try world.digest(world.source, "orders")
                == world.digest(world.destination, "orders"))
        #expect(try world.job(job, "resume_attempts, count_record") == "1|1000")
        process.signal(SIGTERM)
        #expect(try await process.end() == .exited(0))
        try await world.expectNoLeases()
    }

    @Test("PostgreSQL is restarted in the middle: the jobs complete (D12)")
    func postgresRestart() async throws {
        let world = try await BackfillWorld(ownPostgres: true)
        try world.addTable("orders", rows: 1000)
        let gate = try await world.closeGate(at: 501, of: "orders")
        let job = try world.addJob("orders")
        let process = try world.workers("--batch-rows", "100")
        try await gate.eventuallyReached()
        try world.postgres.stop("immediate")
        gate.open()
        try world.postgres.start()
        try await Fixture.eventually("the job is done") {
            try world.job(job, "status") == "COMPLETED"
        }
        #expect(
            try world.digest(world.source, "orders")
                == world.digest(world.destination, "orders"))
        #expect(try world.job(job, "resume_attempts, count_record") == "1|1000")
        process.signal(SIGTERM)
        #expect(try await process.end() == .exited(0))
        try await world.expectNoLeases()
        try world.postgres.stop("immediate")
    }

    @Test("SIGTERM in the middle of a statement: exit 0, the job is PENDING at its checkpoint (D7)")
    func terminated() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100)
        let gate = try await world.closeGate(at: 51, of: "orders")
        let job = try world.addJob("orders")
        let process = try world.workers("--batch-rows", "10")
        try await gate.eventuallyReached()
        process.signal(SIGTERM)
        #expect(try await process.end() == .exited(0))
        #expect(try world.job(job, "status, count_record") == "PENDING|50")
        gate.open()
        try await world.expectNoLeases()
    }

    @Test("Exit statuses: a failed job 1, no broker 69, a wrong address 78, wrong options 64")
    func exitStatuses() async throws {
        let world = try await BackfillWorld()
        try world.addJob("missing")
        #expect(try await world.workers("--once").end() == .exited(1))
        #expect(try await world.workers("--jobs", "0").end() == .exited(64))
        let log = "\(world.broker.folder)/workers.log"
        func end(_ address: String) async throws -> ChildProcess.End {
            try await WorkersProcess(
                ["migrate"],
                environment: ["DATABASE_URL": address, "PGLEASE_LEASE_DELAY": "0.01"], log: log
            ).end()
        }
        #expect(try await end(world.broker.address(world.config)) == .exited(0))
        #expect(try await end("host=/nowhere dbname=x") == .exited(69))
        #expect(try await end("what=ever") == .exited(78))
    }

    @Test("The purposes of the leases are what an operator reads")
    func purposes() async throws {
        let world = try await BackfillWorld()
        try world.addTable("orders", rows: 100)
        let gate = try await world.closeGate(at: 51, of: "orders")
        try world.addJob("orders")
        let process = try world.workers("--batch-rows", "10")
        try await gate.eventuallyReached()
        let lease = try #require(try world.leases().first)
        #expect(lease.contains("backfill.writeBatch"))
        #expect(lease.contains("|backfill|"))
        process.signal(SIGTERM)
        #expect(try await process.end() == .exited(0))
    }
}
