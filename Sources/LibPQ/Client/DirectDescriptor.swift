// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Glibc

/// The broker's socket, set aside while a server connection's descriptor stands in its place.
///
/// Owns the descriptor until it is put back or discarded.
package final class DirectDescriptor {
    private var broker: Int32

    fileprivate init(broker: Int32) { self.broker = broker }

    deinit { discard() }

    /// Puts the broker's socket back in its place; the direct descriptor there is closed by it.
    func restore(to socket: Int32) {
        if broker >= 0, socket >= 0 { _ = pglease_replace_descriptor(broker, socket) }
        discard()
    }

    fileprivate var isSilent: Bool {
        var byte: UInt8 = 0
        // SAFETY: the kernel writes at most one byte.
        let count = unsafe recv(broker, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT))
        return count < 0 && errno == EAGAIN
    }

    /// Closes the socket that was set aside.
    func discard() {
        if broker >= 0 { _ = close(broker) }
        broker = -1
    }

    /// Sends bytes over the socket that was set aside, and reads until `isComplete` says so, the
    /// broker hangs up or the deadline comes. For the one question that libpq cannot ask, because
    /// it has closed its side.
    package func ask(
        _ question: [UInt8], until deadline: ContinuousClock.Instant, wakeup: ThreadWakeup,
        isComplete: ([UInt8]) -> Bool
    ) -> [UInt8] {
        var rest = question[...]
        var answer: [UInt8] = []
        let patience = Patience(until: deadline)
        do {
            while !rest.isEmpty {
                try SocketWait(descriptor: broker, events: Int16(POLLOUT))
                    .wait(wakeup: wakeup, patience: patience)
                let count = unsafe rest.withUnsafeBytes {
                    unsafe send(
                        broker, $0.baseAddress, $0.count,
                        Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
                }
                if count > 0 { rest = rest.dropFirst(count) }
                if count < 0, errno != EAGAIN, errno != EINTR { break }
            }
            var buffer = [UInt8](repeating: 0, count: 4096)
            while !isComplete(answer) {
                try SocketWait(descriptor: broker, events: Int16(POLLIN))
                    .wait(wakeup: wakeup, patience: patience)
                let count = unsafe buffer.withUnsafeMutableBytes {
                    unsafe recv(
                        broker, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT))
                }
                if count > 0 { answer += buffer[..<count] }
                if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) { break }
            }
        } catch {
            // The deadline: what has come has to do.
        }
        return answer
    }
}

extension BlockingConnection {
    /// Waits for the first bytes of an answer and takes duplicates of the descriptors that lie in
    /// them, without taking bytes: libpq reads those itself. Nil when the answer has none.
    ///
    /// The descriptors belong to the first byte of the RowDescription. Had libpq read past that byte
    /// before it was looked at, they would be lost; so notices and parameters that came
    /// alone are let rest for `settle`, in which the rest of their burst arrives.
    package func peekDescriptors(
        _ patience: Patience, settle: Duration = .milliseconds(20)
    ) throws -> ReceivedDescriptors? {
        try flush(patience)
        var settled: ContinuousClock.Instant?
        while true {
            try waitForSocket(alsoWriting: false, patience)
            var descriptors: [Int32] = []
            let kinds = peekMessageKinds(&descriptors)
            if !descriptors.isEmpty { return ReceivedDescriptors(descriptors) }
            guard let kinds else { return nil }
            if kinds.contains(where: { $0 != UInt8(ascii: "N") && $0 != UInt8(ascii: "S") }) {
                return nil
            }
            if kinds.contains(UInt8(ascii: "S")) || kinds.isEmpty {
                let end = settled ?? ContinuousClock.now.advanced(by: settle)
                settled = end
                if end <= ContinuousClock.now { return nil }
                _ = Glibc.poll(nil, 0, 1)
            } else {
                // Notices of a wait: nothing follows them until the wait is over.
                settled = nil
                if unsafe PQconsumeInput(open) == 0 { return nil }
                if unsafe PQisBusy(open) == 0 { return nil }
            }
        }
    }

    /// The kinds of the messages that have come; nil at the end of the stream.
    private func peekMessageKinds(_ descriptors: inout [Int32]) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 16384)
        var room: [Int32] = [-1, -1, -1]
        var number = room.count
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe room.withUnsafeMutableBufferPointer {
                unsafe pglease_peek_descriptors(
                    PQsocket(open), bytes.baseAddress, bytes.count, $0.baseAddress, &number)
            }
        }
        descriptors = Array(room.prefix(number))
        if count <= 0 { return nil }
        var kinds: [UInt8] = []
        var offset = 0
        while offset + 5 <= count {
            kinds.append(buffer[offset])
            let length = buffer[(offset + 1)..<(offset + 5)].reduce(0) { $0 << 8 | Int($1) }
            offset += 1 + max(4, length)
        }
        return kinds
    }

    package var isDirect: Bool { direct != nil }

    /// Puts a server connection's socket in the place of the broker's. False when the process has no
    /// descriptor left; nothing has changed then.
    package func goDirect(_ received: consuming ReceivedDescriptors) -> Bool {
        precondition(direct == nil, "a second direct descriptor")
        let socket = unsafe PQsocket(open)
        let aside = fcntl(socket, F_DUPFD_CLOEXEC, 3)
        guard aside >= 0 else { return false }
        guard pglease_replace_descriptor(received.server, socket) >= 0 else {
            _ = Glibc.close(aside)
            return false
        }
        direct = DirectDescriptor(broker: aside)
        return true
    }

    /// While direct: whether the broker's session, set aside, is still there and has said nothing.
    package var isBrokerSilent: Bool { direct?.isSilent ?? false }

    /// While direct and at rest: whether the server's session has neither ended nor said that it does. One system call; what
    /// a server may say without being asked (a notice, a notification, a setting) ends nothing.
    package var serverLives: Bool {
        var kind: UInt8 = 0
        // SAFETY: the kernel writes at most one byte.
        let count = unsafe recv(PQsocket(open), &kind, 1, Int32(MSG_PEEK | MSG_DONTWAIT))
        return count > 0 ? kind != UInt8(ascii: "E") : count < 0 && errno == EAGAIN
    }

    /// Puts the broker's socket back. libpq must be at rest, and still have its descriptor.
    package func leaveDirect() {
        direct?.restore(to: unsafe PQsocket(open))
        direct = nil
    }

    /// For a direct connection that libpq has given up, closing the number: the broker's socket,
    /// which now is nobody else's.
    package func takeBrokerSocket() -> DirectDescriptor? {
        defer { direct = nil }
        return direct
    }
}
