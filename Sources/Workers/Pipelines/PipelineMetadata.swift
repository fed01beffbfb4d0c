// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// The statements on pipeline_metadata and on the error columns of destinations. All times are the
/// database's now().
enum PipelineMetadata {
    /// `isStart` for the first time that a process comes so far.
    static func running(_ pipeline: Int, isStart: Bool) -> SQL {
        """
        INSERT INTO pipeline_metadata (pipeline_id, status, last_start_at, updated_at)
        SELECT id, 'RUNNING', now(), now() FROM pipelines WHERE id = \(pipeline)
        ON CONFLICT (pipeline_id) DO UPDATE SET status = 'RUNNING', updated_at = now(),
            last_start_at = CASE WHEN \(isStart)
                THEN now() ELSE pipeline_metadata.last_start_at END
        """
    }

    static func failed(_ pipeline: Int, _ error: String) -> SQL {
        """
        INSERT INTO pipeline_metadata (pipeline_id, status, last_error, last_error_at, updated_at)
        SELECT id, 'ERROR', \(error), now(), now() FROM pipelines WHERE id = \(pipeline)
        ON CONFLICT (pipeline_id) DO UPDATE SET status = 'ERROR',
            last_error = EXCLUDED.last_error, last_error_at = now(), updated_at = now()
        """
    }

    /// Somebody paused it. What the last error was stays to be read.
    static func paused(_ pipeline: Int) -> SQL {
        """
        INSERT INTO pipeline_metadata (pipeline_id, status, updated_at)
        SELECT id, 'PAUSED', now() FROM pipelines WHERE id = \(pipeline)
        ON CONFLICT (pipeline_id) DO UPDATE SET status = 'PAUSED', updated_at = now()
        """
    }

    /// The manager ends. An error is still one, and whoever runs the pipeline now knows better.
    static func ended(_ pipeline: Int) -> SQL {
        """
        UPDATE pipeline_metadata SET status = 'PAUSED', updated_at = now()
        WHERE pipeline_id = \(pipeline) AND status = 'RUNNING'
        """
    }

    /// A process died without a word of its own: an error that it left since its start is better.
    static func died(_ pipeline: Int, _ how: String) -> SQL {
        """
        INSERT INTO pipeline_metadata (pipeline_id, status, last_error, last_error_at, updated_at)
        SELECT id, 'ERROR', \(how), now(), now() FROM pipelines WHERE id = \(pipeline)
        ON CONFLICT (pipeline_id) DO UPDATE SET status = 'ERROR', updated_at = now(),
            last_error = CASE WHEN pipeline_metadata.status = 'ERROR'
                THEN pipeline_metadata.last_error ELSE EXCLUDED.last_error END,
            last_error_at = CASE WHEN pipeline_metadata.status = 'ERROR'
                THEN pipeline_metadata.last_error_at ELSE now() END
        """
    }

    /// Nil: it works.
    static func destination(_ id: Int, error: String?) -> [SQL] {
        guard let error else {
            return [
                """
                UPDATE pipelines_destination SET is_error = false, updated_at = now()
                WHERE id = \(id) AND is_error
                """
            ]
        }
        return [
            """
            UPDATE pipelines_destination SET is_error = true, error_message = \(error),
                last_error_at = now(), updated_at = now() WHERE id = \(id)
            """
        ]
    }

    /// Which of the pipeline's tables are left alone, and why; the others have no error of theirs.
    static func tables(_ definition: PipelineDefinition) -> [SQL] {
        let refused = definition.destinations.flatMap(\.refused)
        let replicated = definition.destinations.flatMap { $0.tables.map(\.id) }
        let works: SQL = """
            UPDATE pipelines_destination_table_sync
            SET is_error = false, error_message = NULL, updated_at = now()
            WHERE id = ANY (\(replicated)::bigint[]) AND is_error
            """
        return [works]
            + refused.map { table in
                """
                UPDATE pipelines_destination_table_sync
                SET is_error = true, error_message = \(table.reason), updated_at = now()
                WHERE id = \(table.id)
                """
            }
    }

    /// Rows that were applied to a table (by the id of its sync).
    static func flow(_ sync: Int, rows: Int) -> SQL {
        """
        INSERT INTO data_flow_record_monitoring (pipeline_id, pipeline_destination_id, source_id,
            pipeline_destination_table_sync_id, table_name, record_count)
        SELECT p.id, pd.id, p.source_id, ts.id, 'LANDING_' || upper(ts.table_name), \(rows)
        FROM pipelines_destination_table_sync ts
        JOIN pipelines_destination pd ON pd.id = ts.pipeline_destination_id
        JOIN pipelines p ON p.id = pd.pipeline_id
        WHERE ts.id = \(sync)
        """
    }
}
