// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV
import PostgresWire

/// A CancelRequest on its way to another broker. Its client's connection closes when the other has closed this one, as
/// if the other had been asked itself. Owns its descriptor.
final class ForwardedCancel: FileWatcherDelegate {
    private let descriptor: Int32
    private let watcher: FileWatcher
    private var unsent: [UInt8]
    private let onEnd: (ForwardedCancel) -> Void
    private var isClosed = false
    /// The other broker has it.
    var isSent: Bool { unsent.isEmpty }

    /// Takes the descriptor over, also where it throws; it may still be connecting.
    init(
        loop: EventLoop, descriptor: Int32, packet: [UInt8],
        onEnd: @escaping (ForwardedCancel) -> Void
    ) throws(UVError) {
        self.descriptor = descriptor
        self.onEnd = onEnd
        unsent = packet
        do throws(UVError) {
            watcher = try FileWatcher(loop: loop, descriptor: descriptor)
        } catch {
            Descriptor.close(descriptor)
            throw error
        }
        watcher.delegate = self
        watcher.watch([.readable, .writable])
    }

    /// Idempotent.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        watcher.close()
        Descriptor.close(descriptor)
    }

    func fileReady(_ events: FileEvents, error: UVError?) {
        if events.mayWrite, !unsent.isEmpty, !send() { return end() }
        if error != nil { return end() }
        guard !isClosed, events.mayRead || events.isHungUp else { return }
        var buffer = [UInt8](repeating: 0, count: 64)
        switch buffer.withUnsafeMutableBytes({ Descriptor.read(descriptor, into: $0) }) {
        case .bytes, .wouldBlock: break
        case .closed, .failed: end()
        }
    }

    private func send() -> Bool {
        switch unsent.withUnsafeBytes({ Descriptor.write(descriptor, from: $0) }) {
        case .bytes(let count): unsent.removeFirst(count)
        case .wouldBlock: return true
        case .closed, .failed: return false
        }
        if unsent.isEmpty { watcher.watch(.readable) }
        return true
    }

    private func end() {
        guard !isClosed else { return }
        close()
        onEnd(self)
    }
}

extension Broker {
    /// Asks the broker whose place this one has taken. False if there is none.
    func forwardCancelBack(_ packet: [UInt8], for canceller: ClientConnection) -> Bool {
        guard let former = handover.before, former.isTold,
            let ends = try? Descriptor.makeSocketPair()
        else { return false }
        former.channel.send("connection", [ends.1])
        let client = canceller.id
        do throws(UVError) {
            let cancel = try ForwardedCancel(
                loop: loop, descriptor: ends.0, packet: packet
            ) { [unowned self] in
                self.handover.cancels[ObjectIdentifier($0)] = nil
                self.cancelIsDone(client)
            }
            handover.cancels[ObjectIdentifier(cancel)] = cancel
        } catch {
            close(canceller, because: "cancel request")
        }
        return true
    }

    /// Whoever wanted it may go.
    func cancelIsDone(_ canceller: ClientID) {
        guard let client = clients[canceller], !client.isClosed else { return }
        close(client, because: "cancel request")
    }
}

extension CancelKey {
    /// The packet that asks for it. `rest`: what follows the first four bytes of a long secret.
    func request(_ rest: ArraySlice<UInt8>) -> [UInt8] {
        var key: [UInt8] = []
        key.appendInteger(secret)
        key += rest
        var packet: [UInt8] = []
        packet.appendCancelRequest(processID: processID, secretKey: key)
        return packet
    }
}
