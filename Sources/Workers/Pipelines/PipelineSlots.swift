// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// Which replication slot each pipeline reads.
///
/// A slot has one reader and one position, but a source's row names one slot (`replication_name`)
/// for all of its pipelines. The first pipeline of a source takes that one; each further one has
/// its own, `<replication_name>_<pipeline id>`. Who has which is kept in the config database, so
/// no pipeline ever finds itself on another slot, with another position, because a third one came
/// or went.
enum PipelineSlots {
    /// Gives every pipeline of the source of this pipeline its slot, in the order of their ids. For
    /// a transaction.
    static func assign(_ pipeline: Int) -> [SQL] {
        [
            // One at a time for each source.
            """
            SELECT FROM sources WHERE id = (SELECT source_id FROM pipelines WHERE id = \(pipeline))
            FOR NO KEY UPDATE
            """,
            // The source's own slot is free again when its pipeline is gone.
            "DELETE FROM pglease_pipeline_slot slot WHERE NOT is_own AND \(raw: isOrphan)",
            """
            INSERT INTO pglease_pipeline_slot
                (source_id, slot_name, pipeline_id, replication_name, is_own)
            SELECT source_id, CASE WHEN is_own THEN
                    left(replication_name, 62 - length(id::text)) || '_' || id
                    ELSE replication_name END, id, replication_name, is_own
            FROM (
                SELECT p.id, p.source_id, s.replication_name,
                    EXISTS (SELECT FROM pglease_pipeline_slot slot
                        WHERE slot.source_id = s.id AND slot.slot_name = s.replication_name)
                    OR row_number() OVER (ORDER BY p.id) > 1 AS is_own
                FROM pipelines p JOIN sources s ON s.id = p.source_id
                WHERE s.id = (SELECT source_id FROM pipelines WHERE id = \(pipeline))
                    AND NOT EXISTS (SELECT FROM pglease_pipeline_slot slot
                        WHERE slot.pipeline_id = p.id AND slot.source_id = s.id
                            AND slot.replication_name = s.replication_name)) AS unassigned
            """,
        ]
    }

    /// A slot that was made for one pipeline alone, which does not read it any more. It keeps the
    /// source's log for nobody, until the source's disk is full.
    struct Orphan: Equatable, Sendable {
        var name: String
        var source: Int
        var address: DatabaseAddress

        init(_ row: Row) throws {
            name = try row["slot_name", as: String.self]
            source = try row["source_id", as: Int.self]
            address = DatabaseAddress(
                host: try row["pg_host", as: String.self],
                port: try row["pg_port", as: Int.self],
                database: try row["pg_database", as: String.self],
                user: try row["pg_username", as: String.self],
                password: try row["pg_password", as: String?.self])
        }
    }

    /// All ``Orphan``s.
    static let orphans: SQL = """
        SELECT slot.slot_name, slot.source_id, s.pg_host, s.pg_port, s.pg_database, s.pg_username,
            s.pg_password
        FROM pglease_pipeline_slot slot JOIN sources s ON s.id = slot.source_id
        WHERE slot.is_own AND \(raw: isOrphan) ORDER BY slot.slot_name
        """

    /// Its slot is gone.
    static func forget(_ orphan: Orphan) -> SQL {
        """
        DELETE FROM pglease_pipeline_slot slot
        WHERE source_id = \(orphan.source) AND slot_name = \(orphan.name) AND is_own
            AND \(raw: isOrphan)
        """
    }

    /// The pipeline was removed, or has another source or slot by now.
    private static let isOrphan = """
        NOT EXISTS (SELECT FROM pipelines p JOIN sources s ON s.id = p.source_id
            WHERE p.id = slot.pipeline_id AND s.id = slot.source_id
                AND s.replication_name = slot.replication_name)
        """
}

extension TableDefinition {
    /// Without a foreign key on pipelines: a row is what remains of a removed one until its slot is
    /// dropped.
    static let pipelineSlot = TableDefinition(
        name: "pglease_pipeline_slot",
        definition: """
            source_id integer NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
            slot_name text NOT NULL,
            pipeline_id integer NOT NULL,
            replication_name text NOT NULL,
            is_own boolean NOT NULL,
            PRIMARY KEY (source_id, slot_name)
            """)
}
