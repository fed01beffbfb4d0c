// SPDX-License-Identifier: Apache-2.0

/// How a backfill manager behaves.
package struct BackfillOptions: Equatable, Sendable {
    /// Jobs that run at once in this process.
    package var maximumJobs = 10
    /// Rows of a batch at most.
    package var batchRows = 10_000
    /// Bytes of a batch; it ends with the chunk (about 64 KiB, whole rows) that reaches them.
    /// So a job holds about as much memory, whatever the width of its rows.
    package var batchBytes = 16 << 20
    /// How often new jobs are looked for.
    package var pollInterval: Duration = .seconds(5)
    /// A job whose owner was not heard of for this long is a dead process's, and is started again.
    /// An owner is heard of three times in it.
    package var claimTimeout: Duration = .seconds(30)
    /// Starts of a job at most, after which a stale one has failed.
    package var maximumAttempts = 3
    /// Jobs that run without an owner are a Python worker's. Those that have not moved for this long
    /// are started again; nil leaves them alone.
    package var unownedTimeout: Duration?
    package var retry = RetryLimits()
    /// How long a manager that was stopped tries to reach the config database. What it cannot say by then is left to
    /// the claim's end.
    package var stopGrace: Duration = .seconds(5)
    /// Where the rows of a table without a key are kept while they are copied, in a file without a
    /// name.
    package var spoolFolder = "/tmp"

    package init() {}
}
