// SPDX-License-Identifier: Apache-2.0

import Foundation
import LeaseClient
import PostgresFixture
import Testing

@testable import Workers

/// Who has a job, and what a claim is worth.
@Suite("Backfill: the queue", .timeLimit(.minutes(5)))
struct BackfillQueueTests {
    private func queue(_ world: BackfillWorld, _ owner: String) throws -> BackfillQueue {
        BackfillQueue(client: try LeaseClient(world.broker.address(world.config)), owner: owner)
    }

    @Test("Many owners claim at once: each job is claimed once, and is EXECUTING (D5, D8)")
    func claims() async throws {
        let world = try await BackfillWorld()
        for _ in 0..<20 { try world.addJob("orders") }
        let claimed = try await withThrowingTaskGroup(of: [Int].self) { group in
            for number in 0..<8 {
                let queue = try queue(world, "owner \(number)")
                group.addTask {
                    try await queue.pendingJobs(limit: 4, running: []).map(\.id)
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(claimed.count == 20)
        #expect(Set(claimed).count == 20)
        let states = try world.postgres.sql(
            world.config,
            "SELECT status, count(*), count(owner) FROM queue_backfill_data GROUP BY 1")
        #expect(states == "EXECUTING|20|20")
        try await world.expectNoLeases()
    }

    @Test("A row that somebody has locked is passed over")
    func skipsLocked() async throws {
        let world = try await BackfillWorld()
        let first = try world.addJob("orders")
        let second = try world.addJob("orders")
        let client = try LeaseClient(world.broker.address(world.config))
        let queue = try queue(world, "me")
        try await client.withLease(for: "test") { connection in
            try await connection.withTransaction { transaction in
                try await transaction.query(
                    "SELECT FROM queue_backfill_data WHERE id = \(first) FOR UPDATE")
                let claimed = try await queue.pendingJobs(limit: 10, running: [])
                #expect(claimed.map(\.id) == [second])
            }
        }
    }

    @Test("Jobs for other kinds of destination are left to other workers")
    func otherDestinations() async throws {
        let world = try await BackfillWorld()
        try world.takeTable("orders", destination: 1)
        try world.postgres.sql(world.config, "UPDATE destinations SET type = 'snowflake'")
        let job = try world.addJob("orders")
        #expect(try await queue(world, "me").pendingJobs(limit: 10, running: []).isEmpty)
        #expect(try world.job(job, "status") == "PENDING")
    }

    @Test("Only jobs of silent owners are recovered; after three starts they have failed (D8)")
    func recovery() async throws {
        let world = try await BackfillWorld()
        let ids = try (0..<4).map { _ in try world.addJob("orders") }
        let mine = try queue(world, "me")
        let other = try queue(world, "other")
        let claimed = try await mine.pendingJobs(limit: 4, running: [])
        #expect(claimed.count == 4)
        var options = BackfillOptions()
        // The server must have been up for that long too: a moment is enough, and it has been.
        options.claimTimeout = .milliseconds(1)
        // 0: silent; 1: silent, for the third time; 2: heard of just now, in the server's future;
        // 3: taken over by a Python worker.
        try world.postgres.sql(
            world.config,
            """
            UPDATE queue_backfill_data SET heartbeat_at = now() - interval '1 hour';
            UPDATE queue_backfill_data SET claim_attempt = 3, resume_attempts = 3
                WHERE id = \(ids[1]);
            UPDATE queue_backfill_data SET heartbeat_at = now() + interval '1 hour'
                WHERE id = \(ids[2]);
            UPDATE queue_backfill_data SET resume_attempts = resume_attempts + 1
                WHERE id = \(ids[3]);
            """)
        #expect(try await other.recoverStaleJobs(options, running: ids).isEmpty)
        let recovered = try await other.recoverStaleJobs(options, running: [])
        #expect(
            Set(recovered.map { "\($0.id) \($0.status)" }) == [
                "\(ids[0]) PENDING", "\(ids[1]) FAILED",
            ])
        #expect(
            try world.job(ids[1], "is_error, error_message")
                == "t|Maximum resume attempts exceeded after compute restart")
        #expect(try world.job(ids[2], "status, owner") == "EXECUTING|me")
        #expect(try world.job(ids[3], "status") == "EXECUTING")

        // The Python worker's, when one asks for it.
        options.unownedTimeout = .seconds(60)
        #expect(try await other.recoverStaleJobs(options, running: []).isEmpty)
        try world.postgres.sql(
            world.config,
            "UPDATE queue_backfill_data SET updated_at = now() - interval '1 hour'")
        #expect(
            try await other.recoverStaleJobs(options, running: []).map(\.id) == [ids[3]])
    }

    @Test("A claim that is over changes nothing: cancelled, recovered, taken over")
    func lostClaims() async throws {
        let world = try await BackfillWorld()
        let changes = [
            "status = 'CANCELLED'", "status = 'PENDING'", "owner = 'other'",
            // As a Python worker does at its start.
            "resume_attempts = resume_attempts + 1",
            "status = 'COMPLETED'",
        ]
        let me = try queue(world, "me")
        for change in changes {
            let id = try world.addJob("orders")
            let job = try #require(try await me.pendingJobs(limit: 1, running: []).first)
            #expect(try await me.isCancelled(job) == false)
            #expect(try await me.heartbeat([job]) == [id])
            try world.postgres.sql(
                world.config, "UPDATE queue_backfill_data SET \(change) WHERE id = \(id)")
            let before = try world.job(id, "q.*")
            #expect(try await me.isCancelled(job))
            #expect(try await me.heartbeat([job]).isEmpty)
            await #expect(throws: ClaimLost.self) {
                try await me.progress(job, count: 5, key: nil, written: [])
            }
            if change != "status = 'COMPLETED'" {
                await #expect(throws: ClaimLost.self) { try await me.complete(job, count: 5) }
            }
            await #expect(throws: ClaimLost.self) { try await me.fail(job, "reason") }
            await #expect(throws: ClaimLost.self) { try await me.release(job) }
            #expect(try world.job(id, "q.*") == before)
            try world.postgres.sql(
                world.config, "UPDATE queue_backfill_data SET status = 'CANCELLED'")
        }
    }

    @Test("What is told twice, after a lost answer, counts once")
    func toldTwice() async throws {
        let world = try await BackfillWorld()
        try world.takeTable("orders", destination: 1)
        let id = try world.addJob("orders")
        let me = try queue(world, "me")
        let job = try #require(try await me.pendingJobs(limit: 1, running: []).first)
        let target = try #require(try await me.targets(job).first)
        let key = KeyCheckpoint(columns: ["a", "b"], values: ["1", "x\"y"])
        for _ in 0..<2 {
            try await me.progress(
                job, count: 7, key: key, written: [Written(target: target, rows: 7)])
        }
        #expect(try world.count(world.config, "data_flow_record_monitoring") == 1)
        try await me.release(job)
        #expect(try world.job(id, "status, resume_attempts, count_record") == "PENDING|0|7")
        let again = try #require(try await me.pendingJobs(limit: 1, running: []).first)
        #expect(again.checkpoint == key)
        for _ in 0..<2 { try await me.complete(again, count: 9) }
        #expect(try world.job(id, "status, count_record") == "COMPLETED|9")
    }
}
