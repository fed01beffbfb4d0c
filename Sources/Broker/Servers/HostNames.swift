// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibPQ

/// Names that lead elsewhere: those of hosts that are connected to are looked up now and then (`dns_max_ttl`), and
/// connections to addresses that a name has no more are left.
extension Broker {
    /// What a look-up says: the hosts as they are now. A name that has no address at the moment keeps those it had.
    func note(_ hosts: [ServerHost], of place: ServerPlace, pool: DatabasePool) {
        guard hosts != place.hosts else {
            place.missing = [:]
            return
        }
        let answered = Set(hosts.map(\.entry))
        let now = now
        let present = Set(hosts)
        var gone: [ServerHost] = []
        var kept: [ServerHost] = []
        for old in place.hosts where !present.contains(old) {
            let isOther =
                answered.contains(old.entry)
                && !place.hosts.contains { $0.entry == old.entry && present.contains($0) }
            let since = place.missing[old] ?? now
            place.missing[old] = since
            // A name with many addresses may tell a few at a time.
            let isGone =
                answered.contains(old.entry)
                && (isOther || since + (settings.dnsMaxTtl ?? .seconds(15)) <= now)
            if isGone { gone.append(old) } else { kept.append(old) }
        }
        for host in present { place.missing[host] = nil }
        for host in gone { place.missing[host] = nil }
        place.hosts = (hosts + kept).sorted { $0.entry < $1.entry }
        guard !gone.isEmpty else { return }
        place.roster.keep(place.hosts, now: now)
        let left = connected(to: place).filter { $0.host.map(gone.contains) ?? false }
        guard !left.isEmpty else { return }
        for old in Set(left.compactMap(\.host)) {
            let addresses = hosts.filter { $0.entry == old.entry }.map(\.address)
            noteHostLeft(
                old, "the name is \(addresses.joined(separator: ", ")) now", .nameChanged,
                connections: left.count { $0.host == old }, pool: pool)
        }
        engine.strand(left.map(\.id), now: now)
        dealWithNotices()
    }

    func lookAtNamesSoon(_ place: ServerPlace) {
        guard let interval = settings.dnsMaxTtl,
            place.hosts.contains(where: { !$0.address.isEmpty })
        else { return }
        place.namesDue = now + interval
        housekeeping(by: place.namesDue)
    }

    /// Looks up what is due.
    func lookAtNames(_ now: Instant) {
        for place in directory.places.values where place.namesDue != .zero {
            guard place.namesDue <= now else {
                housekeeping(by: place.namesDue)
                continue
            }
            place.namesDue = .zero
            guard !place.isLookingUp, let server = connected(to: place).first,
                let route = server.route
            else { continue }
            place.isLookingUp = true
            resolve(route.plan, from: 0, answers: []) { [weak self] answers in
                place.isLookingUp = false
                guard let self else { return }
                let hosts = route.plan.addresses(with: answers).map(ServerHost.init)
                if !hosts.isEmpty { self.note(hosts, of: place, pool: server.pool) }
                self.lookAtNamesSoon(place)
            }
        }
    }
}
