import ArgumentParser
import Broker
import Glibc

/// Where the broker is that a command asks: the options of ping, stat, leases and top.
struct BrokerAddressOptions: ParsableArguments {
    /// Of the options' part of a usage line.
    static let usage = """
        [--config <file>] [--set <name=value> ...]
                             [--host <folder|host>] [--port <number>] [--user <name>]
                             [--timeout <seconds>]
        """

    /// Wrong options or a wrong configuration.
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
        name: .long, help: ArgumentHelp("How long to wait for an answer.", valueName: "seconds"))
    var timeout = 3.0

    func validate() throws {
        guard timeout > 0, timeout <= 3600 else {
            throw ValidationError("--timeout is more than 0 and at most 3600 seconds")
        }
    }

    var userName: String { user ?? UserAccount.current?.name ?? "pglease" }

    func address() throws -> ProbeAddress { try place().address }

    /// The address, and what libpq calls host and port.
    func place() throws -> BrokerPlace {
        if let host { return BrokerPlace(host: host, port: port ?? 6432) }
        let settings = try settings()
        let port = port ?? UInt16(settings.listenPort)
        if let folder = settings.unixSocketDir { return BrokerPlace(host: folder, port: port) }
        let host = settings.listenAddr.first { $0 != "*" && $0 != "0.0.0.0" && $0 != "::" }
        return BrokerPlace(host: host ?? "localhost", port: port)
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

/// A broker's address in libpq's words.
struct BrokerPlace: Sendable {
    let host: String
    let port: UInt16

    var address: ProbeAddress {
        host.hasPrefix("/") || host.hasPrefix("@")
            ? .unix(path: "\(host)/.s.PGSQL.\(port)") : .tcp(host: host, port: port)
    }
}
