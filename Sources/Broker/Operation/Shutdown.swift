import BrokerConfiguration
import BrokerConsole
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// The end, patient or not.
extension Broker {
    /// Begins to shut down, or does so with less patience. Any second request ends at once.
    func shutDown(_ mode: ShutdownMode) {
        guard !life.isStopped else { return }
        if life.shutdown != nil || mode == .immediate || life.startup?.isOver != true {
            finishShutdown()
            return
        }
        let deadline = settings.shutdownGrace.map { now + $0 }
        life.shutdown = Shutdown(mode: mode, deadline: deadline)
        if let deadline { housekeeping(by: deadline) }
        _ = surroundings.notify?.stopping(status: "waiting for \(clients.count) clients")
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
            for id in Array(directory.pools.byID.keys) { post(.poolPauseRequested(id)) }
        }
        lookAtShutdown(now)
    }

    /// A client left; the last one may be what a shutdown waits for.
    func clientCountChanged() {
        if life.shutdown != nil { housekeeping(by: now) }
    }

    func lookAtShutdown(_ now: Instant) {
        if let interval = surroundings.watchdogInterval {
            _ = surroundings.notify?.watchdog()
            housekeeping(by: now + .nanoseconds(interval.wholeNanoseconds / 2))
        }
        guard let shutdown = life.shutdown, !life.isStopped else { return }
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
        guard !life.isStopped else { return }
        life.isStopped = true
        _ = surroundings.notify?.stopping(status: "closing")
        for client in Array(clients.values) { refuse(client, Self.shuttingDown) }
        leaveShares()
        logger.notice("stopped")
        loop.stop()
    }
}
