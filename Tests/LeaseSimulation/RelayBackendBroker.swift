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
        case "SELECT":
            // It has no extensions.
            output.appendCommandComplete("SELECT 0")
        default:
            return false
        }
        return true
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
