// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import COpenSSL
import Glibc

/// What a read or write of a server connection came to.
package enum StreamResult: Equatable, Sendable {
    case bytes(Int)
    case wouldBlock
    /// TLS: the read goes on when the descriptor is writable.
    case wouldBlockOnWrite
    /// TLS: the write goes on when the descriptor is readable.
    case wouldBlockOnRead
    /// End of file, or the server is gone.
    case closed
    case failed(String)
}

/// The raw protocol stream. Connected only; the caller's buffer is not kept.
extension PostgresConnection {
    /// recv(2) or SSL_read. TLS may keep bytes back that no event announces: read again while
    /// `hasBufferedInput`.
    package func receive(into buffer: UnsafeMutableRawBufferPointer) -> StreamResult {
        if unsafe buffer.isEmpty { return .bytes(0) }
        if let tls = unsafe tls { return unsafe receive(into: buffer, from: tls) }
        while true {
            // SAFETY: the kernel writes at most `count` bytes.
            let count = unsafe recv(connected, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .closed }
            if let result = PostgresConnection.outcome(of: errno) { return result }
        }
    }

    /// send(2) or SSL_write: what it took may be less than what was offered. After a `wouldBlock`
    /// TLS wants at least the same bytes offered again first, at any place in memory. libpq reports a
    /// connection that breaks under TLS as written; reading tells.
    package func send(_ buffer: UnsafeRawBufferPointer) -> StreamResult {
        if unsafe buffer.isEmpty { return .bytes(0) }
        if let tls = unsafe tls { return unsafe send(buffer, over: tls) }
        while true {
            // SAFETY: the kernel reads at most `count` bytes.
            let count = unsafe Glibc.send(
                connected, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
            if count >= 0 { return .bytes(count) }
            if let result = PostgresConnection.outcome(of: errno) { return result }
        }
    }

    /// Decrypted bytes are waiting (SSL_pending); the descriptor will not become readable for them.
    package var hasBufferedInput: Bool {
        guard let tls = unsafe tls else { return false }
        return unsafe SSL_pending(tls) > 0
    }

    /// What the system calls this errno.
    package static func words(for error: Int32) -> String {
        unsafe String(cString: strerror(error))
    }

    private var connected: Int32 {
        precondition(relayDescriptor >= 0, "a connection's stream was used before it was made")
        return relayDescriptor
    }

    /// Nil: try again.
    private static func outcome(of error: Int32) -> StreamResult? {
        switch error {
        case EINTR: nil
        case EAGAIN: .wouldBlock
        case EPIPE, ECONNRESET: .closed
        default: .failed(words(for: error))
        }
    }

    private func receive(
        into buffer: UnsafeMutableRawBufferPointer, from tls: OpaquePointer
    ) -> StreamResult {
        ERR_clear_error()
        // SAFETY: OpenSSL writes at most `length` bytes.
        let length = Int32(clamping: buffer.count)
        let count = unsafe SSL_read(tls, buffer.baseAddress, length)
        if count > 0 { return .bytes(Int(count)) }
        let system = errno
        switch unsafe SSL_get_error(tls, count) {
        case SSL_ERROR_WANT_READ: return .wouldBlock
        case SSL_ERROR_WANT_WRITE: return .wouldBlockOnWrite
        case let error: return PostgresConnection.ending(error, system: system)
        }
    }

    private func send(_ buffer: UnsafeRawBufferPointer, over tls: OpaquePointer) -> StreamResult {
        ERR_clear_error()
        // SAFETY: OpenSSL reads at most `length` bytes.
        let length = Int32(clamping: buffer.count)
        let count = unsafe SSL_write(tls, buffer.baseAddress, length)
        if count > 0 { return .bytes(Int(count)) }
        let system = errno
        switch unsafe SSL_get_error(tls, count) {
        case SSL_ERROR_WANT_WRITE: return .wouldBlock
        case SSL_ERROR_WANT_READ: return .wouldBlockOnRead
        case let error: return PostgresConnection.ending(error, system: system)
        }
    }

    private static func ending(_ error: Int32, system: Int32) -> StreamResult {
        switch error {
        case SSL_ERROR_ZERO_RETURN:
            return .closed
        case SSL_ERROR_SYSCALL:
            // An errno of 0 is an end of file without TLS's farewell, PostgreSQL's usual way out.
            return system == 0 ? .closed : outcome(of: system) ?? .closed
        default:
            let code = ERR_get_error()
            if pglease_error_is_unexpected_eof(code) != 0 { return .closed }
            guard let reason = unsafe ERR_reason_error_string(code) else {
                return .failed("TLS error \(code)")
            }
            return unsafe .failed("TLS: \(String(cString: reason))")
        }
    }
}
