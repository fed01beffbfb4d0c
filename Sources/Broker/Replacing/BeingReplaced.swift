// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import Glibc
import LeaseCore
import LibUV
import Logging
import PostgresWire
import StatusHTTP

/// The old broker's side of a replacement. Until the new one says that it serves, nothing is given up: if it dies, all
/// goes on as before.
extension Broker {
    /// A process wants to take this broker's place.
    func replacementRequested(by client: ClientConnection) {
        guard let peer = client.peer, isOwner(peer) else {
            // Over TCP, or by somebody else, it is a login like any other that has no user.
            refuse(client, Self.strangerReplaces)
            return
        }
        // The connection outlives the session: it is no client's.
        guard let descriptor = Descriptor.duplicate(client.descriptor) else {
            close(client, because: "no descriptor is left for a replacement")
            return
        }
        let process = peer.processID
        close(client, because: "it asks for this broker's place")
        do throws(UVError) {
            let channel = try HandoverChannel(
                loop: loop, descriptor: descriptor,
                onLine: { [unowned self] in self.nextBrokerSays($0) },
                onEnd: { [unowned self] in self.nextBrokerEnded() })
            guard let reason = reasonNotReplaceable else {
                offerPlace(to: NextBroker(processID: process, channel: channel))
                return
            }
            logger.notice("a replacement was refused", metadata: ["reason": "\(reason)"])
            channel.send("refused \(HandoverWords.escaped(reason))")
            channel.close()
        } catch {
            logger.error("a replacement failed", metadata: ["reason": "\(error)"])
        }
    }

    private static let strangerReplaces = PgError.fatal(
        .invalidAuthorization, "not allowed",
        detail: "Only the broker's own user, on its Unix socket, may take its place.")

    private var reasonNotReplaceable: String? {
        if let next = handover.after {
            return "process \(next.processID) takes its place already"
        }
        if surroundings.isEmbedded {
            return "its private PostgreSQL (--embedded) would end with it"
        }
        if life.startup?.isOver != true || life.isStopped {
            return "it is starting, or ends"
        }
        return nil
    }

    private func offerPlace(to next: NextBroker) {
        handover.after = next
        logger.notice("a replacement begins", metadata: ["process": "\(next.processID)"])
        next.channel.send(
            "pglease \(HandoverWords.version) \(getpid()) \(ProductVersion.text)")
        if !surroundings.adoptedSockets.isEmpty || surroundings.hasAdopted {
            next.channel.send("adopted")
        }
        for listener in listening.listeners { hand("socket", listener.handedOut, to: next) }
        hand("metrics", monitoring.server?.handedOut ?? [], to: next)
        next.channel.send("end")
        lendOne()
        housekeeping(by: now + Self.handoverStep)
    }

    private func hand(_ word: String, _ sockets: [HandedSockets.Socket], to next: NextBroker) {
        for socket in sockets {
            guard let copy = Descriptor.duplicate(socket.descriptor) else { continue }
            if let lock = socket.lock, let second = Descriptor.duplicate(lock) {
                next.channel.send("\(word) lock", [copy, second])
            } else {
                next.channel.send(word, [copy])
            }
        }
    }

    static let handoverStep = Duration.milliseconds(20)

    private func nextBrokerSays(_ words: [Substring]) {
        guard let next = handover.after else { return }
        switch words.first {
        case "serving": if !next.isServing { giveWay(to: next) }
        case "connection": takeForwarded(from: next)
        default: break
        }
        dealWithNotices()
    }

    /// A CancelRequest of a client that the new one has not.
    private func takeForwarded(from next: NextBroker) {
        guard let descriptor = next.channel.takeDescriptor() else { return }
        accepted(descriptor)
    }

    private func nextBrokerEnded() {
        guard let next = handover.after else { return }
        handover.after = nil
        guard !next.isServing else {
            logger.notice("the broker in this one's place has ended")
            return
        }
        logger.warning(
            "a replacement failed, this broker goes on", metadata: ["process": "\(next.processID)"])
        note(.operatorAction, .warning, "a replacement by process \(next.processID) failed")
        reconfigurePools()
    }

    // MARK: The place is another's

    private func giveWay(to next: NextBroker) {
        next.isServing = true
        next.since = now
        for listener in listening.listeners { listener.surrender() }
        listening.listeners = []
        monitoring.server?.surrender()
        monitoring.close()
        logger.notice(
            "replaced", metadata: ["process": "\(next.processID)", "clients": "\(clients.count)"])
        note(.draining, .notice, "replaced by process \(next.processID)")
        if life.shutdown == nil {
            life.shutdown = Shutdown(mode: .waitForClients, deadline: nil)
            life.shutdown?.isReplacement = true
            sendClientsAway()
        }
        freezeBounds(for: next)
        lookAtShutdown(now)
    }

    func lookAtReplacement(_ now: Instant) {
        guard let next = handover.after else { return }
        if next.isServing { tellHeld(next) } else { lendOne() }
        // Those who stay for long, as drain_idle_clients is off, leave one by one.
        let isYoung = next.since.map { now < $0 + Self.youth } ?? true
        housekeeping(by: now + (isYoung ? Self.handoverStep : Self.slowStep))
    }

    private static let youth = Duration.seconds(30)
    private static let slowStep = Duration.milliseconds(200)

    /// Those who may still join a pool, perhaps one that has nobody.
    var clientsLoggingIn: Int {
        clients.values.count { $0.isOpen && $0.pool == nil && $0.console == nil }
    }
}
