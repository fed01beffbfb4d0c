// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The PostgreSQL of a run about listening: what was notified on it, in the order of the commits.
final class ListenCluster {
    struct Notification {
        let channel: String
        let payload: String
        let process: Int32
        /// The client whose transaction it was.
        let owner: Int?
    }

    var log: [Notification] = []
    var lastProcess: Int32 = 1_000
    /// Told of each commit that changes what a session listens to: where in the log it lies.
    var committed: ((ListenBackend, [ListenBackend.Action], Int) -> Void)?
    /// Who holds a backend.
    var holder: ((ListenBackend) -> Int?)?
}

/// A backend as far as LISTEN, UNLISTEN and NOTIFY go: with transactions, savepoints, both protocols, and notifications
/// told in front of ReadyForQuery or while it is idle.
final class ListenBackend {
    enum Action: Equatable {
        case listen(String)
        case unlisten(String)
        case unlistenAll
    }

    let cluster: ListenCluster
    let process: Int32
    var input: [UInt8] = []
    var output: [UInt8] = []
    var isDead = false
    private(set) var listening: Set<String> = []
    private(set) var status = TransactionStatus.idle
    private var position = 0
    private var actions: [Action] = []
    private var notifies: [(channel: String, payload: String)] = []
    private var savepoints: [(name: String, actions: Int, notifies: Int)] = []
    private var isSkipping = false
    private var prepared: [String: String] = [:]
    private var portals: [String: String] = [:]

    init(_ cluster: ListenCluster) {
        self.cluster = cluster
        cluster.lastProcess += 1
        process = cluster.lastProcess
    }

    private struct Failure: Error {
        let state: SQLState
        let message: String
    }

    /// It may say something although nothing was asked.
    var hasNews: Bool {
        !isDead && status == .idle && !listening.isEmpty && position < cluster.log.count
    }

    /// Tells what was notified since it last did.
    func tell() {
        guard status == .idle, !listening.isEmpty else { return }
        for notification in cluster.log[position...] where listening.contains(notification.channel)
        {
            output.appendNotification(
                processID: notification.process, channel: notification.channel,
                payload: notification.payload)
        }
        position = cluster.log.count
    }

    /// Deals with one message. False if none is there.
    func step() -> Bool {
        guard !isDead, input.count >= MessageHeader.size else { return false }
        let header = input.withUnsafeBytes { MessageHeader($0, at: 0) }
        let end = MessageHeader.size + header.bodyLength
        guard input.count >= end else { return false }
        let body = Array(input[MessageHeader.size..<end])
        input.removeFirst(end)
        let kind = FrontendKind(rawValue: header.kind)
        if kind == .query {
            simple(Self.words(body)[0])
        } else if kind == .sync {
            isSkipping = false
            if status == .idle { commit() }
            ready()
        } else if !isSkipping {
            do throws(Failure) {
                try extended(kind, body)
            } catch {
                fail(error)
                isSkipping = true
            }
        }
        return true
    }

