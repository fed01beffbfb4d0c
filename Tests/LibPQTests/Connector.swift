// SPDX-License-Identifier: Apache-2.0

import LibPQ
import LibUV
import Testing

/// Drives one connection to its end as the broker does: PQconnectPoll when the descriptor is ready.
final class Connector: FileWatcherDelegate {
    let connection: PostgresConnection
    private let loop: EventLoop
    private(set) var watcher: FileWatcher?
    private(set) var result: PostgresConnection.Progress?
    private(set) var polls = 0

    init(_ loop: EventLoop, _ parameters: ConnectionParameters) throws {
        self.loop = loop
        connection = PostgresConnection.start(parameters: parameters)
        if connection.hasFailed { result = .failed } else { try wait(for: .writable) }
    }

    func fileReady(_ events: FileEvents, error: UVError?) {
        polls += 1
        // libpq may close the descriptor in there and open another one with the same number.
        watcher?.close()
        watcher = nil
        let progress = connection.poll()
        do {
            switch progress {
            case .reading: try wait(for: .readable)
            case .writing: try wait(for: .writable)
            case .connected, .failed: result = progress
            }
        } catch {
            Issue.record(error)
            result = .failed
        }
    }

    private func wait(for events: FileEvents) throws {
        let watcher = try FileWatcher(loop: loop, descriptor: connection.descriptor)
        watcher.delegate = self
        watcher.watch(events)
        self.watcher = watcher
    }
}

extension EventLoop {
    func connect(_ parameters: ConnectionParameters) throws -> PostgresConnection {
        let connector = try Connector(self, parameters)
        while connector.result == nil { runOnce() }
        if connector.result == .failed {
            let failure = connector.connection.failure
            connector.connection.close(sendTerminate: false)
            throw failure
        }
        return connector.connection
    }

    /// Waits until the connection's descriptor is ready.
    func wait(for events: FileEvents, on connection: PostgresConnection) throws {
        let watcher = try FileWatcher(loop: self, descriptor: connection.descriptor)
        let flag = ReadinessFlag()
        watcher.delegate = flag
        watcher.watch(events)
        while !flag.isReady { runOnce() }
        watcher.close()
    }
}

private final class ReadinessFlag: FileWatcherDelegate {
    var isReady = false

    func fileReady(_ events: FileEvents, error: UVError?) { isReady = true }
}

func withLoop(_ body: (EventLoop) throws -> Void) throws {
    let loop = try EventLoop()
    do {
        try body(loop)
    } catch {
        _ = loop.close()
        throw error
    }
    #expect(loop.close(), "a handle was left open")
}

/// Sends and receives whole protocol messages over the raw stream.
struct RawSession {
    let loop: EventLoop
    let connection: PostgresConnection
    var largestRead = 8192
    /// How often the stream had to wait.
    var waits = 0

    init(_ loop: EventLoop, _ connection: PostgresConnection) {
        self.loop = loop
        self.connection = connection
    }

    static func query(_ sql: String) -> [UInt8] {
        let body = Array(sql.utf8) + [0]
        let length = UInt32(body.count + 4)
        return [UInt8(ascii: "Q")] + withUnsafeBytes(of: length.bigEndian) { Array($0) } + body
    }

    mutating func send(_ bytes: [UInt8], atMost portion: Int = .max) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            // A fresh copy each time: the stream has to bear bytes that move.
            let offered = Array(rest.prefix(portion))
            switch offered.withUnsafeBytes({ connection.send($0) }) {
            case .bytes(let count): rest = rest.dropFirst(count)
            case .wouldBlock, .wouldBlockOnWrite:
                waits += 1
                try loop.wait(for: .writable, on: connection)
            case .wouldBlockOnRead: try loop.wait(for: .readable, on: connection)
            case .closed: throw StreamEnded()
            case .failed(let reason): throw StreamEnded(reason: reason)
            }
        }
    }

    /// All bytes up to and with the next ReadyForQuery, as messages.
    mutating func receiveAnswer() throws -> [(kind: Character, body: [UInt8])] {
        var bytes: [UInt8] = []
        var position = 0
        var messages: [(kind: Character, body: [UInt8])] = []
        var buffer = [UInt8](repeating: 0, count: largestRead)
        while messages.last?.kind != "Z" {
            while bytes.count - position >= 5 {
                let length = bytes[(position + 1)..<(position + 5)].reduce(0) { $0 << 8 | Int($1) }
                let end = position + 1 + length
                guard bytes.count >= end else { break }
                let kind = Character(UnicodeScalar(bytes[position]))
                messages.append((kind, Array(bytes[(position + 5)..<end])))
                position = end
            }
            if messages.last?.kind == "Z" { break }
            switch buffer.withUnsafeMutableBytes({ connection.receive(into: $0) }) {
            case .bytes(let count): bytes += buffer[..<count]
            case .wouldBlock, .wouldBlockOnRead:
                try #require(!connection.hasBufferedInput)
                waits += 1
                try loop.wait(for: .readable, on: connection)
            case .wouldBlockOnWrite: try loop.wait(for: .writable, on: connection)
            case .closed: throw StreamEnded()
            case .failed(let reason): throw StreamEnded(reason: reason)
            }
        }
        #expect(position == bytes.count)
        return messages
    }
}

struct StreamEnded: Error, Equatable {
    var reason: String?
}
