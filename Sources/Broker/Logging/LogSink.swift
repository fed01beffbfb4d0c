// SPDX-License-Identifier: Apache-2.0

package import BrokerConfiguration
import Glibc
package import Logging
import Synchronization

/// Where lines go, and how they look: a descriptor that it borrows (standard error), the file of `logfile`, and the
/// system's log.
///
/// One line is one `write`, never longer than a pipe takes whole. A reader that does not read never
/// stops the event loop: the line is dropped and counted, and the next one that fits says how many
/// are missing. Level and format may change while loggers hold the sink (reload).
package final class LogSink: Sendable {
    /// What a line looks like.
    package enum Format: UInt8, Sendable {
        case text
        case json
    }

    /// PIPE_BUF of Linux: `poll` promises that so much fits without waiting.
    static let maximumLineLength = 4096

    private struct State {
        var dropped = 0
        var line: [UInt8] = []
        var file: LogFile?
        var system: SystemLog?
    }

    /// nil: quiet.
    private let descriptor: Int32?
    private let systemLogPath: String
    private let isSocket: Bool
    private let levelNumber: Atomic<Int>
    private let formatNumber: Atomic<UInt8>
    private let state = Mutex(State())

    package init(
        descriptor: Int32? = STDERR_FILENO, level: Logger.Level, format: Format,
        systemLogPath: String = "/dev/log"
    ) {
        self.descriptor = descriptor
        self.systemLogPath = systemLogPath
        var status = stat()
        isSocket =
            descriptor.map { fstat($0, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK }
            ?? false
        levelNumber = Atomic(Self.number(of: level))
        formatNumber = Atomic(format.rawValue)
    }

    /// Lines below it are not made.
    package var level: Logger.Level {
        get { Logger.Level.allCases[levelNumber.load(ordering: .relaxed)] }
        set { levelNumber.store(Self.number(of: newValue), ordering: .relaxed) }
    }

    package var format: Format {
        get { Format(rawValue: formatNumber.load(ordering: .relaxed)) ?? .text }
        set { formatNumber.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// Lines lost so far that no line has told of.
    package var droppedLines: Int { state.withLock { $0.dropped } }

    /// A logger that writes here.
    package func makeLogger(label: String = "pglease") -> Logger {
        Logger(label: label) { label in LineLogHandler(label: label, sink: self) }
    }

    /// Opens what the settings name besides standard error, again where it is open: the file may have been moved
    /// away. What was open stays so if that fails.
    package func openTargets(_ settings: Settings) throws(LogTargetError) {
        let file: LogFile?
        if let path = settings.logfile { file = try LogFile(path) } else { file = nil }
        let system =
            settings.syslog
            ? SystemLog(
                facility: settings.syslogFacility, identity: settings.syslogIdent,
                path: systemLogPath) : nil
        state.withLock { state in
            state.file?.close()
            state.file = file
            state.system?.close()
            state.system = system
        }
    }

    /// Writes one line to all that take it.
    func write(_ line: LogLine) {
        state.withLock { state in
            state.line.removeAll(keepingCapacity: true)
            line.append(format: format, timestamp: .now(), to: &state.line)
            if state.line.count >= Self.maximumLineLength { Self.truncate(&state.line) }
            state.line.append(UInt8(ascii: "\n"))
            let isKept = state.file?.write(state.line) ?? true
            if let descriptor { tell(descriptor, &state) }
            if !isKept { state.dropped += 1 }
            guard state.system != nil else { return }
            state.line.removeAll(keepingCapacity: true)
            line.append(format: format, timestamp: nil, to: &state.line)
            if state.line.count >= Self.maximumLineLength { Self.truncate(&state.line) }
            _ = state.system?.write(state.line, line.level)
        }
    }

    private static func number(of level: Logger.Level) -> Int {
        Logger.Level.allCases.firstIndex(of: level) ?? 0
    }

    private func lossNotice(_ count: Int) -> [UInt8] {
        var line: [UInt8] = []
        LogLine(
            level: .warning,
            message: "log lines dropped: standard error or logfile did not take them", label: "log",
            metadata: ["log.dropped": "\(count)"]
        ).append(format: format, timestamp: .now(), to: &line)
        line.append(UInt8(ascii: "\n"))
        return line
    }

    /// Cuts at a character, so that what is left is still UTF-8.
    private static func truncate(_ line: inout [UInt8]) {
        let mark = Array(" [cut]".utf8)
        var end = maximumLineLength - 1 - mark.count
        while end > 0, line[end] & 0xC0 == 0x80 { end -= 1 }
        line.removeSubrange(end...)
        line += mark
    }

    /// Standard error gets the line, and first that some were lost, if it takes them.
    private func tell(_ descriptor: Int32, _ state: inout State) {
        if state.dropped > 0, deliver(lossNotice(state.dropped), to: descriptor) {
            state.dropped = 0
        }
        if state.dropped > 0 || !deliver(state.line, to: descriptor) { state.dropped += 1 }
    }

    /// False when the line could not be taken at once.
    private func deliver(_ line: [UInt8], to descriptor: Int32) -> Bool {
        line.withUnsafeBytes { bytes in
            if isSocket {
                return send(
                    descriptor, bytes.baseAddress, bytes.count,
                    Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) == bytes.count
            }
            // Not O_NONBLOCK: that would change the terminal or pipe for all who share it.
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, 0) == 1, entry.revents & Int16(POLLOUT) != 0 else { return false }
            return Glibc.write(descriptor, bytes.baseAddress, bytes.count) == bytes.count
        }
    }
}
