// SPDX-License-Identifier: Apache-2.0

import Glibc
import PostgresProbe

/// Tells the service manager how the broker is, by systemd's notification protocol.
///
/// Owns one datagram socket connected to `NOTIFY_SOCKET`. Nothing here waits on the event loop for
/// longer than `sendTimeout`; a manager that does not read loses a status line, never the broker.
package final class ServiceNotifier: Sendable {
    private static let sendTimeout = timeval(tv_sec: 0, tv_usec: 50_000)

    private let descriptor: Int32

    /// Half of the manager's WATCHDOG_USEC: how often to call `watchdog()`. Nil: it does not watch.
    package let watchdogInterval: Duration?

    /// Nil when no manager listens (`NOTIFY_SOCKET` is not set).
    package init?(environment: [String: String], processID: Int32 = getpid())
        throws(SupervisionError)
    {
        guard let path = environment["NOTIFY_SOCKET"], !path.isEmpty else { return nil }
        descriptor = try Self.connectedSocket(path: path)
        watchdogInterval = Self.watchdogInterval(environment, processID: processID)
    }

    deinit {
        close(descriptor)
    }

    /// Listening, and the first server connections are there.
    @discardableResult
    package func ready(status: String) -> Bool {
        send("READY=1\nSTATUS=\(Self.oneLine(status))\nMAINPID=\(getpid())", waits: true)
    }

    /// A reload begins; `ready` ends it. The manager compares the instant with its own clock.
    @discardableResult
    package func reloading() -> Bool {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let microseconds = time.tv_sec * 1_000_000 + time.tv_nsec / 1000
        return send("RELOADING=1\nMONOTONIC_USEC=\(microseconds)", waits: false)
    }

    @discardableResult
    package func stopping(status: String) -> Bool {
        send("STOPPING=1\nSTATUS=\(Self.oneLine(status))", waits: true)
    }

    @discardableResult
    package func status(_ text: String) -> Bool {
        send("STATUS=\(Self.oneLine(text))", waits: false)
    }

    /// Alive.
    @discardableResult
    package func watchdog() -> Bool {
        send("WATCHDOG=1", waits: false)
    }

    private static func connectedSocket(path: String) throws(SupervisionError) -> Int32 {
        guard let first = path.first, first == "/" || first == "@" else {
            throw .notifySocket(path: path, reason: "neither an absolute path nor an @abstract one")
        }
        guard let address = UnixSocketAddress(path) else {
            throw .notifySocket(path: path, reason: "longer than a Unix socket's name can be")
        }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else {
            throw .notifySocket(path: path, reason: String(cString: strerror(errno)))
        }
        var timeout = sendTimeout
        setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        guard address.connect(descriptor) == 0 else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw .notifySocket(path: path, reason: reason)
        }
        return descriptor
    }

    private static func watchdogInterval(
        _ environment: [String: String], processID: Int32
    ) -> Duration? {
        if let watched = environment["WATCHDOG_PID"], watched != String(processID) { return nil }
        guard let text = environment["WATCHDOG_USEC"], let microseconds = Int64(text),
            microseconds > 0
        else { return nil }
        return .microseconds(max(1, microseconds / 2))
    }

    /// A newline would begin another assignment.
    private static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }

    private func send(_ assignments: String, waits: Bool) -> Bool {
        let bytes = Array(assignments.utf8)
        let flags = Int32(MSG_NOSIGNAL) | (waits ? 0 : Int32(MSG_DONTWAIT))
        return bytes.withUnsafeBytes { bytes in
            var sent = -1
            repeat {
                sent = Glibc.send(descriptor, bytes.baseAddress, bytes.count, flags)
            } while sent < 0 && errno == EINTR
            return sent == bytes.count
        }
    }
}
