import BrokerConfiguration
import BrokerConsole
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// A shutdown under way.
final class Shutdown {
    var mode: ShutdownMode
    /// `shutdown_grace`: then it ends all the same. nil: never.
    var deadline: Instant?

    init(mode: ShutdownMode, deadline: Instant?) {
        self.mode = mode
        self.deadline = deadline
    }
}

extension Broker {
    /// Begins to shut down, or does so with less patience. Any second request ends at once.
    func shutDown(_ mode: ShutdownMode) {
        guard !isStopped else { return }
        if shutdown != nil || mode == .immediate || startup?.isOver != true {
            finishShutdown()
            return
        }
        let deadline = settings.shutdownGrace.map { now + $0 }
        shutdown = Shutdown(mode: mode, deadline: deadline)
        if let deadline { housekeeping(by: deadline) }
        _ = notify?.stopping(status: "waiting for \(clients.count) clients")
        logger.notice(
            "shutting down",
            metadata: [
                "mode": "\(mode == .waitForClients ? "wait for clients" : "wait for servers")",
                "clients": "\(clients.count)",
                "grace": "\(settings.shutdownGrace.map(Self.seconds) ?? "none")",
            ])
        note(
            .draining, .notice,
            "shutting down: waiting for \(mode == .waitForClients ? "clients to leave" : "leases to come back")"
        )
        if mode == .waitForServers {
            for id in Array(poolsByID.keys) { post(.poolPauseRequested(id)) }
        }
        lookAtShutdown(now)
    }

    /// A client left; the last one may be what a shutdown waits for.
    func clientCountChanged() {
        if shutdown != nil { housekeeping(by: now) }
    }

    func lookAtShutdown(_ now: Instant) {
        if let watchdogInterval {
            _ = notify?.watchdog()
            housekeeping(by: now + .nanoseconds(watchdogInterval.wholeNanoseconds / 2))
        }
        guard let shutdown, !isStopped else { return }
        if let deadline = shutdown.deadline {
            if deadline <= now {
                logger.warning(
                    "shutdown_grace is over", metadata: ["clients": "\(clients.count)"])
                finishShutdown()
                return
            }
            housekeeping(by: deadline)
        }
        switch shutdown.mode {
        case .immediate: finishShutdown()
        case .waitForClients:
            // An administrator who watches does not keep it up.
            if clients.values.allSatisfy({ $0.phase == .console || !$0.isOpen }) {
                finishShutdown()
            }
        case .waitForServers:
            if !servers.values.contains(where: { $0.isLeased }) {
                finishShutdown()
            } else {
                // Returns of leases are not announced here.
                housekeeping(by: now + .milliseconds(20))
            }
        }
    }

    /// Tells everyone who is still there, and stops the loop.
    func finishShutdown() {
        guard !isStopped else { return }
        isStopped = true
        _ = notify?.stopping(status: "closing")
        for client in Array(clients.values) { refuse(client, Self.shuttingDown) }
        logger.notice("stopped")
        loop.stop()
    }
}
