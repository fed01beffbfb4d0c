// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Logging

/// Why connections to a host were left.
enum FailoverCause: String, CountedCause {
    /// It is not what `target_session_attrs` asks for any more.
    case unwanted
    case refused
    case silent
    /// Its name has another address.
    case nameChanged = "name_changed"
    /// An operator ended it, or nobody saw why.
    case other

    init(_ trouble: HostTrouble) {
        switch trouble {
        case .refused: self = .refused
        case .silent: self = .silent
        case .unwanted: self = .unwanted
        }
    }
}

/// Other servers answer for a line of `[databases]` than before: counted, logged and told as events.
extension Broker {
    /// Connections to this host are closed as they come free.
    func noteHostLeft(
        _ host: ServerHost, _ reason: String, _ cause: FailoverCause, connections: Int,
        pool: DatabasePool
    ) {
        logger.warning(
            "connections to a server are left",
            metadata: [
                "database": "\(pool.database)", "server": "\(host.words)", "reason": "\(reason)",
                "connections": "\(connections)",
            ])
        note(
            .serverLeft, .warning,
            "\(host.words): \(reason); \(connections) connections are closed as they come free",
            cause: "\(cause.rawValue) \(host.words)", pool: pool)
    }

    func noteFailover(
        _ place: ServerPlace, _ move: HostRoster.Move, _ trouble: HostTrouble?, pool: DatabasePool
    ) {
        let cause: FailoverCause
        if let trouble {
            cause = FailoverCause(trouble)
        } else {
            cause = place.hosts.contains(move.from) ? .other : .nameChanged
        }
        counters.failovers.count(cause)
        logger.notice(
            "failover",
            metadata: [
                "database": "\(pool.database)", "from": "\(move.from.words)",
                "to": "\(move.to.words)", "cause": "\(cause.rawValue)",
                "after_us": "\(move.after.wholeMicroseconds)",
            ])
        note(
            .failover, .notice,
            "\(move.to.words) has taken over from \(move.from.words), which \(trouble?.words ?? "is not in use any more"), after \(Self.seconds(move.after))",
            cause: move.to.words, pool: pool)
    }
}
