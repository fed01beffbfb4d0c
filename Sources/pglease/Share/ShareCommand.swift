// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `pglease share`: the table of the bounds that brokers of many hosts share.
struct ShareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "share",
        abstract: "Set up and show bounds that brokers of many hosts share.",
        discussion: """
            A broker whose shared_bound names a bound opens no more connections than its share of the bound's total; \
            all shares together are never more than the total. The brokers agree in two tables of PostgreSQL itself, \
            in the database that shared_bound_dbname leads to.

              pglease share init --role app      make the tables, and let the role app ask
              pglease share set orders 200       200 server connections, for all hosts together
              pglease share show                 who has what

            The database is --database-url, else DATABASE_URL, else what libpq's variables (PGHOST …) say.
            """,
        subcommands: [ShareInitCommand.self, ShareSetCommand.self, ShareShowCommand.self]
    )
}
