// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import COpenSSL
import Glibc

/// A connection to PostgreSQL itself for logical replication: a walsender that streams the changes
/// of one slot (COPY BOTH).
///
/// One thread uses it at a time; its `wakeup` may be signalled from any other to end a `receive`.
/// Owns its connection, which `close` or the last reference ends.
package final class ReplicationStream: @unchecked Sendable {
    /// What IDENTIFY_SYSTEM answers.
    package struct System: Equatable, Sendable {
        /// The same for a cluster and everything that was restored or promoted from it.
        package let identifier: String
        package let timeline: String
        /// How far the log is flushed, as `pg_lsn` writes it.
        package let position: String
    }

    package enum Arrival: Equatable, Sendable {
        /// Whole CopyData messages, in order; none when a signal or the deadline came first.
        case messages([[UInt8]])
        /// The server ended the stream: nil without an error, as it does when it shuts down.
        case ended(ServerMessage?)
    }

    private let connection: BlockingConnection

    private init(_ connection: BlockingConnection) { self.connection = connection }

    /// Connects with `replication=database` and in settings that make values read the same
    /// everywhere. Throws as ``BlockingConnection/connect(_:wakeup:patience:)`` does.
    package static func connect(
        _ parameters: ConnectionParameters, wakeup: ThreadWakeup, patience: Patience
    ) throws -> ReplicationStream {
        var parameters = parameters.filter { $0.keyword != "replication" }
        // What PostgreSQL's own subscriptions set.
        let options =
            "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3"
            + " -c bytea_output=hex"
        let given = parameters.value(of: "options").map { $0 + " " } ?? ""
        parameters += [
            ("replication", "database"), ("client_encoding", "UTF8"), ("options", given + options),
        ]
        return ReplicationStream(
            try BlockingConnection.connect(parameters, wakeup: wakeup, patience: patience))
    }

    package var backendProcessID: Int32 { connection.backendProcessID }

    /// IDENTIFY_SYSTEM.
    package func identify(_ patience: Patience) throws -> System {
        try connection.sendScript("IDENTIFY_SYSTEM")
        var system: System?
        while let result = try connection.nextResult(patience) {
            guard result.status == .rows, result.rowCount == 1, result.columnCount >= 3 else {
                throw result.error
            }
            let texts = (0..<3).map { column in
                result.withValue(0, column) { span -> String in
                    guard let span else { return "" }
                    return String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self)
                }
            }
            system = System(identifier: texts[0], timeline: texts[1], position: texts[2])
        }
        guard let system else { throw connection.failure }
        return system
    }

    /// START_REPLICATION of `pgoutput` in protocol version 1. The stream begins at the slot's
    /// confirmed position, or at `position` when that is later.
    package func start(
        slot: String, publication: String, from position: String, _ patience: Patience
    ) throws {
        let list = Self.quotedText(Self.quotedName(publication))
        try connection.sendScript(
            """
            START_REPLICATION SLOT \(Self.quotedName(slot)) LOGICAL \(position) \
            ("proto_version" '1', "publication_names" \(list))
            """)
        guard let result = try connection.nextResult(patience) else { throw connection.failure }
        guard result.status == .copyBoth else { throw result.error }
    }

    /// What has come, up to about `limit` bytes; waits for something, a signal to the wakeup or the
    /// deadline. With `reads` false it takes nothing in and only sends what is still to be sent.
    package func receive(
        limit: Int, reads: Bool, until deadline: ContinuousClock.Instant
    ) -> Arrival {
        while true {
            if reads {
                switch takeMessages(limit: limit) {
                case .messages(let messages) where messages.isEmpty: break
                case let arrival: return arrival
                }
            }
            let flushed = unsafe PQflush(connection.open)
            if flushed < 0 { return lost() }
            switch wait(reads: reads, writes: flushed == 1, until: deadline) {
            case .socket:
                if unsafe PQconsumeInput(connection.open) == 0 { return lost() }
                // A server that goes away does so however little is read of it.
                if !reads, !connection.isOpen { return lost() }
            case .woken, .late: return .messages([])
            }
        }
    }

    /// Puts one message into the stream. What the socket does not take at once goes with the next
    /// `receive`.
    package func send(_ bytes: [UInt8]) throws {
        let status = unsafe bytes.withUnsafeBytes { buffer in
            unsafe PQputCopyData(
                connection.open, buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32(buffer.count))
        }
        if status < 0 || (unsafe PQflush(connection.open)) < 0 { throw connection.failure }
    }

    /// Ends the connection; the walsender frees the slot.
    package func close() { connection.close() }

    // MARK: Reading

    private func takeMessages(limit: Int) -> Arrival {
        var messages: [[UInt8]] = []
        var size = 0
        while size < limit {
            var buffer: UnsafeMutablePointer<CChar>?
            let count = unsafe PQgetCopyData(connection.open, &buffer, 1)
            if count > 0, let start = unsafe buffer {
                // SAFETY: libpq gives away `count` bytes, which are copied and freed.
                messages.append(
                    unsafe Array(UnsafeRawBufferPointer(start: start, count: Int(count))))
                unsafe PQfreemem(start)
                size += Int(count)
            } else if count == 0 {
                break
            } else {
                // What came before the end is told first; the end is still there then.
                if !messages.isEmpty { break }
                return ending()
            }
        }
        return .messages(messages)
    }

    private func ending() -> Arrival {
        guard connection.isOpen, let result = unsafe PQgetResult(connection.open) else {
            return lost()
        }
        let ending = unsafe ClientResult(owning: result)
        return .ended(ending.status == .error ? ending.error : nil)
    }

    private func lost() -> Arrival {
        .ended(
            ServerMessage(severity: "FATAL", sqlState: "", message: connection.failure.message))
    }

    private enum Waited { case socket, woken, late }

    private func wait(
        reads: Bool, writes: Bool, until deadline: ContinuousClock.Instant
    ) -> Waited {
        if reads, hasBufferedInput { return .socket }
        let events = (reads ? Int16(POLLIN) : 0) | (writes ? Int16(POLLOUT) : 0)
        while true {
            var wanted = (
                pollfd(
                    fd: unsafe PQsocket(connection.open), events: events, revents: 0),
                pollfd(fd: connection.wakeup.descriptor, events: Int16(POLLIN), revents: 0)
            )
            let timeout = pollTimeout(until: deadline)
            // SAFETY: a tuple of two equal structs lies in memory like an array of them.
            let count = unsafe withUnsafeMutableBytes(of: &wanted) { bytes in
                unsafe poll(bytes.baseAddress!.assumingMemoryBound(to: pollfd.self), 2, timeout)
            }
            if count > 0 {
                if wanted.1.revents != 0 {
                    connection.wakeup.drain()
                    return .woken
                }
                return .socket
            }
            if count == 0, deadline <= ContinuousClock.now { return .late }
        }
    }

    /// TLS may hold bytes that the socket no longer shows.
    private var hasBufferedInput: Bool {
        guard unsafe PQsslInUse(connection.open) != 0,
            let tls = unsafe PQsslStruct(connection.open, "OpenSSL").map({ OpaquePointer($0) })
        else { return false }
        return unsafe SSL_pending(tls) > 0
    }

    // MARK: Quoting, as the replication grammar has it

    private static func quotedName(_ name: String) -> String {
        "\""
            + name.split(separator: "\"", omittingEmptySubsequences: false).joined(
                separator: "\"\"")
            + "\""
    }

    private static func quotedText(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''")
            + "'"
    }
}
