// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import PostgresWire

/// What the broker does, in one word.
enum MonitoredPhase: String, CaseIterable {
    case starting, running, paused, draining
}

/// Whether the broker as a whole can serve: what `/readyz` and `pglease ping` answer.
extension Broker {
    var monitoredPhase: MonitoredPhase {
        if life.shutdown != nil || life.isStopped { return .draining }
        if life.startup?.isOver != true { return .starting }
        return operators.stops.pausesAll ? .paused : .running
    }

    /// nil: clients are accepted, and not every server is known to be down.
    func reasonNotReady() -> String? {
        switch monitoredPhase {
        case .starting:
            guard let startup = life.startup, startup.failed > 0 else {
                return "starting: no server has answered yet"
            }
            return
                "starting: no server has answered yet, \(startup.failed) of \(startup.expected) databases could not be reached, the others are tried startup_attempts times"
        case .draining: return "draining: new clients are refused"
        case .paused: return operators.stops.all.map(reasonPaused)
        case .running: break
        }
        if let stop = stopOfAllPools() { return reasonPaused(stop) }
        let judged = directory.pools.inOrder.filter(isJudged)
        let down = judged.filter(isDown)
        // A wrong password says nothing about the server.
        let unreachable = Set(
            down.filter { $0.lastFailure?.kind != .permanent }.map { Self.server(of: $0) })
        guard let pool = down.first,
            judged.allSatisfy({ isDown($0) || isAlsoGone($0, unreachable) }),
            let failure = pool.lastFailure
        else { return nil }
        let others = judged.count > 1 ? " (and \(judged.count - 1) more)" : ""
        return
            "every server is down: \(pool.database)/\(pool.user)\(others): "
            + SecretRedaction.redact(String(failure.error.message.prefix { !$0.isNewline }))
    }

    private func reasonPaused(_ stop: OperatorStop) -> String {
        Self.oneLine(
            "paused: \(stop.subject), for \(Self.seconds(now - stop.since)), by \(stop.actor); RESUME in the console lets it go on"
        )
    }

    /// A stop, if each pool's database has one of its own: that serves as little as a stop of all.
    private func stopOfAllPools() -> OperatorStop? {
        let pools = directory.pools.inOrder
        guard pools.allSatisfy({ operators.stops.isPaused($0.database) }),
            configuration.databases.allSatisfy({
                $0.isFallback || operators.stops.isPaused($0.name)
            })
        else { return nil }
        return pools.first.flatMap { operators.stops.stop(of: $0.database) }
    }

    /// Whoever asks for a database or role that does not exist makes a pool that says nothing about the
    /// server.
    private func isJudged(_ pool: DatabasePool) -> Bool {
        guard pool.lastFailure?.kind == .permanent else { return true }
        return !pool.entry.isFallback && pool.entry.forcedUser != nil
    }

    /// Nothing is connected, nobody has tried, and its server is one that cannot be reached.
    private func isAlsoGone(_ pool: DatabasePool, _ unreachable: Set<[String?]>) -> Bool {
        (engine.scheduler.summary(of: pool.id)?.counts.total ?? 0) == 0
            && unreachable.contains(Self.server(of: pool))
    }

    private static func server(of pool: DatabasePool) -> [String?] {
        ["host", "hostaddr", "port"].map { pool.entry.serverParameter($0) }
    }

    /// Nothing is connected, and the last attempt failed.
    private func isDown(_ pool: DatabasePool) -> Bool {
        pool.lastFailure != nil
            && (engine.scheduler.summary(of: pool.id)?.counts.connected ?? 0) == 0
    }
}
