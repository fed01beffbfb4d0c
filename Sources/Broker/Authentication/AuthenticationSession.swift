// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import LibUV
import PostgresWire

/// A session of the broker with itself, that asks `auth_query` for one user after the other: the client's side of it.
///
/// Owns its descriptor, one end of a socket pair; the other one is a `ClientConnection`.
final class AuthenticationSession: FileWatcherDelegate {
    let place: AuthenticationQueries.Place
    private unowned let broker: Broker
    private let descriptor: Int32
    private let watcher: FileWatcher
    private var unread: [UInt8] = []
    private var answer: AuthenticationAnswer?
    private(set) var question: AuthenticationQueries.Question?
    /// It was let in, and has put a question.
    private(set) var hasAsked = false
    private var isClosed = false

    init(
        of broker: Broker, descriptor: Int32, place: AuthenticationQueries.Place
    ) throws(UVError) {
        self.broker = broker
        self.descriptor = descriptor
        self.place = place
        watcher = try FileWatcher(loop: broker.loop, descriptor: descriptor)
        watcher.delegate = self
        watcher.watch(.readable)
    }

    /// Idempotent.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        watcher.close()
        Descriptor.close(descriptor)
    }

    func fileReady(_ events: FileEvents, error: UVError?) {
        let space = UnsafeMutableRawBufferPointer(start: broker.readBuffer, count: Broker.readSize)
        switch Descriptor.read(descriptor, into: space) {
        case .bytes(let count):
            unread += UnsafeRawBufferPointer(rebasing: space[..<count])
            readMessages()
        case .wouldBlock: break
        case .closed, .failed: fail(Self.lost)
        }
        broker.dealWithNotices()
    }

    private func readMessages() {
        let bytes = unread
        unread = []
        var offset = 0
        bytes.withUnsafeBytes { raw in
            while !isClosed, raw.count - offset >= MessageHeader.size {
                let header = MessageHeader(raw, at: offset)
                guard (0...Self.longestMessage).contains(header.bodyLength) else {
                    fail(Self.answerTooLong)
                    return
                }
                let start = offset + MessageHeader.size
                guard raw.count - start >= header.bodyLength else { break }
                let body = raw[start..<start + header.bodyLength]
                offset = start + header.bodyLength
                take(BackendKind(rawValue: header.kind), UnsafeRawBufferPointer(rebasing: body))
            }
        }
        if !isClosed { unread = Array(bytes[offset...]) }
    }

    /// A row has one secret at most, and errors have limits of their own.
    private static let longestMessage = 262_144

    private func take(_ kind: BackendKind, _ body: UnsafeRawBufferPointer) {
        if kind == .errorResponse, let error = ErrorFields(body: body)?.pgError,
            error.severity == .fatal || error.severity == .panic
        {
            fail(error)
            return
        }
        guard question != nil else {
            if kind == .readyForQuery { askNext() }
            return
        }
        guard let found = answer?.take(kind, body) else { return }
        let asked = question
        question = nil
        answer = nil
        if let asked { broker.deliver(found, to: asked, at: place) }
        if !isClosed { askNext() }
    }

    private func askNext() {
        guard let next = broker.nextQuestion(at: place) else {
            var goodbye: [UInt8] = []
            goodbye.appendTerminate()
            _ = goodbye.withUnsafeBytes { Descriptor.write(descriptor, from: $0) }
            close()
            broker.ended(self, nil)
            return
        }
        question = next
        answer = AuthenticationAnswer(about: next.user)
        hasAsked = true
        let bytes = AuthenticationAnswer.question(next.text, about: next.user)
        let outcome = bytes.withUnsafeBytes { Descriptor.write(descriptor, from: $0) }
        // The socket is empty, and has room for far more than one question.
        if outcome != .bytes(bytes.count) { fail(Self.lost) }
    }

    private func fail(_ error: PgError) {
        guard !isClosed else { return }
        close()
        broker.ended(self, error)
    }

    private static let lost = PgError.error(
        .connectionFailure, "the session of auth_query was closed")
    private static let answerTooLong = PgError.error(
        .programLimitExceeded, "the answer of auth_query is too long")
}
