// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import PostgresFixture
import Testing

@testable import Workers

@Suite("The migration", .timeLimit(.minutes(5)))
struct SchemaMigrationTests {
    @Test("Twice, and by many at once, is as once")
    func repeated() async throws {
        let world = try await BackfillWorld()
        try world.postgres.sql(world.config, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        let client = try LeaseClient(world.broker.address(world.config))
        let made = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 { group.addTask { try await Migration().run(client).count } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(made.sorted().prefix(3) == [0, 0, 0])
        #expect(made.max()! > 11)
        #expect(try await Migration().run(client).isEmpty)
        try await world.expectNoLeases()
    }

    @Test("A complete schema waits for nobody's locks")
    func noLocks() async throws {
        let world = try await BackfillWorld()
        let client = try LeaseClient(world.broker.address(world.config))
        try await client.withLease(for: "test") { connection in
            try await connection.withTransaction { transaction in
                try await transaction.execute(
                    "LOCK TABLE queue_backfill_data, sources IN ACCESS EXCLUSIVE MODE")
                #expect(try await Migration().run(client).isEmpty)
            }
        }
    }

    @Test("Rosetta's own table gets the columns of a claim, and its workers go on")
    func upgrade() async throws {
        let world = try await BackfillWorld()
        let client = try LeaseClient(world.broker.address(world.config))
        try world.postgres.sql(
            world.config,
            """
            DROP TABLE queue_backfill_data;
            CREATE TABLE queue_backfill_data (\(TableDefinition.queue.definition));
            INSERT INTO queue_backfill_data (pipeline_id, source_id, table_name)
                VALUES (1, 1, 'orders');
            """)
        let made = try await Migration().run(client)
        #expect(made.contains("column queue_backfill_data.owner"))
        // As the Python worker does.
        try world.postgres.sql(
            world.config,
            """
            INSERT INTO queue_backfill_data (pipeline_id, source_id, table_name)
                VALUES (1, 1, 'items');
            UPDATE queue_backfill_data SET status = 'EXECUTING', is_error = false,
                updated_at = now(), resume_attempts = coalesce(resume_attempts, 0) + 1
                WHERE table_name = 'items';
            """)
        let queue = BackfillQueue(client: client, owner: "me")
        let jobs = try await queue.pendingJobs(limit: 5, running: [])
        #expect(jobs.map(\.tableName) == ["orders"])
    }
}
