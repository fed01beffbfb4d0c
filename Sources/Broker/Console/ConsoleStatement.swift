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
}

/// Orders to the broker.
enum ConsoleCommand: Equatable {
    case reload
    case shutDown(Shutdown.Mode)
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

/// Whoever can answer: the broker, or a stand-in in tests.
protocol ConsoleBackend {
    func show(_ command: ShowCommand, into rows: inout ConsoleRows)
    /// Carries the command out; what it has to say besides its tag goes to `reply` as notices.
    func perform(
        _ command: ConsoleCommand, into reply: inout [UInt8]
    ) throws(ConsoleRefusal) -> ConsoleOutcome
    func applicationNameChanged(_ name: String)
}

/// A command was carried out.
struct ConsoleOutcome {
    var tag: String
    /// What must have come about before the client has its answer.
    var wait: ConsoleWait?
    /// What may not begin before the client has its answer.
    var afterwards: ConsoleOrder?
}

/// What is done once the answer is on its way.
enum ConsoleOrder: Equatable {
    case shutDown(Shutdown.Mode)
}
