import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibUV
import Logging
import PostgresProbe
import PostgresWire

/// What is known of a client before it is logged in. Gone afterwards.
final class ClientLogin {
    /// Who to ask for a password, and what was asked so far.
    enum Exchange {
        case none
        case awaitsMechanism(ScramServer)
        case awaitsProof(ScramServer)
    }

    var message: StartupMessage?
    var settings: [ProfileEntry] = []
    var exchange = Exchange.none
    /// The user has shown who it is.
    var isAuthenticated = false
    let deadline: Instant?

    init(deadline: Instant?) { self.deadline = deadline }
}

/// From accept to ReadyForQuery.
extension Broker {
    // MARK: Accept

    func accepted(_ descriptor: Int32) {
        let isUnix = Descriptor.isUnixSocket(descriptor)
        guard let watcher = try? FileWatcher(loop: loop, descriptor: descriptor) else {
            Descriptor.close(descriptor)
            return
        }
        if !isUnix {
            var options = Descriptor.TCPOptions()
            options.keepAlive = settings.tcpKeepalive
            options.keepAliveIdleSeconds = Int32(settings.tcpKeepidle ?? 0)
            options.keepAliveIntervalSeconds = Int32(settings.tcpKeepintvl ?? 0)
            options.keepAliveCount = Int32(settings.tcpKeepcnt ?? 0)
            // A client that is gone already says so at the first read.
            try? Descriptor.setTCPOptions(descriptor, options)
        }
        let now = now
        let client = ClientSession(
            id: clients.reserve(), descriptor: descriptor,
            peer: isUnix ? PeerCredentials(descriptor: descriptor) : nil, isUnix: isUnix,
            broker: self, now: now)
        clients.insert(client, at: client.id)
        counters.accepted += 1
        client.watcher = watcher
        watcher.delegate = client
        let deadline = settings.clientLoginTimeout.map { now + $0 }
        client.login = ClientLogin(deadline: deadline)
        if let deadline { housekeeping(by: deadline) }
        watcher.watch(.readable)
    }

    /// No descriptor was left for this one: it is told so, and goes.
    func turnedAway(_ descriptor: Int32) {
        let error = PgError.fatal(
            .tooManyConnections, "the broker has no file descriptor left",
            detail: "The limit of open files is \(descriptorLimit).",
            hint: "Raise it (ulimit -n, LimitNOFILE=) or lower max_client_conn.")
        noteRefusal(.noDescriptor, error, of: nil)
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(error)
        _ = bytes.withUnsafeBytes { Descriptor.write(descriptor, from: $0) }
    }

    // MARK: Handshake

