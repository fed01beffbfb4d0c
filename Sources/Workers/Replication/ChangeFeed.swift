// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import LibPQ
import Synchronization

/// Reads a slot's stream on a thread of its own and keeps the walsender content: it answers
/// keepalives and confirms what was applied, however long the destinations take.
///
/// Bounded: with `capacity` bytes unread it reads no more, and the source waits. Not for ever: who
/// does not read does not see that the source shuts down, so after a while the stream is closed.
final class ChangeFeed: Sendable {
    /// What has come, in order.
    enum Element: Equatable, Sendable {
        /// A message of `pgoutput`.
        case change([UInt8])
        /// All before it has been sent.
        case keepalive(LogSequenceNumber)
    }

    enum Next: Equatable, Sendable {
        case elements([Element])
        /// Nothing came in that time.
        case nothing
        /// The stream has ended; what came before has been taken.
        case ended(StreamEnd)
    }

    /// Why a stream ended.
    enum StreamEnd: Error, Equatable, Sendable, CustomStringConvertible {
        case server(ServerMessage?)
        case protocolError(ReplicationProtocolError)
        /// The source shuts down, and would wait until everything that it has sent is confirmed.
        case shutdown
        /// Nobody has taken what was read for too long.
        case full
        /// ``reading(_:)`` has come to its end.
        case closed

        var description: String {
            switch self {
            case .server(nil): "the source ended the replication stream"
            case .server(let message?): "the replication stream was lost: \(message.message)"
            case .protocolError(let error): "\(error)"
            case .shutdown: "the source shuts down"
            case .full: "the replication stream was closed since its changes were not taken"
            case .closed: "the replication stream was closed"
            }
        }
    }

    private struct State {
        var elements: [Element] = []
        var bytes = 0
        var end: StreamEnd?
        var confirmed = LogSequenceNumber.zero
        var isClosing = false
    }

    private let stream: ReplicationStream
    private let reader: ThreadWakeup
    private let capacity: Int
    private let interval: Duration
    private let patience: Duration
    private let state = Mutex(State())
    /// Ends the consumer's wait.
    let arrived = ThreadWakeup()

    /// `reader` is the stream's own wakeup. A status is sent at least once in `interval`; a full
    /// feed is borne for `patience`.
    init(
        _ stream: ReplicationStream, reader: ThreadWakeup, capacity: Int = 8 << 20,
        interval: Duration = .seconds(10), patience: Duration = .seconds(60)
    ) {
        self.patience = patience
        self.stream = stream
        self.reader = reader
        self.capacity = capacity
        self.interval = interval
    }

    /// Runs `body` while the stream is read; the connection is closed at its end, with what was
    /// confirmed told to the source.
    func reading<Result>(_ body: () throws -> Result) rethrows -> Result {
        let thread = BlockingThread { self.read() }
        defer {
            state.withLock { $0.isClosing = true }
            reader.signal()
            thread.join()
            stream.close()
        }
        return try body()
    }

    /// Everything before `position` is safe in the destinations; never goes back.
    func confirm(_ position: LogSequenceNumber) {
        let isNews = state.withLock { state in
            guard position > state.confirmed else { return false }
            state.confirmed = position
            return true
        }
        if isNews { reader.signal() }
    }

    /// What has come since the last call; waits for something until the deadline (nil: for ever),
    /// or until `arrived` is signalled.
    func next(until deadline: ContinuousClock.Instant?) -> Next {
        let first = take()
        if first != .nothing { return first }
        if !arrived.wait(until: deadline) { return .nothing }
        return take()
    }

    /// What is there, without waiting.
    func take() -> Next {
        let (next, wasFull) = state.withLock { state -> (Next, Bool) in
            if state.elements.isEmpty {
                return (state.end.map { .ended($0) } ?? .nothing, false)
            }
            let wasFull = state.bytes >= capacity
            let elements = state.elements
            state.elements = []
            state.bytes = 0
            return (.elements(elements), wasFull)
        }
        if wasFull { reader.signal() }
        return next
    }

    // MARK: The reading thread

    private func read() {
        var received = LogSequenceNumber.zero
        var told = LogSequenceNumber.zero
        var owesReply = false
        var nextStatus = ContinuousClock.now
        var watch = ShutdownWatch()
        var fullUntil: ContinuousClock.Instant?
        while true {
            let (confirmed, isFull, isClosing) = state.withLock {
                ($0.confirmed, $0.bytes >= capacity, $0.isClosing)
            }
            if confirmed > told || owesReply || ContinuousClock.now >= nextStatus {
                let update = StandbyStatusUpdate(
                    received: received, flushed: confirmed, sentAt: PostgresClock.now())
                do {
                    try stream.send(update.bytes)
                } catch let failure {
                    return end(.server(Self.message(of: failure)))
                }
                told = confirmed
                owesReply = false
                nextStatus = .now.advanced(by: interval)
            }
            if isClosing { return end(.closed) }
            fullUntil = isFull ? fullUntil ?? .now.advanced(by: patience) : nil
            if let fullUntil, fullUntil <= .now { return close(.full) }
            switch stream.receive(limit: 1 << 18, reads: !isFull, until: nextStatus) {
            case .ended(let message): return end(.server(message))
            case .messages(let messages):
                do {
                    owesReply = try accept(messages, &received)
                } catch {
                    return end(.protocolError(error))
                }
                if owesReply, watch.isAsked(confirmed: confirmed, now: .now) {
                    return close(.shutdown)
                }
            }
        }
    }

    /// Returns whether the server wants an answer.
    private func accept(
        _ messages: [[UInt8]], _ received: inout LogSequenceNumber
    ) throws(ReplicationProtocolError) -> Bool {
        var elements: [Element] = []
        var bytes = 0
        var wantsReply = false
        for message in messages {
            switch try ReplicationFrame.decode(message) {
            case .data(let start, _, let payload):
                received = max(received, start)
                elements.append(.change(payload))
                bytes += payload.count + 32
            case .keepalive(let walEnd, let reply):
                received = max(received, walEnd)
                elements.append(.keepalive(walEnd))
                wantsReply = wantsReply || reply
            }
        }
        if !elements.isEmpty {
            state.withLock { state in
                state.elements += elements
                state.bytes += bytes
            }
            arrived.signal()
        }
        return wantsReply
    }

    /// What is not confirmed comes again.
    private func close(_ reason: StreamEnd) {
        stream.close()
        end(reason)
    }

    private func end(_ reason: StreamEnd) {
        state.withLock { $0.end = reason }
        arrived.signal()
    }

    private static func message(of error: any Error) -> ServerMessage {
        if let message = error as? ServerMessage { return message }
        let text = (error as? ConnectionFailure)?.message ?? String(describing: error)
        return ServerMessage(severity: "FATAL", sqlState: "", message: text)
    }
}
