// SPDX-License-Identifier: Apache-2.0

/// What the output plugin `pgoutput` says of a source's changes (protocol version 1).
package enum PgoutputMessage: Equatable, Sendable {
    case begin(Begin)
    case commit(Commit)
    /// The transaction came to the source by replication, from there.
    case origin(position: LogSequenceNumber, name: String)
    case relation(Relation)
    case type(id: UInt32, schema: String, name: String)
    case insert(relation: UInt32, new: Tuple)
    case update(relation: UInt32, old: OldTuple?, new: Tuple)
    case delete(relation: UInt32, old: OldTuple)
    case truncate(Truncate)
    /// From pg_logical_emit_message, when it was asked for.
    case message(Message)

    package struct Begin: Equatable, Sendable {
        /// Of the transaction's commit record.
        package var finalPosition: LogSequenceNumber
        /// Microseconds from 2000-01-01 00:00 UTC.
        package var committedAt: Int64
        package var transaction: UInt32
    }

    package struct Commit: Equatable, Sendable {
        package var position: LogSequenceNumber
        /// Behind the commit record: what a receiver confirms once it has the transaction.
        package var endPosition: LogSequenceNumber
        package var committedAt: Int64
    }

    /// A table as it was when the changes that follow were made. Sent before the first of them.
    package struct Relation: Equatable, Sendable {
        package var id: UInt32
        /// Empty stands for pg_catalog.
        package var schema: String
        package var name: String
        package var identity: ReplicaIdentity
        package var columns: [Column]

        package struct Column: Equatable, Sendable {
            /// Part of the replica identity; with `full` every column is.
            package var isKey: Bool
            package var name: String
            package var type: UInt32
            package var modifier: Int32
        }
    }

    /// By what an UPDATE and a DELETE name their row (`relreplident`).
    package enum ReplicaIdentity: UInt8, Equatable, Sendable {
        /// The primary key, or nothing when there is none.
        case primaryKey = 0x64
        case nothing = 0x6E
        /// The whole old row.
        case full = 0x66
        case index = 0x69
    }

    /// A row's values, in the order of the relation's columns.
    package typealias Tuple = [Value]

    package enum Value: Equatable, Sendable {
        case null
        /// A large value that did not change, and that the source therefore did not send.
        case unchanged
        case text(String)
        case binary([UInt8])
    }

    /// The row before the change.
    package enum OldTuple: Equatable, Sendable {
        /// Its key alone; the other values are null.
        case key(Tuple)
        case row(Tuple)

        package var tuple: Tuple {
            switch self {
            case .key(let tuple), .row(let tuple): tuple
            }
        }
    }

    package struct Truncate: Equatable, Sendable {
        package var relations: [UInt32]
        package var isCascading: Bool
        package var restartsIdentity: Bool
    }

    package struct Message: Equatable, Sendable {
        package var isTransactional: Bool
        package var position: LogSequenceNumber
        package var prefix: String
        package var content: [UInt8]
    }
}
