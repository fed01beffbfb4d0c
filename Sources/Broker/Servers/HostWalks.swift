// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// An attempt to connect goes from host to host until one is the right one.
extension Broker {
    func beginWalk(_ server: ServerConnection) {
        guard let route = server.route else { return }
        let place = route.place
        if route.hosts.count > 1, place.roster.isUnsettled {
            if let explorer = place.explorer, explorer != server.id,
                self.server(explorer)?.isConnecting == true
            {
                place.followers.append(server.id)
                return
            }
            place.explorer = server.id
        }
        route.walk = place.roster.walk(over: route.hosts, now: now)
        askNextHost(server, route)
    }

    private func askNextHost(_ server: ServerConnection, _ route: ServerRoute) {
        guard let host = route.walk?.next() else {
            endWalk(server, route)
            return
        }
        server.host = host
        server.loginWatch = ServerLoginWatch()
        server.loginSocket = 0
        server.keyLogin = nil
        server.loginLooks = 0
        server.connection = PostgresConnection.start(
            parameters: route.parameters(for: host), password: rawPassword(of: server))
        waitForHost(server)
        watchConnect(server, for: .writing)
    }

    /// It has said something, or was asked just now: its time begins again.
    func waitForHost(_ server: ServerConnection) {
        guard let route = server.route, let limit = route.walk?.limit else {
            server.route?.patienceEnds = nil
            return
        }
        let end = now + limit
        route.patienceEnds = end
        engine.remind(of: server.id, at: end)
    }

    /// True if it was passed over for its silence.
    func losesPatience(_ server: ServerConnection) -> Bool {
        guard let route = server.route, let end = route.patienceEnds else { return false }
        // A worker thread has it: it has said something.
        guard server.connection != nil else {
            waitForHost(server)
            return false
        }
        guard end <= now else {
            engine.remind(of: server.id, at: end)
            return false
        }
        let failure = ConnectFailure(
            kind: .transient,
            error: .error(
                .connectionNotEstablished,
                "the server did not answer within \(HostWalk.patience.inSeconds)"))
        passHost(server, route, .silent, failure)
        return true
    }

    /// True if another host is asked now, or this was the last of several.
    func goesOn(_ server: ServerConnection, after failure: ConnectFailure) -> Bool {
        guard server.isConnecting, let route = server.route, route.walk?.current != nil,
            let trouble = trouble(of: server, failure)
        else { return false }
        passHost(server, route, trouble, failure)
        return true
    }

    private func passHost(
        _ server: ServerConnection, _ route: ServerRoute, _ trouble: HostTrouble,
        _ failure: ConnectFailure
    ) {
        guard let host = route.walk?.current else { return }
        route.place.roster.failed(host, trouble, now: now)
        route.walk?.pass(trouble)
        route.failures.append((host, failure))
        server.watcher?.close()
        server.watcher = nil
        server.connection?.close(sendTerminate: false)
        server.connection = nil
        askNextHost(server, route)
    }

    /// What a failure says of the host; nil: it answers, and it is the attempt that is not to its liking.
    private func trouble(of server: ServerConnection, _ failure: ConnectFailure) -> HostTrouble? {
        guard failure.kind == .transient else { return nil }
        guard let said = server.connection?.failure, server.connection?.hasFailed == true else {
            return .refused
        }
        if said.isOfOtherRole { return .unwanted }
        guard let state = said.sqlState else { return .refused }
        return state == SQLState.cannotConnectNow.rawValue ? .refused : nil
    }

    /// No host is left.
    private func endWalk(_ server: ServerConnection, _ route: ServerRoute) {
        route.walk = nil
        let failures = route.failures
        guard var failure = failures.last?.failure else { return }
        if failures.count > 1 {
            failure.error.message = "no server of the list can be used: \(failure.error.message)"
            failure.error.detail = failures.map { "\($0.host.words): \($0.failure.error.message)" }
                .joined(separator: "; ")
        }
        giveUp(server, failure)
    }

    /// The attempt has failed for good.
    func giveUp(_ server: ServerConnection, _ failure: ConnectFailure) {
        server.route?.walk = nil
        server.route?.patienceEnds = nil
        explorationEnded(by: server, failure)
        engine.serverConnectFailed(server.id, failure, now: now)
        dealWithNotices()
        if sharedBound(of: server.pool) != nil { housekeeping(by: now) }
    }

    /// Those who wait for what this attempt finds out go on, or fail with it.
    func explorationEnded(by server: ServerConnection, _ failure: ConnectFailure?) {
        guard let place = server.route?.place, place.explorer == server.id else { return }
        place.explorer = nil
        let waiting = place.followers
        place.followers = []
        for id in waiting {
            guard let follower = self.server(id), follower.isConnecting, follower.route != nil
            else { continue }
            if let failure, failure.kind == .transient {
                giveUp(follower, failure)
            } else {
                beginWalk(follower)
            }
        }
    }

    // MARK: Success

    /// The host of this connection is the right one: others that were passed over are left.
    func arrived(_ server: ServerConnection) {
        guard let route = server.route, let host = server.host else { return }
        let place = route.place
        let old = place.roster.current
        let trouble = old.flatMap(place.roster.trouble)
        let passed = route.walk?.passedOver ?? []
        let move = place.roster.connected(host, now: now)
        place.looks[host] = nil
        route.walk = nil
        route.patienceEnds = nil
        explorationEnded(by: server, nil)
        if place.hasChoice { lookAtHostsSoon() }
        if place.namesDue == .zero { lookAtNamesSoon(place) }
        if let move { noteFailover(place, move, trouble, pool: server.pool) }
        if move != nil || !passed.isEmpty {
            leave(place, passed, for: host, pool: server.pool, isMove: move != nil)
        }
        cutSilent(place, for: host)
    }

    /// Connections to hosts that are wrong or away are left at their transactions' ends.
    private func leave(
        _ place: ServerPlace, _ passed: [ServerHost], for host: ServerHost, pool: DatabasePool,
        isMove: Bool
    ) {
        let left = connected(to: place).filter { server in
            guard let old = server.host, old != host else { return false }
            return passed.contains(old) || (isMove && place.roster.isAbandoned(old))
        }
        guard !left.isEmpty else { return }
        if !isMove {
            for old in Set(left.compactMap(\.host)) {
                let trouble = place.roster.trouble(of: old) ?? .refused
                noteHostLeft(
                    old, trouble.words, FailoverCause(trouble),
                    connections: left.count { $0.host == old }, pool: pool)
            }
        }
        engine.strand(left.map(\.id), now: now)
        dealWithNotices()
    }

    /// A connection's server says that it is not the right one any more.
    func misplaced(_ id: ServerID, _ reason: String) {
        guard let server = server(id), let place = server.route?.place, let host = server.host
        else { return }
        let isNews = place.roster.trouble(of: host) != .unwanted
        place.roster.failed(host, .unwanted, now: now)
        let left = connected(to: place).filter { $0.host == host }
        if isNews {
            noteHostLeft(
                host, reason, .unwanted, connections: left.count, pool: server.pool)
        }
        engine.strand(left.map(\.id), now: now)
    }
}

extension ConnectionFailure {
    /// The server answers, and is not what `target_session_attrs` asks for: libpq's words, which are English.
    var isOfOtherRole: Bool {
        [
            "session is read-only", "session is not read-only", "server is in hot standby mode",
            "server is not in hot standby mode",
        ].contains { message.hasSuffix($0) }
    }
}
