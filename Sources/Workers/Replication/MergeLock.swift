// SPDX-License-Identifier: Apache-2.0

package import LeaseClient

/// How changes and a backfill of the same table are kept in order at the destination.
///
/// A backfill reads rows at the source and writes them a moment later. A change that was applied in
/// between would be overwritten with the older row. So a backfill takes `exclusive` in the
/// destination's transaction *before* it reads a batch at the source, and writes and commits the
/// batch under it; who applies changes takes `shared`. What is applied after the batch is then
/// never older than what the batch brought, or is followed by what is newer.
package enum MergeLock {
    /// For a backfill's batch, held to the end of its transaction.
    package static func exclusive(schema: String, table: String) -> SQL {
        "SELECT pg_advisory_xact_lock(hashtextextended(\(key(schema, table)), 0))"
    }

    /// For changes, held to the end of their transaction.
    package static func shared(schema: String, table: String) -> SQL {
        "SELECT pg_advisory_xact_lock_shared(hashtextextended(\(key(schema, table)), 0))"
    }

    private static func key(_ schema: String, _ table: String) -> String {
        "pglease.merge:\(schema).\(table)"
    }
}
