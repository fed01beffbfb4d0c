// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The answer that nearly every query has: it comes whole, in one read, and there is nothing to be noted of it.
extension ServerStream {
    /// How many queries and transactions ended with it; no query: it was something else.
    struct PlainAnswer {
        var queries = 0
        var transactions = 0
    }

    /// Takes these bytes if they are answers that the client is owed, up to and with a ReadyForQuery, and have nothing in
    /// them but rows, what describes them, and the ends of what was asked: all of it passes as it is. What becomes of
    /// the stream is what `ServerTurn` makes of it. Else nothing is changed, and `ServerTurn` is to look.
    ///
    /// `mayStayOpen`: a transaction may go on behind it (in a statement pool the broker has a word to say then).
    mutating func takePlainAnswer(
        _ input: UnsafeRawBufferPointer, mayStayOpen: Bool, statements: inout StatementTable
    ) -> PlainAnswer {
        guard passing.bytesLeft == 0, copy == .none, ignoredSyncs == 0, !isDraining, !isSuspect,
            !isListened, !isEnding, !hasToldItsEnd, !hasSynthesized, !isAnsweredByPassing,
            pendingResets.isEmpty, errorInFront.isEmpty, let head = outstanding.first,
            head.isPlain
        else { return PlainAnswer() }
        let answer: PlainAnswer
        if outstanding.count == 1, head.kind == .query, !head.hasUndo {
            let end = Self.endOfQuery(input)
            guard end == .idle || (end == .inTransaction && mayStayOpen) else {
                return PlainAnswer()
            }
            status = end
            answer = PlainAnswer(queries: 1, transactions: end == .idle ? 1 : 0)
            outstanding.removeAll()
        } else {
            answer = takePlainBatch(input, mayStayOpen, &statements)
            if answer.queries == 0 { return answer }
        }
        if answer.transactions > 0 { taint.subtractTaint(.localSettings) }
        passing.isDiscarded = false
        isReadyAgain = false
        isMidMessage = false
        answeredWithError = false
        answeredByBroker = false
        return answer
    }

    /// The state in which the answer to a simple query leaves the transaction, if these bytes are such an answer from
    /// its beginning to its end, and plain; else a failed one.
    @inline(__always)
    private static func endOfQuery(_ input: UnsafeRawBufferPointer) -> TransactionStatus {
        var next = 0
        while let (kind, body, length) = message(in: input, at: next) {
            next = body + length
            if kind == .dataRow || kind == .rowDescription { continue }
            if kind == .commandComplete {
                guard isPlainTag(input, body, length) else { break }
                continue
            }
            guard kind == .readyForQuery, length == 1, next == input.count else { break }
            return TransactionStatus(rawValue: input[body]) ?? .failed
        }
        return .failed
    }

    /// The whole message at this place; nil: only a part of one is there, or none.
    @inline(__always)
    private static func message(
        in input: UnsafeRawBufferPointer, at place: Int
    ) -> (kind: BackendKind, body: Int, length: Int)? {
        let room = input.count - place - MessageHeader.size
        guard room >= 0 else { return nil }
        let header = MessageHeader(input, at: place)
        // One comparison: a length that cannot be is below zero.
        guard UInt(bitPattern: header.bodyLength) <= UInt(bitPattern: room) else { return nil }
        return (BackendKind(rawValue: header.kind), place + MessageHeader.size, header.bodyLength)
    }

    /// The same of anything else: a batch, or more than one.
    private mutating func takePlainBatch(
        _ input: UnsafeRawBufferPointer, _ mayStayOpen: Bool, _ statements: inout StatementTable
    ) -> PlainAnswer {
        let none = PlainAnswer()
        var answer = none
        var status = TransactionStatus.idle
        var answered = 0
        var mustUndo = false
        var next = 0
        while true {
            guard answered < outstanding.count else { return none }
            let head = outstanding[answered]
            guard head.isPlain else { return none }
            answered += 1
            if head.hasUndo { mustUndo = true }
            // What comes in front of the message that answers it.
            var isAnswered = false
            repeat {
                guard let (kind, body, length) = Self.message(in: input, at: next) else {
                    return none
                }
                next = body + length
                switch kind {
                case .dataRow:
                    guard head.kind == .execute || head.kind == .query else { return none }
                case .bindComplete:
                    guard head.kind == .bind else { return none }
                    isAnswered = true
                case .rowDescription:
                    isAnswered = head.kind == .describe
                    guard isAnswered || head.kind == .query else { return none }
                case .commandComplete:
                    isAnswered = head.kind == .execute
                    guard isAnswered || head.kind == .query, Self.isPlainTag(input, body, length)
                    else { return none }
                case .readyForQuery:
                    guard length == 1, head.kind == .sync || head.kind == .query, !head.hasUndo,
                        let end = TransactionStatus(rawValue: input[body]),
                        end == .idle || (end == .inTransaction && mayStayOpen)
                    else { return none }
                    status = end
                    answer.queries += 1
                    if end == .idle { answer.transactions += 1 }
                    isAnswered = true
                case .parseComplete:
                    guard head.kind == .parse else { return none }
                    isAnswered = true
                case .noData:
                    guard head.kind == .describe else { return none }
                    isAnswered = true
                case .parameterDescription:
                    guard head.kind == .describe else { return none }
                default: return none
                }
            } while !isAnswered
            if next < input.count { continue }
            guard head.kind == .sync || head.kind == .query else { return none }
            break
        }
        self.status = status
        if mustUndo || answered < outstanding.count {
            for _ in 0..<answered { popFirst(statements: &statements) }
        } else {
            outstanding.removeAll()
        }
        return answer
    }

    /// The tag of a statement that leaves nothing: one of rows, a BEGIN, a COMMIT.
    @inline(__always)
    private static func isPlainTag(
        _ input: UnsafeRawBufferPointer, _ start: Int, _ length: Int
    ) -> Bool {
        guard length >= 6, length <= 64 else { return false }
        let word = UInt32(bigEndian: input.loadUnaligned(fromByteOffset: start, as: UInt32.self))
        switch word {
        // SELE, INSE, UPDA, DELE, MERG.
        case 0x5345_4c45, 0x494e_5345, 0x5550_4441, 0x4445_4c45, 0x4d45_5247: return true
        // BEGIN and COMMIT, with their NULs.
        case 0x4245_4749: return length == 6 && input[start + 4] == UInt8(ascii: "N")
        case 0x434f_4d4d: return length == 7 && input[start + 4] == UInt8(ascii: "I")
        default: return false
        }
    }
}
