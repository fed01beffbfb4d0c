// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import COpenSSL
import Glibc

/// The login's messages that libpq is not to see: it knows passwords, but no keys. Between its startup packet and
/// the server's AuthenticationOk it waits, and has read nothing that was not looked at (`peek`).
extension PostgresConnection {
    /// Reads bytes that `peek` has shown. False: the connection is broken, and libpq will find out.
    package func take(_ count: Int) -> Bool {
        unsafe withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) { buffer in
            if usesTLS {
                guard let tls = unsafe loginTLS else { return false }
                ERR_clear_error()
                // SAFETY: OpenSSL writes at most `count` bytes.
                return unsafe SSL_read(tls, buffer.baseAddress, Int32(clamping: count)) == count
            }
            // SAFETY: the kernel writes at most `count` bytes.
            return unsafe recv(descriptor, buffer.baseAddress, count, Int32(MSG_DONTWAIT)) == count
        }
    }

    /// Sends a short message, which a connection that has sent no more than its startup packet always takes whole.
    /// False as above.
    package func say(_ message: [UInt8]) -> Bool {
        unsafe message.withUnsafeBytes { bytes in
            if usesTLS {
                guard let tls = unsafe loginTLS else { return false }
                ERR_clear_error()
                // SAFETY: OpenSSL reads at most `count` bytes.
                return unsafe SSL_write(tls, bytes.baseAddress, Int32(clamping: bytes.count))
                    == bytes.count
            }
            // SAFETY: the kernel reads at most `count` bytes.
            return unsafe Glibc.send(
                descriptor, bytes.baseAddress, bytes.count,
                Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) == bytes.count
        }
    }

    private var loginTLS: OpaquePointer? {
        unsafe PQsslStruct(open, "OpenSSL").map { OpaquePointer($0) }
    }
}
