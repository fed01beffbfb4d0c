// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Logging
import PostgresWire

/// What a source must have for logical decoding, asked for and made over a lease.
struct ReplicationSource {
    /// Whether the source can decode for this user.
    enum Ability: Equatable {
        case logical
        /// The reason, and what would help.
        case pollingOnly(String)
    }

    let source: PipelineDefinition.Source
    let tables: [TableName]

    static func ability(_ connection: LeaseConnection) throws -> Ability {
        let (walLevel, mayReplicate, isStandby) = try connection.query(
            """
            SELECT current_setting('wal_level'), rolreplication OR rolsuper, pg_is_in_recovery()
            FROM pg_roles WHERE rolname = current_user
            """
        ).one((String, Bool, Bool).self)
        if walLevel != "logical" {
            return .pollingOnly(
                "the source has wal_level = \(walLevel): logical decoding needs "
                    + "wal_level = logical and a restart of the source")
        }
        if !mayReplicate {
            return .pollingOnly(
                "the source's user may not replicate: ALTER ROLE … REPLICATION allows it")
        }
        if isStandby {
            return .pollingOnly("the source is a standby, which has no publications of its own")
        }
        return .logical
    }

    /// Checks publication and slot, and makes them where the source's row wants it. Returns whether
    /// the slot is new.
    func prepare(_ connection: LeaseConnection, _ logger: Logger) throws -> Bool {
        // Several pipelines share a publication.
        try connection.withTransaction { transaction in
            try transaction.query(
                "SELECT pg_advisory_xact_lock(hashtextextended(\(lockName), 0))")
            try preparePublication(transaction, logger)
        }
        return try prepareSlot(connection, logger)
    }

    private var lockName: String { "pglease.publication:\(source.publication)" }

    private func preparePublication(_ connection: LeaseConnection, _ logger: Logger) throws {
        let name = source.publication
        let found = try connection.query(
            "SELECT puballtables FROM pg_publication WHERE pubname = \(name)"
        ).decode(Bool.self)
        if found.isEmpty {
            guard source.createsPublication else {
                throw PipelineFailure(
                    "the publication \"\(name)\" does not exist at the source and its row does not "
                        + "ask for it (is_publication_enabled): create it, or set that",
                    isPassing: false)
            }
            try execute(
                """
                CREATE PUBLICATION \(quotedIdentifier(name)) FOR TABLE \(list(tables)) \
                WITH (publish_via_partition_root = true)
                """, connection)
            logger.info("publication made", metadata: ["publication": "\(name)"])
            return
        }
        let published = Set(
            try connection.query(
                """
                SELECT schemaname::text, tablename::text FROM pg_publication_tables
                WHERE pubname = \(name)
                """
            ).decode((String, String).self).map { TableName(schema: $0.0, name: $0.1) })
        let missing = tables.filter { !published.contains($0) }
        if missing.isEmpty { return }
        let names = missing.map(\.description).joined(separator: ", ")
        guard source.createsPublication, found != [true] else {
            throw PipelineFailure(
                "the publication \"\(name)\" lacks \(names): ALTER PUBLICATION … ADD TABLE, or set "
                    + "is_publication_enabled in the source's row", isPassing: false)
        }
        try execute(
            "ALTER PUBLICATION \(quotedIdentifier(name)) ADD TABLE \(list(missing))", connection)
        logger.info(
            "tables added to the publication",
            metadata: ["publication": "\(name)", "tables": "\(names)"])
    }

    private func prepareSlot(_ connection: LeaseConnection, _ logger: Logger) throws -> Bool {
        let name = source.slot
        let found = try connection.query(
            """
            SELECT plugin::text, database = current_database(), coalesce(wal_status, '') = 'lost'
            FROM pg_replication_slots WHERE slot_name = \(name)
            """
        ).decode((String?, Bool?, Bool).self)
        guard let slot = found.first else {
            guard source.createsSlot else {
                throw PipelineFailure(
                    "the replication slot \"\(name)\" does not exist at the source and its row "
                        + "does not ask for it (is_replication_enabled): create it, or set that",
                    isPassing: false)
            }
            // Waits for the transactions that run at the source now.
            try connection.query("SELECT pg_create_logical_replication_slot(\(name), 'pgoutput')")
            logger.info("replication slot made", metadata: ["slot": "\(name)"])
            return true
        }
        if slot.0 != "pgoutput" || slot.1 != true {
            throw PipelineFailure(
                "the replication slot \"\(name)\" is not a slot of pgoutput in the source's "
                    + "database: name another one", isPassing: false)
        }
        if slot.2 {
            throw PipelineFailure(
                "the replication slot \"\(name)\" has lost changes (the source removed its log, "
                    + "see max_slot_wal_keep_size): drop it, and backfill the tables",
                isPassing: false)
        }
        return false
    }

    private func execute(_ text: String, _ connection: LeaseConnection) throws {
        try connection.execute(SQL(text))
    }

    private func list(_ tables: [TableName]) -> String {
        tables.map(\.quoted).joined(separator: ", ")
    }
}
