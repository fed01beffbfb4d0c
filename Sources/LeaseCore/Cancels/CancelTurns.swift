// SPDX-License-Identifier: Apache-2.0

/// Which cancel requests are on their way to PostgreSQL, and which wait for their turn.
///
/// Each takes a worker thread until the server has answered, and a server that hangs never does. So each
/// server has few at once, all together leave workers for others, and what waits is one request for each
/// connection, however often it is asked for.
///
/// Invariant: a connection has at most one request on its way and one that waits.
package struct CancelTurns {
    package enum Turn: Equatable, Sendable {
        /// It goes now.
        case now
        /// It waits; `next` says when.
        case later
        /// One that waits already is for the same connection.
        case joined
    }

    private struct Waiting {
        let connection: ServerID
        let server: UInt32
    }

    private let limit: Int
    private let limitPerServer: Int
    private var onTheirWay: [ServerID: UInt32] = [:]
    private var countOfServer: [UInt32: Int] = [:]
    private var waiting: [Waiting] = []

    package init(limit: Int, perServer: Int) {
        self.limit = limit
        limitPerServer = perServer
    }

    package var waitingCount: Int { waiting.count }

    /// Somebody wants to cancel what runs on this connection to this server.
    package mutating func request(_ connection: ServerID, of server: UInt32) -> Turn {
        if waiting.contains(where: { $0.connection == connection }) { return .joined }
        guard mayGo(connection, server) else {
            waiting.append(Waiting(connection: connection, server: server))
            return .later
        }
        go(connection, server)
        return .now
    }

    /// The request of this connection was answered, or could not be sent.
    package mutating func finish(_ connection: ServerID) {
        guard let server = onTheirWay.removeValue(forKey: connection) else {
            contractBroken("no cancel of \(connection) is on its way")
        }
        let left = countOfServer[server]! - 1
        countOfServer[server] = left == 0 ? nil : left
    }

    /// What waits for this connection is not wanted any more.
    package mutating func drop(_ connection: ServerID) {
        waiting.removeAll { $0.connection == connection }
    }

    /// The next that may go: it is on its way from now on. First come, first served, but those behind one
    /// whose server is busy do not wait for it.
    package mutating func next() -> ServerID? {
        guard let index = waiting.firstIndex(where: { mayGo($0.connection, $0.server) }) else {
            return nil
        }
        let chosen = waiting.remove(at: index)
        go(chosen.connection, chosen.server)
        return chosen.connection
    }

    private func mayGo(_ connection: ServerID, _ server: UInt32) -> Bool {
        onTheirWay.count < limit && onTheirWay[connection] == nil
            && countOfServer[server, default: 0] < limitPerServer
    }

    private mutating func go(_ connection: ServerID, _ server: UInt32) {
        onTheirWay[connection] = server
        countOfServer[server, default: 0] += 1
    }
}
