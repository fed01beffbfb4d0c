// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// What takes long at logins, on worker threads: a few at a time, so that it never takes all of them.
struct ClientProofs {
    enum Lane: Hashable {
        case arithmetic
        /// One after the other: modules of PAM need not keep to threads.
        case pam
        /// Each directory of LDAP has its own, by its servers: a silent one holds up no other.
        case directory(String)

        var atOnce: Int { self == .pam ? 1 : 4 }

        var isDirectory: Bool {
            switch self {
            case .directory: true
            case .arithmetic, .pam: false
            }
        }
    }

    /// Of all directories together: half of the worker threads.
    static let directoriesAtOnce = 16

    var underWay: [Lane: Int] = [:]
    var waiting: [Lane: [(Broker) -> Bool]] = [:]
    /// Secrets of listed passwords are being derived.
    var isDeriving = false

    /// The next one of a lane that may begin.
    fileprivate mutating func next(in lane: Lane) -> ((Broker) -> Bool)? {
        guard underWay[lane, default: 0] < lane.atOnce, let first = waiting[lane]?.first else {
            return nil
        }
        if lane.isDirectory {
            let all = underWay.reduce(0) { $0 + ($1.key.isDirectory ? $1.value : 0) }
            guard all < Self.directoriesAtOnce else { return nil }
        }
        waiting[lane]?.removeFirst()
        if waiting[lane]?.isEmpty == true { waiting[lane] = nil }
        return first
    }

    fileprivate mutating func ended(in lane: Lane) {
        underWay[lane] = underWay[lane].flatMap { $0 > 1 ? $0 - 1 : nil }
    }
}

extension Broker {
    /// Works something out for a client that logs in, who is not heard meanwhile; `then` comes unless the client
    /// has gone.
    func workOut<Output: Sendable>(
        for client: ClientConnection, in lane: ClientProofs.Lane = .arithmetic,
        _ work: @escaping @Sendable () -> Output,
        then: @escaping (Broker, ClientConnection, Output) -> Void
    ) {
        setAside(client)
        let id = client.id
        jobs.proofsOfClients.waiting[lane, default: []].append { broker in
            guard broker.isSetAside(id) else { return false }
            do throws(UVError) {
                try broker.loop.submit(work) { [weak broker] output in
                    guard let broker else { return }
                    broker.jobs.proofsOfClients.ended(in: lane)
                    broker.takeUp(id) { then($0, $1, output) }
                    broker.beginClientProofs(in: lane)
                    guard lane.isDirectory else { return }
                    for other in broker.jobs.proofsOfClients.waiting.keys where other != lane {
                        broker.beginClientProofs(in: other)
                    }
                }
                return true
            } catch {
                broker.takeUp(id) { $0.refuse($1, Self.noWorker(error)) }
                return false
            }
        }
        beginClientProofs(in: lane)
    }

    private static func noWorker(_ error: UVError) -> PgError {
        .fatal(
            .insufficientResources, "the login could not be worked on", detail: "\(error)",
            hint: "Connect again.")
    }

    private func beginClientProofs(in lane: ClientProofs.Lane) {
        while let begin = jobs.proofsOfClients.next(in: lane) {
            if begin(self) { jobs.proofsOfClients.underWay[lane, default: 0] += 1 }
        }
    }

    // MARK: Clients that wait for something of ours

    /// Its login waits for a worker thread or for `auth_query`: what it sends stays unread.
    func setAside(_ client: ClientConnection) {
        client.login?.exchange = .awaitsUs
        engine.hold(client.id, true)
    }

    func isSetAside(_ id: ClientID) -> Bool {
        guard let client = clients[id], client.isLoggingIn, case .awaitsUs? = client.login?.exchange
        else { return false }
        return true
    }

    /// Goes on with the login, if the client is still there.
    func takeUp(_ id: ClientID, _ body: (Broker, ClientConnection) -> Void) {
        guard isSetAside(id), let client = clients[id] else { return }
        client.login?.exchange = .none
        engine.hold(id, false)
        body(self, client)
        if !client.isClosed, !client.unread.isEmpty { attend(client) }
        dealWithNotices()
    }
}
