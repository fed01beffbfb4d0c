// SPDX-License-Identifier: Apache-2.0

import CLibPQ

/// Whether a server takes connections (PQpingParams).
package enum ServerPing: Equatable, Sendable {
    case ok
    /// It runs and refuses: starting up, shutting down, recovering.
    case rejecting
    case noResponse
    /// The parameters are wrong; nothing was tried.
    case noAttempt

    /// Blocks until the server answers or `connect_timeout` passes.
    package static func ping(_ parameters: ConnectionParameters) -> ServerPing {
        let answer = unsafe parameters.withNullTerminatedArrays { keywords, values in
            unsafe PQpingParams(keywords, values, 0)
        }
        switch answer {
        case PQPING_OK: return .ok
        case PQPING_REJECT: return .rejecting
        case PQPING_NO_RESPONSE: return .noResponse
        default: return .noAttempt
        }
    }
}
