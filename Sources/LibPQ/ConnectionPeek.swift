// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import COpenSSL
import Glibc

/// What lies before libpq, without taking it.
package enum PeekResult: Equatable, Sendable {
    case bytes(Int)
    /// Nothing that libpq could read; the descriptor will become readable.
    case nothing
    /// The end, or an error: libpq knows how to say it.
    case ended
}

extension PostgresConnection {
    /// The server has our startup packet, and `poll` reads what it says about the login. TLS is set up.
    package var isAwaitingAuthentication: Bool {
        unsafe !hasFailed && PQstatus(open) == CONNECTION_AWAITING_RESPONSE
    }

    /// A number that the socket has alone: its descriptor's is given again when libpq tries the next address.
    package var socketNumber: UInt64 {
        var status = stat()
        // SAFETY: fstat fills the structure, or leaves it.
        return unsafe fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    /// recv(2) with MSG_PEEK, or SSL_peek. With TLS `poll` reads these bytes and no others.
    package func peek(into buffer: UnsafeMutableRawBufferPointer) -> PeekResult {
        if usesTLS {
            guard let tls = unsafe PQsslStruct(open, "OpenSSL") else { return .ended }
            return unsafe peek(into: buffer, from: OpaquePointer(tls))
        }
        while true {
            // SAFETY: the kernel writes at most `count` bytes.
            let count = unsafe recv(
                descriptor, buffer.baseAddress, buffer.count, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
            if count > 0 { return .bytes(count) }
            if count < 0, errno == EINTR { continue }
            return count < 0 && errno == EAGAIN ? .nothing : .ended
        }
    }

    private func peek(
        into buffer: UnsafeMutableRawBufferPointer, from tls: OpaquePointer
    ) -> PeekResult {
        ERR_clear_error()
        // SAFETY: OpenSSL writes at most `length` bytes.
        let count = unsafe SSL_peek(tls, buffer.baseAddress, Int32(clamping: buffer.count))
        if count > 0 { return .bytes(Int(count)) }
        if unsafe SSL_get_error(tls, count) == SSL_ERROR_WANT_READ { return .nothing }
        if let reason = unsafe ERR_reason_error_string(ERR_get_error()) {
            peekFailure = unsafe String(cString: reason)
        }
        ERR_clear_error()
        return .ended
    }
}
