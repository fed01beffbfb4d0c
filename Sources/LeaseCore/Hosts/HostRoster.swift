// SPDX-License-Identifier: Apache-2.0

/// What is known of the hosts of one list: which one is in use, which ones had trouble, and which one a new connection
/// tries first. Shared by all pools whose lines have the same list, so that one of them finds out for all.
///
/// Pure: the world tells it what came of each attempt. Invariant: where only one server can be right, `current` is the
/// last host that a connection was made to, until it is known to be wrong or not there.
package struct HostRoster: Sendable {
    package let wanted: WantedServer
    package let choice: HostChoice
    /// Longest time for which a host with trouble is asked last.
    private let longestRest: Duration
    package private(set) var current: ServerHost?
    /// The one before, and when it was found wrong or away.
    private var left: (host: ServerHost, at: Instant)?
    private var troubles: [ServerHost: Trouble] = [:]
    private var turn = 0

    private struct Trouble {
        var kind: HostTrouble
        var since: Instant
        var attempts: Int
        var restsUntil: Instant
    }

    /// Connections go to another host from now on.
    package struct Move: Equatable, Sendable {
        package let from: ServerHost
        package let to: ServerHost
        /// Since the old one was found wrong or away.
        package let after: Duration
    }

    package init(wanted: WantedServer, choice: HostChoice, longestRest: Duration) {
        self.wanted = wanted
        self.choice = choice
        self.longestRest = longestRest
    }

    package func trouble(of host: ServerHost) -> HostTrouble? { troubles[host]?.kind }

    /// It is not known which host is right: one attempt should find out for all.
    package var isUnsettled: Bool {
        guard wanted.isOfOne else { return false }
        guard let current else { return true }
        return troubles[current] != nil
    }

    // MARK: Order

    /// The order in which an attempt asks the hosts: those with recent trouble last.
    package mutating func walk(over hosts: [ServerHost], now: Instant) -> HostWalk {
        var ready: [ServerHost] = []
        var resting: [ServerHost] = []
        for host in inOrder(hosts) {
            if let trouble = troubles[host], trouble.restsUntil > now {
                resting.append(host)
            } else {
                ready.append(host)
            }
        }
        resting.sort { troubles[$0]!.restsUntil < troubles[$1]!.restsUntil }
        // One attempt finds out whether it is back; those that begin meanwhile do not wait for it as well.
        if ready.count + resting.count > 1 {
            for host in ready where troubles[host] != nil {
                troubles[host]!.restsUntil = now + HostWalk.patience
            }
        }
        return HostWalk(ready, resting: resting, wanted: wanted)
    }

    private mutating func inOrder(_ hosts: [ServerHost]) -> [ServerHost] {
        guard hosts.count > 1 else { return hosts }
        if wanted.isOfOne || choice == .disable {
            guard let current, let place = hosts.firstIndex(of: current) else { return hosts }
            return Array(hosts[place...] + hosts[..<place])
        }
        var entries: [[ServerHost]] = []
        for host in hosts {
            if entries.last?.first?.entry == host.entry {
                entries[entries.count - 1].append(host)
            } else {
                entries.append([host])
            }
        }
        let (first, round) = (turn % entries.count, turn / entries.count)
        turn &+= 1
        if turn < 0 { turn = 0 }
        return (entries[first...] + entries[..<first]).flatMap { addresses in
            let first = round % addresses.count
            return addresses[first...] + addresses[..<first]
        }
    }

    // MARK: What came of attempts

    /// A host could not be connected to, or one that was connected to is away or wrong.
    package mutating func failed(_ host: ServerHost, _ kind: HostTrouble, now: Instant) {
        // A primary is no trouble where a standby is preferred.
        if kind == .unwanted, wanted == .preferStandby { return }
        let known = troubles[host]
        let attempts = (known?.attempts ?? 0) + 1
        let rest = min(longestRest, .milliseconds(500) * (1 << min(attempts, 8)))
        troubles[host] = Trouble(
            kind: kind, since: known?.since ?? now, attempts: attempts, restsUntil: now + rest)
        if host == current, left?.host != host { left = (host, now) }
    }

    /// A connection was made, and the host is the right one.
    package mutating func connected(_ host: ServerHost, now: Instant) -> Move? {
        troubles[host] = nil
        guard wanted.isOfOne || choice == .disable else { return nil }
        defer {
            current = host
            left = nil
        }
        guard let old = current ?? left?.host, old != host else { return nil }
        let since = left?.host == old ? left?.at ?? now : now
        return Move(from: old, to: host, after: now - since)
    }

    /// Whether connections to this host are given up as they come free, now that another one is in use.
    package func isAbandoned(_ host: ServerHost) -> Bool {
        if wanted.isOfOne, let current { return host != current }
        return troubles[host] != nil
    }

    /// The names have these addresses now; the others are forgotten.
    package mutating func keep(_ hosts: [ServerHost], now: Instant) {
        let kept = Set(hosts)
        troubles = troubles.filter { kept.contains($0.key) }
        guard let old = current, !kept.contains(old) else { return }
        left = (old, now)
        current = nil
    }
}
