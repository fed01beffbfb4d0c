// SPDX-License-Identifier: Apache-2.0

/// A statement that is meant for the broker, not for PostgreSQL:
///
///     LEASE [DIRECT [PARK]] [WAIT '2s'] [HOLD '30s'] [FOR 'backfill.pendingJobs'] [THREAD '1234']
///     LEASE RETURN
///
/// No statement of PostgreSQL begins with the word LEASE.
package enum LeaseCommand: Equatable, Sendable {
    case acquire(LeaseTerms)
    case giveBack

    /// A text longer than this is none: it need not be looked at whole.
    package static let lengthLimit = 2048
    /// A purpose is cut after so many characters, which are code points as in PostgreSQL.
    package static let purposeLimit = 128
    /// Bytes.
    package static let threadLimit = 64

    /// What a text turned out to be.
    package enum Reading: Equatable, Sendable {
        /// Not about leases: it is PostgreSQL's.
        case other
        case command(LeaseCommand)
        case refused(PgError)
    }

    /// Whether a text that begins so may be a lease command: its first word must be read.
    @inline(__always)
    package static func mayBegin(_ text: UnsafeRawBufferPointer) -> Bool {
        guard let first = text.first else { return false }
        return first | 0x20 == UInt8(ascii: "l") || first <= UInt8(ascii: " ")
            || first == UInt8(ascii: "-") || first == UInt8(ascii: "/")
    }

    package static func read(_ text: UnsafeRawBufferPointer) -> Reading {
        guard mayBegin(text) else { return .other }
        var cursor = SQLCursor(text)
        guard cursor.skipSpace(), lowercased(cursor.byte) == UInt8(ascii: "l"),
            cursor.take("lease")
        else { return .other }
        var reader = LeaseCommandReader(text: text, cursor: cursor)
        do throws(PgError) {
            return .command(try reader.command())
        } catch {
            return .refused(error)
        }
    }
}

/// What is asked of a lease, as it stands in the statement.
package struct LeaseTerms: Equatable, Sendable {
    /// The server connection's descriptor is wanted.
    package var isDirect = false
    /// The client would park it between uses (docs/parked.md).
    package var parks = false
    /// How long to wait at most; nil: as long as the pool allows.
    package var wait: Duration?
    /// How long it may be kept at most.
    package var hold: Duration?
    /// What it is for, in the client's words.
    package var purpose: String?
    /// The thread that will hold it, in the client's words.
    package var thread: String?

    package init() {}
}

/// Reads what follows the word LEASE.
private struct LeaseCommandReader {
    let text: UnsafeRawBufferPointer
    var cursor: SQLCursor

    mutating func command() throws(PgError) -> LeaseCommand {
        try skip()
        if cursor.take("return") {
            try end()
            return .giveBack
        }
        var terms = LeaseTerms()
        while true {
            try skip()
            let start = cursor.offset
            if cursor.take("direct") {
                guard !terms.isDirect else { throw duplicate("DIRECT", start) }
                terms.isDirect = true
            } else if cursor.take("park") {
                guard !terms.parks else { throw duplicate("PARK", start) }
                terms.parks = true
            } else if cursor.take("wait") {
                guard terms.wait == nil else { throw duplicate("WAIT", start) }
                terms.wait = try duration("WAIT")
            } else if cursor.take("hold") {
                guard terms.hold == nil else { throw duplicate("HOLD", start) }
                terms.hold = try duration("HOLD")
                guard terms.hold != .zero else {
                    throw invalid("HOLD must be longer than 0", "Leave HOLD out for no limit.")
                }
            } else if cursor.take("for") {
                guard terms.purpose == nil else { throw duplicate("FOR", start) }
                let characters = try string("FOR").unicodeScalars
                terms.purpose = String(characters.prefix(LeaseCommand.purposeLimit))
            } else if cursor.take("thread") {
                guard terms.thread == nil else { throw duplicate("THREAD", start) }
                let thread = try string("THREAD")
                guard !thread.isEmpty, thread.utf8.count <= LeaseCommand.threadLimit else {
                    throw invalid(
                        "THREAD must have 1 to \(LeaseCommand.threadLimit) bytes",
                        "The number of the thread is enough.")
                }
                terms.thread = thread
            } else {
                try end()
                guard terms.isDirect || !terms.parks else {
                    throw invalid("PARK is for direct leases", "Write LEASE DIRECT PARK.")
                }
                return .acquire(terms)
            }
        }
    }

    private mutating func skip() throws(PgError) {
        if !cursor.skipSpace() { throw syntax("unterminated comment", at: cursor.offset) }
    }

    private mutating func end() throws(PgError) {
        try skip()
        while cursor.byte == UInt8(ascii: ";") {
            cursor.advance()
            try skip()
        }
        if !cursor.isAtEnd { throw unexpected() }
    }

    private mutating func duration(_ option: String) throws(PgError) -> Duration {
        let text = try string(option)
        switch DurationText.read(text) {
        case .duration(let value): return value
        case .malformed:
            throw invalid(
                "invalid duration for \(option): \"\(text)\"",
                "Write it like '500ms', '2s' or '1min'; a bare number means seconds.")
        case .tooLong:
            throw invalid("duration for \(option) is too long: \"\(text)\"", "Use a shorter one.")
        }
    }

    /// A string in single quotes, each quote in it doubled.
    private mutating func string(_ option: String) throws(PgError) -> String {
        try skip()
        guard cursor.byte == UInt8(ascii: "'") else {
            throw cursor.isAtEnd ? unexpected() : unexpected("\(option) takes a string in quotes.")
        }
        let start = cursor.offset
        var bytes: [UInt8] = []
        cursor.advance()
        while !cursor.isAtEnd {
            let byte = cursor.byte
            cursor.advance()
            if byte == UInt8(ascii: "'") {
                guard cursor.byte == UInt8(ascii: "'") else {
                    return String(decoding: bytes, as: UTF8.self)
                }
                cursor.advance()
            }
            bytes.append(byte)
        }
        throw syntax("unterminated quoted string", at: start)
    }

    // MARK: Errors

    private func unexpected(_ hint: String = LeaseCommandReader.grammar) -> PgError {
        if cursor.isAtEnd {
            return syntax("syntax error at end of input", at: cursor.offset, hint: hint)
        }
        var end = cursor
        end.advance()
        while isIdentifierByte(cursor.byte), isIdentifierByte(end.byte) { end.advance() }
        let word = String(decoding: text[cursor.offset..<end.offset], as: UTF8.self)
        return syntax("syntax error at or near \"\(word)\"", at: cursor.offset, hint: hint)
    }

    private func duplicate(_ option: String, _ offset: Int) -> PgError {
        syntax("\(option) is given twice", at: offset)
    }

    private func syntax(
        _ message: String, at offset: Int, hint: String = LeaseCommandReader.grammar
    ) -> PgError {
        let before = String(decoding: text[..<min(offset, text.count)], as: UTF8.self)
        return PgError(
            sqlState: .syntaxError, message: message, hint: hint,
            position: before.unicodeScalars.count + 1)
    }

    private func invalid(_ message: String, _ hint: String) -> PgError {
        .error(.invalidParameterValue, message, hint: hint)
    }

    private static let grammar =
        "LEASE [DIRECT [PARK]] [WAIT '2s'] [HOLD '30s'] [FOR 'purpose'] [THREAD 'id'], or LEASE RETURN."
}
