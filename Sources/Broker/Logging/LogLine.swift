// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import Logging

/// One event as bytes: text for people (`time LEVEL message key=value …`) or a JSON object a line.
///
/// Keys are in order, so that equal events give equal lines. Values are escaped: whatever a client
/// sends as its name stays inside its value. Without a timestamp for the system's log, which has its own.
struct LogLine {
    var level: Logger.Level
    var message: String
    var label: String
    var metadata: Logger.Metadata

    /// The metadata that stands in the place of the message where the format is text.
    static let wordsKey = "words"

    func append(
        format: LogSink.Format, timestamp: UTCTime?, to bytes: inout [UInt8]
    ) {
        switch format {
        case .text: appendText(timestamp, to: &bytes)
        case .json: appendJSON(timestamp, to: &bytes)
        }
    }

    private func appendText(_ timestamp: UTCTime?, to bytes: inout [UInt8]) {
        if let timestamp {
            timestamp.append(to: &bytes)
            bytes.append(UInt8(ascii: " "))
        }
        bytes += Self.paddedName(of: level).utf8
        bytes.append(UInt8(ascii: " "))
        let words = metadata[Self.wordsKey]?.description ?? message
        Self.appendTextMessage(SecretRedaction.redact(words), to: &bytes)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) where key != Self.wordsKey {
            bytes.append(UInt8(ascii: " "))
            bytes += key.utf8
            bytes.append(UInt8(ascii: "="))
            Self.appendTextValue(Self.text(of: value, key: key), to: &bytes)
        }
    }

    private func appendJSON(_ timestamp: UTCTime?, to bytes: inout [UInt8]) {
        bytes += "{".utf8
        if let timestamp {
            bytes += "\"time\":\"".utf8
            timestamp.append(to: &bytes)
            bytes += "\",".utf8
        }
        bytes += "\"level\":\"".utf8
        bytes += level.rawValue.utf8
        bytes += "\",\"logger\":".utf8
        Self.appendQuoted(label, to: &bytes)
        bytes += ",\"message\":".utf8
        Self.appendQuoted(SecretRedaction.redact(message), to: &bytes)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) where key != Self.wordsKey {
            bytes.append(UInt8(ascii: ","))
            Self.appendQuoted(key, to: &bytes)
            bytes.append(UInt8(ascii: ":"))
            Self.appendQuoted(Self.text(of: value, key: key), to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private static func text(of value: Logger.MetadataValue, key: String) -> String {
        if SecretRedaction.hides(key: key) { return "***" }
        return SecretRedaction.redact(value.description)
    }

    private static func paddedName(of level: Logger.Level) -> String {
        switch level {
        case .trace: "TRACE"
        case .debug: "DEBUG"
        case .info: "INFO "
        case .notice: "NOTE "
        case .warning: "WARN "
        case .error: "ERROR"
        case .critical: "FATAL"
        }
    }

    /// Messages are constants of ours; a control character would still not break the line.
    private static func appendTextMessage(_ message: String, to bytes: inout [UInt8]) {
        for byte in message.utf8 {
            bytes.append(byte < 0x20 || byte == 0x7F ? UInt8(ascii: " ") : byte)
        }
    }

    private static func appendTextValue(_ value: String, to bytes: inout [UInt8]) {
        let isPlain =
            !value.isEmpty
            && value.utf8.allSatisfy { byte in
                byte > 0x20 && byte != 0x7F && byte != UInt8(ascii: "\"")
                    && byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "=")
            }
        if isPlain {
            bytes += value.utf8
        } else {
            appendQuoted(value, to: &bytes)
        }
    }

    /// A JSON string.
    private static func appendQuoted(_ value: String, to bytes: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        bytes.append(UInt8(ascii: "\""))
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case UInt8(ascii: "\n"): bytes += "\\n".utf8
            case UInt8(ascii: "\r"): bytes += "\\r".utf8
            case UInt8(ascii: "\t"): bytes += "\\t".utf8
            case 0..<0x20, 0x7F:
                bytes += "\\u00".utf8
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
