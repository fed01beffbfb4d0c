// SPDX-License-Identifier: Apache-2.0

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
        if mode != .immediate, let shutdown = life.shutdown, shutdown.isReplacement {
            shutdown.isReplacement = false
            shutdown.deadline = settings.shutdownGrace.map { now + $0 }
            lookAtShutdown(now)
            return
        }
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
        leaveNetwork()
        life.shutdown?.comers = counters.accepted
        if mode == .waitForClients { sendClientsAway() }
        if mode == .waitForServers {
            for id in Array(directory.pools.byID.keys) { post(.poolPauseRequested(id)) }
        }
        lookAtShutdown(now)
    }

    /// Others that listen on the same port, or the service manager, have those who come from now on; who has come already
    /// is served. On a Unix socket of its own they are told that the broker ends.
    private func leaveNetwork() {
        let isManaged = !surroundings.adoptedSockets.isEmpty || surroundings.hasAdopted
        var left: [Listener] = []
        for listener in listening.listeners {
            if isManaged {
                listener.close()
            } else if listener.tcpAddresses.isEmpty {
                left.append(listener)
            } else {
                listener.acceptWaiting()
                listener.close()
            }
        }
        listening.listeners = left
    }

    /// Each in a turn of its own, between two transactions.
    func sendClientsAway() {
        guard let time = settings.drainIdleClients else { return }
        engine.sendClientsAway(within: time, Self.shuttingDown, now: now)
        dealWithNotices()
    }

    /// A client left; the last one may be what a shutdown waits for.
    func clientCountChanged() {
        if life.shutdown != nil { housekeeping(by: now) }
    }

    func lookAtShutdown(_ now: Instant) {
        if let interval = surroundings.watchdogInterval, !handover.isReplaced {
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
            // One before it may still ask for cancels, and tell what it has.
            if handover.isReplaced, handover.before != nil { return }
            if clients.values.allSatisfy({ $0.phase == .console || !$0.isOpen }) {
                finishShutdown()
            }
        case .waitForServers:
            refuseWaiters()
            if !servers.values.contains(where: { $0.isLeased }) {
                finishShutdown()
            } else {
                // Returns of leases are not announced here.
                housekeeping(by: now + .milliseconds(20))
            }
        }
    }

    /// Who asks for a connection gets none any more, and may ask another broker.
    private func refuseWaiters() {
        for client in Array(clients.values) where client.isWaiting && !client.isOurs {
            refuse(client, Self.shuttingDown)
        }
    }

    /// Tells everyone who is still there, and stops the loop.
    func finishShutdown() {
        guard !life.isStopped else { return }
        life.isStopped = true
        // The manager's process is the one in its place.
        if !handover.isReplaced { _ = surroundings.notify?.stopping(status: "closing") }
        for client in Array(clients.values) { refuse(client, Self.shuttingDown) }
        leaveShares()
        logger.notice("stopped")
        loop.stop()
    }
}
