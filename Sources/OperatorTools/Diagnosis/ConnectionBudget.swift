// SPDX-License-Identifier: Apache-2.0

/// What the pools of one broker may open on one PostgreSQL, beside what that allows.
package struct ConnectionBudget: Sendable {
    /// A pool that is known: that of a role that logged in there.
    package struct Pool: Equatable, Sendable {
        /// `database/role`, as clients name it.
        package let name: String
        package let facts: TrialFacts
        /// Its size and its reserve; nil: it has no bound of its own.
        package let size: Int?

        package init(name: String, facts: TrialFacts, size: Int?) {
            self.name = name
            self.facts = facts
            self.size = size
        }
    }

    /// On one and the same server.
    private let pools: [Pool]
    private let host: String
    /// `max_server_connections`, or the total of a shared bound.
    private let bound: (count: Int, setting: String)?
    /// Each further role opens a pool of this size; nil: all roles are known.
    private let perFurtherRole: Int?

    package init(
        host: String, pools: [Pool], bound: (count: Int, setting: String)?, perFurtherRole: Int?
    ) {
        self.host = host
        self.pools = pools
        self.bound = bound
        self.perFurtherRole = perFurtherRole
    }

    private static let topic = "connections"

    package var findings: [Finding] {
        guard let facts = pools.first?.facts else { return [] }
        return [whole(facts)] + roles + databases
    }

    private func whole(_ facts: TrialFacts) -> Finding {
        let sum = Self.sum(pools)
        let most = [sum, bound?.count].compactMap { $0 }.min()
        let room =
            "\(facts.room) (max_connections \(facts.maxConnections) - \(facts.reserved) reserved)"
        let names = "\(pools.count) \(pools.count == 1 ? "pool" : "pools")"
        guard let most else {
            return .warning(
                Self.topic, "\(host): \(names) without a bound; PostgreSQL has \(room)",
                do: "set default_pool_size or max_server_connections")
        }
        let text =
            bound.map { $0.count < sum ?? .max } == true
            ? "\(host): at most \(most) by \(bound!.setting); PostgreSQL has \(room)"
            : "\(host): \(names) with \(most) connections; PostgreSQL has \(room)"
        if most > facts.room {
            return .wrong(
                Self.topic, text,
                do: "raise max_connections of PostgreSQL, or set max_server_connections to "
                    + "\(facts.room) or less")
        }
        if let perFurtherRole, perFurtherRole > 0, bound == nil {
            let roles = (facts.room - most) / perFurtherRole
            if roles == 0 {
                return .warning(
                    Self.topic, "\(text); there is no room for a further role's pool",
                    do: "set max_server_connections to \(facts.room) or less, or smaller pools")
            }
            return .ok(Self.topic, "\(text); room for the pools of \(roles) more roles")
        }
        return .ok(Self.topic, text)
    }

    /// Superusers are not held to their limits.
    private var roles: [Finding] {
        Self.groups(pools.filter { !$0.facts.isSuperuser }, by: \.facts.role).compactMap {
            role, pools in
            guard let limit = pools[0].facts.roleLimit, exceeds(pools, limit) else { return nil }
            return .wrong(
                Self.topic,
                "\(host): role \(role) has CONNECTION LIMIT \(limit), its pools \(shown(pools))",
                do:
                    "ALTER ROLE \"\(role)\" CONNECTION LIMIT, or max_user_connections=\(limit) in [users]"
            )
        }
    }

    private var databases: [Finding] {
        Self.groups(pools.filter { !$0.facts.isSuperuser }, by: \.facts.database).compactMap {
            name, pools in
            guard let limit = pools[0].facts.databaseLimit, exceeds(pools, limit) else {
                return nil
            }
            return .wrong(
                Self.topic,
                "\(host): database \(name) has CONNECTION LIMIT \(limit), its pools \(shown(pools))",
                do:
                    "ALTER DATABASE \"\(name)\" CONNECTION LIMIT, or max_db_connections=\(limit) in its line"
            )
        }
    }

    private func exceeds(_ pools: [Pool], _ limit: Int) -> Bool {
        min(Self.sum(pools) ?? .max, bound?.count ?? .max) > limit
    }

    private func shown(_ pools: [Pool]) -> String {
        let names = pools.map(\.name).joined(separator: ", ")
        return "\(Self.sum(pools).map { "\($0)" } ?? "no bound") (\(names))"
    }

    /// nil: one of them has no bound.
    private static func sum(_ pools: [Pool]) -> Int? {
        pools.reduce(0) { sum, pool in sum.flatMap { sum in pool.size.map { sum + $0 } } }
    }

    /// In the order in which they are met.
    private static func groups(
        _ pools: [Pool], by name: (Pool) -> String
    ) -> [(name: String, pools: [Pool])] {
        var groups: [(name: String, pools: [Pool])] = []
        for pool in pools {
            if let place = groups.firstIndex(where: { $0.name == name(pool) }) {
                groups[place].pools.append(pool)
            } else {
                groups.append((name(pool), [pool]))
            }
        }
        return groups
    }
}
