// SPDX-License-Identifier: Apache-2.0

import LibPQ
import OperatorTools

/// One connection of the doctor's to one PostgreSQL.
struct TrialSession {
    private let connection: BlockingConnection
    private let patience: Patience

    init(_ parameters: ConnectionParameters, timeout: Duration) throws(ConnectionFailure) {
        patience = Patience(until: ContinuousClock.now + timeout)
        do {
            connection = try BlockingConnection.connect(
                parameters, wakeup: ThreadWakeup(), patience: patience)
        } catch let failure as ConnectionFailure {
            throw failure
        } catch {
            throw ConnectionFailure(raw: "no answer in time")
        }
    }

    func close() { connection.close() }

    /// The rows of one statement, nil for NULL.
    func rows(_ sql: String, _ values: [String] = []) throws(ServerMessage) -> [[String?]] {
        var rows: [[String?]] = []
        var failure: ServerMessage?
        do {
            try connection.sendStatement(
                sql,
                values.map {
                    StatementParameter(type: 0, isBinary: false, bytes: Array($0.utf8))
                }, binaryResult: false)
            while let result = try connection.nextResult(patience) {
                if result.status == .error { failure = failure ?? result.error }
                for row in 0..<result.rowCount {
                    rows.append((0..<result.columnCount).map { result.text(row, $0) })
                }
            }
        } catch let message as ServerMessage {
            failure = message
        } catch {
            failure = ServerMessage(severity: "ERROR", sqlState: "", message: "no answer in time")
        }
        if let failure { throw failure }
        return rows
    }
}