    private static func words(_ body: [UInt8]) -> [String] {
        body.split(separator: 0, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    private func ready() {
        tell()
        output.appendReadyForQuery(status)
    }

    private func simple(_ text: String) {
        let statements = text.split(separator: ";").map { $0.drop { $0 == " " } }
            .filter { !$0.isEmpty }
        if statements.isEmpty { output.appendEmptyQueryResponse() }
        do throws(Failure) {
            for statement in statements {
                if statement.contains("pg_listening_channels") { answerChannels() }
                output.appendCommandComplete(try run(statement))
            }
            if status == .idle { commit() }
        } catch {
            fail(error)
        }
        ready()
    }

    /// What the broker asks at the end of a lease, as far as it is about listening.
    private func answerChannels() {
        output.appendRowDescription(
            (0..<4).map { ColumnDescription(name: "column\($0)") })
        for channel in listening.sorted() {
            let name = channel.utf8.map { String($0, radix: 16) }.joined()
            output.appendDataRow(texts: ["channel", "", name, ""])
        }
    }

    private func extended(_ kind: FrontendKind, _ body: [UInt8]) throws(Failure) {
        let words = Self.words(body)
        switch kind {
        case .parse:
            prepared[words[0]] = words[1]
            output.appendParseComplete()
        case .bind:
            guard let text = prepared[words[1]] else {
                throw Failure(state: .invalidStatementName, message: "no such statement")
            }
            portals[words[0]] = text
            output.appendBindComplete()
        case .execute:
            output.appendCommandComplete(try run(Substring(portals[words[0]] ?? "")))
        case .describe:
            output.appendMessage(kind: BackendKind.parameterDescription.rawValue) { $0 += [0, 0] }
            output.appendMessage(kind: BackendKind.noData.rawValue) { _ in }
        case .close:
            output.appendCloseComplete()
        default:
            break
        }
    }

    private func fail(_ failure: Failure) {
        output.appendErrorResponse(.error(failure.state, failure.message))
        if status == .idle { forget() } else { status = .failed }
    }

    private func forget() {
        actions = []
        notifies = []
        savepoints = []
    }

    /// Runs a statement; its tag.
    private func run(_ text: Substring) throws(Failure) -> String {
        let words = text.split { " ,".contains($0) }.map(String.init)
        let first = words[0].uppercased()
        if status == .failed, first != "COMMIT", first != "ROLLBACK" {
            throw Failure(state: .inFailedSqlTransaction, message: "the transaction is aborted")
        }
        switch first {
        case "BEGIN":
            status = .inTransaction
        case "COMMIT":
            let isCommitted = status != .failed
            status = .idle
            if isCommitted { commit() } else { forget() }
            return isCommitted ? first : "ROLLBACK"
        case "ROLLBACK" where words.count > 1:
            guard let place = savepoints.lastIndex(where: { $0.name == words[2] }) else {
                throw Failure(state: .invalidParameterValue, message: "no such savepoint")
            }
            actions.removeSubrange(savepoints[place].actions...)
            notifies.removeSubrange(savepoints[place].notifies...)
            savepoints.removeSubrange((place + 1)...)
            status = .inTransaction
        case "ROLLBACK":
            status = .idle
            forget()
        case "SAVEPOINT":
            savepoints.append((words[1], actions.count, notifies.count))
        case "RELEASE":
            guard let place = savepoints.lastIndex(where: { $0.name == words[1] }) else {
                throw Failure(state: .invalidParameterValue, message: "no such savepoint")
            }
            savepoints.removeSubrange(place...)
        case "LISTEN": actions.append(.listen(Self.name(words[1])))
        case "UNLISTEN":
            actions.append(words[1] == "*" ? .unlistenAll : .unlisten(Self.name(words[1])))
        case "NOTIFY": notifies.append((Self.name(words[1]), words[2]))
        case "FAIL": throw Failure(state: .internalError, message: "failed")
        case "DO": throw Failure(state: .featureNotSupported, message: "refused")
        case "DISCARD" where words[1] == "ALL":
            if status != .idle {
                throw Failure(
                    state: .activeSqlTransaction, message: "DISCARD ALL in a transaction block")
            }
            actions.append(.unlistenAll)
            return "DISCARD ALL"
        case "SELECT":
            return "SELECT 0"
        default: break
        }
        return first
    }

    private static func name(_ word: String) -> String {
        word.first == "\"" ? String(word.dropFirst().dropLast()) : word.lowercased()
    }

    private func commit() {
        let start = cluster.log.count
        if !actions.isEmpty {
            if listening.isEmpty { position = start }
            for action in actions {
                switch action {
                case .listen(let name): listening.insert(name)
                case .unlisten(let name): listening.remove(name)
                case .unlistenAll: listening.removeAll()
                }
            }
            cluster.committed?(self, actions, start)
        }
        let owner = notifies.isEmpty ? nil : cluster.holder?(self)
        for (channel, payload) in notifies {
            cluster.log.append(
                ListenCluster.Notification(
                    channel: channel, payload: payload, process: process, owner: owner))
        }
        forget()
    }
}
