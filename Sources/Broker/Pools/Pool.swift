import BrokerConfiguration
import LeaseCore
import PostgresWire

/// One (database, user) as the shell sees it: where its servers are, who they are opened as, and what is
/// known of them. The decisions about its connections are the scheduler's.
final class Pool {
    let id: PoolID
    /// What clients call the database.
    let database: String
    /// The role on the server.
    let user: String
    var entry: DatabaseEntry
    var password: Secret?
    var mode: RelayMode { didSet { heldMode = mode.held } }
    /// The mode for a client that holds an explicit lease.
    private(set) var heldMode: RelayMode
    /// Whose processes may have direct leases, as long as one of them has had some connection.
    var directUser: UInt32?
    /// `query_wait_timeout`, `query_timeout` … of this pool.
    var limits: LeaseLimits {
        didSet {
            firstLook = limits.firstLook.wholeNanoseconds
            queryWait = limits.queryWait?.wholeNanoseconds
        }
    }
    /// When a lease is first looked at: one of its limits, or whether its process still runs.
    /// In nanoseconds: every lease asks.
    private(set) var firstLook: Int64
    /// `query_wait_timeout` in nanoseconds.
    private(set) var queryWait: Int64?
    var statistics = PoolStatistics()
    var times = PoolTimes()

    /// What the server reported when it had its own defaults in force; nil before the first one.
    var baseParameters: ParameterSet?
    /// What it reported with a profile in force.
    var learned: [ProfileID: ParameterSet] = [:]
    /// Profiles that this server accepted once: they go in one write with the client's first message.
    var acceptedProfiles: Set<ProfileID> = []
    /// Clients whose login waits for `baseParameters`.
    var awaitingParameters: [ClientSession] = []
    /// The database has dblink, whose named connections are ended when a connection is cleaned.
    var hasLinks = false
    /// What clients with this startup profile are told that resets a setting.
    var startupValues: [ProfileID: StartupValues] = [:]
    /// Why the last attempt to connect failed; nil once one has succeeded.
    private(set) var lastFailure: ConnectFailure?
    /// When the first of the failures came that no success has followed.
    private(set) var failingSince: Instant?
    /// No server has answered while a login waited: until one does, logins do not wait.
    var hasGivenUpLearning = false
    /// Who held its servers then, in words: thousands of waiters may be refused in one turn.
    var holdersTold: (at: Instant, text: String)?
    var clientCount = 0
    var isClosed = false
    /// The same number for pools of the same host and port.
    var serverKey: UInt32 = 0
    /// The scheduler wants to know which of its leases rest.
    var areLeasesWatched = false

    init(
        id: PoolID, database: String, user: String, entry: DatabaseEntry, password: Secret?,
        mode: RelayMode, limits: LeaseLimits
    ) {
        self.id = id
        self.database = database
        self.user = user
        self.entry = entry
        self.password = password
        self.mode = mode
        heldMode = mode.held
        self.limits = limits
        firstLook = limits.firstLook.wholeNanoseconds
        queryWait = limits.queryWait?.wholeNanoseconds
    }

    /// The set for this profile, one object for one content.
    func parameters(for profile: ProfileID, reported: ParameterSet) -> ParameterSet {
        if profile == .serverDefault {
            if let baseParameters, baseParameters.isEqual(reported) { return baseParameters }
            baseParameters = reported
            return reported
        }
        if let known = learned[profile], known.isEqual(reported) { return known }
        // Profiles come and go (an application_name with a process number in it): what was learnt
        // of them is only a shortcut, and may be forgotten.
        if learned.count >= Self.learnedLimit { learned.removeAll() }
        learned[profile] = reported
        return reported
    }

    /// Never reached, for a reason that waiting cannot mend: a login is answered with it, as
    /// PostgreSQL itself would.
    var isKnownToBeUnusable: Bool { baseParameters == nil && lastFailure?.kind == .permanent }

    func connectFailed(_ failure: ConnectFailure, _ now: Instant) {
        lastFailure = failure
        failingSince = failingSince ?? now
    }

    func connectSucceeded() {
        lastFailure = nil
        failingSince = nil
    }

    static let learnedLimit = 512

    func accept(_ profile: ProfileID) {
        if acceptedProfiles.count >= Self.learnedLimit { acceptedProfiles.removeAll() }
        acceptedProfiles.insert(profile)
    }
}

/// How long what may last in a pool. nil: no limit.
struct LeaseLimits: Equatable {
    var queryWait: Duration?
    var query: Duration?
    var idleTransaction: Duration?
    var transaction: Duration?
    var lease: Duration?
    var leaseWarning: Duration?
    var clientIdle: Duration?

    /// The shortest of those that a lease may run into.
    var firstLook: Duration {
        [query, idleTransaction, transaction, lease, leaseWarning].compactMap { $0 }
            .reduce(Broker.peerWatchAfter, min)
    }
}

/// What the console counts for a pool. Times in nanoseconds.
struct PoolStatistics: Equatable {
    var assignments = 0
    var transactions = 0
    var queries = 0
    /// From clients, and to them.
    var bytesReceived = 0
    var bytesSent = 0
    var transactionTime: Int64 = 0
    var queryTime: Int64 = 0
    var waitTime: Int64 = 0
    var clientParses = 0
    var serverParses = 0
    var binds = 0
    var logins = 0

    static func - (later: PoolStatistics, earlier: PoolStatistics) -> PoolStatistics {
        var difference = PoolStatistics()
        difference.assignments = later.assignments - earlier.assignments
        difference.transactions = later.transactions - earlier.transactions
        difference.queries = later.queries - earlier.queries
        difference.bytesReceived = later.bytesReceived - earlier.bytesReceived
        difference.bytesSent = later.bytesSent - earlier.bytesSent
        difference.transactionTime = later.transactionTime - earlier.transactionTime
        difference.queryTime = later.queryTime - earlier.queryTime
        difference.waitTime = later.waitTime - earlier.waitTime
        difference.clientParses = later.clientParses - earlier.clientParses
        difference.serverParses = later.serverParses - earlier.serverParses
        difference.binds = later.binds - earlier.binds
        difference.logins = later.logins - earlier.logins
        return difference
    }

    static func += (sum: inout PoolStatistics, next: PoolStatistics) {
        sum.assignments += next.assignments
        sum.transactions += next.transactions
        sum.queries += next.queries
        sum.bytesReceived += next.bytesReceived
        sum.bytesSent += next.bytesSent
        sum.transactionTime += next.transactionTime
        sum.queryTime += next.queryTime
        sum.waitTime += next.waitTime
        sum.clientParses += next.clientParses
        sum.serverParses += next.serverParses
        sum.binds += next.binds
        sum.logins += next.logins
    }
}
