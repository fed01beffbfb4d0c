// SPDX-License-Identifier: Apache-2.0

import Glibc
package import PostgresWire

/// Why a probe got no session.
package enum ProbeError: Error, Equatable {
    /// Nobody answers there: no socket, connection refused, silence until the deadline.
    case noAnswer(reason: String)
    /// The answer was an ErrorResponse.
    case refused(PgError)
    /// A password is asked for, and a probe has none.
    case passwordRequested
    /// What came is not PostgreSQL's protocol.
    case notPostgres(reason: String)
    /// Something that speaks PostgreSQL's protocol answers, but no broker.
    case notBroker(reason: String)
}

/// Where a probe connects to.
package enum ProbeAddress: Equatable, Sendable, CustomStringConvertible {
    /// A socket's path; one that begins with `@` is abstract.
    case unix(path: String)
    case tcp(host: String, port: UInt16)

    package var description: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}

/// A client's connection that waits, never past its deadline: for those who ask from outside the
/// event loop (`pglease ping`, the set-up of the private PostgreSQL).
///
/// Owns its socket.
package struct ProbeConnection: ~Copyable {
    /// More than any answer to a probe; what is larger is no answer of ours.
    private static let maximumMessageLength = 1 << 20

    private let descriptor: Int32
    private let deadline: ContinuousClock.Instant
    private var received: [UInt8] = []

    package init(
        to address: ProbeAddress, deadline: ContinuousClock.Instant
    ) throws(ProbeError) {
        descriptor = try ProbeSocket.connect(to: address, deadline: deadline)
        self.deadline = deadline
    }

    deinit {
        close(descriptor)
    }

    /// Starts a session: returns when the other side is ready for a query.
    package mutating func logIn(
        user: String, database: String, applicationName: String
    ) throws(ProbeError) {
        var packet: [UInt8] = []
        packet.appendStartupMessage(
            parameters: [
                ("user", user), ("database", database), ("application_name", applicationName),
            ])
        try send(packet)
        while true {
            let (kind, body) = try receive()
            switch kind {
            case .readyForQuery: return
            case .errorResponse: throw .refused(Self.error(body))
            case .authentication where body != [0, 0, 0, 0]: throw .passwordRequested
            case .authentication, .backendKeyData, .parameterStatus, .noticeResponse,
                .negotiateProtocolVersion:
                continue
            default: throw .notPostgres(reason: "message \(kind.rawValue) during the login")
            }
        }
    }

    /// Runs `sql` and answers the first column of its rows.
    package mutating func query(_ sql: String) throws(ProbeError) -> [String] {
        var message: [UInt8] = []
        message.appendQuery(sql)
        try send(message)
        var values: [String] = []
        var failure: PgError?
        while true {
            let (kind, body) = try receive()
            switch kind {
            case .dataRow: values.append(try Self.firstColumn(body))
            case .errorResponse: failure = Self.error(body)
            case .readyForQuery:
                if let failure { throw .refused(failure) }
                return values
            default: continue
            }
        }
    }

    /// Ends the session as a client does.
    package mutating func logOut() {
        var message: [UInt8] = []
        message.appendTerminate()
        try? send(message)
    }

    static func error(_ body: [UInt8]) -> PgError {
        body.withUnsafeBytes { ErrorFields(body: $0)?.pgError }
            ?? .fatal(.protocolViolation, "an error without a text")
    }

    private static func firstColumn(_ body: [UInt8]) throws(ProbeError) -> String {
        guard body.count >= 6 else { return "" }
        let length = body[2..<6].reduce(0) { $0 << 8 | Int($1) }
        guard length != 0xFFFF_FFFF else { return "" }
        guard 6 + length <= body.count else { throw .notPostgres(reason: "a row cut off") }
        return String(decoding: body[6..<6 + length], as: UTF8.self)
    }

    borrowing func send(_ bytes: [UInt8]) throws(ProbeError) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { bytes in
                Glibc.send(
                    descriptor, bytes.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                try ProbeSocket.wait(for: descriptor, events: POLLOUT, deadline: deadline)
            } else if errno != EINTR {
                throw .noAnswer(reason: String(cString: strerror(errno)))
            }
        }
    }

    mutating func receive() throws(ProbeError) -> (kind: BackendKind, body: [UInt8]) {
        while true {
            if received.count >= MessageHeader.size {
                let header = received.withUnsafeBytes { MessageHeader($0, at: 0) }
                guard (0...Self.maximumMessageLength).contains(header.bodyLength) else {
                    throw .notPostgres(reason: "a message of an impossible length")
                }
                let end = MessageHeader.size + header.bodyLength
                if received.count >= end {
                    let body = Array(received[MessageHeader.size..<end])
                    received.removeSubrange(..<end)
                    return (BackendKind(rawValue: header.kind), body)
                }
            }
            try readMore()
        }
    }

    private mutating func readMore() throws(ProbeError) {
        var chunk = [UInt8](repeating: 0, count: 8192)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count > 0 {
            received += chunk[..<count]
        } else if count == 0 {
            throw .noAnswer(reason: "the connection was closed")
        } else if errno == EAGAIN {
            try ProbeSocket.wait(for: descriptor, events: POLLIN, deadline: deadline)
        } else if errno != EINTR {
            throw .noAnswer(reason: String(cString: strerror(errno)))
        }
    }
}
