// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import Glibc
import LeaseCore
import LibUV

/// What the system calls the users at the other ends of the Unix socket. Known ones are asked for again after a
/// while: an answer may come from a name service.
struct UserNames {
    static let age = Duration.seconds(60)
    static let limit = 1024

    private var known: [UInt32: (name: String?, since: Instant)] = [:]

    /// The outer nil: not known, or for too long.
    func name(of user: UInt32, now: Instant) -> String?? {
        guard let entry = known[user], now - entry.since <= Self.age else { return nil }
        return .some(entry.name)
    }

    mutating func learn(_ name: String?, of user: UInt32, now: Instant) {
        if known.count >= Self.limit { known = [:] }
        known[user] = (name, now)
    }
}

extension Broker {
    /// Finds out what the system calls the client's user; at once over TCP, and for the broker's own user and
    /// root, of whom only rules want to know it.
    func findSystemUser(
        of client: ClientConnection, then: @escaping (Broker, ClientConnection) -> Void
    ) {
        guard let peer = client.peer, !isOwner(peer) || settings.authType == .hba else {
            then(self, client)
            return
        }
        let user = peer.userID
        if let name = jobs.userNames.name(of: user, now: now) {
            client.systemUser = name
            then(self, client)
            return
        }
        workOut(for: client) {
            Self.userName(of: user)
        } then: { broker, client, name in
            broker.jobs.userNames.learn(name, of: user, now: broker.now)
            client.systemUser = name
            then(broker, client)
        }
    }

    /// The name in the passwd database, which may ask a name service. nil: it has none.
    private static func userName(of uid: UInt32) -> String? {
        var size = 4096
        while size <= 1 << 20 {
            var entry = passwd()
            var result: UnsafeMutablePointer<passwd>?
            var buffer = [CChar](repeating: 0, count: size)
            let status = getpwuid_r(uid, &entry, &buffer, buffer.count, &result)
            if status == 0 {
                guard result != nil, let name = entry.pw_name else { return nil }
                return String(cString: name)
            }
            guard status == ERANGE || status == EINTR else { return nil }
            if status == ERANGE { size *= 4 }
        }
        return nil
    }
}
