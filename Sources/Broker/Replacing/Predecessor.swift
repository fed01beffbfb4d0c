// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV
import PostgresProbe

/// The broker whose place this one takes, and what it has handed over: its listening sockets, which stay its own until it
/// is told `serving`. Owns the connection to it until the loop has it.
package final class Predecessor {
    let processID: Int32
    let version: String
    let sockets: HandedSockets
    let metrics: HandedSockets
    private var descriptor: Int32

    fileprivate init(
        processID: Int32, version: String, sockets: HandedSockets, metrics: HandedSockets,
        descriptor: Int32
    ) {
        self.processID = processID
        self.version = version
        self.sockets = sockets
        self.metrics = metrics
        self.descriptor = descriptor
    }

    deinit { if descriptor >= 0 { Descriptor.close(descriptor) } }

    /// The connection: the caller's from here on.
    func takeDescriptor() -> Int32 {
        defer { descriptor = -1 }
        return descriptor
    }

    /// Asks the one who listens there. nil: nobody does. Blocks for ten seconds at most.
    package static func find(at path: String) throws(BrokerStartError) -> Predecessor? {
        guard let address = UnixSocketAddress(path) else {
            throw BrokerStartError("--replace: \(path) is too long", exitStatus: 78)
        }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw refusal(path, reason(errno)) }
        var conversation = Conversation(descriptor: descriptor)
        do throws(BrokerStartError) {
            conversation.setTimeout(seconds: 10)
            guard address.connect(descriptor) == 0 else {
                let error = errno
                conversation.close()
                if error == ENOENT || error == ECONNREFUSED { return nil }
                throw refusal(path, reason(error))
            }
            return try conversation.predecessor(at: path)
        } catch {
            conversation.close()
            throw error
        }
    }

    fileprivate static func reason(_ error: Int32) -> String { String(cString: strerror(error)) }

    fileprivate static func refusal(_ path: String, _ reason: String) -> BrokerStartError {
        BrokerStartError(
            "--replace: the broker at \(path) does not give its place up: \(reason)",
            exitStatus: 73)
    }
}

/// The first part of the hand-over, before there is a loop.
private struct Conversation {
    var descriptor: Int32
    var unread: [UInt8] = []
    var taken: [Int32] = []

    init(descriptor: Int32) { self.descriptor = descriptor }

    func setTimeout(seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &time, size)
        }
    }

    mutating func close() {
        if descriptor >= 0 { Descriptor.close(descriptor) }
        descriptor = -1
        for one in taken { Descriptor.close(one) }
        taken = []
    }

    mutating func predecessor(at path: String) throws(BrokerStartError) -> Predecessor {
        let question = HandoverWords.startup()
        let outcome = question.withUnsafeBytes { Descriptor.write(descriptor, from: $0) }
        guard outcome == .bytes(question.count) else {
            throw Predecessor.refusal(path, "it does not take the question")
        }
        let first = try line(at: path)
        if first.first == "refused" {
            throw Predecessor.refusal(
                path, first.dropFirst().first.flatMap(HandoverWords.unescaped) ?? "it says no more")
        }
        guard first.count == 4, first[0] == "pglease", let process = Int32(first[2]) else {
            throw Predecessor.refusal(path, Self.stranger)
        }
        guard first[1] == HandoverWords.version else {
            throw Predecessor.refusal(path, "it is of another version, \(first[3])")
        }
        var sockets: [HandedSockets.Socket] = []
        var metrics: [HandedSockets.Socket] = []
        var areAdopted = false
        while true {
            let words = try line(at: path)
            switch words.first {
            case "socket": sockets.append(try socket(words, at: path))
            case "metrics": metrics.append(try socket(words, at: path))
            case "adopted": areAdopted = true
            case "end":
                setTimeout(seconds: 0)
                let flags = fcntl(descriptor, F_GETFL)
                _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
                defer { descriptor = -1 }
                return Predecessor(
                    processID: process, version: String(first[3]),
                    sockets: HandedSockets(sockets, areAdopted: areAdopted),
                    metrics: HandedSockets(metrics), descriptor: descriptor)
            default: throw Predecessor.refusal(path, Self.stranger)
            }
        }
    }

    private mutating func socket(
        _ words: [Substring], at path: String
    ) throws(BrokerStartError) -> HandedSockets.Socket {
        let count = words.last == "lock" ? 2 : 1
        guard taken.count >= count else {
            throw Predecessor.refusal(path, "its sockets did not come along")
        }
        let socket = HandedSockets.Socket(
            descriptor: taken[0], lock: count == 2 ? taken[1] : nil)
        taken.removeFirst(count)
        return socket
    }

    /// A byte at a time: what comes behind the last line is the loop's to read.
    private mutating func line(at path: String) throws(BrokerStartError) -> [Substring] {
        var bytes: [UInt8] = []
        var byte: [UInt8] = [0]
        while bytes.count <= HandoverWords.longestLine {
            let outcome = byte.withUnsafeMutableBytes {
                Descriptor.read(descriptor, into: $0, taking: &taken)
            }
            switch outcome {
            case .bytes:
                if byte[0] == UInt8(ascii: "\n") {
                    return String(decoding: bytes, as: UTF8.self).split(separator: " ")
                }
                bytes.append(byte[0])
                // What is no broker of this kind begins as PostgreSQL does.
                if bytes.count == 1, !"prsmae".utf8.contains(byte[0]) {
                    throw Predecessor.refusal(path, Self.stranger)
                }
            case .wouldBlock: throw Predecessor.refusal(path, "it does not answer")
            case .closed: throw Predecessor.refusal(path, "it closed the connection")
            case .failed(let code):
                throw Predecessor.refusal(path, Predecessor.reason(code))
            }
        }
        throw Predecessor.refusal(path, Self.stranger)
    }

    private static let stranger =
        "it is no pglease that can be replaced (another program, or an older version): stop it, and start this one"
}
