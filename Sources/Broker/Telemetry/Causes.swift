// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

extension RevocationCause: CountedCause {}
extension ReclaimCause: CountedCause {}

/// Why a waiter had an error instead of a lease.
enum RejectionCause: String, CountedCause {
    case deadline
    case queueFull = "queue_full"
    case connectFailed = "connect_failed"
    case paused
    case poolClosed = "pool_closed"
    case poolLock = "pool_lock"
    /// `pin_reserve` or `max_pins`: its lease would have been pinned, and there was no place for that.
    case pinPlaces = "pin_places"

    init(_ cause: Rejection.Cause) {
        switch cause {
        case .deadline: self = .deadline
        case .queueFull: self = .queueFull
        case .connectFailed: self = .connectFailed
        case .poolPaused: self = .paused
        case .poolClosed: self = .poolClosed
        case .poolLock: self = .poolLock
        }
    }
}

/// What pinned a lease.
enum PinCause: String, CountedCause {
    case temporaryObjects = "temporary_objects"
    case heldCursors = "held_cursors"
    case advisoryLocks = "advisory_locks"
    case settings
    case seed
    case libraries
    case links = "dblink"
    case channels
    case statements

    /// All that are among these reasons.
    static func of(_ reasons: PinReasons) -> [PinCause] {
        PinReasons.named.filter { reasons.contains($0.reason) }.compactMap {
            PinCause(rawValue: $0.name)
        }
    }
}

/// Why a client was not let in.
enum RefusalCause: String, CountedCause {
    /// `max_client_conn`, `max_db_client_connections`, `max_user_client_connections`.
    case tooManyClients = "too_many_clients"
    case noDescriptor = "no_file_descriptor"
    case authentication
    /// Not in `[databases]`, or not in PostgreSQL.
    case noSuchDatabase = "no_such_database"
    case disabled
    case shuttingDown = "shutting_down"
    case loginTimeout = "login_timeout"
    /// A session pool, whose leases begin at login: there was none.
    case noServer = "no_server"
    case protocolError = "protocol_error"
    /// Its TLS handshake failed.
    case encryption = "tls_handshake"
    /// Replication, and whatever else is not offered.
    case unsupported
    /// What PostgreSQL said to the client's startup parameters, and the like.
    case other

    init(_ state: SQLState) {
        switch state {
        case .tooManyConnections: self = .tooManyClients
        case .invalidCatalogName: self = .noSuchDatabase
        case .cannotConnectNow: self = .disabled
        case .adminShutdown: self = .shuttingDown
        case .protocolViolation: self = .protocolError
        case .featureNotSupported: self = .unsupported
        default: self = state.rawValue.hasPrefix("28") ? .authentication : .other
        }
    }
}

/// Why a connection to PostgreSQL could not be opened.
enum ConnectFailureClass: String, CountedCause {
    /// Refused, unreachable, timed out, starting up, shutting down.
    case unreachable
    /// "Too many connections".
    case saturated
    case authentication
    case noSuchDatabase = "no_such_database"
    /// A parameter or `connect_query` that the server does not take.
    case configuration

    init(_ failure: ConnectFailure) {
        switch failure.kind {
        case .transient: self = .unreachable
        case .saturated: self = .saturated
        case .permanent:
            let state = failure.error.sqlState.rawValue
            if state.hasPrefix("28") {
                self = .authentication
            } else {
                self = state.hasPrefix("3D") ? .noSuchDatabase : .configuration
            }
        }
    }
}

/// How sure it was that a pool was locked, as it was noticed: one that became certain counts in both.
enum PoolLockGrade: String, CountedCause {
    case suspected, certain

    init(_ grade: PoolLock.Grade) {
        switch grade {
        case .suspected: self = .suspected
        case .certain: self = .certain
        }
    }
}

/// What a server connection did when it was lost.
enum ServerLossCause: String, CountedCause {
    case idle
    case inLease = "in_lease"
}
