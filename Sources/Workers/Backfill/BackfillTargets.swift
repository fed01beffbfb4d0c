// SPDX-License-Identifier: Apache-2.0

import LeaseClient

extension BackfillQueue {
    /// The tables that a job writes to: those that its pipeline's destinations have for the source's
    /// table, in order. One lease and one statement: nothing is asked for while a lease is held.
    ///
    /// Throws ``BackfillFault`` when there is none, or one that cannot be written to by this worker:
    /// a job must not be called complete when it has left a destination out.
    func targets(_ job: BackfillJob) async throws -> [BackfillTarget] {
        let rows = try await client.withLease(for: "backfill.destinations") { connection in
            try await connection.query(
                """
                SELECT pd.id, ts.id, d.name, upper(d.type), d.config ->> 'host',
                    coalesce(d.config ->> 'port', '5432'), d.config ->> 'database',
                    d.config ->> 'user', d.config ->> 'password',
                    coalesce(nullif(d.config ->> 'schema', ''), 'public'),
                    coalesce(nullif(ts.table_name_target, ''), ts.table_name),
                    ts.filter_sql, nullif(btrim(ts.custom_sql), '')
                FROM pipelines_destination pd
                JOIN destinations d ON d.id = pd.destination_id
                JOIN pipelines_destination_table_sync ts ON ts.pipeline_destination_id = pd.id
                WHERE pd.pipeline_id = \(job.pipelineID) AND ts.table_name = \(job.tableName)
                ORDER BY pd.id, ts.id
                """
            ).decode(
                (
                    Int, Int, String, String, String?, String, String?, String?, String?, String,
                    String, String?, String?
                ).self)
        }
        if rows.isEmpty {
            throw BackfillFault(
                description: "no destination of pipeline \(job.pipelineID) takes the table "
                    + job.tableName)
        }
        return try rows.map { row in
            guard row.3 == "POSTGRES" else {
                throw BackfillFault(
                    description: "destination \"\(row.2)\" is \(row.3), this worker writes to "
                        + "POSTGRES only")
            }
            if row.12 != nil {
                throw BackfillFault(
                    description: "destination \"\(row.2)\" has custom_sql for \(job.tableName), "
                        + "which this worker does not run")
            }
            guard let host = row.4, let database = row.6, let user = row.7, let port = Int(row.5)
            else {
                throw BackfillFault(
                    description: "destination \"\(row.2)\": config needs host, port, database and "
                        + "user")
            }
            return BackfillTarget(
                pipelineDestinationID: row.0, tableSyncID: row.1, name: row.2, type: row.3,
                address: DatabaseAddress(
                    host: host, port: port, database: database, user: user, password: row.8),
                table: BackfillQueue.targetTable(row.10, schema: row.9),
                filterSQL: row.11, customSQL: row.12)
        }
    }

    /// A source's `sales.orders` goes to `orders` of the destination's schema, unless the target's
    /// name has a schema of its own.
    private static func targetTable(_ name: String, schema: String) -> TableName {
        TableName(name, defaultSchema: schema)
    }
}
