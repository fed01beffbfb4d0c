// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// SCRAM with servers: libpq hashes the password thousands of times, as often as the server says.
///
/// The server's count is bounded (`scram_iterations_max`), and the hashing is a worker thread's, a few at a
/// time: no server holds up the loop, the worker threads or the end of the process.
struct ServerProofs {
    /// Of the worker threads, and of those for one pool: one server that asks for many rounds does not hold
    /// up the connects of another pool.
    static let atOnce = 4
    static let atOncePerPool = 2

    var underWay: [PoolID: Int] = [:]
    /// In order of arrival; those that were given up meanwhile are skipped.
    var waiting: [ServerID] = []
}

extension Broker {
    /// Goes on with a connect whose socket is ready.
    func continueConnect(_ server: ServerConnection) {
        guard let connection = server.connection else { return }
        // libpq closes a socket by itself when it goes to the next address, and the next one may get
        // the same number: no watcher outlives a step.
        server.watcher?.close()
        server.watcher = nil
        guard connection.isAwaitingAuthentication else {
            advanced(server, connection, connection.poll())
            return
        }
        let socket = connection.socketNumber
        if server.loginSocket != socket {
            server.loginSocket = socket
            server.loginWatch = ServerLoginWatch()
            server.keyLogin = keyLogin(for: server)
        }
        let space = UnsafeMutableRawBufferPointer(start: readBuffer, count: Self.readSize)
        switch connection.peek(into: space) {
        case .nothing: watchConnect(server, for: .reading)
        case .ended: advanced(server, connection, connection.poll())
        case .bytes(let count):
            waitForHost(server)
            look(at: UnsafeRawBufferPointer(rebasing: space[..<count]), server, connection)
        }
    }

    /// Decides who lets libpq read what the server said.
    private func look(
        at bytes: UnsafeRawBufferPointer, _ server: ServerConnection,
        _ connection: PostgresConnection
    ) {
        if dealsWithKeys(bytes, server, connection) { return }
        switch server.loginWatch.look(at: bytes) {
        case .harmless: advanced(server, connection, connection.poll())
        case .incomplete where connection.usesTLS:
            // The rest cannot be seen before libpq has taken this record, and it takes no more than that.
            server.loginWatch.hold(bytes)
            advanced(server, connection, connection.poll())
        case .incomplete: lookAgain(server)
        case .challenge(let iterations) where iterations > settings.scramIterationsMax:
            connectFailed(server, tooManyIterations(iterations))
        case .challenge:
            jobs.proofs.waiting.append(server.id)
            beginProofs()
        case .refused(let what):
            connectFailed(server, Self.badLogin(what))
        }
    }

    /// The rest of a message has not come. The socket is readable until somebody has read: a watcher would turn
    /// the loop in circles.
    func lookAgain(_ server: ServerConnection) {
        guard server.loginLooks < Self.mostLoginLooks else {
            connectFailed(server, Self.badLogin("half a message"))
            return
        }
        server.loginLooks += 1
        engine.remind(of: server.id, at: now + Self.loginLookAgain)
    }

    /// Between two looks for the rest of a message, and how many there are before it counts as lost.
    private static let loginLookAgain = Duration.milliseconds(10)
    private static let mostLoginLooks = 500

    static func badLogin(_ what: String) -> ConnectFailure {
        ConnectFailure(
            kind: .transient,
            error: .error(
                .protocolViolation, "the server does not keep to the protocol of logins",
                detail: "It sent \(what).",
                hint: "Is it a PostgreSQL server, and the right host and port?"))
    }

    private func tooManyIterations(_ iterations: Int) -> ConnectFailure {
        ConnectFailure(
            kind: .permanent,
            error: .error(
                .invalidAuthorization, "the server asks for \(iterations) SCRAM iterations",
                detail: "scram_iterations_max is \(settings.scramIterationsMax).",
                hint:
                    "Set the role's password again with a smaller scram_iterations on the server, or raise "
                    + "scram_iterations_max."))
    }

    /// Hands the next ones to worker threads.
    private func beginProofs() {
        var index = 0
        while index < jobs.proofs.waiting.count,
            jobs.proofs.underWay.values.reduce(0, +) < ServerProofs.atOnce
        {
            guard let server = server(jobs.proofs.waiting[index]), server.isConnecting,
                let connection = server.connection
            else {
                jobs.proofs.waiting.remove(at: index)
                continue
            }
            if jobs.proofs.underWay[server.pool.id, default: 0] >= ServerProofs.atOncePerPool {
                index += 1
                continue
            }
            jobs.proofs.waiting.remove(at: index)
            prove(server, connection)
        }
    }

    /// The connection is the worker's until it comes back: the server has none meanwhile.
    private func prove(_ server: ServerConnection, _ connection: PostgresConnection) {
        let (id, pool) = (server.id, server.pool.id)
        let work: @Sendable () -> PostgresConnection.Progress = { connection.poll() }
        do throws(UVError) {
            try loop.submit(work) { [weak self] progress in
                guard let self else { return }
                self.proved(id, pool, connection, progress)
            }
        } catch {
            advanced(server, connection, connection.poll())
            return
        }
        server.connection = nil
        jobs.proofs.underWay[pool, default: 0] += 1
    }

    private func proved(
        _ id: ServerID, _ pool: PoolID, _ connection: PostgresConnection,
        _ progress: PostgresConnection.Progress
    ) {
        let underWay = jobs.proofs.underWay[pool, default: 1] - 1
        jobs.proofs.underWay[pool] = underWay == 0 ? nil : underWay
        if let server = server(id), server.isConnecting {
            server.connection = connection
            advanced(server, connection, progress)
        } else {
            // Given up meanwhile.
            connection.close(sendTerminate: false)
        }
        beginProofs()
    }
}
