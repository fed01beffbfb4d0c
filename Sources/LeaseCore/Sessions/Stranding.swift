// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Server connections whose host is not the right one any more: which server answers for a line of `[databases]` has
/// changed, and they are left at their transactions' ends.
extension Engine {
    // MARK: Seeing it

    /// The server said what it is, or refused to write. What a standby reports of itself no client can change; all
    /// else may be a client's own doing, and is asked for when its lease is over.
    mutating func noteRole(_ step: borrowing ServerStep, _ server: ServerID) {
        let wanted = pools[servers[server].pool].terms.wanted
        var isDoubted = false
        for (name, value) in step.changedParameters + step.brokerParameters {
            noteRole(name, value, of: server)
            isDoubted = isDoubted || name == "default_transaction_read_only"
        }
        if step.wasReadOnly, wanted.isOfOne {
            let known = servers[server].profile.parameters
            if known.value(of: "in_hot_standby") == "on" {
                noteRole("in_hot_standby", "on", of: server)
            } else {
                // Without these reports (before PostgreSQL 14) nothing is known.
                isDoubted =
                    isDoubted || known.value(of: "default_transaction_read_only") != "off"
            }
        }
        if isDoubted, wanted.refutation != nil { servers[server].facts.isDoubted = true }
    }

    /// One parameter that it reported.
    mutating func noteRole(_ name: String, _ value: String, of server: ServerID) {
        guard name == "in_hot_standby", !servers[server].facts.isStranded,
            pools[servers[server].pool].terms.wanted.isMet(byStandby: value == "on") == false
        else { return }
        let words = value == "on" ? "it is a standby" : "it is no standby any more"
        notices.append(.serverMisplaced(server, reason: words))
    }

    mutating func askForRole(_ server: ServerID) {
        servers[server].facts.isDoubted = false
        guard let text = pools[servers[server].pool].terms.wanted.refutation else {
            // The configuration has changed.
            roleAnswered(server, BrokerAnswer(query: .role, errors: [], hasFound: false, rows: []))
            return
        }
        mustAnswer(server, within: .seconds(5))
        ask(server, .role, [text], probe: 0)
    }

    mutating func roleAnswered(_ server: ServerID, _ answer: BrokerAnswer) {
        if answer.hasFound {
            let wanted = pools[servers[server].pool].terms.wanted
            notices.append(
                .serverMisplaced(
                    server, reason: wanted.isOfOne ? "it is read-only" : "it is not read-only"))
        }
        if servers[server].isLeased {
            servers[server].profile.holdsClientBytes = false
            if let client = servers[server].client { queueToResume(client) }
            endLeaseIfOver(server)
        } else if answer.hasFound || servers[server].stream.status != .idle {
            servers[server].facts.isStranded = answer.hasFound
            post(.resetFailed(server))
        } else {
            reset(server)
        }
    }

    // MARK: Leaving

    /// These connections are left: unused ones are closed, others when they come free. Who keeps one for longer than a
    /// transaction loses it between two.
    package mutating func strand(_ stranded: [ServerID], now: Instant) {
        self.now = now
        var live: [ServerID] = []
        for server in stranded
        where servers.contains(server) && servers[server].phase == .ready
            && !servers[server].facts.isStranded
        {
            servers[server].facts.isStranded = true
            live.append(server)
        }
        guard !live.isEmpty else { return }
        post(.serversStranded(live))
        for server in live where servers.contains(server) && servers[server].isLeased {
            if servers[server].isHub {
                moveHub(of: servers[server].pool)
            } else if let client = servers[server].client {
                review(server, keptBy: client)
            }
        }
    }

    /// The host answers nothing any more, and another one has its place: whoever still waits for an answer is told.
    package mutating func cut(_ dead: [ServerID], because reason: String, now: Instant) {
        self.now = now
        for server in dead where servers.contains(server) && servers[server].phase != .closed {
            serverEnded(server, reason)
        }
    }

    /// Between two transactions of a client that keeps its connection: takes it away if its host is wrong, and asks if it
    /// may be.
    mutating func review(_ server: ServerID, keptBy client: ClientID) {
        let isKept =
            pools[servers[server].pool].isSession || servers[server].pin != nil
            || servers[server].isExplicit
        guard isKept, !servers[server].isDirect, servers[server].phase == .ready,
            clients[client].phase == .ready, clients[client].call == nil,
            servers[server].stream.isBetweenBatches, servers[server].stream.status == .idle,
            servers[server].outbound.isEmpty, servers[server].prelude.isEmpty,
            !servers[server].profile.holdsClientBytes,
            !clients[client].stream.passing.isHalfPassed
        else { return }
        guard servers[server].facts.isStranded else {
            servers[server].profile.holdsClientBytes = true
            askForRole(server)
            return
        }
        let isExplicit = servers[server].isExplicit
        let error = LeaseErrors.stranded(isExplicit: isExplicit)
        if isExplicit, servers[server].pin == nil, !pools[servers[server].pool].isSession {
            takeAway(server, client, error, .failover)
            return
        }
        notices.append(
            .leaseRevoked(
                report(on: server), .failover, error, "\(error.message). \(error.detail ?? "")"))
        refuse(client, error)
    }

    /// How long nothing has been heard on a connection that owes an answer or is a client's own.
    package struct Silence {
        package let server: ServerID
        /// What has been heard and said so far: another number means that something was.
        package let progress: UInt64
    }

    /// What is said of a connection's silence; nil: nothing is owed on it.
    package func silence(of server: ServerID) -> Silence? {
        guard servers.contains(server), servers[server].phase == .ready else { return nil }
        let owes =
            servers[server].stream.isOwing || servers[server].stream.brokerQuery != nil
            || servers[server].isDirect || servers[server].recovery.returning != nil
            || (servers[server].isHub && pools[servers[server].pool].hub?.round != nil)
        guard owes else { return nil }
        let lease = servers[server].leaseID?.rawValue ?? 0
        return Silence(
            server: server,
            progress: lease &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(servers[server].holding.bytes))
    }
}
