// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging

/// A line for each entry, in one write: several processes may share standard error.
struct WorkersLogHandler: LogHandler {
    enum Format: String, Sendable {
        case text
        case json
    }

    let label: String
    let format: Format
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    init(label: String, format: Format, logLevel: Logger.Level) {
        self.label = label
        self.format = format
        self.logLevel = logLevel
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, own in own }
            .map { (key: $0.key, value: "\($0.value)") }.sorted { $0.key < $1.key }
        let time = WorkersLogHandler.now()
        var line: String
        switch format {
        case .text:
            line = "\(time) \(event.level.rawValue) \(event.message)"
            for (key, value) in all { line += " \(key)=\(WorkersLogHandler.quotedIfNeeded(value))" }
        case .json:
            let fields =
                [
                    ("time", time), ("level", event.level.rawValue), ("logger", label),
                    ("message", "\(event.message)"),
                ] + all.map { ($0.key, $0.value) }
            line =
                "{"
                + fields.map {
                    "\(WorkersLogHandler.quoted($0.0)):\(WorkersLogHandler.quoted($0.1))"
                }.joined(separator: ",") + "}"
        }
        line += "\n"
        let bytes = Array(line.utf8)
        // A log that cannot be written to is nobody's reason to stop.
        _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress!, $0.count) }
    }

    private static func quotedIfNeeded(_ text: String) -> String {
        let isPlain = !text.isEmpty && text.allSatisfy { $0.isASCII && $0 > " " && $0 != "\"" }
        return isPlain ? text : quoted(text)
    }

    /// As in JSON.
    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\r": out += "\\r"
            case let control where control.value < 0x20:
                let digits = String(control.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    /// UTC, with milliseconds.
    private static func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var parts = tm()
        gmtime_r(&time.tv_sec, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let millis = String(1000 + time.tv_nsec / 1_000_000).dropFirst()
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(millis)Z"
    }
}
