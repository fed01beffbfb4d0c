// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LibPQ

/// The database that has the tables, and statements there.
struct ShareDatabaseOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "The database that has the tables, or shall have them.",
            discussion: "A password belongs into PGPASSWORD or a passfile.", valueName: "url"))
    var databaseURL: String?

    /// Prints why it cannot be reached, and exits with 69.
    func connect() throws -> BlockingConnection {
        let environment = try ProcessEnvironment.read()
        do {
            let url = databaseURL ?? environment["DATABASE_URL"] ?? ""
            var parameters = try ConnectionString.withDefaults(ConnectionString.parse(url))
            parameters.removeAll { $0.keyword == "application_name" }
            parameters.append(("application_name", "pglease share"))
            return try BlockingConnection.connect(
                parameters, wakeup: ThreadWakeup(), patience: Self.patience)
        } catch {
            Output.error("pglease share: \(Self.text(error))")
            throw ExitCode(ExitStatus.unavailable)
        }
    }

    /// The rows as texts, "" for NULL. Prints what the server says against it, and exits with 1.
    func run(
        _ connection: BlockingConnection, _ sql: String, _ values: [String] = []
    ) throws -> [[String]] {
        do {
            if values.isEmpty {
                try connection.sendScript(sql)
            } else {
                try connection.sendStatement(
                    sql,
                    values.map {
                        StatementParameter(type: 0, isBinary: false, bytes: Array($0.utf8))
                    }, binaryResult: false)
            }
            var rows: [[String]] = []
            var failure: ServerMessage?
            while let result = try connection.nextResult(Self.patience) {
                if result.status == .error { failure = failure ?? result.error }
                for row in 0..<result.rowCount {
                    rows.append(
                        (0..<result.columnCount).map { result.text(row, $0) ?? "" })
                }
            }
            if let failure { throw failure }
            return rows
        } catch {
            Output.error("pglease share: \(Self.text(error))")
            if let message = error as? ServerMessage, let hint = Self.hint(message) {
                Output.error("HINT: \(hint)")
            }
            throw ExitCode(1)
        }
    }

    private static var patience: Patience { Patience(until: ContinuousClock.now + .seconds(30)) }

    private static func text(_ error: any Error) -> String {
        switch error {
        case let error as ServerMessage: error.message
        case let error as ConnectionFailure: error.message
        case let error as ConnectionStringError: error.message
        default: "no answer in time"
        }
    }

    private static func hint(_ message: ServerMessage) -> String? {
        switch message.sqlState {
        case "42501":
            "Run it as a superuser, or as the owner of the schema pglease; or give a DBA what "
                + "pglease share init --print prints."
        case "3F000", "42P01", "42883": "pglease share init makes the tables."
        case "25006", "0A000": "A standby shares nothing out: the tables are its primary's."
        default: message.hint
        }
    }
}
