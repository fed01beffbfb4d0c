// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import Glibc

/// The command line: each subcommand is a file.
@main
struct PgleaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pglease",
        abstract: "Leases a bounded pool of PostgreSQL connections to the workers of a host.",
        discussion: """
            One pglease runs beside the workers. They connect to it as to PostgreSQL itself, over \
            its Unix socket, and share its server connections.

            EXAMPLES
              Try it, with a PostgreSQL of its own:
                pglease serve --embedded
              Beside an application that has DATABASE_URL:
                DATABASE_URL=postgresql://app@db/app pglease serve
              In the place of pgbouncer, with its options:
                pglease pgbouncer -d /etc/pgbouncer/pgbouncer.ini
              With a file, or an existing pgbouncer.ini:
                pglease check-config --config /etc/pglease/pglease.ini
                pglease serve --config /etc/pglease/pglease.ini
              For a health check:
                pglease ping
              Who holds what, and what waits for it:
                pglease top
              What is wrong with it, and what to do:
                pglease doctor

            \(ExitStatus.table)
            """,
        version: ProductVersion.text,
        subcommands: [
            ServeCommand.self, CheckConfigCommand.self, PingCommand.self, StatCommand.self,
            LeasesCommand.self, TopCommand.self, DoctorCommand.self, PgbouncerCommand.self,
            ShareCommand.self,
            VersionCommand.self, ManualCommand.self,
        ]
    )

    static func main() {
        if PgbouncerCommand.isMeant(by: CommandLine.arguments.first) {
            PgbouncerCommand.runAsPgbouncer(Array(CommandLine.arguments.dropFirst()))
        }
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            // A script that asks a broker must not take its own typing error for an answer.
            let isUsage = exitCode(for: error) == .validationFailure
            let asking = ["ping", "stat", "leases", "top", "doctor"]
            guard isUsage, let name = CommandLine.arguments.dropFirst().first,
                asking.contains(name)
            else { exit(withError: error) }
            Output.error(fullMessage(for: error))
            Glibc.exit(BrokerAddressOptions.usageStatus)
        }
    }
}
