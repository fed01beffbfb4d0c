// SPDX-License-Identifier: Apache-2.0

/// One statement of a console client, understood.
enum ConsoleStatement: Equatable {
    /// Nothing but white space and comments.
    case empty
    case show(ShowCommand)
    /// SHOW HELP: a NOTICE.
    case help
    /// A question that drivers ask PostgreSQL, with one value as its answer.
    case value(ConsoleColumn, ConsoleValue)
    /// What is taken as done, because drivers say it and nothing depends on it.
    case accepted(tag: String)
    case begin
    /// COMMIT or ROLLBACK.
    case end(tag: String)
    /// DEALLOCATE; nil is ALL.
    case deallocate(String?)
    /// DISCARD ALL.
    case discardAll
    case setApplicationName(String)
    /// What only an administrator may do.
    case command(ConsoleCommand)

    /// nil: it answers no rows.
    var columns: [ConsoleColumn]? {
        switch self {
        case .show(let command): command.columns
        case .value(let column, _): [column]
        case .empty, .help, .accepted, .begin, .end, .deallocate, .discardAll,
            .setApplicationName, .command:
            nil
        }
    }
}

/// What a question of a driver is answered with.
enum ConsoleValue: Equatable {
    case fixed(String)
    case applicationName
    case database
    case user
    case isSuperuser
    case processID
    /// The console as a server: drivers read the number, people the rest.
    case serverVersion
    /// The same as PostgreSQL's `version()`.
    case version
}

/// Orders to the broker.
package enum ConsoleCommand: Equatable {
    case reload
    case shutDown(ShutdownMode)
    // nil: of all databases.
    case pause(String?)
    case resume(String?)
    case suspend
    case reconnect(String?)
    case waitClose(String?)
    case disable(String)
    case enable(String)
    case kill(String?)
    case killClient(Int64)
    case killLease(UInt64)
    case set(name: String, value: String)
}

/// How patient a shutdown is.
package enum ShutdownMode: Comparable, Sendable {
    /// Clients are served until they leave.
    case waitForClients
    /// Leases that are out come back, new ones are not given.
    case waitForServers
    case immediate
}
