// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// What a seed draws before its run begins: pools, clients, limits, and what will go wrong.
struct EngineCase {
    /// What may go wrong. A run without any must show its clients exactly what direct connections would.
    struct Trouble: OptionSet {
        let rawValue: UInt32

        static let serversDie = Trouble(rawValue: 1)
        static let serversHang = Trouble(rawValue: 2)
        static let serversLie = Trouble(rawValue: 4)
        static let connectsFail = Trouble(rawValue: 8)
        static let clientsVanish = Trouble(rawValue: 16)
        static let cancels = Trouble(rawValue: 32)
        static let kills = Trouble(rawValue: 64)
        static let limits = Trouble(rawValue: 128)
        static let stalls = Trouble(rawValue: 256)
        static let jumps = Trouble(rawValue: 512)
        static let processesEnd = Trouble(rawValue: 1024)
        static let cleaningFails = Trouble(rawValue: 2048)
        static let count = 12
    }

    struct Pool {
        let id: PoolID
        var terms: PoolTerms
        var policy: PoolPolicy
        /// Its clients are handed connections.
        var isPaused = false

        /// As the shell has it for replication.
        mutating func replicates() {
            terms.isReplication = true
            terms.connectQuery = nil
            let wait = terms.limits.queryWait
            terms.limits = LeaseLimits()
            terms.limits.queryWait = wait
            policy.size = 100
            policy.minimumSize = 0
            policy.reserveSize = 0
            policy.alwaysReset = false
            policy.servesOnce = true
        }
    }

    let seed: UInt64
    let trouble: Trouble
    var pools: [Pool] = []
    let clientCount: Int
    /// How many sets of settings clients come with.
    let zones: Int
    let takesLess: Bool
    let directLeases: Bool
    /// Operators reload, pause, resume, reconnect.
    let hasOperators: Bool
    /// At some time everyone is sent away, and nobody comes any more.
    let drains: Bool
    var settings = EngineSettings()
    var policy = BrokerPolicy()
    let groups: [GroupPolicy]

    init(seed: UInt64, using random: inout SeededGenerator) {
        self.seed = seed
        func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        switch seed % 3 {
        case 0: trouble = []
        case 1:
            trouble = Trouble(
                rawValue: 1 << UInt32(Int.random(in: 0..<Trouble.count, using: &random)))
        default:
            trouble = Trouble(
                rawValue: UInt32.random(in: 0..<1 << UInt32(Trouble.count), using: &random))
        }
        let isShared = RelayProgram.sharesStatements(seed)
        clientCount = Int.random(in: isShared ? 3...6 : 1...7, using: &random)
        zones = isShared ? 2 : 3
        takesLess = chance(70)
        directLeases = chance(80)
        hasOperators = chance(50)
        drains = seed % 7 == 6
        settings.serverResetQuery = "DISCARD ALL"
        settings.sessionState = seed % 5 == 4 ? .drop : .keep
        settings.serverCheckQuery = "select pglease.check"
        settings.serverConnectTimeout = .seconds(2)
        settings.directLeases = directLeases
        // Not drawn: seeds from before there were parked leases run as they did but for these.
        if seed % 7 < 5 { settings.parkTimeout = seed % 2 == 0 ? .milliseconds(8) : .seconds(5) }
        if trouble.contains(.stalls), chance(50) {
            settings.clientWriteTimeout = .milliseconds(300)
        }
        if trouble.contains(.clientsVanish), chance(30) { settings.clientGone = .cancel }
        if chance(30) { policy.maxServerConnections = Int.random(in: 2...6, using: &random) }
        if trouble.contains(.limits), chance(20) {
            policy.maxWaiting = Int.random(in: 1...4, using: &random)
        }
        groups = (0..<2).map { index in
            index == 0 || chance(60)
                ? GroupPolicy()
                : GroupPolicy(weight: 2, maxLeases: Int.random(in: 1...3, using: &random))
        }
        for number in 0..<Int.random(in: 1...3, using: &random) {
            let pool = Self.pool(number, seed, trouble, isShared, using: &random)
            pools.append(pool)
        }
    }

    private static func pool(
        _ number: Int, _ seed: UInt64, _ trouble: Trouble, _ isShared: Bool,
        using random: inout SeededGenerator
    ) -> Pool {
        func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        let poolings: [RelayMode.Pooling] = [.transaction, .transaction, .statement, .session]
        let pooling = poolings[Int((seed / 3 + UInt64(number)) % 4)]
        let bound = (isShared ? [3, 100] : [0, 1, 2, 100]).randomElement(using: &random)!
        let mode = RelayMode(
            pooling: pooling, maxPreparedStatements: bound, maxMessageSize: 1 << 20)
        var limits = LeaseLimits()
        func limit(_ most: Int64) -> Duration? {
            chance(50) ? nil : .milliseconds(Int64.random(in: most / 5...most, using: &random))
        }
        if trouble.contains(.limits) {
            limits.queryWait = limit(300)
            limits.query = limit(60)
            limits.idleTransaction = limit(60)
            limits.transaction = limit(200)
            limits.lease = limit(300)
            limits.leaseWarning = limit(100)
            limits.clientIdle = limit(400)
        }
        var policy = PoolPolicy(size: Int.random(in: 1...3, using: &random))
        if chance(30) { policy.minimumSize = Int.random(in: 0...2, using: &random) }
        if chance(30) { policy.reserveSize = 1 }
        if chance(30) { policy.reserveTimeout = .milliseconds(20) }
        policy.connectParallelism = Int.random(in: 1...3, using: &random)
        policy.retryMinimum = .milliseconds(50)
        policy.retryMaximum = .seconds(1)
        policy.checkDelay = [nil, .zero, .milliseconds(20)].randomElement(using: &random)!
        policy.idleTimeout = chance(40) ? .milliseconds(60) : nil
        policy.lifetime = chance(30) ? .milliseconds(200) : nil
        policy.roundRobin = chance(30)
        policy.alwaysReset = pooling == .session || chance(20)
        var pool = Pool(
            id: PoolID(UInt32(number + 1)),
            terms: PoolTerms(
                database: "d\(number)", mode: mode, limits: limits,
                connectQuery: chance(25) ? "SET mark TO 'connect'" : nil,
                serverKey: UInt32(number % 2)),
            policy: policy)
        // What a server says passes unread, lies too.
        if pooling == .session, !trouble.contains(.serversLie),
            (seed / 12 + UInt64(number)).isMultiple(of: 3)
        {
            pool.replicates()
        }
        return pool
    }
}
