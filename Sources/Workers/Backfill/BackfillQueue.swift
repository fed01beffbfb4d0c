// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// The jobs in the config database, as one owner sees them: what it claims, keeps and ends.
///
/// Each call is one lease of its own, short, under the purpose that its name says. What changes a
/// claimed job does so only while the claim is in force (WHERE status, owner and attempt agree), so
/// no cancel and no other owner's work is ever overwritten; ``ClaimLost`` says that it is over.
struct BackfillQueue: Sendable {
    let client: LeaseClient
    /// Unique to this process's life.
    let owner: String

    /// A claim in force, by parameters 1 to 3.
    private static let claim = """
        id = $1 AND owner = $2 AND claim_attempt = $3 AND resume_attempts = $3
        AND status = 'EXECUTING'
        """

    private func parameters(
        _ job: BackfillJob, _ more: (any PostgresEncodable)?...
    ) -> [(any PostgresEncodable)?] {
        [job.id, owner, job.attempt] + more
    }

    // MARK: Claims

    /// Claims up to `limit` jobs, the oldest first; from here on they are EXECUTING. Rows that
    /// somebody has locked are passed over, and so are jobs for destinations that are not
    /// PostgreSQL: those are other workers'.
    func pendingJobs(limit: Int, running: [Int]) async throws -> [BackfillJob] {
        try await client.withLease(for: "backfill.pendingJobs") { connection in
            try await connection.query(
                """
                WITH picked AS (
                    SELECT id FROM queue_backfill_data job
                    WHERE status = 'PENDING' AND id <> ALL (\(running)::bigint[])
                        AND NOT EXISTS (
                            SELECT FROM pipelines_destination pd
                            JOIN destinations d ON d.id = pd.destination_id
                            JOIN pipelines_destination_table_sync ts
                                ON ts.pipeline_destination_id = pd.id
                            WHERE pd.pipeline_id = job.pipeline_id
                                AND ts.table_name = job.table_name
                                AND upper(d.type) <> 'POSTGRES')
                    ORDER BY created_at, id
                    LIMIT \(limit)
                    FOR UPDATE OF job SKIP LOCKED
                )
                UPDATE queue_backfill_data q
                SET status = 'EXECUTING', owner = \(owner), claimed_at = now(),
                    heartbeat_at = now(), updated_at = now(), is_error = false,
                    error_message = NULL, resume_attempts = coalesce(resume_attempts, 0) + 1,
                    claim_attempt = coalesce(resume_attempts, 0) + 1
                FROM picked, sources s
                WHERE q.id = picked.id AND s.id = q.source_id
                RETURNING q.id, q.pipeline_id, q.source_id, q.table_name, q.filter_sql,
                    coalesce(q.count_record, 0), coalesce(q.total_record, 0), q.pk_column,
                    q.last_pk_value, q.claim_attempt, s.pg_host, s.pg_port, s.pg_database,
                    s.pg_username, s.pg_password,
                    ARRAY(SELECT jsonb_array_elements_text(q.checkpoint -> 'columns')) AS columns,
                    ARRAY(SELECT jsonb_array_elements_text(q.checkpoint -> 'values')) AS values,
                    concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
                        current_database(), q.id, extract(epoch FROM q.created_at)) AS global_name
                """
            ).map { try BackfillJob($0) }.sorted { $0.id < $1.id }
        }
    }

    /// Says that this process lives, and returns which of the jobs are still its own. A row that is
    /// locked at the moment is left for the next time.
    func heartbeat(_ jobs: [BackfillJob]) async throws -> Set<Int> {
        let ids = jobs.map(\.id)
        let attempts = jobs.map(\.attempt)
        return try await client.withLease(for: "backfill.heartbeat") { connection in
            try await connection.execute(
                """
                UPDATE queue_backfill_data SET heartbeat_at = now()
                WHERE id IN (
                    SELECT id FROM queue_backfill_data
                    WHERE id = ANY (\(ids)::bigint[]) AND owner = \(owner)
                        AND status = 'EXECUTING' AND claim_attempt = resume_attempts
                    FOR UPDATE SKIP LOCKED)
                """)
            let held = try await connection.query(
                """
                SELECT q.id FROM queue_backfill_data q
                JOIN unnest(\(ids)::bigint[], \(attempts)::bigint[]) AS mine (id, attempt)
                    ON q.id = mine.id AND q.claim_attempt = mine.attempt
                        AND q.resume_attempts = mine.attempt
                WHERE q.owner = \(owner) AND q.status = 'EXECUTING'
                """
            ).decode(Int.self)
            return Set(held)
        }
    }

