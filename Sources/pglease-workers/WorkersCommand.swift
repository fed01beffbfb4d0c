// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The command line: each subcommand is a file.
@main
struct WorkersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pglease-workers",
        abstract: "The backfill and the pipeline manager, on leases from a pglease broker.",
        discussion: """
            The workers hold no connections of their own: point them at the broker as one points \
            a program at PostgreSQL, by DATABASE_URL, PG… or --database-url.

            EXAMPLES
              DATABASE_URL='host=/run/pglease port=6432 dbname=rosetta' pglease-workers migrate
              pglease-workers backfill --jobs 10 --broker /run/pglease:6432
              pglease-workers backfill --once

            \(WorkersExitStatus.table)
            """,
        subcommands: [
            MigrateCommand.self, BackfillCommand.self, PipelinesCommand.self, PipelineCommand.self,
        ])
}
