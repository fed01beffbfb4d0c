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
    package var notify: ServiceNotifier?
    package var logger: Logger
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
    let reloadSources: () throws(ConfigurationError) -> LoadedConfiguration
    let notify: ServiceNotifier?
    let onReady: (BrokerAddress) -> Void
    var adoptedSockets: [Int32]
    let startedAt: Instant

    var loaded: LoadedConfiguration
    var configuration: Configuration { loaded.configuration }
    var settings: Settings { loaded.configuration.settings }
    var userList: UserList?

    // The engine, and its outside.

    let world = LoopWorld()
    var engine: Engine
    var isDealing = false
    var clients: SlotTable<ClientID, ClientConnection> { world.clients }
    var servers: SlotTable<ServerID, ServerConnection> { world.servers }

    // What it names.

    var pools: [PoolKey: DatabasePool] = [:]
    var poolsByID: [PoolID: DatabasePool] = [:]
    var lastPool: UInt32 = 0
    var stops = OperatorStops()
    /// Console clients whose answer waits for something.
    var waitingConsoles: Set<ClientID> = []
    var groups: [String: ClientGroup] = [:]
    var groupTimes = GroupTimesTable()
    var groupsByID: [GroupID: ClientGroup] = [:]
    var lastGroup: UInt32 = 0
    var freeGroups: [GroupID] = []
    var cancelKeys: [CancelKey: ClientID] = [:]
    var processes: [ProcessIdentity: ClientProcess] = [:]
    var lastPeer: UInt32 = 0
    var databaseKeys: [String: UInt32] = [:]
    var userKeys: [String: UInt32] = [:]
    /// Servers, and databases and roles of servers.
    var serverKeys: [String: UInt32] = [:]
    var clientCount = 0
    var clientsByDatabase: [String: Int] = [:]
    var clientsByUser: [String: Int] = [:]

    // The loop's tools.

    var listeners: [Listener] = []
    var timer: LoopTimer?
    var signals: [SignalWatcher] = []
    /// The next time that something outside the scheduler may have run out.
    var housekeepingAt: Instant?
    let readBuffer: UnsafeMutableRawPointer
    var counters = BrokerCounters()
    var events = EventRing()
    var lockNumbers = LockNumbers()
    var lookups = NameLookups()
    var processLooks = ProcessLooks()
    var lostProcesses: [ClientProcess] = []
    /// Of servers that are gone, and whose cancel request still waits for its turn.
    var cancelsBeyondTheEnd: [ServerID: CancelHandle] = [:]
    var proofs = ServerProofs()
    var history = StatisticsHistory()
    let monitoring = Monitoring()
    var shutdown: Shutdown?
    var startup: Startup?
    var turnTime: Instant?
    var exitStatus: Int32 = 0
    var isStopped = false
    /// Worker threads are blocked at the end, and exit(3) would wait for them: leave by `_exit(2)`.
    package internal(set) var leavesJobsBehind = false
    var watchdogInterval: Duration?
    var descriptorLimit = 0
    /// Servers whose next bytes no event announces.
    var readable: [ServerID] = []
    /// Secrets derived from plain passwords of `auth_file`.
    var derivedSecrets: [String: ScramSecret] = [:]
    /// Makes the secrets of users that do not exist.
    let mockKey = OpenSSLArithmetic().randomBytes(32)

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
        reloadSources = options.reload
        notify = options.notify
        onReady = options.onReady
        adoptedSockets = options.adoptedSockets
        loaded = options.configuration
        startedAt = Instant(nanoseconds: loop.now)
        let settings = options.configuration.configuration.settings
        engine = Engine(
            world: world, settings: Self.engineSettings(settings),
            policy: Self.brokerPolicy(settings), seed: UInt64.random(in: .min ... .max),
            now: startedAt)
        readBuffer = .allocate(byteCount: Broker.readSize, alignment: 16)
        world.judgeDirectLease = { [unowned self] server, client in
            self.reasonNotDirect(server, client)
        }
    }

    deinit { readBuffer.deallocate() }

    /// The time of this turn of the loop: the clock is read once, when somebody first asks.
    var now: Instant {
        if let turnTime { return turnTime }
        let time = Instant(nanoseconds: loop.now)
        turnTime = time
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
        guard !engine.notices.isEmpty || !lostProcesses.isEmpty, !isDealing else { return }
        isDealing = true
        repeat {
            for notice in engine.takeNotices() { deal(with: notice) }
        } while !engine.notices.isEmpty
        isDealing = false
        endLostProcesses()
    }

    func server(_ id: ServerID) -> ServerConnection? { world.servers[id] }

    /// Something outside the scheduler runs out then.
    func housekeeping(by deadline: Instant) {
        if let housekeepingAt, housekeepingAt <= deadline { return }
        housekeepingAt = deadline
    }

    /// Runs before each wait of the loop: whoever may go on goes on, and the one timer is armed.
    func beforeWait() {
        repeat {
            engine.resumeClients(now: now)
            dealWithNotices()
        } while engine.hasResumable
        var next = engine.nextDeadline
        if let housekeepingAt, next.map({ housekeepingAt < $0 }) ?? true { next = housekeepingAt }
        if !readable.isEmpty { next = now }
        if let next {
            if timer?.deadline != next.nanoseconds { timer?.arm(at: next.nanoseconds) }
        } else {
            timer?.disarm()
        }
        if monitoring.isOn, let turnTime { monitoring.lag.record(loop.now - turnTime.nanoseconds) }
        turnTime = nil
    }

    func timerFired() {
        let now = now
        readOn()
        engine.timeReached(now)
        dealWithNotices()
        if let housekeepingAt, housekeepingAt <= now {
            self.housekeepingAt = nil
            keepHouse(now)
        }
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
        return known
    }
}

/// Which client a CancelRequest means.
struct CancelKey: Hashable {
    var processID: Int32
    var secret: Int32
}

struct PoolKey: Hashable {
    var database: String
    var user: String
}
