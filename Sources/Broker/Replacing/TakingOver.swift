// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibUV
import Logging
import StatusHTTP

/// The new broker's side of a replacement: it starts beside the old one, with its listening sockets, and says when it
/// serves.
extension Broker {
    /// Speaks with the one whose place this broker takes.
    func meetPredecessor() throws(UVError) {
        guard let predecessor = surroundings.predecessor else { return }
        let channel = try HandoverChannel(
            loop: loop, descriptor: predecessor.takeDescriptor(),
            onLine: { [unowned self] in self.formerBrokerSays($0) },
            onEnd: { [unowned self] in self.formerBrokerEnded() })
        handover.before = FormerBroker(processID: predecessor.processID, channel: channel)
        handover.sockets = predecessor.sockets
        handover.metrics = predecessor.metrics
        surroundings.predecessor = nil
        logger.notice("taking a broker's place", metadata: ["process": "\(predecessor.processID)"])
    }

    /// The old one has clients of its own still: it cannot wait for servers that do not answer.
    private static let patienceForLoan = Duration.seconds(5)

    /// True while the start waits for one connection that the former broker gives up.
    func awaitsLoan() -> Bool {
        guard let former = handover.before, !former.hasLent, let startup = life.startup,
            settings.prewarm, !forcedUserPools.isEmpty
        else { return false }
        let deadline = startup.began + Self.patienceForLoan
        guard deadline > now else {
            logger.notice(
                "the former broker has no connection to spare: PostgreSQL is not tried before clients are let in"
            )
            return false
        }
        housekeeping(by: deadline)
        return true
    }

    func lookAtLoan() {
        guard let startup = life.startup, startup.awaitsLoan, !awaitsLoan() else { return }
        startup.awaitsLoan = false
        openFirstPools()
    }

    private func formerBrokerSays(_ words: [Substring]) {
        guard let former = handover.before else { return }
        switch words.first {
        case "lent":
            former.hasLent = true
            lookAtLoan()
        case "held" where words.count == 4:
            guard let count = Int(words[1]), count >= 0,
                let database = HandoverWords.unescaped(words[2]),
                let user = HandoverWords.unescaped(words[3])
            else { return }
            former.keeps(count, of: PoolKey(database: database, user: user))
            former.hasNews = true
        case "frozen":
            former.hasNamedAll = true
            former.hasNews = true
            announceIfAwaited()
        case "settled":
            former.isSettled = true
            former.hasNews = true
        default: break
        }
        // Once for all that is said in one turn.
        if former.hasNews { housekeeping(by: now) }
        dealWithNotices()
    }

    /// The bounds follow what the former broker keeps.
    func lookAtShares() {
        guard let former = handover.before, former.hasNamedAll, former.hasNews else { return }
        former.hasNews = false
        reconfigurePools()
        stopPoolsWithoutPlace()
        if let next = handover.after, next.isServing { tellHeld(next) }
    }

    private func formerBrokerEnded() {
        guard let former = handover.before else { return }
        handover.before = nil
        logger.notice("the former broker has ended", metadata: ["process": "\(former.processID)"])
        for id in former.stopped {
            guard let pool = directory.pools[id], !operators.stops.isPaused(pool.database) else {
                continue
            }
            post(.poolResumed(id))
        }
        reconfigurePools()
        lookAtLoan()
        announceIfAwaited()
        if let next = handover.after, next.isServing { tellHeld(next) }
        if life.shutdown != nil { housekeeping(by: now) }
        dealWithNotices()
    }

    /// Clients are accepted here: the former broker may stop to.
    func takePlace() {
        guard handover.sockets != nil else { return }
        for listener in listening.listeners { listener.claim() }
        monitoring.server?.claim()
        handover.sockets = nil
        handover.metrics = nil
        guard let former = handover.before else { return }
        former.isTold = true
        former.channel.send("serving")
        note(.started, .info, "in the place of process \(former.processID)")
    }
}
