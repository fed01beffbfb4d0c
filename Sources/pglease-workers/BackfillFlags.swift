// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Workers

/// The options of a backfill manager, by flag or environment.
struct BackfillFlags: ParsableArguments {
    @Option(help: "Jobs at once (10); else PGLEASE_BACKFILL_JOBS.")
    var jobs: Int?

    @Option(help: "Rows of a batch (10000); else PGLEASE_BACKFILL_BATCH_ROWS.")
    var batchRows: Int?

    @Option(help: "Bytes of a batch, about (16777216); else PGLEASE_BACKFILL_BATCH_BYTES.")
    var batchBytes: Int?

    @Option(help: "Seconds between two looks for new jobs (5); else PGLEASE_BACKFILL_POLL.")
    var poll: Double?

    @Option(
        help: """
            Seconds of silence after which a job's owner is dead (30); else \
            PGLEASE_BACKFILL_CLAIM_TIMEOUT.
            """)
    var claimTimeout: Double?

    @Option(help: "Starts of a job at most (3); else PGLEASE_BACKFILL_MAX_ATTEMPTS.")
    var maxAttempts: Int?

    @Option(
        help: """
            Recover also jobs without an owner (Python workers' jobs) that have not moved for so \
            many seconds; else PGLEASE_BACKFILL_UNOWNED_TIMEOUT. They are left alone by default.
            """)
    var unownedTimeout: Double?

    @Option(
        help: """
            A folder for the rows of tables without a key (TMPDIR, /tmp); else \
            PGLEASE_BACKFILL_SPOOL.
            """)
    var spool: String?

    func options() throws -> BackfillOptions {
        var options = BackfillOptions()
        options.maximumJobs = try number(jobs, "JOBS", atLeast: 1) ?? options.maximumJobs
        options.batchRows = try number(batchRows, "BATCH_ROWS", atLeast: 1) ?? options.batchRows
        options.batchBytes = try number(batchBytes, "BATCH_BYTES", atLeast: 1) ?? options.batchBytes
        options.maximumAttempts =
            try number(maxAttempts, "MAX_ATTEMPTS", atLeast: 1) ?? options.maximumAttempts
        options.pollInterval = try seconds(poll, "POLL") ?? options.pollInterval
        options.claimTimeout = try seconds(claimTimeout, "CLAIM_TIMEOUT") ?? options.claimTimeout
        options.unownedTimeout = try seconds(unownedTimeout, "UNOWNED_TIMEOUT")
        options.spoolFolder =
            spool ?? WorkersEnvironment.value("PGLEASE_BACKFILL_SPOOL")
            ?? WorkersEnvironment.value("TMPDIR") ?? options.spoolFolder
        return options
    }

    private func number(_ flag: Int?, _ name: String, atLeast least: Int) throws -> Int? {
        let variable = "PGLEASE_BACKFILL_\(name)"
        let text = flag.map(String.init) ?? WorkersEnvironment.value(variable)
        guard let text else { return nil }
        guard let value = Int(text), value >= least else {
            throw ValidationError("\(text) for \(variable): use a number from \(least)")
        }
        return value
    }

    private func seconds(_ flag: Double?, _ name: String) throws -> Duration? {
        let variable = "PGLEASE_BACKFILL_\(name)"
        let text = flag.map { String($0) } ?? WorkersEnvironment.value(variable)
        guard let text else { return nil }
        guard let value = Double(text), value >= 0.01, value <= 1_000_000 else {
            throw ValidationError("\(text) for \(variable): use seconds from 0.01")
        }
        return .milliseconds(Int64((value * 1000).rounded()))
    }
}
