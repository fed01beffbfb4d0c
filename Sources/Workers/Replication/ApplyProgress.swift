// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import LibPQ
import PostgresWire

/// How far a slot has been applied to a destination: a row in a table of the destination, changed
/// in the same transaction as the rows. So each source transaction takes effect there once, however
/// often it is sent.
struct ApplyProgress: Sendable {
    static let tableName = "pglease_pipeline_progress"

    let schema: String
    /// IDENTIFY_SYSTEM: positions mean nothing in another cluster.
    let systemIdentifier: String
    let slot: String
    let destination: Int

    private var table: String {
        quotedIdentifier(schema) + "." + quotedIdentifier(Self.tableName)
    }

    /// Makes the table and this slot's row, when they are not there.
    func prepare(_ connection: LeaseConnection) throws {
        let isThere = try connection.query(
            "SELECT to_regclass(\(table)) IS NOT NULL"
        ).one(Bool.self)
        if !isThere {
            try connection.withTransaction { transaction in
                // Two that make it at once would fail on each other.
                try transaction.query(
                    "SELECT pg_advisory_xact_lock(hashtextextended(\(Self.tableName), 0))")
                try transaction.execute(
                    SQL(
                        """
                        CREATE TABLE IF NOT EXISTS \(raw: table) (
                            system_identifier text NOT NULL,
                            slot_name text NOT NULL,
                            pipeline_destination_id integer NOT NULL,
                            applied_lsn pg_lsn NOT NULL DEFAULT '0/0',
                            updated_at timestamptz NOT NULL DEFAULT now(),
                            PRIMARY KEY (system_identifier, slot_name, pipeline_destination_id))
                        """))
            }
        }
        try connection.execute(
            SQL(
                """
                INSERT INTO \(table) (system_identifier, slot_name, pipeline_destination_id)
                VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
                """, [systemIdentifier, slot, destination]))
    }

    /// How far it is.
    func read(_ connection: LeaseConnection) throws -> LogSequenceNumber {
        try position(connection.query(select(locking: false)))
    }

    /// How far it is, and keeps every other process from applying until the transaction ends.
    func lock(_ transaction: LeaseConnection) throws -> LogSequenceNumber {
        let settings: SQL = """
            SELECT set_config('DateStyle', 'ISO', true),
                set_config('IntervalStyle', 'postgres', true)
            """
        let answers = try transaction.pipeline([settings, select(locking: true)])
        _ = try answers[0].get()
        return try position(answers[1].get())
    }

    /// The statement that says that all before `position` has been applied.
    func advance(to position: LogSequenceNumber) -> SQL {
        SQL(
            """
            UPDATE \(table) SET applied_lsn = $4::text::pg_lsn, updated_at = now()
            WHERE system_identifier = $1 AND slot_name = $2 AND pipeline_destination_id = $3
            """, [systemIdentifier, slot, destination, position.description])
    }

    private func select(locking: Bool) -> SQL {
        SQL(
            """
            SELECT applied_lsn::text FROM \(table)
            WHERE system_identifier = $1 AND slot_name = $2 AND pipeline_destination_id = $3
            \(locking ? "FOR UPDATE" : "")
            """, [systemIdentifier, slot, destination])
    }

    private func position(_ rows: Rows) throws -> LogSequenceNumber {
        guard rows.count == 1, let text = try? rows.one(String.self),
            let position = LogSequenceNumber(text)
        else {
            throw PipelineFailure(
                "the progress of slot \(slot) is missing in \(schema).\(Self.tableName): "
                    + "somebody removed it while the pipeline ran", isPassing: true)
        }
        return position
    }
}

/// Why a pipeline cannot go on, in words for its metadata.
package struct PipelineFailure: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String
    /// It may pass by itself: the process tries again. Else somebody has to mend something.
    package let isPassing: Bool

    package init(_ description: String, isPassing: Bool) {
        self.description = description
        self.isPassing = isPassing
    }

    /// Any error that came up in a pipeline.
    init(_ error: any Error, during action: String) {
        switch error {
        case let failure as PipelineFailure: self = failure
        case let error as LeaseError:
            self.init("\(action): \(error)", isPassing: error.isPassing)
        case let error as ChangeFeed.StreamEnd:
            self.init("\(action): \(error)", isPassing: error.isPassing)
        case is SpoolFailure: self.init("\(action): \(error)", isPassing: true)
        case let error as ServerMessage:
            let detail = error.detail.map { " (\($0))" } ?? ""
            self.init(
                "\(action): \(error.message)\(detail)",
                isPassing: LeaseError.isPassing(error.sqlState))
        case let error as ConnectionFailure:
            self.init(
                "\(action): \(error.message)",
                isPassing: LeaseError.isPassing(error.sqlState ?? ""))
        case is WaitFailure: self.init("\(action): no answer in time", isPassing: true)
        default: self.init("\(action): \(error)", isPassing: false)
        }
    }
}

extension LeaseError {
    /// The same may work in a while, with nothing mended by anybody.
    var isPassing: Bool {
        switch code {
        case .exhausted, .poolLock, .revoked, .serverLost, .serverUnreachable, .brokerAway,
            .refused, .timedOut:
            true
        case .sql: Self.isPassing(sqlState ?? "")
        default: false
        }
    }

    /// Serialisation and deadlock, connections, resources, a server that starts or ends, locks.
    static func isPassing(_ sqlState: String) -> Bool {
        switch sqlState.prefix(2) {
        case "40", "08", "53", "58": true
        case "57": sqlState != "57014"
        case "55": sqlState == "55006" || sqlState == "55P03"
        // A message that libpq made itself: the connection is lost.
        case "": true
        default: false
        }
    }
}

extension ChangeFeed.StreamEnd {
    var isPassing: Bool {
        switch self {
        case .server(let message): LeaseError.isPassing(message?.sqlState ?? "")
        case .protocolError: false
        case .shutdown, .full, .closed: true
        }
    }
}
