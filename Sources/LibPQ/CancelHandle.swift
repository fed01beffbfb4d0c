// SPDX-License-Identifier: Apache-2.0

import CLibPQ

/// Why a cancel request could not be sent.
package struct CancelError: Error, Equatable, Sendable {
    package let message: String
}

/// The right to cancel what a server connection does (PGcancel). Outlives the connection.
///
/// Sendable: libpq only reads a PGcancel, and PQcancel may be called from any thread.
@safe
package final class CancelHandle: @unchecked Sendable {
    private let handle: OpaquePointer

    init(owning handle: OpaquePointer) {
        unsafe self.handle = unsafe handle
    }

    deinit { unsafe PQfreeCancel(handle) }

    /// PQcancel: connects, sends the key and waits until the server hangs up. Blocks, so it belongs
    /// on a worker thread. Success means the request was sent, not that something was cancelled.
    package func request() -> Result<Void, CancelError> {
        // SAFETY: libpq writes at most `count` bytes, with a NUL at the end.
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            unsafe buffer.initialize(repeating: 0)
            let sent = unsafe PQcancel(handle, buffer.baseAddress, Int32(buffer.count))
            if sent == 1 { return .success(()) }
            let message = unsafe ConnectionString.text(buffer.baseAddress)
            return .failure(CancelError(message: message))
        }
    }
}
