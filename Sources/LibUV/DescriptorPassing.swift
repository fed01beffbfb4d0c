// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// Descriptors that go from process to process with the bytes of a Unix socket (SCM_RIGHTS).
extension Descriptor {
    /// As many as go with one message.
    package static let mostHandedOut = Int(PGLEASE_MAX_DESCRIPTORS)

    /// sendmsg(2): the bytes, and with the first of them these descriptors. The caller keeps its own.
    package static func write(
        _ descriptor: Int32, from buffer: UnsafeRawBufferPointer, handingOut handedOut: [Int32]
    ) -> IOResult {
        precondition(unsafe !buffer.isEmpty, "a descriptor travels with a byte")
        precondition(handedOut.count <= mostHandedOut, "too many descriptors for one message")
        while true {
            // SAFETY: the kernel reads at most `count` bytes of the caller's buffer, and descriptors of an array
            // that lives as long as the call.
            let count = unsafe handedOut.withUnsafeBufferPointer {
                unsafe pglease_send_descriptors(
                    descriptor, buffer.baseAddress, buffer.count, $0.baseAddress, $0.count)
            }
            if count >= 0 { return .bytes(count) }
            if errno == EINTR { continue }
            return outcomeOfMessage(errno)
        }
    }

    /// recvmsg(2): bytes, and the descriptors that came with them, which are the caller's from here on.
    package static func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer,
        taking taken: inout [Int32]
    ) -> IOResult {
        var room = [Int32](repeating: -1, count: mostHandedOut)
        while true {
            var number = room.count
            // SAFETY: the kernel writes at most `count` bytes into the caller's buffer, and the shim at most `number`
            // descriptors into the array.
            let count = unsafe room.withUnsafeMutableBufferPointer {
                unsafe pglease_receive_descriptors(
                    descriptor, buffer.baseAddress, buffer.count, $0.baseAddress, &number)
            }
            if count >= 0 { taken += room[..<number] }
            if count > 0 { return .bytes(count) }
            if count == 0 { return .closed }
            if errno == EINTR { continue }
            return outcomeOfMessage(errno)
        }
    }

    private static func outcomeOfMessage(_ error: Int32) -> IOResult {
        switch error {
        case EAGAIN: .wouldBlock
        case EPIPE, ECONNRESET: .closed
        default: .failed(errno: error)
        }
    }
}
