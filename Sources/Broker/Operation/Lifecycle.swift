// SPDX-License-Identifier: Apache-2.0

package import BrokerConfiguration
import BrokerConsole
import Glibc
import LeaseCore
import LibUV
import Logging
import PostgresWire
import StatusHTTP

/// From start to end.
extension Broker {
    /// Serves until it is shut down. Returns the process's exit status; blocks its thread, which from now on is
    /// the loop's.
    package func run() throws(BrokerStartError) -> Int32 {
        do throws(UVError) {
            turn.timer = try LoopTimer(loop: loop) { [unowned self] in self.timerFired() }
            try watchSignals()
        } catch {
            closeHandles()
            throw BrokerStartError("the event loop could not be set up: \(error)", exitStatus: 71)
        }
        // The loop is the broker's own, and ends before it.
        let broker = Unmanaged.passUnretained(self)
        loop.onBeforeWait { broker._withUnsafeGuaranteedRef { $0.beforeWait() } }
        listening.descriptorLimit = Int(clamping: Descriptor.raiseLimit())
        warnAboutLimits()
        do throws(ConfigurationError) {
            configured.begin(with: try Self.userList(of: configured.loaded))
            configured.hostRules = try Self.hostRules(of: configured.loaded, mayBeMissing: true)
            let encryption = try EncryptionSetup(configured.loaded)
            configured.clientTLS = encryption.context
            let doubts = Self.warnings(of: configured.hostRules, configured.loaded)
            for warning in doubts + encryption.warnings {
                logger.warning("configuration", metadata: ["issue": "\(warning)"])
            }
        } catch {
            closeHandles()
            throw BrokerStartError(error.description, exitStatus: 78)
        }
        do throws(UVError) {
            // In a broker's place its figures are served once it has given way.
            if surroundings.predecessor == nil {
                try serveMonitoring(at: settings.metricsListen)
            } else {
                try meetPredecessor()
            }
        } catch {
            closeHandles()
            throw BrokerStartError(
                "metrics_listen: \(error): \(monitoringAdvice(error))", exitStatus: 73)
        }
        for warning in Self.warnings(of: configured.hostRules, configured.loaded) {
            logger.warning("configuration", metadata: ["issue": "\(warning)"])
        }
        deriveSecrets()
        openGuaranteedGroups()
        beginStartup()
        loop.run()
        closeHandles()
        return life.exitStatus
    }

    private func watchSignals() throws(UVError) {
        listening.signals.append(
            try SignalWatcher(loop: loop, signal: SIGTERM) { [unowned self] in
                self.logger.notice("SIGTERM received")
                self.shutDown(.waitForClients)
            })
        listening.signals.append(
            try SignalWatcher(loop: loop, signal: SIGINT) { [unowned self] in
                self.logger.notice("SIGINT received")
                self.shutDown(.waitForServers)
            })
        listening.signals.append(
            try SignalWatcher(loop: loop, signal: SIGQUIT) { [unowned self] in
                self.logger.notice("SIGQUIT received")
                self.shutDown(.immediate)
            })
        listening.signals.append(
            try SignalWatcher(loop: loop, signal: SIGHUP) { [unowned self] in
                self.reloadOnSignal()
            })
        listening.signals.append(
            try SignalWatcher(loop: loop, signal: SIGUSR1) { [unowned self] in
                self.pauseOnSignal()
            })
        listening.signals.append(
            try SignalWatcher(loop: loop, signal: SIGUSR2) { [unowned self] in
                self.resumeOnSignal()
            })
    }

    private func warnAboutLimits() {
        let needed = Self.descriptorsNeeded(settings)
        guard listening.descriptorLimit < needed else { return }
        logger.warning(
            "the limit of open files is lower than max_client_conn needs",
            metadata: [
                "limit": "\(listening.descriptorLimit)", "needed": "\(needed)",
                "advice": "raise it (ulimit -n, LimitNOFILE=) or lower max_client_conn",
            ])
    }

    /// How many descriptors the process needs with as many clients as `max_client_conn` lets in.
    package static func descriptorsNeeded(_ settings: Settings) -> Int {
        let servers = settings.maxServerConnections ?? settings.defaultPoolSize
        let figures = settings.metricsListen == nil ? 0 : HTTPServer.Limits().connections
        return settings.maxClientConn + servers + figures + ownDescriptors
    }

    /// What the loop, the log and the listeners hold.
    package static let ownDescriptors = 32

    // MARK: Startup

    /// Opens the pools that are certain. Clients are let in when the first has had a connection: those of
    /// the others wait for theirs.
    private func beginStartup() {
        let startup = Startup(began: now)
        life.startup = startup
        startup.awaitsLoan = awaitsLoan()
        if !startup.awaitsLoan { openFirstPools() }
    }

    func openFirstPools() {
        guard let startup = life.startup else { return }
        // What the former broker has no connection to spare for is not tried.
        let known = settings.prewarm ? forcedUserPools.filter { !isWithoutPlace($0.key) } : []
        guard !known.isEmpty else {
            becomeReady()
            openKeptPools()
            return
        }
        // Counted before the first is opened: it may fail on the spot.
        startup.expected = known.count
        startup.pending = Set(known.map(\.key))
        for (key, entry) in known where directory.pools[key] == nil {
            openPool(key, entry, startup: startupSchedule)
        }
        openKeptPools()
    }

