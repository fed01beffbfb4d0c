// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibPQ

/// Hosts that lines of `[databases]` have in common, and what is known of them.
final class ServerPlace {
    struct Key: Hashable {
        var hosts: [String]
        var wanted: WantedServer
        var choice: HostChoice
    }

    let key: Key
    var roster: HostRoster
    /// All addresses, as they were last looked up.
    var hosts: [ServerHost] = []
    /// Addresses that a name had, and when it was first seen without them.
    var missing: [ServerHost: Instant] = [:]
    /// The attempt that finds out which host is right, and those that wait for it.
    var explorer: ServerID?
    var followers: [ServerID] = []
    var looks: [ServerHost: HostLook] = [:]
    var isLookingUp = false
    var namesDue = Instant.zero

    init(_ key: Key, longestRest: Duration) {
        self.key = key
        roster = HostRoster(wanted: key.wanted, choice: key.choice, longestRest: longestRest)
    }

    var hasChoice: Bool { hosts.count > 1 }
}

/// Where one attempt to connect may lead, and what came of it so far.
final class ServerRoute {
    let place: ServerPlace
    let plan: HostPlan
    fileprivate let addresses: [ServerHost: HostPlan.Address]
    let hosts: [ServerHost]
    var walk: HostWalk?
    var failures: [(host: ServerHost, failure: ConnectFailure)] = []
    /// The present host is passed over then, if it has said nothing.
    var patienceEnds: Instant?

    init(_ place: ServerPlace, _ plan: HostPlan, _ addresses: [HostPlan.Address]) {
        self.place = place
        self.plan = plan
        var known: [ServerHost: HostPlan.Address] = [:]
        var hosts: [ServerHost] = []
        for address in addresses {
            let host = ServerHost(address)
            if known.updateValue(address, forKey: host) == nil { hosts.append(host) }
        }
        self.addresses = known
        self.hosts = hosts
    }

    func parameters(for host: ServerHost) -> ConnectionParameters {
        plan.parameters(for: addresses[host]!, attributes: walk?.attributes)
    }
}

extension ServerHost {
    init(_ address: HostPlan.Address) {
        self.init(
            entry: address.index, name: address.host, address: address.number,
            port: address.port)
    }
}

extension Broker {
    func place(of entry: DatabaseEntry, _ plan: HostPlan) -> ServerPlace {
        let wanted = plan.parameters.value(of: "target_session_attrs").flatMap(WantedServer.init)
        let key = ServerPlace.Key(
            hosts: ["host", "hostaddr", "port"].map { plan.parameters.value(of: $0) ?? "" },
            wanted: wanted ?? .any, choice: entry.loadBalanceHosts.over(.roundRobin).policy)
        if let known = directory.places[key] { return known }
        let place = ServerPlace(key, longestRest: settings.serverLoginRetry)
        directory.places[key] = place
        return place
    }

    /// After a reload: what no connection leads to any more is forgotten.
    func forgetUnusedPlaces() {
        let used = Set(servers.values.compactMap { $0.route?.place.key })
        directory.places = directory.places.filter { used.contains($0.key) }
    }

    /// Connections that were made to hosts of this place, and live.
    func connected(to place: ServerPlace) -> [ServerConnection] {
        servers.values.filter { $0.route?.place === place && $0.isConnected && !$0.isClosed }
    }
}

extension HostBalance {
    var policy: HostChoice { self == .disable ? .disable : .roundRobin }
}
