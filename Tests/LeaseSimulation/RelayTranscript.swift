// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Messages of either direction in a form that tests compare and people read: one short text each.
package enum RelayTranscript {
    /// What a client sends: `Parse(name,text)`, `Bind(portal,statement)`, `Sync`, ….
    package static func ofClient(_ bytes: [UInt8]) -> [String] {
        messages(bytes) { kind, body in
            switch FrontendKind(rawValue: kind) {
            case .query: "Query(\(string(body, 0)))"
            case .parse: "Parse(\(string(body, 0)),\(string(body, 1)))"
            case .bind: "Bind(\(string(body, 0)),\(string(body, 1)))"
            case .describe: "Describe(\(target(body)))"
            case .close: "Close(\(target(body)))"
            case .execute: "Execute(\(string(body, 0)))"
            case .sync: "Sync"
            case .flush: "Flush"
            case .copyData: "CopyData(\(String(decoding: body, as: UTF8.self)))"
            case .copyDone: "CopyDone"
            case .copyFail: "CopyFail"
            case .functionCall: "FunctionCall"
            case .terminate: "Terminate"
            default: "?\(kind)"
            }
        }
    }

    /// What a server sends: `ParseComplete`, `C(SELECT 1)`, `E(42P05,text)`, `Z(I)`, ….
    package static func ofServer(_ bytes: [UInt8]) -> [String] {
        messages(bytes) { kind, body in
            switch BackendKind(rawValue: kind) {
            case .parseComplete: "ParseComplete"
            case .bindComplete: "BindComplete"
            case .closeComplete: "CloseComplete"
            case .commandComplete: "C(\(string(body, 0)))"
            case .readyForQuery: "Z(\(String(decoding: body, as: UTF8.self)))"
            case .errorResponse: error(body, "E")
            case .noticeResponse: error(body, "N")
            case .parameterStatus: "S(\(string(body, 0))=\(string(body, 1)))"
            case .dataRow: "D(\(String(decoding: body.dropFirst(6), as: UTF8.self)))"
            default: String(decoding: [kind], as: UTF8.self)
            }
        }
    }

    private static func error(_ body: ArraySlice<UInt8>, _ letter: String) -> String {
        guard let fields = body.withUnsafeBytes({ ErrorFields(body: $0) }) else { return letter }
        return "\(letter)(\(fields.sqlState.rawValue),\(fields.message))"
    }

    private static func target(_ body: ArraySlice<UInt8>) -> String {
        String(decoding: body.prefix(1), as: UTF8.self) + "," + string(body.dropFirst(), 0)
    }

    private static func string(_ body: ArraySlice<UInt8>, _ index: Int) -> String {
        let parts = body.split(separator: 0, maxSplits: index + 1, omittingEmptySubsequences: false)
        return index < parts.count ? String(decoding: parts[index], as: UTF8.self) : ""
    }

    private static func messages(
        _ bytes: [UInt8], _ describe: (UInt8, ArraySlice<UInt8>) -> String
    ) -> [String] {
        var result: [String] = []
        var offset = 0
        while bytes.count - offset >= MessageHeader.size {
            let header = bytes.withUnsafeBytes { MessageHeader($0, at: offset) }
            let end = offset + MessageHeader.size + header.bodyLength
            guard header.bodyLength >= 0, end <= bytes.count else { break }
            result.append(describe(header.kind, bytes[(offset + MessageHeader.size)..<end]))
            offset = end
        }
        if offset < bytes.count { result.append("…\(bytes.count - offset) bytes") }
        return result
    }
}