    /// Startup packet and password messages. Returns how many bytes are dealt with.
    func handshake(_ bytes: UnsafeRawBufferPointer, from client: ClientSession) -> Int {
        var offset = 0
        while offset < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            let used: Int
            switch client.phase {
            case .startup: used = startup(rest, client)
            case .authenticating: used = password(rest, client)
            case .learning, .awaitingServer: return offset
            case .ready, .console:
                // It did not wait for the answer; what comes next is for the relay.
                queueToResume(client)
                return offset
            case .closing, .closed: return bytes.count
            }
            if used == 0 { break }
            offset += used
        }
        return offset
    }

    private func startup(_ bytes: UnsafeRawBufferPointer, _ client: ClientSession) -> Int {
        guard bytes.count >= 4 else { return 0 }
        do throws(WireError) {
            let length = try StartupPacket.length(UnsafeRawBufferPointer(rebasing: bytes[..<4]))
            guard bytes.count >= length else { return 0 }
            let packet = UnsafeRawBufferPointer(rebasing: bytes[..<length])
            switch try StartupPacket.parse(packet) {
            case .ssl, .gss:
                guard bytes.count == length else {
                    counters.protocolErrors += 1
                    refuse(client, Self.dataBehindRequest)
                    return bytes.count
                }
                // Encryption of client connections is not offered.
                withUnsafeBytes(of: UInt8(ascii: "N")) { send($0, to: client) }
            case .cancel(let processID, let key):
                cancelRequested(processID, key, by: client)
            case .startup(let message):
                begin(client, message)
            }
            return length
        } catch {
            counters.protocolErrors += 1
            refuse(client, error.pgError)
            return bytes.count
        }
    }

    private func begin(_ client: ClientSession, _ message: StartupMessage) {
        guard let login = client.login else { return }
        login.message = message
        client.user = message.user
        client.database = message.databaseOrUser
        client.applicationName = message.applicationName ?? ""
        if message.protocolExtensions.contains(BrokerPing.question) {
            answerPing(client)
            return
        }
        if message.wantsReplication {
            refuse(client, Self.replicationRefused)
            return
        }
        if let shutdown, shutdown.refusesClients {
            refuse(client, Self.shuttingDown)
            return
        }
        do throws(WireError) {
            login.settings = try sessionSettings(of: message, from: client)
        } catch {
            refuse(client, error.pgError)
            return
        }
        client.phase = .authenticating
        authenticate(client)
    }

    /// The GUCs of a startup packet, those of `options` first, as PostgreSQL applies them.
    private func sessionSettings(
        of message: StartupMessage, from client: ClientSession
    ) throws(WireError) -> [ProfileEntry] {
        var entries: [ProfileEntry] = []
        let ignored = settings.ignoreStartupParameters.map { $0.lowercased() }
        if let options = message.options, !ignored.contains("options") {
            for setting in try StartupOptions.parse(options) {
                entries.append(ProfileEntry(name: setting.name.lowercased(), value: setting.value))
            }
        }
        for parameter in message.parameters {
            entries.append(
                ProfileEntry(name: parameter.name.lowercased(), value: parameter.value))
        }
        if settings.applicationNameAddHost {
            let name = [client.applicationName, client.origin].filter { !$0.isEmpty }
            entries.append(
                ProfileEntry(name: "application_name", value: name.joined(separator: " - ")))
        }
        return entries.filter { !ignored.contains($0.name) }
    }

    // MARK: Admission

    /// The client is who it says: it gets its place.
    func authenticated(_ client: ClientSession) {
        client.login?.isAuthenticated = true
        if ConsoleSession.databases.contains(client.database) {
            openConsole(client)
            return
        }
        if let error = admissionError(client) {
            refuse(client, error)
            return
        }
        guard let pool = pool(database: client.database, user: client.user) else {
            refuse(client, noSuchDatabase(client.database))
            return
        }
        if stops.disabledDatabases.contains(client.database) {
            refuse(
                client,
                .fatal(
                    .cannotConnectNow, "database \"\(client.database)\" is disabled",
                    hint:
                        "An administrator disabled it; ENABLE \(client.database) lets clients in again."
                ))
            return
        }
        join(client, pool)
        if pool.mode.pooling == .session || pool.isKnownToBeUnusable {
            client.phase = .awaitingServer
            requestLease(client)
        } else if pool.baseParameters == nil, !pool.hasGivenUpLearning, isBeingReached(pool) {
            client.phase = .learning
            pool.awaitingParameters.append(client)
            housekeeping(by: now + Self.learningTime)
        } else {
            finishLogin(client)
        }
    }

    /// A server is on its way that will say what its parameters are; where a bound leaves no room for
    /// one, there is nothing to wait for.
    private func isBeingReached(_ pool: Pool) -> Bool {
        guard let summary = scheduler.summary(of: pool.id) else { return false }
        return summary.counts.connecting > 0
    }

    /// How long a login waits for the very first server of its pool to say what it is.
    static let learningTime = Duration.seconds(1)

    private func join(_ client: ClientSession, _ pool: Pool) {
        client.pool = pool
        pool.clientCount += 1
        pool.statistics.logins += 1
        clientsByDatabase[client.database, default: 0] += 1
        clientsByUser[client.user, default: 0] += 1
        joinProcess(client)
        let group = group(for: client)
        client.group = group
        group.members += 1
        let profile = profiles.intern(namedSettings(of: client, pool))
        client.startupProfile = profile
        client.profile = profile
        profiles.retain(profile)
    }

    /// The client's settings. One that does not say what it is called has its program's name, so that
    /// `pg_stat_activity` tells who it is. Not in a session pool: there the name would be part of the startup
    /// packet, and connections opened for one program were of no use to another.
    private func namedSettings(of client: ClientSession, _ pool: Pool) -> [ProfileEntry] {
        let settings = client.login?.settings ?? []
        let key = "application_name"
        guard pool.mode.pooling != .session, let name = client.process?.name,
            !settings.contains(where: { $0.name == key }),
            !pool.entry.startupParameters.contains(where: { $0.keyword == key }),
            !self.settings.ignoreStartupParameters.contains(where: { $0.lowercased() == key })
        else { return settings }
        return settings + [ProfileEntry(name: key, value: name)]
    }

    /// Undoes `join` when the session ends.
    func forget(_ client: ClientSession) {
        if let index = client.pool?.awaitingParameters.firstIndex(where: { $0 === client }) {
            client.pool?.awaitingParameters.remove(at: index)
        }
        let key = CancelKey(processID: client.keyProcessID, secret: client.keySecret)
        if cancelKeys[key] == client.id { cancelKeys[key] = nil }
        guard let pool = client.pool else { return }
        client.pool = nil
        pool.clientCount -= 1
        decrement(&clientsByDatabase, client.database)
        decrement(&clientsByUser, client.user)
        profiles.release(client.profile)
        profiles.release(client.startupProfile)
        client.profile = .serverDefault
        client.startupProfile = .serverDefault
        if let group = client.group {
            client.group = nil
            leave(group)
        }
        unwatchPeer(of: client)
        leaveProcess(client)
    }

    private func decrement(_ counts: inout [String: Int], _ name: String) {
        guard let count = counts[name] else { return }
        counts[name] = count == 1 ? nil : count - 1
    }

    private func admissionError(_ client: ClientSession) -> PgError? {
        guard let entry = configuration.database(named: client.database) else {
            return noSuchDatabase(client.database)
        }
        let limits = configuration.poolSettings(database: entry, user: client.user)
        let inUse = clientsByDatabase.values.reduce(0, +)
        if inUse >= settings.maxClientConn {
            return Self.tooManyClients("max_client_conn", settings.maxClientConn)
        }
        if let limit = limits.maxDbClientConnections,
            clientsByDatabase[client.database, default: 0] >= limit
        {
            return Self.tooManyClients("max_db_client_connections of \"\(client.database)\"", limit)
        }
        if let limit = limits.maxUserClientConnections,
            clientsByUser[client.user, default: 0] >= limit
        {
            return Self.tooManyClients("max_user_client_connections of \"\(client.user)\"", limit)
        }
        return nil
    }

    // MARK: Logged in

    /// Everything is known: AuthenticationOk up to ReadyForQuery in one write.
    func finishLogin(_ client: ClientSession) {
        guard client.phase != .ready, client.isOpen, let pool = client.pool,
            let login = client.login
        else { return }
        if client.server == nil, pool.isKnownToBeUnusable, let failure = pool.lastFailure {
            refuse(client, failure.error, as: .noServer)
            return
        }
        let parameters: ParameterSet
        if let server = client.server, pool.mode.pooling == .session {
            parameters = server.parameters
            client.keyProcessID = server.backendProcessID
        } else {
            parameters = expectedParameters(client, pool)
            client.keyProcessID = Int32(bitPattern: client.id.slot &+ 1)
        }
        client.told = parameters
        client.stream.startupValues = startupValues(of: client, pool, parameters)
        registerCancelKey(client)
        var bytes: [UInt8] = []
        if let message = login.message,
            message.minorVersion > 0 || !message.protocolExtensions.isEmpty
        {
            bytes.appendNegotiateProtocolVersion(minor: 0, unrecognized: message.protocolExtensions)
        }
        bytes.appendAuthenticationOk()
        for parameter in parameters.values {
            bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        }
        bytes.appendBackendKeyData(processID: client.keyProcessID, secretKey: client.keySecret)
        bytes.appendReadyForQuery(.idle)
        client.phase = .ready
        client.login = nil
        if let limit = pool.limits.clientIdle { housekeeping(by: now + limit) }
        if settings.logConnections {
            logger.info("client logged in", metadata: describe(client))
        }
        bytes.withUnsafeBytes { send($0, to: client) }
        if !client.pending.isEmpty || client.goodbye != nil { queueToResume(client) }
    }

    func registerCancelKey(_ client: ClientSession) {
        repeat {
            client.keySecret = Int32.random(in: .min ... .max)
        } while cancelKeys[CancelKey(processID: client.keyProcessID, secret: client.keySecret)]
            != nil
        cancelKeys[CancelKey(processID: client.keyProcessID, secret: client.keySecret)] = client.id
    }

    /// What is reported of the settings in its startup packet: a RESET of its own goes back to them.
    private func startupValues(
        of client: ClientSession, _ pool: Pool, _ parameters: ParameterSet
    ) -> StartupValues? {
        guard pool.mode.pooling != .session, client.startupProfile != .serverDefault else {
            return nil
        }
        if let known = pool.startupValues[client.startupProfile] { return known }
        let names = Set(
            profiles.entries(of: client.startupProfile).map {
                CanonicalParameter.canonicalName($0.name)
            })
        let values = StartupValues(parameters.values.filter { names.contains($0.name) })
        if pool.startupValues.count >= Pool.learnedLimit { pool.startupValues.removeAll() }
        pool.startupValues[client.startupProfile] = values
        return values
    }

    /// What a server will say once this client's profile is in force.
    func expectedParameters(_ client: ClientSession, _ pool: Pool) -> ParameterSet {
        if client.profile == .serverDefault, let base = pool.baseParameters { return base }
        if let learned = pool.learned[client.profile] { return learned }
        let base =
            pool.baseParameters
            ?? ParameterSet(
                BaseParameters.set(serverVersion: Self.assumedServerVersion, user: pool.user).map {
                    (name: $0.0, value: $0.1)
                })
        let changes: [(name: String, value: String)] = profiles.entries(of: client.profile)
            .compactMap {
                let name = CanonicalParameter.canonicalName($0.name)
                guard CanonicalParameter.isReported(name) else { return nil }
                let value = CanonicalParameter.value(
                    name: name, value: $0.value, base: base.value(of: name))
                return value.map { (name, $0) }
            }
        return base.changing(changes)
    }

    /// Told to clients that log in while no server of their pool has ever been reached.
    static let assumedServerVersion = "15.0"

    // MARK: Refusals

    func noSuchDatabase(_ name: String) -> PgError {
        .fatal(
            .invalidCatalogName, "database \"\(name)\" does not exist",
            detail: "[databases] has no line for it, and no \"*\" line.",
            hint: "Add a line for it to [databases] and RELOAD.")
    }

    private static func tooManyClients(_ setting: String, _ limit: Int) -> PgError {
        .fatal(
            .tooManyConnections, "too many clients already",
            detail: "\(setting) is \(limit).",
            hint: "Close idle client connections or raise \(setting).")
    }

    private static let replicationRefused = PgError.fatal(
        .featureNotSupported, "replication connections are not pooled",
        hint: "Connect to PostgreSQL directly for replication.")

    private static let dataBehindRequest = PgError.fatal(
        .protocolViolation, "received unencrypted data after SSL or GSSAPI encryption request",
        hint: "The driver, or somebody between, sent bytes before it had the answer.")

    static let shuttingDown = PgError.fatal(
        .adminShutdown, "the broker is shutting down",
        hint: "Connect again once it is back.")
}
