// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What becomes of a client's last words, when it says goodbye or its socket ends. With
/// `client_gone = finish` the rule is PostgreSQL's: what was sent before is run, and answered.
///
/// | the client sent, and then | outcome, as on a direct connection |
/// |---|---|
/// | statements or batches with their Sync; Terminate, or an end of its writing side (`SHUT_WR`) | all run, in order, also those of a client that still waits for a server, within its deadline; who still reads gets every answer, then the end |
/// | BEGIN and statements without COMMIT | run, then rolled back |
/// | a batch without its Sync | rolled back |
/// | COPY FROM STDIN and rows without CopyDone | rolled back |
/// | a piece of a message | what stands in front of it is run, the piece is dropped |
/// | LEASE and statements | the lease is waited for, the statements run in it, and it is given back |
///
/// | the client's socket | outcome |
/// |---|---|
/// | half closed, later wholly closed | from then on as wholly closed |
/// | closed behind a LEASE that waits and a Terminate, with nothing between | the lease would be nobody's: it leaves the queue |
/// | wholly closed or reset without a Terminate (a Unix socket shows it at once, TCP when something is written to it) | what runs is cancelled and what waits is dropped: the process is gone, and its lease is taken back at once. PostgreSQL itself notices when it fails to write |
/// | does not take an answer behind a Terminate | what runs is cancelled: PostgreSQL, too, ends when it fails to write |
///
/// With `client_gone = cancel` every end is as a wholly closed socket.
package enum Goodbye: Sendable {
    /// Terminate came, or is among what waits: the socket is of no interest any more, but for answers.
    case said
    /// It writes nothing more, and may read its answers.
    case halfClosed

    /// Whether nothing that could be run stands in front of the Terminate among these bytes, which begin with a
    /// header.
    package static func isNext(in bytes: UnsafeRawBufferPointer) -> Bool {
        var offset = 0
        while bytes.count - offset >= MessageHeader.size {
            let header = MessageHeader(bytes, at: offset)
            switch FrontendKind(rawValue: header.kind) {
            case .terminate: return true
            // The end of the batch in which LEASE came.
            case .sync, .flush, .close: break
            default: return false
            }
            guard header.bodyLength >= 0 else { return false }
            offset += MessageHeader.size + header.bodyLength
        }
        return false
    }

    /// Whether a Terminate is among these bytes. They begin inside of a message that has so many bytes to
    /// come, or with a header.
    package static func isIn(_ bytes: UnsafeRawBufferPointer, passing bytesLeft: Int) -> Bool {
        var offset = bytesLeft
        while bytes.count - offset >= MessageHeader.size {
            let header = MessageHeader(bytes, at: offset)
            guard header.bodyLength >= 0 else { return false }
            if FrontendKind(rawValue: header.kind) == .terminate { return true }
            offset += MessageHeader.size + header.bodyLength
        }
        return false
    }
}

extension ServerStream {
    /// An answer will come without another byte of the client's. What a batch without its Sync was
    /// answered stays in PostgreSQL's buffer, a copy waits for rows, and half a message for its rest.
    package func willAnswer(without message: PassingMessage) -> Bool {
        if passing.bytesLeft > 0 || isMidMessage { return true }
        if copy == .into { return false }
        return outstanding.all.dropLast(message.isHalfPassed ? 1 : 0).contains {
            !$0.isExtended && $0.audience != .synthesized
        }
    }
}