    /// Makes stale jobs PENDING again, or FAILED when they were started too often. Stale is a job
    /// whose owner has been silent for the claim's time. A server that has just started gives the
    /// owners that time anew: none of them could be heard.
    func recoverStaleJobs(
        _ options: BackfillOptions, running: [Int]
    ) async throws -> [(id: Int, status: String)] {
        try await client.withLease(for: "backfill.recoverStaleJobs") { connection in
            try await connection.query(
                """
                WITH stale AS (
                    SELECT id, coalesce(resume_attempts, 0) >= \(options.maximumAttempts) AS is_over
                    FROM queue_backfill_data
                    WHERE status = 'EXECUTING' AND id <> ALL (\(running)::bigint[]) AND (
                        (owner IS NOT NULL AND claim_attempt = resume_attempts
                            AND greatest(heartbeat_at, pg_postmaster_start_time())
                                < now() - \(options.claimTimeout)::interval)
                        OR ((owner IS NULL OR claim_attempt IS DISTINCT FROM resume_attempts)
                            AND updated_at < now() - \(options.unownedTimeout)::interval))
                    ORDER BY created_at, id
                    FOR UPDATE SKIP LOCKED
                )
                UPDATE queue_backfill_data q
                SET status = CASE WHEN is_over THEN 'FAILED' ELSE 'PENDING' END,
                    is_error = is_over,
                    error_message = CASE WHEN is_over
                        THEN 'Maximum resume attempts exceeded after compute restart' END,
                    owner = NULL, updated_at = now()
                FROM stale WHERE q.id = stale.id
                RETURNING q.id, q.status
                """
            ).decode((Int, String).self).map { (id: $0.0, status: $0.1) }
        }
    }

    // MARK: A claimed job

    /// True when the job was cancelled or is no longer this owner's.
    func isCancelled(_ job: BackfillJob) async throws -> Bool {
        try await client.withLease(for: "backfill.isCancelled") { connection in
            try await connection.query(
                SQL("SELECT FROM queue_backfill_data WHERE \(raw: BackfillQueue.claim)"),
                parameters(job)
            ).isEmpty
        }
    }

    func updateKey(_ job: BackfillJob, column: String?) async throws {
        try await update(job, for: "backfill.updateKey", "pk_column = $4::text", column)
    }

    func updateTotal(_ job: BackfillJob, _ total: Int) async throws {
        try await update(
            job, for: "backfill.updateTotal", "total_record = $4::bigint", total)
    }

    /// Where the job would go on, and the rows that each destination has taken in this batch: both
    /// or none. May be called again after a lost answer.
    func progress(
        _ job: BackfillJob, count: Int, key: KeyCheckpoint?,
        written: [Written]
    ) async throws {
        try await client.withLease(for: "backfill.progress") { connection in
            try await connection.withTransaction { transaction in
                let before = try await transaction.query(
                    SQL(
                        "SELECT coalesce(count_record, 0) FROM queue_backfill_data "
                            + "WHERE \(BackfillQueue.claim) FOR UPDATE"),
                    parameters(job)
                ).decode(Int.self).first
                guard let before else { throw ClaimLost() }
                if before == count { return }
                try await self.moveCheckpoint(job, count, key, transaction)
                for entry in written where entry.rows > 0 {
                    let target = entry.target
                    try await transaction.execute(
                        """
                        INSERT INTO data_flow_record_monitoring (pipeline_id,
                            pipeline_destination_id, source_id,
                            pipeline_destination_table_sync_id, table_name, record_count)
                        VALUES (\(job.pipelineID), \(target.pipelineDestinationID),
                            \(job.sourceID), \(target.tableSyncID),
                            \("LANDING_" + job.tableName.uppercased()), \(entry.rows))
                        """)
                }
            }
        }
    }

