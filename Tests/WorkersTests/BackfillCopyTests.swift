import Foundation
import Testing

@testable import Workers

/// That what is copied is what is there, whatever the table is like.
@Suite("Backfill: copying")
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
}
