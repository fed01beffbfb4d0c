// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import Glibc
import Logging
import PostgresProbe

/// Why a target of the log cannot be opened.
package struct LogTargetError: Error, Equatable {
    package let setting: String
    package let reason: String
}

/// The file of `logfile`, opened for appending.
struct LogFile {
    let path: String
    let descriptor: Int32

    init(_ path: String) throws(LogTargetError) {
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY
        let descriptor = open(path, flags, 0o640)
        guard descriptor >= 0 else {
            throw LogTargetError(
                setting: "logfile", reason: "\(path): \(String(cString: strerror(errno)))")
        }
        self.path = path
        self.descriptor = descriptor
    }

    /// False when the line was not taken whole: the disk is full, say.
    func write(_ line: [UInt8]) -> Bool {
        line.withUnsafeBytes { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = Glibc.write(
                    descriptor, bytes.baseAddress! + sent, bytes.count - sent)
                if count > 0 {
                    sent += count
                } else if errno != EINTR {
                    return false
                }
            }
            return true
        }
    }

    func close() { Glibc.close(descriptor) }
}

/// The socket of the system's log. A daemon that does not take a line at once loses it: the event loop
/// does not wait.
struct SystemLog {
    /// `LOG_…` facility and the name that lines begin with.
    let facility: SyslogFacility
    let identity: String
    let path: String
    private var descriptor: Int32 = -1

    init(facility: SyslogFacility, identity: String, path: String) {
        self.facility = facility
        self.identity = identity
        self.path = path
    }

    /// Sends a line. A daemon that was restarted is connected to again.
    mutating func write(_ line: [UInt8], _ level: Logger.Level) -> Bool {
        let priority = facility.number << 3 | Self.severity(of: level)
        var message = Array("<\(priority)>\(Self.time()) \(identity)[\(getpid())]: ".utf8)
        message += line
        if send(message) { return true }
        if errno == EAGAIN || errno == EMSGSIZE { return false }
        close()
        return send(message)
    }

    private mutating func send(_ message: [UInt8]) -> Bool {
        if descriptor < 0 { connect() }
        guard descriptor >= 0 else { return false }
        return message.withUnsafeBytes {
            Glibc.send(
                descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        } == message.count
    }

    private mutating func connect() {
        guard let address = UnixSocketAddress(path) else { return }
        let new = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard new >= 0 else { return }
        if address.connect(new) == 0 {
            descriptor = new
        } else {
            Glibc.close(new)
        }
    }

    mutating func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    /// RFC 3164: local time, the day padded by a blank.
    private static func time() -> String {
        var seconds = Glibc.time(nil)
        var parts = tm()
        localtime_r(&seconds, &parts)
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        func two(_ number: Int32, _ pad: String) -> String {
            number < 10 ? "\(pad)\(number)" : "\(number)"
        }
        return
            "\(months[Int(parts.tm_mon)]) \(two(parts.tm_mday, " ")) \(two(parts.tm_hour, "0")):\(two(parts.tm_min, "0")):\(two(parts.tm_sec, "0"))"
    }

    private static func severity(of level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
