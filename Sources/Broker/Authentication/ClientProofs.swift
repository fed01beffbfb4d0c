import BrokerAuthentication
import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// Arithmetic for logins that takes long, on worker threads: a few at a time, so that it never takes all of them.
struct ClientProofs {
    static let atOnce = 4

    var underWay = 0
    var waiting: [(Broker) -> Bool] = []
    /// Secrets of listed passwords are being derived.
    var isDeriving = false
}

extension Broker {
    /// Works something out for a client that logs in, who is not heard meanwhile; `then` comes unless the client
    /// has gone.
    func workOut<Output: Sendable>(
        for client: ClientConnection, _ work: @escaping @Sendable () -> Output,
        then: @escaping (Broker, ClientConnection, Output) -> Void
    ) {
        setAside(client)
        let id = client.id
        jobs.proofsOfClients.waiting.append { broker in
            guard broker.isSetAside(id) else { return false }
            do throws(UVError) {
                try broker.loop.submit(work) { [weak broker] output in
                    guard let broker else { return }
                    broker.jobs.proofsOfClients.underWay -= 1
                    broker.takeUp(id) { then($0, $1, output) }
                    broker.beginClientProofs()
                }
                return true
            } catch {
                broker.takeUp(id) { $0.refuse($1, Self.noWorker(error)) }
                return false
            }
        }
        beginClientProofs()
    }

    private static func noWorker(_ error: UVError) -> PgError {
        .fatal(
            .insufficientResources, "the login could not be worked on", detail: "\(error)",
            hint: "Connect again.")
    }

    private func beginClientProofs() {
        while jobs.proofsOfClients.underWay < ClientProofs.atOnce,
            !jobs.proofsOfClients.waiting.isEmpty
        {
            let begin = jobs.proofsOfClients.waiting.removeFirst()
            if begin(self) { jobs.proofsOfClients.underWay += 1 }
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
