// SPDX-License-Identifier: Apache-2.0

/// A job as this process has claimed it.
struct BackfillJob: Equatable, Sendable {
    var id: Int
    var pipelineID: Int
    var sourceID: Int
    var tableName: String
    var filterSQL: String?
    /// Rows that earlier runs copied.
    var count: Int
    /// 0 when they have not been counted yet.
    var total: Int
    var keyColumn: String?
    var lastKey: String?
    /// Where a job goes on whose key has several columns.
    var checkpoint: KeyCheckpoint?
    /// The number of this start. With the owner it tells one claim from all others.
    var attempt: Int
    var source: DatabaseAddress
    /// Names the job among those of all config databases, for destinations.
    var globalName: String
}

/// The last row that was copied, by the columns of its key.
struct KeyCheckpoint: Equatable, Sendable {
    var columns: [String]
    /// As COPY writes them.
    var values: [String]
}

/// One table of one destination that a job writes to.
struct BackfillTarget: Equatable, Sendable {
    var pipelineDestinationID: Int
    var tableSyncID: Int
    var name: String
    var type: String
    var address: DatabaseAddress
    var table: TableName
    /// Which of the job's rows this destination takes.
    var filterSQL: String?
    /// A transformation by SQL, which this worker does not do.
    var customSQL: String?
}

/// What one destination has taken.
struct Written: Equatable, Sendable {
    var target: BackfillTarget
    var rows: Int
}

/// Why a job cannot be done as its rows in the config database are.
struct BackfillFault: Error, Equatable, CustomStringConvertible {
    var description: String
}

/// The claim is over: the job was cancelled, or somebody else has it. Nothing of it may be touched.
struct ClaimLost: Error {}
