// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// Policies by chance: small limits, so that everything is scarce. Pools with the same key have the
/// same bound, as they have by configuration.
struct WorldPolicies {
    private let databaseBounds: [Int?]
    private let userBounds: [Int?]
    /// The pools of one database are under a bound that other hosts are under, too.
    let sharesBound: Bool

    init(using random: inout SeededGenerator, sharesBound: Bool) {
        self.sharesBound = sharesBound
        databaseBounds = (0..<2).map { _ in
            Self.chance(0.25, &random) ? Int.random(in: 1...5, using: &random) : nil
        }
        userBounds = (0..<2).map { _ in
            Self.chance(0.25, &random) ? Int.random(in: 1...5, using: &random) : nil
        }
    }

    static func broker(using random: inout SeededGenerator) -> BrokerPolicy {
        BrokerPolicy(
            maxServerConnections: chance(0.6, &random)
                ? Int.random(in: 1...8, using: &random) : nil,
            maxWaiting: chance(0.2, &random) ? Int.random(in: 2...12, using: &random) : nil)
    }

    func pool(using random: inout SeededGenerator) -> PoolPolicy {
        var policy = PoolPolicy(size: Int.random(in: 1...5, using: &random))
        if Self.chance(0.4, &random) { policy.minimumSize = Int.random(in: 0...4, using: &random) }
        if Self.chance(0.3, &random) {
            policy.reserveSize = Int.random(in: 1...2, using: &random)
            if Self.chance(0.8, &random) { policy.reserveTimeout = .milliseconds(300) }
        }
        policy.connectParallelism = Int.random(in: 1...4, using: &random)
        policy.retryMaximum = .seconds(Int.random(in: 1...15, using: &random))
        policy.checkDelay = [nil, .zero, .milliseconds(200), .seconds(30)].randomElement(
            using: &random)!
        policy.idleTimeout = Self.chance(0.5, &random) ? .seconds(2) : nil
        policy.lifetime = Self.chance(0.4, &random) ? .seconds(3) : .seconds(3600)
        policy.notifyAfter = Self.chance(0.5, &random) ? .milliseconds(400) : nil
        policy.roundRobin = Self.chance(0.3, &random)
        policy.alwaysReset = Self.chance(0.3, &random)
        policy.databaseKey = UInt32.random(in: 0...1, using: &random)
        policy.userKey = UInt32.random(in: 0...1, using: &random)
        if sharesBound, policy.databaseKey == 0 { policy.shareKey = 7 }
        policy.maxDatabaseConnections = databaseBounds[Int(policy.databaseKey)]
        policy.maxUserConnections = userBounds[Int(policy.userKey)]
        return policy
    }

    static func group(using random: inout SeededGenerator) -> GroupPolicy {
        GroupPolicy(
            weight: Int.random(in: 1...3, using: &random),
            minLeases: chance(0.15, &random) ? 1 : 0,
            maxLeases: chance(0.3, &random) ? Int.random(in: 1...4, using: &random) : nil)
    }

    static func chance(_ probability: Double, _ random: inout SeededGenerator) -> Bool {
        Double.random(in: 0..<1, using: &random) < probability
    }
}
