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

    static let usageStatus: Int32 = 3

    @OptionGroup var options: ConfigurationOptions

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A socket's folder, an @abstract one, or a host.", valueName: "folder|host"))
    var host: String?

    @Option(
        name: .long, help: ArgumentHelp("The port, also of a Unix socket.", valueName: "number"))
    var port: UInt16?

    @Option(
        name: .long,
        help: ArgumentHelp("Who asks; without it, the user of this process.", valueName: "name"))
    var user: String?

    @Option(
        name: .long, help: ArgumentHelp("How long to wait for the answer.", valueName: "seconds"))
    var timeout = 3.0

    @Flag(name: .shortAndLong, help: "Print nothing; the exit status tells.")
    var quiet = false

    func validate() throws {
        guard timeout > 0, timeout <= 3600 else {
            throw ValidationError("--timeout is more than 0 and at most 3600 seconds")
        }
    }

    mutating func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let address = try address()
        let deadline = ContinuousClock.now + .seconds(timeout)
        let user = user ?? UserAccount.current?.name ?? "pglease"
        let (status, text) = Self.ask(address, user: user, deadline: deadline)
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

    // MARK: Where

    private func address() throws -> ProbeAddress {
        if let host {
            return Self.address(host: host, port: port ?? 6432)
        }
        let settings = try settings()
        let port = port ?? UInt16(settings.listenPort)
        if let folder = settings.unixSocketDir { return Self.address(host: folder, port: port) }
        let host = settings.listenAddr.first { $0 != "*" && $0 != "0.0.0.0" && $0 != "::" }
        return .tcp(host: host ?? "localhost", port: port)
    }

    private static func address(host: String, port: UInt16) -> ProbeAddress {
        host.hasPrefix("/") || host.hasPrefix("@")
            ? .unix(path: "\(host)/.s.PGSQL.\(port)") : .tcp(host: host, port: port)
    }

    /// A broker chose its folder by what it may write; the one who asks looks for the socket.
    private func settings() throws -> Settings {
        var sources = options.sources(environment: try ProcessEnvironment.read())
        sources.databasesComeLater = true
        do throws(ConfigurationError) {
            let configured = try Configuration.load(sources).configuration.settings.listenPort
            let port = port.map(Int.init) ?? configured
            sources.canUseFolder = { access("\($0)/.s.PGSQL.\(port)", F_OK) == 0 }
            return try Configuration.load(sources).configuration.settings
        } catch {
            _ = ConfigurationReport.refuse(error)
            throw ExitCode(Self.usageStatus)
        }
    }
}
