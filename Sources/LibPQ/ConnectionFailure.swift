// SPDX-License-Identifier: Apache-2.0

/// Why a connection could not be made, read out of libpq's message.
package struct ConnectionFailure: Error, Equatable, Sendable {
    /// Of the server's own error; nil when no server answered with one.
    package let sqlState: String?
    package let severity: String?
    /// The line that matters: the server's text, or what became of the last address.
    package let message: String
    package let detail: String?
    package let hint: String?
    /// The function of the server's source that refused, as in `LOCATION`: the same in every language.
    package let routine: String?
    /// Trying again cannot help, for libpq itself refuses.
    package let finalFailure: FinalFailure?
    /// All that libpq said, every address included.
    package let raw: String

    /// Reads a message made with PQERRORS_VERBOSE. The last error of a server in it counts: libpq
    /// ends with the host that it gave up at. `needsPassword`: PQconnectionNeedsPassword.
    package init(raw: String, needsPassword: Bool = false) {
        let text = ConnectionString.trimmed(raw)
        self.raw = text
        let lines = text.split(separator: "\n", omittingEmptySubsequences: true)
        for (index, line) in lines.enumerated().reversed() {
            guard let found = ServerErrorLine(line) else { continue }
            let rest = lines[(index + 1)...]
            sqlState = found.sqlState
            severity = found.severity
            message = found.text
            detail = ConnectionFailure.field("DETAIL:  ", in: rest)
            hint = ConnectionFailure.field("HINT:  ", in: rest)
            routine = ConnectionFailure.field("LOCATION:  ", in: rest).map { place in
                String(place.prefix { $0 != "," })
            }
            finalFailure = nil
            return
        }
        sqlState = nil
        severity = nil
        detail = nil
        routine = nil
        // What goes on in further lines is advice.
        let last =
            lines.lastIndex { line in
                FinalFailure.addressBeginnings.contains { line.hasPrefix($0) }
            } ?? lines.lastIndex { !$0.hasPrefix("\t") }
        message = last.map { String(lines[$0]) } ?? "the connection failed without a reason"
        let following = last.map { lines[($0 + 1)...] }?.first
        hint = following.map { String($0.drop { $0.isWhitespace }) }
        finalFailure = needsPassword ? .noPassword : FinalFailure(message: message)
    }

    private static func field(_ label: String, in lines: ArraySlice<Substring>) -> String? {
        lines.first { $0.hasPrefix(label) }.map { String($0.dropFirst(label.count)) }
    }
}

/// `… failed: FATAL:  28P01: password authentication failed for user "x"`.
///
/// The severity is in the server's language, so the two spaces and the SQLSTATE are what is looked for.
private struct ServerErrorLine {
    let severity: String
    let sqlState: String
    let text: String

    init?(_ line: Substring) {
        var rest = line
        while let colon = rest.firstIndex(of: ":") {
            let after = rest[rest.index(after: colon)...]
            if after.hasPrefix("  "), ServerErrorLine.beginsWithState(after.dropFirst(2)) {
                let before = line[..<colon]
                let start = before.lastIndex(of: " ").map { before.index(after: $0) }
                severity = String(before[(start ?? before.startIndex)...])
                sqlState = String(after.dropFirst(2).prefix(5))
                text = String(after.dropFirst(9))
                return
            }
            rest = after
        }
        return nil
    }

    private static func beginsWithState(_ text: Substring) -> Bool {
        let state = text.prefix(5)
        return state.count == 5 && text.dropFirst(5).hasPrefix(": ")
            && state.allSatisfy { $0.isASCII && ($0.isNumber || $0.isUppercase) }
    }
}