    private var startupSchedule: StartupSchedule {
        var schedule = StartupSchedule()
        schedule.attempts = settings.startupAttempts
        schedule.delay = settings.startupDelay
        schedule.factor = settings.startupFactor
        schedule.maximumDelay = settings.startupMaxDelay
        return schedule
    }

    func poolStarted(_ id: PoolID) {
        guard let pool = directory.pools[id], let startup = life.startup, !life.isStopped,
            startup.pending.remove(pool.key) != nil
        else { return }
        startup.started += 1
        if !startup.isOver { becomeReady() }
    }

    func poolStartFailed(_ id: PoolID, _ failure: ConnectFailure, attempts: Int) {
        guard let pool = directory.pools[id], let startup = life.startup, !life.isStopped,
            startup.pending.remove(pool.key) != nil
        else { return }
        if failure.error.sqlState == .invalidPassword, awaitsKeys(pool) {
            logger.notice(
                "PostgreSQL asks for a password that the first login of its role will bring",
                metadata: ["database": "\(pool.database)", "user": "\(pool.user)"])
            startup.started += 1
            if !startup.isOver { becomeReady() }
            return
        }
        startup.failed += 1
        // One database that is down must not take the others along.
        let isHopeless = startup.pending.isEmpty && startup.started == 0
        logger.log(
            level: isHopeless ? .critical : .error, "PostgreSQL could not be reached at start",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)", "attempts": "\(attempts)",
                "sqlstate": "\(failure.error.sqlState.rawValue)",
                "reason": "\(failure.error.message)",
                "advice":
                    "\(failure.error.hint ?? "check [databases], and that the server runs; startup_attempts and startup_delay say how long to try")",
            ])
        endStartupIfHopeless()
    }

    /// A pool that the start waits for is no more.
    func startupForgets(_ key: PoolKey) {
        guard let startup = life.startup, startup.pending.remove(key) != nil, !startup.isOver else {
            return
        }
        if startup.pending.isEmpty, startup.failed == 0 {
            becomeReady()
        } else {
            endStartupIfHopeless()
        }
    }

    private func endStartupIfHopeless() {
        guard let startup = life.startup, !startup.isOver, startup.pending.isEmpty else { return }
        startup.isOver = true
        life.exitStatus = 69
        finishShutdown()
    }

    private func becomeReady() {
        life.startup?.isOver = true
        do throws(BrokerStartError) {
            try listen()
            try moveIn()
        } catch {
            logger.critical("cannot listen", metadata: ["reason": "\(error.description)"])
            life.exitStatus = error.exitStatus
            finishShutdown()
            return
        }
        // Else the former broker may still accept the next client.
        guard handover.before == nil else {
            life.announcesBy = now + Self.patienceWithFormer
            housekeeping(by: now + Self.patienceWithFormer)
            return
        }
        announceReady()
    }

    private static let patienceWithFormer = Duration.seconds(5)

    /// The former broker has stopped to accept, has ended, or does not answer.
    func announceIfAwaited() {
        guard life.announcesBy != nil, !life.isStopped else { return }
        life.announcesBy = nil
        announceReady()
    }

    func lookAtAnnouncement(_ now: Instant) {
        if let deadline = life.announcesBy, deadline <= now { announceIfAwaited() }
    }

    private func announceReady() {
        let address = BrokerAddress(
            socketDirectory: settings.unixSocketDir, port: settings.listenPort,
            tcp: listening.listeners.flatMap { $0.tcpAddresses.map { "\($0.host):\($0.port)" } })
        logger.notice(
            "ready",
            metadata: [
                "version": "\(ProductVersion.text)", "pid": "\(getpid())",
                "unix_socket":
                    "\(settings.unixSocketDir.map { "\($0)/.s.PGSQL.\(settings.listenPort)" } ?? "none")",
                "tcp": "\(address.tcp.isEmpty ? "none" : address.tcp.joined(separator: " "))",
            ])
        note(.started, .info, "pglease \(ProductVersion.text) is ready, process \(getpid())")
        _ = surroundings.notify?.ready(status: "serving")
        if let interval = surroundings.notify?.watchdogInterval {
            surroundings.watchdogInterval = interval
            housekeeping(by: now)
        }
        housekeeping(by: now + statisticsPeriod)
        surroundings.onReady(address)
    }

    /// The place of the former broker, if there is one, is this one's.
    private func moveIn() throws(BrokerStartError) {
        guard handover.sockets != nil else { return }
        do throws(UVError) {
            try serveMonitoring(at: settings.metricsListen)
        } catch {
            throw BrokerStartError(
                "metrics_listen: \(error): \(monitoringAdvice(error))", exitStatus: 73)
        }
        takePlace()
    }

    /// Those of the manager, also where the former broker had them.
    private func adoptedSockets() -> [Int32] {
        guard surroundings.adoptedSockets.isEmpty, let sockets = handover.sockets,
            sockets.areAdopted
        else { return surroundings.adoptedSockets }
        surroundings.hasAdopted = true
        var descriptors: [Int32] = []
        while let socket = sockets.takeAny() { descriptors.append(socket.descriptor) }
        return descriptors
    }

    private func listen() throws(BrokerStartError) {
        let adopted = adoptedSockets()
        do throws(UVError) {
            for descriptor in adopted {
                listening.listeners.append(
                    try Listener(
                        loop: loop, adopting: descriptor,
                        onAccept: { [unowned self] in self.accepted($0) },
                        onError: { [unowned self] in self.acceptFailed($0) }))
            }
            if adopted.isEmpty { try listenWhereConfigured() }
        } catch {
            throw BrokerStartError(listenFailure(error), exitStatus: 73)
        }
        deferAccepts()
        for listener in listening.listeners {
            listener.onRefuse = { [unowned self] in self.turnedAway($0) }
        }
        if listening.listeners.isEmpty {
            throw BrokerStartError(
                "nowhere to listen: set unix_socket_dir or listen_addr", exitStatus: 78)
        }
    }

    private func listenFailure(_ error: UVError) -> String {
        let places =
            (settings.unixSocketDir.map { ["unix_socket_dir \($0)"] } ?? [])
            + settings.listenAddr.map { "listen_addr \($0)" }
        let advice: String
        switch error.name {
        case "EADDRINUSE": advice = "another process listens there: stop it, or change listen_port"
        case "EACCES", "EPERM", "EROFS": advice = "this user may not create the socket there"
        case "ENOENT", "ENOTDIR":
            advice = "the folder does not exist: make it, or change unix_socket_dir"
        case "EADDRNOTAVAIL": advice = "this machine has no such address: correct listen_addr"
        default: advice = "check unix_socket_dir and listen_addr"
        }
        return
            "\(error) (\(places.joined(separator: ", ")), port \(settings.listenPort)): \(advice)"
    }

    private func listenWhereConfigured() throws(UVError) {
        let backlog = Int32(clamping: settings.listenBacklog)
        if let folder = settings.unixSocketDir {
            Self.makeFolder(folder)
            listening.listeners.append(
                try Listener(
                    loop: loop,
                    address: .unix(path: "\(folder)/.s.PGSQL.\(settings.listenPort)"),
                    backlog: backlog, mode: UInt16(settings.unixSocketMode),
                    group: settings.unixSocketGroup.flatMap(Self.groupID),
                    handed: handover.sockets,
                    onAccept: { [unowned self] in self.accepted($0) },
                    onError: { [unowned self] in self.acceptFailed($0) }))
        }
        // Those of all addresses first: they hear for the others.
        let isEvery = { (host: String) in ["*", "", "0.0.0.0", "::"].contains(host) }
        let hosts =
            settings.listenAddr.filter(isEvery) + settings.listenAddr.filter { !isEvery($0) }
        for host in hosts {
            let taken = listening.listeners.flatMap(\.tcpAddresses)
            listening.listeners.append(
                try Listener(
                    loop: loop, address: .tcp(host: host, port: UInt16(settings.listenPort)),
                    backlog: backlog, handed: handover.sockets,
                    sharesPort: settings.soReuseport, taken: taken,
                    onAccept: { [unowned self] in self.accepted($0) },
                    onError: { [unowned self] in self.acceptFailed($0) }))
        }
    }

    /// Also for those that are there, after a change.
    func deferAccepts() {
        let seconds = Int32(clamping: settings.tcpDeferAccept ?? 0)
        for listener in listening.listeners { listener.deferAccept(seconds: seconds) }
    }

    /// The socket's folder is made if its parent is there; what is wrong with it, bind will say.
    static func makeFolder(_ folder: String) {
        guard folder.hasPrefix("/") else { return }
        _ = mkdir(folder, 0o755)
    }

    static func groupID(_ name: String) -> UInt32? {
        if let number = UInt32(name) { return number }
        guard let entry = getgrnam(name) else { return nil }
        return entry.pointee.gr_gid
    }

    private func acceptFailed(_ error: UVError) {
        logger.error(
            "accepting clients failed",
            metadata: ["reason": "\(error)", "open_files_limit": "\(listening.descriptorLimit)"])
    }

    // MARK: End

    private func closeHandles() {
        monitoring.close()
        listening.closeListeners()
        handover.close()
        peers.close()
        for client in Array(clients.values) { close(client, because: "the broker ends") }
        for server in Array(servers.values) {
            closeSocket(of: server, isClean: false)
            server.farewell?.close()
        }
        listening.closeSignals()
        turn.timer?.close()
        turn.timer = nil
        life.isStopped = true
        if loop.close(patience: Self.jobPatience) { return }
        if loop.hasJobs {
            life.leavesJobsBehind = true
            loop.abandon()
        } else {
            logger.error("the event loop still had handles at its end")
        }
    }

    /// How long the end waits for cancels and names; a server or resolver that hangs may never answer.
    private static let jobPatience = Duration.milliseconds(200)
}
