// SPDX-License-Identifier: Apache-2.0

/// The backfill jobs, with what a claim needs.
///
/// `owner` is the process that runs the job and `claim_attempt` the value of `resume_attempts` that
/// its claim made. A claim is in force while the two counters agree: a Python worker that takes the
/// same row raises `resume_attempts` and knows nothing of owners, which ends the claim.
/// `heartbeat_at` is when the owner was last heard of, by the database's clock. `checkpoint` is
/// where a job goes on whose key has several columns.
extension TableDefinition {
    static let queue = TableDefinition(
        name: "queue_backfill_data",
        definition: """
            id serial PRIMARY KEY,
            pipeline_id integer NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
            source_id integer NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
            table_name varchar(255) NOT NULL,
            filter_sql text,
            status varchar(20) NOT NULL DEFAULT 'PENDING',
            count_record bigint NOT NULL DEFAULT 0,
            total_record bigint NOT NULL DEFAULT 0,
            resume_attempts integer NOT NULL DEFAULT 0,
            is_error boolean NOT NULL DEFAULT false,
            error_message text,
            created_at timestamptz DEFAULT now(),
            updated_at timestamptz DEFAULT now(),
            last_pk_value text,
            pk_column text
            """,
        addedColumns: [
            ("owner", "text"),
            ("claimed_at", "timestamptz"),
            ("heartbeat_at", "timestamptz"),
            ("claim_attempt", "integer"),
            ("checkpoint", "jsonb"),
        ],
        indexes: [
            ("idx_queue_backfill_data_pipeline_id", "(pipeline_id)"),
            ("idx_queue_backfill_data_source_id", "(source_id)"),
            ("idx_queue_backfill_data_created_at", "(created_at)"),
            ("idx_queue_backfill_data_updated_at", "(updated_at)"),
            ("idx_queue_backfill_data_status", "(status)"),
        ])
}