    private nonisolated(nonsending) func moveCheckpoint(
        _ job: BackfillJob, _ count: Int, _ key: KeyCheckpoint?, _ transaction: AsyncLeaseConnection
    ) async throws {
        // The reference's column holds a key of one column; others know nothing of longer ones.
        let isSimple = key?.columns.count == 1
        try await transaction.execute(
            SQL(
                """
                UPDATE queue_backfill_data
                SET count_record = $4::bigint, last_pk_value = $5::text,
                    checkpoint = CASE WHEN $6 THEN jsonb_build_object(
                        'columns', $7::text[], 'values', $8::text[]) END,
                    heartbeat_at = now(), updated_at = now()
                WHERE \(raw: BackfillQueue.claim)
                """),
            parameters(
                job, count, isSimple ? key?.values[0] : nil, key != nil && !isSimple,
                key?.columns ?? [], key?.values ?? []))
    }

    /// The job begins at its first row: what is stored belongs to another way of reading it.
    func startOver(_ job: BackfillJob) async throws {
        try await update(
            job, for: "backfill.updateStatus",
            "count_record = $4::bigint, last_pk_value = NULL, checkpoint = NULL", 0)
    }

    // MARK: The end of a claim

    func complete(_ job: BackfillJob, count: Int) async throws {
        try await end(
            job, "COMPLETED", "is_error = false, error_message = NULL, count_record = $4::bigint",
            count)
    }

    /// `reason` is cut at 500 characters.
    func fail(_ job: BackfillJob, _ reason: String) async throws {
        try await end(
            job, "FAILED", "is_error = true, error_message = $4::text", String(reason.prefix(500)))
    }

    /// Gives the job back as it is: another start goes on where this one was. It does not count as
    /// one of the job's starts, since nothing was wrong with it.
    func release(_ job: BackfillJob) async throws {
        try await update(
            job, for: "backfill.updateStatus",
            """
            status = 'PENDING', owner = NULL, resume_attempts = greatest(resume_attempts - $4, 0)
            """, 1)
    }

    private func end(
        _ job: BackfillJob, _ status: String, _ changes: String, _ value: any PostgresEncodable
    ) async throws {
        do {
            try await update(
                job, for: "backfill.updateStatus", "status = '\(status)', \(changes)", value)
        } catch is ClaimLost {
            // It may have ended by this very statement, whose answer was lost.
            let isEnded = try await client.withLease(for: "backfill.updateStatus") { connection in
                try await connection.query(
                    """
                    SELECT FROM queue_backfill_data
                    WHERE id = \(job.id) AND owner = \(owner)
                        AND claim_attempt = \(job.attempt) AND status = \(status)
                    """
                ).isEmpty == false
            }
            if !isEnded { throw ClaimLost() }
        }
    }

    /// `changes` is SQL with at most `$4`, which is `value`.
    private func update(
        _ job: BackfillJob, for purpose: String, _ changes: String,
        _ value: (any PostgresEncodable)?
    ) async throws {
        let changed = try await client.withLease(for: purpose) { connection in
            try await connection.execute(
                SQL(
                    """
                    UPDATE queue_backfill_data SET \(raw: changes), updated_at = now()
                    WHERE \(raw: BackfillQueue.claim)
                    """), parameters(job, value))
        }
        if changed == 0 { throw ClaimLost() }
    }
}

extension BackfillJob {
    init(_ row: Row) throws {
        let names: [String] = try row.decode([String].self, "columns")
        let values: [String] = try row.decode([String].self, "values")
        self.init(
            id: try row.decode(Int.self, "id"),
            pipelineID: try row.decode(Int.self, "pipeline_id"),
            sourceID: try row.decode(Int.self, "source_id"),
            tableName: try row.decode(String.self, "table_name"),
            filterSQL: try row.decode(String?.self, "filter_sql"),
            count: try row.decode(Int.self, at: 5), total: try row.decode(Int.self, at: 6),
            keyColumn: try row.decode(String?.self, "pk_column"),
            lastKey: try row.decode(String?.self, "last_pk_value"),
            checkpoint: names.isEmpty || names.count != values.count
                ? nil : KeyCheckpoint(columns: names, values: values),
            attempt: try row.decode(Int.self, "claim_attempt"),
            source: DatabaseAddress(
                host: try row.decode(String.self, "pg_host"),
                port: try row.decode(Int.self, "pg_port"),
                database: try row.decode(String.self, "pg_database"),
                user: try row.decode(String.self, "pg_username"),
                password: try row.decode(String?.self, "pg_password")),
            globalName: try row.decode(String.self, "global_name"))
    }
}
