// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV
import PostgresProbe
import PostgresWire

/// What is known of a host's silence.
struct HostLook {
    /// What its connections that owe an answer had said at the last look.
    var progress: [ServerID: UInt64] = [:]
    /// Since when none of them has said anything; nil: nothing is owed, or something was said.
    var silentSince: Instant?
    /// Knocks without an answer, one after the other.
    var deaths = 0
    var isKnocking = false
    /// Not before then again.
    var nextKnock = Instant.zero

    var isDead: Bool { deaths >= 2 }
}

/// A host of several that answers nothing is found out although connections to it are open: where something is owed and
/// nothing is heard, it is asked for a sign of life. If it gives none and another host is the right one, those that wait
/// for its answers are told that it is lost.
extension Broker {
    private static let pause = Duration.milliseconds(250)
    /// Without a byte on any connection that owes one.
    private static let silence = Duration.milliseconds(750)
    private static let patience = Duration.milliseconds(500)
    private static let betweenKnocks = Duration.seconds(2)

    func lookAtHostsSoon() { housekeeping(by: now + Self.pause) }

    func lookAtHosts(_ now: Instant) {
        var isWatched = false
        for place in directory.places.values where place.hasChoice {
            let servers = connected(to: place)
            guard !servers.isEmpty else { continue }
            isWatched = true
            look(at: place, servers, now)
        }
        if isWatched { lookAtHostsSoon() }
    }

    private func look(at place: ServerPlace, _ servers: [ServerConnection], _ now: Instant) {
        var progress: [ServerHost: [ServerID: UInt64]] = [:]
        for server in servers {
            guard let host = server.host, let silence = engine.silence(of: server.id) else {
                continue
            }
            progress[host, default: [:]][server.id] = silence.progress
        }
        for host in place.looks.keys where progress[host] == nil { place.looks[host] = nil }
        for (host, said) in progress {
            var look = place.looks[host] ?? HostLook()
            let isSilent = said.contains { look.progress[$0.key] == $0.value }
            let isHeard = said.contains { known in
                look.progress[known.key].map { $0 != known.value } ?? false
            }
            look.progress = said
            if isHeard || !isSilent {
                look.silentSince = nil
                look.deaths = 0
            } else if look.silentSince == nil {
                look.silentSince = now
            }
            place.looks[host] = look
            guard let since = look.silentSince, since + Self.silence <= now, !look.isKnocking,
                look.nextKnock <= now
            else { continue }
            knock(host, place)
        }
    }

    private func knock(_ host: ServerHost, _ place: ServerPlace) {
        guard let address = ProbeAddress(host) else { return }
        place.looks[host]?.isKnocking = true
        let patience = Self.patience
        do throws(UVError) {
            let work: @Sendable () -> PostmasterKnock = {
                PostmasterKnock.knock(address, patience: patience)
            }
            try loop.submit(work) { [weak self] answer in self?.knocked(host, place, answer) }
        } catch {
            place.looks[host]?.isKnocking = false
        }
    }

    private func knocked(_ host: ServerHost, _ place: ServerPlace, _ answer: PostmasterKnock) {
        guard var look = place.looks[host] else { return }
        look.isKnocking = false
        switch answer {
        case .answers:
            look.deaths = 0
            look.nextKnock = now + Self.betweenKnocks
        case .refused, .silent: look.deaths += 1
        }
        place.looks[host] = look
        guard look.silentSince != nil else { return }
        if look.deaths == 1 {
            knock(host, place)
        } else if look.isDead {
            place.looks[host]?.nextKnock = now + Self.betweenKnocks
            isDead(host, place, answer == .silent ? .silent : .refused)
        }
    }

    /// Nothing new goes there. If its pools have no room to look for another host, the one that has waited longest for
    /// its answer makes it.
    private func isDead(_ host: ServerHost, _ place: ServerPlace, _ trouble: HostTrouble) {
        let isNews = place.roster.trouble(of: host) != trouble
        place.roster.failed(host, trouble, now: now)
        let servers = connected(to: place)
        let there = servers.filter { $0.host == host }
        guard let first = there.first else { return }
        if isNews {
            noteHostLeft(
                host, trouble.words, FailoverCause(trouble), connections: there.count,
                pool: first.pool)
        }
        engine.strand(there.map(\.id), now: now)
        dealWithNotices()
        if servers.contains(where: { $0.host != host }) {
            if let other = servers.first(where: { $0.host != host })?.host {
                cutSilent(place, for: other)
            }
            return
        }
        guard !self.servers.values.contains(where: { $0.route?.place === place && $0.isConnecting })
        else { return }
        let waiting = connected(to: place).filter {
            $0.host == host && engine.silence(of: $0.id) != nil
        }
        let longest = waiting.min {
            ($0.querySince ?? $0.leaseSince) < ($1.querySince ?? $1.leaseSince)
        }
        if let longest { cut([longest], "its host \(host.words) \(trouble.words)") }
    }

    /// Another host is right: nobody waits for those that answer nothing any more.
    func cutSilent(_ place: ServerPlace, for other: ServerHost) {
        for (host, look) in place.looks where host != other && look.isDead {
            guard
                place.roster.wanted.isOfOne
                    || look.silentSince.map({ $0 + .seconds(5) <= now }) == true
            else { continue }
            let waiting = connected(to: place).filter {
                $0.host == host && engine.silence(of: $0.id) != nil
            }
            let trouble = place.roster.trouble(of: host) ?? .silent
            cut(waiting, "its host \(host.words) \(trouble.words), \(other.words) has taken over")
        }
    }

    private func cut(_ servers: [ServerConnection], _ reason: String) {
        guard !servers.isEmpty else { return }
        engine.cut(servers.map(\.id), because: reason, now: now)
        dealWithNotices()
    }
}

extension ProbeAddress {
    fileprivate init?(_ host: ServerHost) {
        guard let port = UInt16(host.port) else { return nil }
        if host.address.isEmpty, host.name.hasPrefix("/") || host.name.hasPrefix("@") {
            self = .unix(path: "\(host.name)/.s.PGSQL.\(port)")
        } else {
            self = .tcp(host: host.address.isEmpty ? host.name : host.address, port: port)
        }
    }
}
