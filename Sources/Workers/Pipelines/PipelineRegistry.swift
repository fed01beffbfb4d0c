// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// What a manager asks of the config database, and tells it: each call is one short lease.
struct PipelineRegistry: Sendable {
    let client: LeaseClient
    /// This manager, in this life of it.
    let owner: String
    /// After so long without a heartbeat another manager may take its pipelines.
    let claimTimeout: Duration

    struct Listing: Sendable {
        /// All but other managers' pipelines.
        var pipelines: [PipelineRow]
        var orphans: [PipelineSlots.Orphan]
    }

    /// Claims the pipelines that want to run and that nobody else has, renews the claims that are
    /// held, and lists what there is. One transaction.
    func list() throws -> Listing {
        let (rows, orphans) = try client.withLease(
            for: "pipelines.sync", wait: .seconds(5), retry: .once
        ) { connection in
            try connection.withTransaction { transaction in
                let answers = try transaction.pipeline([
                    claim, pipelines, PipelineSlots.orphans,
                ])
                _ = try answers[0].get()
                return (try answers[1].get(), try answers[2].get())
            }
        }
        return Listing(
            pipelines: try rows.decode((Int, String, String, String).self).map {
                PipelineRow(id: $0.0, name: $0.1, status: $0.2, fingerprint: $0.3)
            }, orphans: try orphans.map { try PipelineSlots.Orphan($0) })
    }

    private var claim: SQL {
        """
        INSERT INTO pglease_pipeline_claim AS claim (pipeline_id, owner)
        SELECT id, \(owner) FROM pipelines p
        WHERE status IN ('START', 'REFRESH') OR EXISTS (
            SELECT FROM pglease_pipeline_claim held
            WHERE held.pipeline_id = p.id AND held.owner = \(owner))
        ORDER BY id
        ON CONFLICT (pipeline_id) DO UPDATE
        SET owner = EXCLUDED.owner, heartbeat_at = now(),
            claimed_at = CASE WHEN claim.owner = EXCLUDED.owner THEN claim.claimed_at ELSE now() END
        WHERE claim.owner = EXCLUDED.owner OR claim.heartbeat_at < now() - \(claimTimeout)
        """
    }

    /// The fingerprint leaves out what the workers and the backend write by the way.
    private var pipelines: SQL {
        """
        SELECT p.id, p.name, p.status, md5(jsonb_build_array(
            p.name,
            to_jsonb(s) - 'last_check_replication_publication' - 'total_tables' - 'created_at'
                - 'updated_at',
            (SELECT jsonb_agg(jsonb_build_array(pd.id, d.name, d.type, d.config,
                (SELECT jsonb_agg(jsonb_build_array(ts.id, ts.table_name, ts.table_name_target,
                    ts.custom_sql, ts.filter_sql, ts.polling_column) ORDER BY ts.id)
                FROM pipelines_destination_table_sync ts WHERE ts.pipeline_destination_id = pd.id)
                ) ORDER BY pd.id)
            FROM pipelines_destination pd JOIN destinations d ON d.id = pd.destination_id
            WHERE pd.pipeline_id = p.id))::text)
        FROM pipelines p JOIN sources s ON s.id = p.source_id
        LEFT JOIN pglease_pipeline_claim claim ON claim.pipeline_id = p.id
        WHERE p.status NOT IN ('START', 'REFRESH') OR claim.owner = \(owner)
        ORDER BY p.id
        """
    }

    /// Runs statements in one transaction.
    func write(_ statements: [SQL]) throws {
        try client.withLease(
            for: "pipelines.note", wait: .seconds(5), retry: .once
        ) { connection in
            try connection.withTransaction { transaction in
                for answer in try transaction.pipeline(statements) { _ = try answer.get() }
            }
        }
    }

    /// Only what is still REFRESH: somebody may have paused it meanwhile.
    static func finishRefresh(_ pipeline: Int) -> SQL {
        """
        UPDATE pipelines SET status = 'START', updated_at = now()
        WHERE id = \(pipeline) AND status = 'REFRESH'
        """
    }

    func release(_ pipeline: Int) -> SQL {
        """
        DELETE FROM pglease_pipeline_claim WHERE pipeline_id = \(pipeline) AND owner = \(owner)
        """
    }
}
