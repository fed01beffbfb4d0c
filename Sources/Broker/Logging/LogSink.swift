import Glibc
package import Logging
import Synchronization

/// Where lines go: a descriptor that it borrows (standard error), and how they look.
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
    }

    private let descriptor: Int32
    private let isSocket: Bool
    private let levelNumber: Atomic<Int>
    private let formatNumber: Atomic<UInt8>
    private let state = Mutex(State())

    package init(descriptor: Int32 = STDERR_FILENO, level: Logger.Level, format: Format) {
        self.descriptor = descriptor
        var status = stat()
        isSocket = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
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

    /// Lets `body` append one line, without its newline, and writes it.
    func write(_ body: (inout [UInt8]) -> Void) {
        state.withLock { state in
            if state.dropped > 0, deliver(lossNotice(state.dropped)) { state.dropped = 0 }
            state.line.removeAll(keepingCapacity: true)
            body(&state.line)
            if state.line.count >= Self.maximumLineLength { Self.truncate(&state.line) }
            state.line.append(UInt8(ascii: "\n"))
            if state.dropped > 0 || !deliver(state.line) { state.dropped += 1 }
        }
    }

    private static func number(of level: Logger.Level) -> Int {
        Logger.Level.allCases.firstIndex(of: level) ?? 0
    }

    private func lossNotice(_ count: Int) -> [UInt8] {
        var line: [UInt8] = []
        LogLine(
            level: .warning, message: "log lines dropped: nobody read standard error", label: "log",
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

    /// False when the line could not be taken at once.
    private func deliver(_ line: [UInt8]) -> Bool {
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
