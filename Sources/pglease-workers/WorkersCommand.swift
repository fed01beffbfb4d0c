import ArgumentParser

/// The command line: each subcommand is a file.
@main
struct WorkersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pglease-workers",
        abstract: "The backfill and the pipeline manager, on leases from a pglease broker.",
        subcommands: [MigrateCommand.self])
}
