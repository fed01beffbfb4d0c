// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration
import EmbeddedPostgres
import PostgresProbe
import PostgresWire

/// Where the broker is that a command asks: the options of ping, stat, leases and top.
struct BrokerAddressOptions: ParsableArguments {
    /// What their help says of it.
    static let whereToAsk = """
        Without --host it asks where the configuration says that the broker listens (--config, \
        PGLEASE_CONFIG, PGLEASE_UNIX_SOCKET_DIR and its kin); where that says nothing, at PGHOST and \
        PGPORT unless a PostgreSQL itself answers there, and in the usual folders.
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
        help: ArgumentHelp(
            "Who asks; without it PGUSER, or the user of this process.", valueName: "name"))
    var user: String?

    @Option(
        name: .long, help: ArgumentHelp("How long to wait for an answer.", valueName: "seconds"))
    var timeout = 3.0

    func validate() throws {
        guard timeout > 0, timeout <= 3600 else {
            throw ValidationError("--timeout is more than 0 and at most 3600 seconds")
        }
    }

    /// As libpq chooses it.
    func userName(_ environment: [String: String]) -> String {
        user ?? environment.value("PGUSER") ?? UserAccount.current?.name ?? "pglease"
    }

    /// Asks one place after the other until a broker answers.
    func findBroker(_ environment: [String: String]) throws -> BrokerSearch {
        let places = try BrokerPlaces(self, environment)
        return BrokerSearch(
            places, user: userName(environment), timeout: .seconds(timeout))
    }
}

/// A broker's address in libpq's words, and why it is looked for there.
struct BrokerPlace: Equatable, Sendable {
    let host: String
    let port: UInt16
    let origin: String

    var address: ProbeAddress {
        host.hasPrefix("/") || host.hasPrefix("@")
            ? .unix(path: "\(host)/.s.PGSQL.\(port)") : .tcp(host: host, port: port)
    }
}

/// Where to look for the broker, in this order.
struct BrokerPlaces {
    /// Meant for the broker: when nobody answers there, there is none.
    private(set) var meant: [BrokerPlace] = []
    /// Looked at when none of `meant` is anything but a PostgreSQL.
    private(set) var usual: [BrokerPlace] = []

    init(_ options: BrokerAddressOptions, _ environment: [String: String]) throws {
        if options.host != nil {
            self.init(withoutConfiguration: options, environment)
        } else {
            self.init(options, try Self.load(options, environment), environment)
        }
    }

    /// By --host, PGHOST and the usual folders alone.
    init(withoutConfiguration options: BrokerAddressOptions, _ environment: [String: String]) {
        let port = options.port ?? 6432
        if let host = options.host {
            meant = [BrokerPlace(host: host, port: port, origin: "--host")]
            return
        }
        meant = Self.ofLibpq(environment, options.port)
        usual = Self.usual(environment, port)
    }

    init(
        _ options: BrokerAddressOptions, _ loaded: LoadedConfiguration,
        _ environment: [String: String]
    ) {
        if let host = options.host {
            meant = [BrokerPlace(host: host, port: options.port ?? 6432, origin: "--host")]
            return
        }
        let settings = loaded.configuration.settings
        let port = options.port ?? UInt16(settings.listenPort)
        let isConfigured =
            options.options.config != nil || environment.value("PGLEASE_CONFIG") != nil
            || ["unix_socket_dir", "listen_addr", "listen_port"].contains {
                loaded.origins[$0] != nil
            }
        if isConfigured {
            meant = Self.configured(loaded, port, environment)
            return
        }
        meant = Self.ofLibpq(environment, options.port)
        usual = Self.usual(environment, port)
    }

    private static func usual(_ environment: [String: String], _ port: UInt16) -> [BrokerPlace] {
        SocketFolder.all(environment: environment).map {
            BrokerPlace(host: $0, port: port, origin: "a usual place")
        }
    }

    /// The databases and their secrets are not of interest, but what is wrong is said.
    private static func load(
        _ options: BrokerAddressOptions, _ environment: [String: String]
    ) throws -> LoadedConfiguration {
        var sources = options.options.sources(environment: environment)
        sources.databasesComeLater = true
        do throws(ConfigurationError) {
            return try Configuration.load(sources)
        } catch {
            _ = ConfigurationReport.refuse(error)
            throw ExitCode(BrokerAddressOptions.usageStatus)
        }
    }

    private static func configured(
        _ loaded: LoadedConfiguration, _ port: UInt16, _ environment: [String: String]
    ) -> [BrokerPlace] {
        let settings = loaded.configuration.settings
        var folders: [(host: String, origin: String)] = []
        if loaded.origins["unix_socket_dir"] != nil || settings.unixSocketDir == nil {
            let origin = "unix_socket_dir of \(loaded.origin(of: "unix_socket_dir"))"
            folders += settings.unixSocketDir.map { [($0, origin)] } ?? []
        } else {
            // The broker chose its folder by what it may write, which is not what we may.
            folders += SocketFolder.all(environment: environment).map { ($0, "a usual place") }
        }
        let listen = settings.listenAddr.map { address in
            let isEvery = ["*", "0.0.0.0", "::"].contains(address)
            return (
                host: isEvery ? "localhost" : address,
                origin: "listen_addr of \(loaded.origin(of: "listen_addr"))"
            )
        }
        return (folders + listen.prefix(1)).map {
            BrokerPlace(host: $0.host, port: port, origin: $0.origin)
        }
    }

    /// PGHOST and PGPORT: lists between commas, as libpq reads them.
    private static func ofLibpq(
        _ environment: [String: String], _ port: UInt16?
    ) -> [BrokerPlace] {
        let name = environment.value("PGHOSTADDR") == nil ? "PGHOST" : "PGHOSTADDR"
        let hosts = (environment.value(name) ?? "").split(separator: ",").map(String.init)
        let ports = (environment.value("PGPORT") ?? "").split(separator: ",")
            .compactMap { UInt16($0) }
        return hosts.enumerated().map { index, host in
            let own = ports.count == 1 ? ports[0] : index < ports.count ? ports[index] : 6432
            return BrokerPlace(host: host, port: port ?? own, origin: name)
        }
    }
}

/// What asking the places one after the other found.
struct BrokerSearch {
    /// The first place where a broker answered.
    private(set) var found: (place: BrokerPlace, answer: BrokerPing.Answer)?
    /// What the places before it said.
    private(set) var failures: [(place: BrokerPlace, error: ProbeError)] = []

    init(_ places: BrokerPlaces, user: String, timeout: Duration) {
        for place in places.meant where found == nil { ask(place, user, timeout) }
        // PGHOST is not meant for the broker when it leads to PostgreSQL.
        let isMeant = failures.contains { if case .notBroker = $0.error { false } else { true } }
        guard !isMeant else { return }
        for place in places.usual where found == nil { ask(place, user, timeout) }
    }

    private mutating func ask(_ place: BrokerPlace, _ user: String, _ timeout: Duration) {
        do throws(ProbeError) {
            var connection = try ProbeConnection(to: place.address, deadline: .now + timeout)
            found = (place, try connection.ping(user: user))
        } catch {
            failures.append((place, error))
        }
    }

    /// A broker that turned the question away: it has no room, or is about to end.
    var refusal: (place: BrokerPlace, text: String)? {
        for (place, error) in failures {
            if case .refused(let error) = error {
                return (place, "\(error.sqlState.rawValue): \(error.message)")
            }
        }
        return nil
    }

    /// Each place that was asked and what it said, a line each.
    var searched: [String] {
        failures.map { place, error in
            let what =
                switch error {
                case .noAnswer(let reason): reason
                case .notPostgres(let reason): "not PostgreSQL's protocol: \(reason)"
                case .notBroker(let reason): reason
                case .passwordRequested: "a password is asked for"
                case .refused(let error): "\(error.sqlState.rawValue): \(error.message)"
                }
            return "\(place.address) (\(place.origin)): \(what)"
        }
    }
}

extension [String: String] {
    /// A variable that is set and not empty.
    func value(_ name: String) -> String? {
        self[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}
