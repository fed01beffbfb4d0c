// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// A drain: everyone is sent away, each between two transactions.
extension EngineRun {
    static let goAway = PgError.fatal(.adminShutdown, "go away")

    mutating func sendEveryoneAway() {
        guard !isWinding else { return }
        let most = time(upTo: 60_000)
        note("everyone is sent away within \(most)")
        emptyBy = now + most
        before()
        engine.sendClientsAway(within: most, Self.goAway, now: now)
        after()
    }

    /// What it has begun is not cut off: nothing of it runs, and no transaction is open.
    mutating func sentAway(_ client: EngineClient) {
        note("client \(client.index) is sent away")
        client.wasSentAway = true
        client.sawFaultBefore = client.everSawFault
        client.mayEnd = true
        if emptyBy == nil {
            violation = "client \(client.index) is sent away, and nobody is to go"
        }
        // What a lease that was returned left open is being rolled back.
        guard !contains(client.sent, Array("LEASE RETURN".utf8)) else { return }
        for socket in servers where socket.holder == client.index && !socket.isFaulty {
            guard socket.lease != nil, !socket.isEnded, !socket.isTorn else { continue }
            if socket.backend.status != .idle || socket.backend.isInTransaction {
                violation = "client \(client.index) is sent away in a transaction"
            }
        }
    }

    /// What it was not answered did not run: its program may do all of it again elsewhere.
    mutating func checkDeparture(of client: EngineClient) {
        guard !client.sawFaultBefore, !client.socket.isReset,
            plan.trouble.isDisjoint(
                with: [.serversDie, .serversHang, .serversLie, .cancels, .kills, .limits, .jumps])
        else { return }
        let own = "c\(client.index)."
        let done = Set(committed.keys.filter { $0.hasPrefix(own) })
        guard let group = client.group else {
            if done != client.program.committed {
                violation =
                    "client \(client.index) was sent away between two groups, and committed"
                    + " \(done.sorted()), not \(client.program.committed.sorted())"
            }
            return
        }
        let answers = transcript(client).prefix { !$0.hasPrefix("E(57P01") }
            .count { $0.hasPrefix("Z") }
        var direct = group.before
        direct.input += client.sent
        var answered = RelayTranscript.ofServer(direct.output).count { $0.hasPrefix("Z") }
        while answered < answers, direct.step() {
            answered = RelayTranscript.ofServer(direct.output).count { $0.hasPrefix("Z") }
        }
        let expected = group.committedBefore.union(direct.committed)
        if done != expected {
            violation =
                "client \(client.index) was sent away with \(answers) answers, and committed"
                + " \(done.sorted()), answered was \(expected.sorted())"
        }
    }

    /// When the time is over, only those stay who are in the middle of something.
    mutating func checkNobodyStays() {
        guard let emptyBy, now > emptyBy, !engine.hasResumable else { return }
        if let next = engine.nextDeadline, next <= now { return }
        for client in engine.clients.ids {
            guard engine.clients[client].phase == .ready, engine.clients[client].goodbye == nil,
                let index = indices[client]
            else { continue }
            if let server = engine.clients[client].server {
                guard !engine.servers[server].isDirect, !engine.servers[server].stream.isBusy,
                    engine.servers[server].phase == .ready,
                    !engine.servers[server].profile.holdsClientBytes,
                    engine.servers[server].stream.brokerQuery == nil,
                    engine.servers[server].outbound.isEmpty,
                    !engine.clients[client].stream.passing.isHalfPassed
                else { continue }
            }
            violation = "client \(index) is still there, \(now - emptyBy) too long"
        }
    }
}
