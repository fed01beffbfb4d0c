// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
package import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV
package import Logging
import PostgresWire

/// What a broker is started with.
package struct BrokerOptions {
    package var configuration: LoadedConfiguration
    /// Reads the same sources again, for RELOAD and SIGHUP.
    package var reload: () throws(ConfigurationError) -> LoadedConfiguration
    /// Listening sockets from systemd.
    package var adoptedSockets: [Int32] = []
    /// The same, at which figures are served.
    package var adoptedMetrics: [Int32] = []
    /// The broker whose place this one takes.
    package var predecessor: Predecessor?
    /// Its PostgreSQL ends with it.
    package var isEmbedded = false
    package var notify: ServiceNotifier?
    package var logger: Logger
    /// Has the log follow settings that are about to be in force.
    package var followLog: (Settings) throws(LogTargetError) -> Void = { _ in }
    /// Called on the loop once clients are accepted, with where.
    package var onReady: (BrokerAddress) -> Void = { _ in }

    package init(
        configuration: LoadedConfiguration, logger: Logger,
        reload: @escaping () throws(ConfigurationError) -> LoadedConfiguration
    ) {
        self.configuration = configuration
        self.logger = logger
        self.reload = reload
    }
}

/// Where a broker listens.
package struct BrokerAddress: Sendable {
    /// nil when there is no Unix socket. A leading `@` is an abstract one.
    package var socketDirectory: String?
    package var port: Int
    package var tcp: [String]
}

/// Why a broker could not start; what to do is part of the text.
package struct BrokerStartError: Error, CustomStringConvertible {
    package var description: String
    /// sysexits(3).
    package var exitStatus: Int32

    package init(_ description: String, exitStatus: Int32) {
        self.description = description
        self.exitStatus = exitStatus
    }
}

/// One broker: one loop, and everything it owns. Two can live in one process.
///
/// The loop's thread is the only one that touches it.
package final class Broker {
    let loop: EventLoop
    var logger: Logger
    var surroundings: Surroundings
    var configured: Configured
    var configuration: Configuration { configured.loaded.configuration }
    var settings: Settings { configured.loaded.configuration.settings }

    let world = LoopWorld()
    var engine: Engine
    var clients: SlotTable<ClientID, ClientConnection> { world.clients }
    var servers: SlotTable<ServerID, ServerConnection> { world.servers }

    var directory = Directory()
    var operators = Operators()
    var jobs = WorkerJobs()
    var sharing = Sharing()

    var turn = LoopTurn()
    let readBuffer: UnsafeMutableRawPointer
    var listening = Listening()
    var handover = Handover()
    let peers = PeerCancels()
    var life = BrokerLife()

    var counters = BrokerCounters()
    var telemetry: Telemetry
    let monitoring = Monitoring()

    /// Worker threads are blocked at the end, and exit(3) would wait for them: leave by `_exit(2)`.
    package var leavesJobsBehind: Bool { life.leavesJobsBehind }

    static let readSize = 65_536
    /// Half of them at most look up names (libuv's rule), half at most wait for cancels.
    static let workerThreads = 32

    package init(_ options: BrokerOptions) throws(BrokerStartError) {
        // Cancels wait for PostgreSQL there, one dead host must not keep names from being resolved.
        EventLoop.setWorkerThreads(Self.workerThreads)
        do throws(UVError) {
            loop = try EventLoop()
        } catch {
            throw BrokerStartError("the event loop could not be made: \(error)", exitStatus: 71)
        }
        logger = options.logger
        surroundings = Surroundings(
            notify: options.notify, adoptedSockets: options.adoptedSockets,
            followLog: options.followLog, onReady: options.onReady,
            isEmbedded: options.isEmbedded, predecessor: options.predecessor,
            adoptedMetrics: HandedSockets(
                options.adoptedMetrics.map { HandedSockets.Socket(descriptor: $0) }))
        configured = Configured(options.configuration, reload: options.reload)
        let startedAt = Instant(nanoseconds: loop.now)
        telemetry = Telemetry(startedAt: startedAt)
        let settings = options.configuration.configuration.settings
        engine = Engine(
            world: world, settings: Self.engineSettings(settings),
            policy: Self.brokerPolicy(settings), seed: UInt64.random(in: .min ... .max),
            now: startedAt)
        readBuffer = .allocate(byteCount: Broker.readSize, alignment: 16)
        world.judgeDirectLease = { [unowned self] server, client in
            self.reasonNotDirect(server, client)
        }
        world.makeParkingPlace = { [unowned self] client in
            ParkingPlace(loop: self.loop) { [weak self] in self?.bellRung(client) }
        }
        world.continueReading = { [unowned self] client in self.continueReading(client) }
    }

    deinit { readBuffer.deallocate() }

    /// The time of this turn of the loop: the clock is read once, when somebody first asks.
    var now: Instant {
        if let time = turn.time { return time }
        let time = Instant(nanoseconds: loop.now)
        turn.time = time
        return time
    }

    // MARK: The engine

    /// Tells the scheduler of something.
    func post(_ event: SchedulerEvent) {
        engine.order(event, now: now)
        dealWithNotices()
    }

    /// Deals with what the engine has to say, in its order. To be called after each call of it.
    func dealWithNotices() {
        guard !engine.notices.isEmpty || !directory.processes.lost.isEmpty, !turn.isDealing else {
            return
        }
        turn.isDealing = true
        repeat {
            for notice in engine.takeNotices() { deal(with: notice) }
        } while !engine.notices.isEmpty
        turn.isDealing = false
        endLostProcesses()
    }

    func server(_ id: ServerID) -> ServerConnection? { world.servers[id] }

    /// Something outside the engine runs out then.
    func housekeeping(by deadline: Instant) { turn.keepHouse(by: deadline) }

    /// Runs before each wait of the loop: whoever may go on goes on, and the one timer is armed.
    func beforeWait() {
        repeat {
            engine.resumeClients(now: now)
            dealWithNotices()
        } while engine.mayResume()
        turn.arm(for: turn.hasMore ? now : engine.nextDeadline)
        if monitoring.isOn, let began = turn.time {
            monitoring.lag.record(loop.now - began.nanoseconds)
        }
        turn.time = nil
        turn.ends.turnIsOver()
    }

    func timerFired() {
        let now = now
        readOn()
        endMore()
        engine.timeReached(now)
        dealWithNotices()
        if turn.isHouseDue(now) { keepHouse(now) }
    }

    static func engineSettings(_ settings: Settings) -> EngineSettings {
        var known = EngineSettings()
        known.clientGone = settings.clientGone == .finish ? .finish : .cancel
        known.serverResetQuery = settings.serverResetQuery
        known.serverCheckQuery = settings.serverCheckQuery
        known.serverConnectTimeout = settings.serverConnectTimeout
        known.clientWriteTimeout = settings.clientWriteTimeout
        known.trackedParameters = Set(settings.trackExtraParameters.map { $0.lowercased() })
        known.statementMemory = settings.maxStatementMemory
        known.directLeases = settings.directLease == .sameUID
        known.parkTimeout = settings.parkTimeout
        known.sessionState = settings.sessionState.policy
        known.isolation = settings.isolation.policy
        known.pinNotice = settings.pinNotice
        known.peerID = UInt16(settings.peerId)
        return known
    }
}
