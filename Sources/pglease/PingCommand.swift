import ArgumentParser
import Broker
import Glibc
import PostgresWire

/// `pglease ping`: whether a broker takes clients, by connecting as one.
struct PingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping",
        abstract: "Ask a broker whether it is ready.",
        usage: """
            pglease ping [--config <file>] [--set <name=value> ...]
                         [--host <folder|host>] [--port <number>] [--user <name>]
                         [--timeout <seconds>] [--quiet]
            """,
        discussion: """
            Connects as a client would, to the database pglease (the console). Without --host it \
            asks where the configuration says that the broker listens: --config, PGLEASE_CONFIG and \
            the PGLEASE_ variables, else the usual places.

            EXIT STATUS
              0  ready; also when this login alone is refused or needs a password
              1  it answers but takes no clients now: starting, draining or full
              2  no answer
              3  wrong options or a wrong configuration
            """
    )

    @OptionGroup var place: BrokerAddressOptions

    @Flag(name: .shortAndLong, help: "Print nothing; the exit status tells.")
    var quiet = false

    mutating func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let address = try place.address()
        let deadline = ContinuousClock.now + .seconds(place.timeout)
        let (status, text) = Self.ask(address, user: place.userName, deadline: deadline)
        if !quiet { Output.line("\(address): \(text)") }
        if status != 0 { throw ExitCode(status) }
    }

    private static func ask(
        _ address: ProbeAddress, user: String, deadline: ContinuousClock.Instant
    ) -> (status: Int32, text: String) {
        do throws(ProbeError) {
            var connection = try ProbeConnection(to: address, deadline: deadline)
            try connection.logIn(
                user: user, database: "pglease", applicationName: "pglease ping")
            connection.logOut()
            return (0, "ready")
        } catch {
            return verdict(error)
        }
    }

    private static func verdict(_ error: ProbeError) -> (status: Int32, text: String) {
        switch error {
        case .noAnswer(let reason): (2, "no answer: \(reason)")
        case .notPostgres(let reason): (2, "not a broker: \(reason)")
        case .passwordRequested: (0, "ready (asks for a password)")
        case .refused(let error) where refusesLoginOnly(error.sqlState):
            (0, "ready (not for this login: \(error.message))")
        case .refused(let error): (1, "\(error.sqlState.rawValue): \(error.message)")
        }
    }

    /// Who may log in is not the question: class 28, no such database, no privilege.
    private static func refusesLoginOnly(_ state: SQLState) -> Bool {
        state.rawValue.hasPrefix("28") || state == .invalidCatalogName
            || state == .insufficientPrivilege
    }
}
