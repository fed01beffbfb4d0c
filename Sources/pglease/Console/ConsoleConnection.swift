// SPDX-License-Identifier: Apache-2.0

import Broker
import Glibc
import LibPQ
import OperatorTools
import PostgresProbe
import Synchronization

/// Why the console did not answer.
enum ConsoleFailure: Error, Sendable {
    /// A broker is there, and says no.
    case refused(String, hint: String?)
    /// Nobody is there, or not any more.
    case noAnswer(String)

    var text: String {
        switch self {
        case .refused(let text, let hint): hint.map { "\(text) (\($0))" } ?? text
        case .noAnswer(let reason): reason
        }
    }

    var status: Int32 {
        switch self {
        case .refused: 1
        case .noAnswer: 2
        }
    }
}

/// Visits to one broker's console. The connection is kept, and made again when it was lost; calls
/// block for `timeout` at the most, and may come from any thread, one at a time.
final class ConsoleConnection: Sendable {
    let place: BrokerPlace
    private let user: String
    private let program: String
    private let timeout: Duration
    private let state = Mutex(State())

    private struct State {
        var connection: BlockingConnection?
        /// What this broker does not know.
        var unknown: Set<Question> = []
    }

    /// Looks for the broker; says where it looked when there is none.
    convenience init(_ options: BrokerAddressOptions, program: String) throws {
        let environment = try ProcessEnvironment.read()
        let search = try options.findBroker(environment)
        guard let found = search.found else { throw ConsoleReport.refuse(search) }
        self.init(
            at: found.place, user: options.userName(environment), program: program,
            timeout: .seconds(options.timeout))
    }

    /// At a place where a broker has answered.
    init(at place: BrokerPlace, user: String, program: String, timeout: Duration) {
        self.place = place
        self.user = user
        self.program = program
        self.timeout = timeout
    }

    var address: String { place.address.description }

    /// All answers of now.
    func read() throws(ConsoleFailure) -> BrokerReading {
        try visit { connection, unknown, patience throws(ConsoleFailure) in
            var tables: [Question: ConsoleTable] = [:]
            for question in Question.allCases where !unknown.contains(question) {
                do throws(ConsoleFailure) {
                    tables[question] = try connection.table(question.command, patience)
                } catch {
                    guard case .refused = error, !question.isRequired else { throw error }
                    unknown.insert(question)
                }
            }
            return BrokerReading(tables: tables, takenAt: Self.now)
        }
    }

    func kill(lease: String) throws(ConsoleFailure) {
        try visit { connection, _, patience throws(ConsoleFailure) in
            _ = try connection.table("KILL LEASE \(lease)", patience)
        }
    }

    private func visit<Answer: Sendable>(
        _ body: (BlockingConnection, inout Set<Question>, Patience) throws(ConsoleFailure) -> Answer
    ) throws(ConsoleFailure) -> Answer {
        let patience = Patience(until: ContinuousClock.now + timeout)
        return try state.withLock { state throws(ConsoleFailure) in
            let connection: BlockingConnection
            if let open = state.connection, open.isAlive {
                connection = open
            } else {
                state.connection?.destroy()
                state = State()
                connection = try connect(patience)
                state.connection = connection
            }
            do throws(ConsoleFailure) {
                return try body(connection, &state.unknown, patience)
            } catch {
                if case .noAnswer = error {
                    connection.destroy()
                    state.connection = nil
                }
                throw error
            }
        }
    }

    private func connect(_ patience: Patience) throws(ConsoleFailure) -> BlockingConnection {
        do {
            return try BlockingConnection.connect(
                [
                    ("host", place.host), ("port", "\(place.port)"), ("user", user),
                    ("dbname", "pglease"), ("application_name", "pglease \(program)"),
                    ("client_encoding", "UTF8"),
                ], wakeup: ThreadWakeup(), patience: patience)
        } catch let failure as ConnectionFailure {
            if failure.raw.contains("no password supplied") { throw passwordNeeded }
            if failure.sqlState == nil { throw .noAnswer(reason(failure)) }
            throw .refused(failure.message, hint: failure.hint)
        } catch {
            throw .noAnswer("no answer in time")
        }
    }

    private var passwordNeeded: ConsoleFailure {
        .refused(
            "it asks user \"\(user)\" for a password",
            hint:
                "Set PGPASSWORD, or write \(place.host):\(place.port):pglease:\(user):PASSWORD into the passfile (~/.pgpass, or PGPASSFILE; mode 0600)."
        )
    }

    /// libpq repeats the address, which is said anyway.
    private func reason(_ failure: ConnectionFailure) -> String {
        let text = failure.message
        guard text.hasPrefix("connection to server"), let mark = text.firstRange(of: " failed: ")
        else { return text }
        return String(text[mark.upperBound...])
    }

    private static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}

extension BlockingConnection {
    /// One command of the console and its rows.
    fileprivate func table(
        _ command: String, _ patience: Patience
    ) throws(ConsoleFailure) -> ConsoleTable {
        var table = ConsoleTable(columns: [], rows: [])
        var failure: ServerMessage?
        do {
            try sendScript(command)
            while let result = try nextResult(patience) {
                switch result.status {
                case .rows: table = ConsoleTable(result)
                case .error: failure = result.error
                default: break
                }
            }
        } catch let message as ServerMessage {
            throw .noAnswer(message.message)
        } catch {
            throw .noAnswer("no answer in time")
        }
        guard let failure else { return table }
        // Without a state it is libpq's own: the connection is lost. A farewell ends it too.
        if failure.sqlState.isEmpty || failure.severity == "FATAL" || !isOpen {
            throw .noAnswer(failure.message)
        }
        throw .refused(failure.message, hint: failure.hint)
    }
}

extension ConsoleTable {
    fileprivate init(_ result: ClientResult) {
        // int8, int4 and int2.
        let numbers: Set<UInt32> = [20, 23, 21]
        self.init(
            columns: (0..<result.columnCount).map {
                Column(result.columnName($0), isNumber: numbers.contains(result.columnType($0)))
            },
            rows: (0..<result.rowCount).map { row in
                (0..<result.columnCount).map { column in
                    result.withValue(row, column) { span -> String? in
                        guard let span else { return nil }
                        return String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self)
                    }
                }
            })
    }
}
