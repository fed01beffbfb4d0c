// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LibPQ

/// `pglease share set`.
struct ShareSetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Set how many server connections all hosts under a bound may have together.",
        discussion: """
            Hosts that have more than they are due then give back at their leases' ends; none is cut. --spare places of \
            the total are kept for brokers that ask and have no place of their own to ask on: new ones, and those \
            whose connections are all in long leases.
            """
    )

    @OptionGroup var database: ShareDatabaseOptions

    @Argument(help: "The bound, as shared_bound names it.")
    var name: String

    @Argument(help: "Server connections, all hosts together.")
    var total: Int

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Places that no share takes; unless set before, a twentieth of the total, at least 2.",
            valueName: "places"))
    var spare: Int?

    func validate() throws {
        guard (1...1_000_000).contains(total) else {
            throw ValidationError("the total is a number from 1 to 1000000")
        }
        if let spare, spare < 0 || spare >= total {
            throw ValidationError("--spare is a number from 0 to less than the total")
        }
        if name.isEmpty { throw ValidationError("the bound has no name") }
    }

    func run() throws {
        let connection = try database.connect()
        defer { connection.close() }
        let rows = try database.run(
            connection,
            """
            insert into pglease.bound (bound, total, spare)
            values ($1, $2::integer, coalesce(nullif($3, '')::integer, least($2::integer - 1, greatest(2, $2::integer / 20))))
            on conflict (bound) do update set
                total = excluded.total,
                spare = coalesce(nullif($3, '')::integer, least(excluded.total - 1, pglease.bound.spare))
            returning total, spare
            """, [name, "\(total)", spare.map { "\($0)" } ?? ""])
        guard let row = rows.first else { return }
        Output.line(
            "\(name): \(row[0]) connections for all hosts together, \(row[1]) of them to ask with")
    }
}
