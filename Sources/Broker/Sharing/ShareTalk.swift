// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibPQ
import PostgresWire

/// A question and its answer, on a connection of its own that is open for a few milliseconds: whoever has the answer
/// knows that the place is free again. Runs on a worker thread.
struct ShareTalk: Sendable {
    enum Failure: Error {
        /// PostgreSQL has no room for the connection (53300): nothing was asked.
        case noRoom(PgError)
        case error(PgError)
    }

    struct Statement: Sendable {
        var text: String
        var values: [String?]
    }

    private let keywords: [(String, String)]
    private let statement: Statement
    private let deadline: ContinuousClock.Instant
    /// Whoever asks has no other connection: this one tells whether PostgreSQL is still the one that answered.
    private let keepsConnection: Bool

    /// What was answered, and the connection if it is kept.
    struct Answer: Sendable {
        var answer: ShareAnswer
        var witness: BlockingConnection?
    }

    init(
        parameters: ConnectionParameters, statement: Statement, keepsConnection: Bool = false,
        patience: Duration = .seconds(5)
    ) {
        self.keepsConnection = keepsConnection
        keywords = parameters.map { ($0.keyword, $0.value) }
        self.statement = statement
        deadline = ContinuousClock.now + patience
    }

    static func question(
        _ bound: String, holder: String, host: String, weight: Int, _ question: ShareQuestion,
        backends: [Int32]
    ) -> Statement {
        Statement(
            text: """
                select share, target, free, total, hosts, period, era, clock
                from pglease.ask($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                """,
            values: [
                bound, holder, host, "\(weight)", "\(question.number)", question.era,
                "\(question.clock)", "\(question.since)", "\(question.used)", "\(question.want)",
                array(backends),
            ])
    }

    static func farewell(_ bound: String, holder: String, backends: [Int32]) -> Statement {
        Statement(
            text: "select pglease.leave($1, $2, $3)", values: [bound, holder, array(backends)])
    }

    private static func array(_ backends: [Int32]) -> String {
        "{\(backends.map { "\($0)" }.joined(separator: ","))}"
    }

    func ask() -> Result<Answer, Failure> {
        let connection: BlockingConnection
        let row: [String]
        do throws(Failure) {
            (connection, row) = try run()
        } catch {
            return .failure(error)
        }
        guard let answer = Self.answer(row) else {
            end(connection)
            return .failure(.error(.error(.protocolViolation, "pglease.ask gave no answer")))
        }
        if keepsConnection, answer.share > 0 {
            return .success(Answer(answer: answer, witness: connection))
        }
        end(connection)
        return .success(Answer(answer: answer))
    }

    private func end(_ connection: BlockingConnection) {
        connection.closeAndWait(Patience(until: deadline))
    }

    /// The columns of `question`.
    static func answer(_ row: [String]) -> ShareAnswer? {
        guard row.count == 8, let share = Int(row[0]), let target = Int(row[1]),
            let free = Int(row[2]), let total = Int(row[3]), let hosts = Int(row[4]),
            let period = Int64(row[5]), period > 0, let clock = Int64(row[7])
        else { return nil }
        return ShareAnswer(
            share: share, target: target, free: free, total: total, hosts: hosts, period: period,
            era: row[6], clock: clock)
    }

    /// The row runs out by itself if it fails.
    func leave() {
        if let (connection, _) = try? run() { end(connection) }
    }

    private func run() throws(Failure) -> (BlockingConnection, [String]) {
        let patience = Patience(until: deadline)
        do {
            let connection = try BlockingConnection.connect(
                keywords.map { (keyword: $0.0, value: $0.1) }, wakeup: ThreadWakeup(),
                patience: patience)
            do {
                return (connection, try answer(of: connection, patience))
            } catch {
                end(connection)
                throw error
            }
        } catch let message as ServerMessage {
            throw .error(
                .error(
                    message.sqlState.isEmpty
                        ? .connectionFailure : SQLState(rawValue: message.sqlState),
                    message.message, detail: message.detail, hint: message.hint))
        } catch let failure as ConnectionFailure {
            let error = PgError.error(
                failure.sqlState.map { SQLState(rawValue: $0) } ?? .connectionNotEstablished,
                failure.message, detail: failure.detail, hint: failure.hint)
            throw error.sqlState == .tooManyConnections ? .noRoom(error) : .error(error)
        } catch {
            throw .error(.error(.connectionFailure, "the table did not answer in time"))
        }
    }

    private func answer(of connection: BlockingConnection, _ patience: Patience) throws -> [String]
    {
        try connection.sendStatement(
            statement.text,
            statement.values.map {
                StatementParameter(type: 0, isBinary: false, bytes: $0.map { Array($0.utf8) })
            }, binaryResult: false)
        var row: [String] = []
        while let result = try connection.nextResult(patience) {
            if result.status == .error { throw result.error }
            guard result.rowCount == 1 else { continue }
            row = (0..<result.columnCount).map { result.text(0, $0) ?? "" }
        }
        return row
    }
}
