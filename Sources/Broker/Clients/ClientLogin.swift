// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import BrokerConsole
import LeaseCore
import LibUV
import Logging
import PostgresProbe
import PostgresWire

/// What is known of a client before it is logged in. Gone afterwards.
final class ClientLogin {
    /// Who to ask for a password, and what was asked so far.
    enum Stage {
        case startup, authenticating
    }

    enum Exchange {
        case none
        /// A worker thread or `auth_query` is at work for it: nothing of it is read.
        case awaitsUs
        case awaitsMechanism(ScramServer, ScramTarget)
        case awaitsProof(ScramServer, ScramTarget)
        /// nil: there is no such user.
        case awaitsMD5(salt: [UInt8], StoredSecret?)
        case awaitsPassword(StoredSecret)
        case awaitsPasswordForPAM(service: String?)
        case awaitsPasswordForLDAP(LDAPDirectory)
    }

    /// Something of it has been read.
    var hasSpoken = false
    var message: StartupMessage?
    var settings: [ProfileEntry] = []
    var stage = Stage.startup
    var exchange = Exchange.none
    /// The user has shown who it is.
    var isAuthenticated = false
    /// Its secret came from `auth_query`.
    var isFromQuery = false
    /// What its proof has taught: with it the broker can log in as the same role.
    var learned: ServerSecret?
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
            options.bufferBytes = Int32(settings.tcpSocketBuffer ?? 0)
            // A client that is gone already says so at the first read.
            try? Descriptor.setTCPOptions(descriptor, options)
        }
        let deadline = settings.clientLoginTimeout.map { now + $0 }
        let id = engine.accept(isUnix: isUnix, loginDeadline: deadline, now: now)
        let client = ClientConnection(
            id: id, descriptor: descriptor,
            peer: isUnix ? PeerCredentials(descriptor: descriptor) : nil, isUnix: isUnix,
            number: counters.accepted, broker: self)
        world.clients.insert(client, at: id)
        counters.accepted += 1
        directory.clientCounts.connected()
        client.watcher = watcher
        watcher.delegate = client
        client.login = ClientLogin()
        watcher.watch(.readable)
        boundSilentClients()
    }

    /// No descriptor was left for this one: it is told so, and goes.
    func turnedAway(_ descriptor: Int32) {
        let error = PgError.fatal(
            .tooManyConnections, "the broker has no file descriptor left",
            detail: "The limit of open files is \(listening.descriptorLimit).",
            hint: "Raise it (ulimit -n, LimitNOFILE=) or lower max_client_conn.")
        noteRefusal(.noDescriptor, error, of: nil)
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(error)
        _ = bytes.withUnsafeBytes { Descriptor.write(descriptor, from: $0) }
    }

    // MARK: Handshake

    /// Startup packet and password messages. Returns how many bytes are dealt with.
    func handshake(_ bytes: UnsafeRawBufferPointer, from client: ClientConnection) -> Int {
        switch client.login?.stage {
        case .startup: startup(bytes, client)
        case .authenticating: password(bytes, client)
        case nil: bytes.count
        }
    }

    private func startup(_ bytes: UnsafeRawBufferPointer, _ client: ClientConnection) -> Int {
        guard bytes.count >= 4 else { return 0 }
        do throws(WireError) {
            let length = try StartupPacket.length(UnsafeRawBufferPointer(rebasing: bytes[..<4]))
            guard bytes.count >= length else { return 0 }
            let packet = UnsafeRawBufferPointer(rebasing: bytes[..<length])
            switch try StartupPacket.parse(packet) {
            case .ssl where bytes.count == length:
                encryptionRequested(by: client)
            case .ssl, .gss:
                guard bytes.count == length else {
                    counters.protocolErrors += 1
                    refuse(client, Self.dataBehindRequest)
                    return bytes.count
                }
                // Encryption by GSSAPI is not offered.
                send([UInt8(ascii: "N")], to: client)
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

    private func begin(_ client: ClientConnection, _ message: StartupMessage) {
        guard let login = client.login else { return }
        login.message = message
        client.user = message.user
        client.database = message.databaseOrUser
        client.applicationName = message.applicationName ?? ""
        client.replication = message.replicationKind
        if message.protocolExtensions.contains(BrokerPing.question) {
            answerPing(client)
            return
        }
        if message.protocolExtensions.contains(HandoverWords.question) {
            replacementRequested(by: client)
            return
        }
        guard isEncryptedEnough(client) else {
            refuse(client, Self.encryptionRequired)
            return
        }
        guard isAdmitted(client) else { return }
        if let shutdown = life.shutdown, client.number >= shutdown.comers {
            refuse(client, Self.poolerShuttingDown)
            return
        }
        do throws(WireError) {
            login.settings = try sessionSettings(of: message, from: client)
        } catch {
            refuse(client, error.pgError)
            return
        }
        login.stage = .authenticating
        logAttempt(client)
        if message.asksForMore {
            var bytes: [UInt8] = []
            bytes.appendNegotiateProtocolVersion(
                minor: Int32(message.spokenMinorVersion), unrecognized: message.protocolExtensions)
            send(bytes, to: client)
        }
        authenticate(client)
    }

    /// The GUCs of a startup packet, those of `options` first, as PostgreSQL applies them.
    private func sessionSettings(
        of message: StartupMessage, from client: ClientConnection
    ) throws(WireError) -> [ProfileEntry] {
        var entries: [ProfileEntry] = []
        let ignored = settings.ignoreStartupParameters.map { $0.lowercased() }
        if let options = message.options, !ignored.contains("options") {
            for setting in try StartupOptions.parse(options) {
                entries.append(ProfileEntry(name: setting.name.lowercased(), value: setting.value))
            }
        }
        for parameter in message.parameters {
            let name = parameter.name.lowercased()
            var value = parameter.value
            // Each of the two may name one half of it.
            if name == "datestyle", let before = entries.last(where: { $0.name == name }) {
                value = DateStyle.joined(before.value, value) ?? value
            }
            entries.append(ProfileEntry(name: name, value: value))
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
    func authenticated(_ client: ClientConnection) {
        client.login?.isAuthenticated = true
        if ConsoleSession.databases.contains(client.database) {
            if client.replication != nil {
                refuse(client, Self.replicationRefused)
                return
            }
            openConsole(client)
            return
        }
        if let error = admissionError(client) {
            refuse(client, error)
            return
        }
        learnKeys(of: client)
        guard
            let pool = pool(
                database: client.database, user: client.user, replication: client.replication,
                learned: client.login?.learned)
        else {
            refuse(client, noSuchDatabase(client.database))
            return
        }
        if operators.stops.disabledDatabases.contains(client.database) {
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
    }

    func join(_ client: ClientConnection, _ pool: DatabasePool) {
        guard let slot = engine.pools.slot(of: pool.id) else {
            preconditionFailure("a pool that the engine does not know")
        }
        client.pool = pool
        pool.clientCount += 1
        pool.unusedSince = nil
        if !client.isOurs {
            directory.clientCounts.join(database: client.database, user: client.user)
        }
        joinProcess(client)
        let group = group(for: client)
        client.group = group
        group.members += 1
        engine.admit(
            client.id, to: slot, group: group.id, times: group.times, owner: client.ownerKey,
            user: client.peer?.userID, peer: client.process?.confinedID,
            settings: namedSettings(of: client, pool), isUnusable: pool.isKnownToBeUnusable(slot),
            pending: [], now: now)
        dealWithNotices()
    }

    /// The client's settings. One that does not say what it is called has its program's name, so that
    /// `pg_stat_activity` tells who it is. Not in a session pool: there the name would be part of the startup
    /// packet, and connections opened for one program were of no use to another.
    private func namedSettings(of client: ClientConnection, _ pool: DatabasePool) -> [ProfileEntry]
    {
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
    func forget(_ client: ClientConnection) {
        directory.cancelKeys.forget(
            CancelKey(processID: client.keyProcessID, secret: client.keySecret), of: client.id)
        guard let pool = client.pool else { return }
        client.pool = nil
        pool.clientCount -= 1
        if pool.clientCount == 0, !pool.isClosed { poolIsUnused(pool) }
        if !client.isOurs {
            directory.clientCounts.leave(database: client.database, user: client.user)
        }
        if let group = client.group {
            client.group = nil
            leave(group)
        }
        unwatchPeer(of: client)
        leaveProcess(client)
        forgetIfUnused(pool)
    }

    // MARK: Logged in

    /// Everything is known: AuthenticationOk up to ReadyForQuery in one write.
    func finishLogin(_ client: ClientConnection) {
        switch client.phase {
        case .learning, .awaitingServer: break
        case .login, .console, .ready, .replicating, .closing, .closed: return
        }
        guard let pool = client.pool, let slot = engine.clients[client.id].pool,
            client.login != nil
        else { return }
        if client.server == nil, pool.isKnownToBeUnusable(slot), let failure = pool.lastFailure {
            refuse(client, failure.error, as: .noServer)
            return
        }
        let parameters: ParameterSet
        var notices: [UInt8] = []
        if let server = client.server, pool.mode.pooling == .session {
            parameters = server.parameters
            notices = server.loginNotices
            // Among peers it says whose client it is.
            client.keyProcessID =
                settings.peerId == 0
                ? server.backendProcessID : engine.processID(toldTo: client.id)
        } else {
            parameters = engine.expectedParameters(
                of: client.id, in: slot, assumed: Self.assumedParameters(pool.user))
            client.keyProcessID = engine.processID(toldTo: client.id)
        }
        registerCancelKey(client)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.usualGreeting)
        bytes.appendAuthenticationOk()
        bytes += notices
        appendPgbouncerParameters(pool, to: &bytes)
        bytes += pool.statusMessages(parameters)
        bytes.appendBackendKeyData(
            processID: client.keyProcessID, secretKey: client.keySecret,
            rest: client.keyRest)
        appendLoginNotice(to: &bytes)
        bytes.appendReadyForQuery(.idle)
        client.login = nil
        if settings.logConnections, !client.isOurs {
            logger.info("client logged in", metadata: describeLogin(client))
        }
        let values = engine.startupValues(of: client.id, parameters)
        engine.serve(
            client.id, told: parameters, startupValues: values, greeting: bytes, now: now)
        dealWithNotices()
    }

    /// In bytes.
    private static let usualGreeting = 768

    func registerCancelKey(_ client: ClientConnection) {
        client.keySecret =
            directory.cancelKeys.register(
                client.id, processID: client.keyProcessID, isPeer: settings.peerId != 0
            ).secret
        if client.login?.message?.hasLongCancelKey == true {
            client.keyRest = CancelKeys.makeRest()
        }
    }

    /// Told to clients that log in while no server of their pool has ever been reached.
    private static func assumedParameters(_ user: String) -> ParameterSet {
        ParameterSet(
            BaseParameters.set(serverVersion: "15.0", user: user).map { (name: $0.0, value: $0.1) })
    }

    // MARK: Refusals

    func noSuchDatabase(_ name: String) -> PgError {
        if name == Self.noDatabase {
            return .fatal(
                .invalidCatalogName, "no such database: \(name)",
                detail:
                    "Physical replication names no database, and the lines of [databases] differ.",
                hint:
                    "Add a line \"\(name)\" to [databases] that says which server it is, and RELOAD."
            )
        }
        return .fatal(
            .invalidCatalogName, "no such database: \(Self.oneLine(name))",
            detail: "[databases] has no line for it, and no \"*\" line.",
            hint: "Add a line for it to [databases] and RELOAD.")
    }

    private static let replicationRefused = PgError.fatal(
        .featureNotSupported, "the console cannot be replicated",
        hint: "Name a database of [databases].")

    private static let dataBehindRequest = PgError.fatal(
        .protocolViolation, "received unencrypted data after SSL or GSSAPI encryption request",
        hint: "The driver, or somebody between, sent bytes before it had the answer.")

    private static let poolerShuttingDown = PgError.fatal(
        .adminShutdown, "pooler is shutting down",
        detail: "The broker is shutting down, and lets nobody in.",
        hint: "Connect again once it is back.")

    static let shuttingDown = PgError.fatal(
        .adminShutdown, "server shutting down", detail: "The broker is shutting down.",
        hint: "Connect again once it is back.")
}
