// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import LibPQ

/// `pglease share init`.
struct ShareInitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract:
            "Make the schema pglease with its tables and functions, or bring them to this version.",
        discussion: """
            Who runs it owns the schema: a superuser, or a role with CREATE on the database that is a member of \
            pg_read_all_stats (from that the functions know when a connection began; without it, the share of a host \
            that died is given back later). The brokers' roles need no more than --role gives them: USAGE on the schema, \
            SELECT on its tables, EXECUTE on two functions.
            """
    )

    @OptionGroup var database: ShareDatabaseOptions

    @Option(
        name: .long,
        help: ArgumentHelp("A role that a broker asks as; may be given again.", valueName: "name"))
    var role: [String] = []

    @Flag(name: .long, help: "Print what would be run, for a DBA, and run nothing.")
    var print = false

    func run() throws {
        let script =
            ShareSchema.script + role.map { "\n" + ShareSchema.grants(to: $0) }.joined()
        if print {
            Output.line(script)
            return
        }
        let connection = try database.connect()
        defer { connection.close() }
        _ = try database.run(connection, "begin;\n" + script + "\ncommit;")
        Output.line("the schema pglease is there")
        if role.isEmpty {
            Output.line(
                "No role may ask yet: pglease share init --role NAME, once for each role of a broker."
            )
        }
        Output.line(
            "Next: pglease share set NAME TOTAL, and shared_bound = NAME in the brokers' configuration."
        )
    }
}
