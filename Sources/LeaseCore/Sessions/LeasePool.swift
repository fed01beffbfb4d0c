// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// One (database, user) as the engine knows it: how its clients are served, what its servers have said, and what
/// is counted. Whom connections go to is the scheduler's to say.
package struct LeasePool: ~Copyable {
    package let id: PoolID
    package internal(set) var terms: PoolTerms
    /// The mode for a client that holds an explicit lease.
    let heldMode: RelayMode
    /// When a lease is first looked at, in nanoseconds: every lease asks.
    let firstLook: Int64
    /// `query_wait_timeout` in nanoseconds.
    let queryWait: Int64?
    package var statistics = PoolStatistics()
    package var times = PoolTimes()
    package internal(set) var parameters = LearnedParameters()
    /// Clients whose login waits for `parameters.base`.
    var awaitingParameters: [ClientID] = []
    /// No server has answered while a login waited: until one does, logins do not wait.
    var hasGivenUpLearning = false
    /// The database has dblink, whose named connections are ended when a connection is cleaned.
    var hasLinks = false
    /// Whether it has, was asked once.
    var hasProbed = false
    /// What is known of the functions that its clients call.
    private(set) var functions = FunctionMemo()
    /// Settings of classes (`app.tenant`) that some client has set: no list of the server's has them.
    var classNames: [String] = []
    /// What each grant looks at.
    var care: Care
    /// Whose processes may have direct leases, as long as one of them has had some connection.
    var directUser: UInt32?
    /// The scheduler wants to know which of its leases rest.
    package internal(set) var areLeasesWatched = false
    /// Who listens for its clients; nil: none of them ever has.
    var hub: PoolHub?

    init(id: PoolID, terms: PoolTerms) {
        self.id = id
        self.terms = terms
        heldMode = terms.mode.held
        firstLook = terms.limits.firstLook.wholeNanoseconds
        queryWait = terms.limits.queryWait?.wholeNanoseconds
        switch terms.isolation {
        case nil: care = .asSettingsSay
        case .tracked?: care = []
        case .strict?: care = .isolation
        }
    }

    /// What must not be another client's when a lease begins.
    struct Care: OptionSet {
        let rawValue: UInt8

        /// Anything.
        static let isolation = Care(rawValue: 1)
        /// The same, if the engine's settings say so.
        static let asSettingsSay = Care(rawValue: 2)
        /// Some client asks what its session has drawn from sequences.
        static let sequences = Care(rawValue: 4)
    }

    /// As it is, under other terms.
    consuming func under(_ terms: PoolTerms) -> LeasePool {
        var next = LeasePool(id: id, terms: terms)
        next.statistics = statistics
        next.times = times
        next.parameters = parameters
        next.awaitingParameters = awaitingParameters
        next.hasGivenUpLearning = hasGivenUpLearning
        next.hasLinks = hasLinks
        next.hasProbed = hasProbed
        next.classNames = classNames
        next.functions = functions
        next.care.formUnion(care.intersection(.sequences))
        next.directUser = directUser
        next.areLeasesWatched = areLeasesWatched
        next.hub = hub
        return next
    }

    package var mode: RelayMode { terms.mode }
    package var limits: LeaseLimits { terms.limits }
    var isSession: Bool { terms.mode.pooling == .session }
}

/// What the configuration says of a pool, as far as leases are concerned.
package struct PoolTerms: Equatable, Sendable {
    /// What clients call the database.
    package var database: String
    package var mode: RelayMode
    /// Its clients replicate: each has a walsender of its own, and what they say passes as it is.
    package var isReplication = false
    package var limits: LeaseLimits
    /// Runs on each new connection, and again behind whatever took away what it did.
    package var connectQuery: String?
    /// The same number for pools of the same host and port.
    package var serverKey: UInt32
    /// How many of its leases may be pinned at a time; nil: all of them.
    package var maxPins: Int?
    /// nil: as the engine's settings say.
    package var sessionState: SessionStatePolicy?
    package var isolation: LeaseIsolation?
    /// Which server of the line's list its connections lead to.
    package var wanted = WantedServer.any

    package init(
        database: String, mode: RelayMode, limits: LeaseLimits, connectQuery: String?,
        serverKey: UInt32, maxPins: Int? = nil
    ) {
        self.maxPins = maxPins
        self.database = database
        self.mode = mode
        self.limits = limits
        self.connectQuery = connectQuery.flatMap { $0.isEmpty ? nil : $0 }
        self.serverKey = serverKey
    }
}

/// How long what may last in a pool. nil: no limit.
package struct LeaseLimits: Equatable, Sendable {
    package var queryWait: Duration?
    package var query: Duration?
    package var idleTransaction: Duration?
    package var transaction: Duration?
    package var lease: Duration?
    package var leaseWarning: Duration?
    package var clientIdle: Duration?
    /// Of a pinned lease in which nothing runs.
    package var pin: Duration?
    /// When one that waits to pin its lease is told so.
    package var placeNotice: Duration?

    package init() {}

    /// The shortest of those that a lease may run into, or when its process is first looked at.
    var firstLook: Duration {
        [query, idleTransaction, transaction, lease, leaseWarning].compactMap { $0 }
            .reduce(Self.processWatchAfter, min)
    }

    /// Leases younger than this are not worth a pidfd.
    static let processWatchAfter = Duration.seconds(1)
}

/// What servers of one pool have reported, one object for one content.
package struct LearnedParameters {
    /// What the server reported when it had its own defaults in force; nil before the first one.
    package private(set) var base: ParameterSet?
    /// What it reported with a profile in force.
    private var learned: [ProfileID: ParameterSet] = [:]
    /// Profiles that this server accepted once: they go in one write with the client's first message.
    private var accepted: Set<ProfileID> = []
    /// What clients with this startup profile are told that resets a setting.
    private var startupValues: [ProfileID: StartupValues] = [:]

    // Profiles come and go (an application_name with a process number in it): what was learnt
    // of them is only a shortcut, and may be forgotten.
    private static let limit = 512

    /// The set for this profile.
    mutating func set(for profile: ProfileID, reported: ParameterSet) -> ParameterSet {
        if profile == .serverDefault {
            if let base, base.isEqual(reported) { return base }
            base = reported
            return reported
        }
        if let known = learned[profile], known.isEqual(reported) { return known }
        if learned.count >= Self.limit { learned.removeAll() }
        learned[profile] = reported
        return reported
    }

    /// The same number of a profile may come to stand for another.
    package func known(for profile: ProfileID) -> ParameterSet? {
        profile == .serverDefault ? base : learned[profile]
    }

    func accepts(_ profile: ProfileID) -> Bool { accepted.contains(profile) }

    mutating func accept(_ profile: ProfileID) {
        if accepted.count >= Self.limit { accepted.removeAll() }
        accepted.insert(profile)
    }

    /// The values for a startup profile, made when they are first asked for.
    mutating func startupValues(
        of profile: ProfileID, made make: () -> StartupValues
    ) -> StartupValues {
        if let known = startupValues[profile] { return known }
        let values = make()
        if startupValues.count >= Self.limit { startupValues.removeAll() }
        startupValues[profile] = values
        return values
    }
}
