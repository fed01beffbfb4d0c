// SPDX-License-Identifier: Apache-2.0

/// What kinds of events an operator is told of. The raw value is the column `kind` of SHOW EVENTS.
enum EventKind: String, CaseIterable, Sendable {
    /// A waiter's deadline passed, or the queue was full.
    case exhausted
    case connectFailed = "connect_failed"
    case connectRecovered = "connect_recovered"
    case serverLost = "server_lost"
    /// A host is not the right one any more, or away: connections to it are closed as they come free.
    case serverLeft = "server_left"
    /// Connections of a database go to another host than before.
    case failover
    /// The connection that listens for a pool's clients was lost: notifications may have been missed.
    case listenLost = "listen_lost"
    case listenRecovered = "listen_recovered"
    /// A connection could not be cleaned, and was closed.
    case resetFailed = "reset_failed"
    /// A lease is held for longer than `lease_warn_after`.
    case leak
    /// A client keeps its server connection for what it has in the session.
    case leasePinned = "lease_pinned"
    /// A limit took a lease away, or ended a client.
    case revoked
    case reload
    case reloadFailed = "reload_failed"
    case poolLock = "pool_lock"
    case reserveLent = "reserve_lent"
    case poolLockOver = "pool_lock_over"
    case poolLockRejected = "pool_lock_rejected"
    case clientRefused = "client_refused"
    /// A command of the console, or a signal that stands for one.
    /// The table of a shared bound cannot be asked, or answers again.
    case shareLost = "share_lost"
    case shareRecovered = "share_recovered"
    case operatorAction = "operator"
    case started
    case draining
}

enum EventLevel: String, Sendable {
    case info, notice, warning, error
}

/// Something that happened, as it is reported.
///
/// Events with the same kind, pool and cause are one incident.
struct Incident {
    var kind: EventKind
    var level: EventLevel
    /// What happened and why, without secrets, statements or data.
    var message: String
    /// What tells it from others of its kind and pool: a limit, an SQLSTATE.
    var cause = ""
    /// 0: of none.
    var pool: UInt32 = 0
    var database: String?
    var user: String?
    var group: String?
    var applicationName: String?
    var client: Int64?
    var clientProcess: Int64?
    var lease: Int64?
}
