// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What the broker itself asks a server, in PostgreSQL's own words: settings of a profile, the cleaning, the
/// check of a connection.
extension RelayBackend {
    /// False if it is none of the broker's.
    mutating func runOfBroker(_ words: [Substring], isAlone: Bool) throws(Failure) -> Bool {
        switch words[0] {
        case "BEGIN":
            status = .inTransaction
            output.appendCommandComplete("BEGIN")
        case "COMMIT", "END":
            let isFailed = status == .failed
            if isFailed { leave() } else { commit() }
            output.appendCommandComplete(isFailed ? "ROLLBACK" : "COMMIT")
        case "SET":
            set(words)
            output.appendCommandComplete("SET")
        case "RESET":
            if words[1] == "ALL" { resetAll() }
            output.appendCommandComplete("RESET")
        case "DISCARD" where words[1] == "SEQUENCES":
            output.appendCommandComplete("DISCARD SEQUENCES")
        case "DISCARD":
            if failuresOfCleaning > 0 {
                failuresOfCleaning -= 1
                throw Failure(state: .internalError, message: "it cannot be cleaned")
            }
            guard status == .idle, isAlone else {
                throw Failure(state: .activeSqlTransaction, message: "not in a transaction block")
            }
            discardAll()
            resetAll()
            output.appendCommandComplete("DISCARD ALL")
        case "SELECT" where words[1].hasPrefix("'role'"):
            let rows = state(words.joined(separator: " "))
            for row in rows { output.appendDataRow(texts: row) }
            output.appendCommandComplete("SELECT \(rows.count)")
        case "SELECT":
            // It has no extensions.
            output.appendCommandComplete("SELECT 0")
        default:
            return false
        }
        return true
    }

    /// What the session holds, as `StateQuestion` asks.
    private func state(_ question: String) -> [[String]] {
        func digits(_ text: String) -> String {
            text.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        }
        var rows = [["role", "", digits("none"), ""], ["user", "", digits("sim"), ""]]
        let asksAll = question.contains("pg_settings")
        let settings: [(name: String, value: String?, own: String?)] = [
            ("timezone", profile, zone ?? "0"), ("followed", followed, "none"), ("mark", mark, nil),
        ]
        for (name, value, own) in settings {
            guard let value, value != own || (!asksAll && question.contains("'\(name)'")) else {
                continue
            }
            if asksAll || question.contains("'\(name)'") {
                rows.append(["set", name, digits(value), ""])
            }
        }
        return rows
    }

    /// `SET "name" TO 'value'`, or without the quotes.
    private mutating func set(_ words: [Substring]) {
        guard words.count >= 4, let last = words.last else { return }
        switch words[1].filter({ $0 != "\"" }) {
        case "timezone": profile = Self.unquoted(last)
        case "followed": followed = Self.unquoted(last)
        case "mark": mark = Self.unquoted(last)
        default: break
        }
    }
}
