// SPDX-License-Identifier: Apache-2.0

/// How rows are written in a COPY.
public enum CopyFormat: Sendable {
    /// Every type has it.
    case text
    /// Smaller and quicker; the Swift type must be the column's: an `Int` is an `int8`, an `Int32`
    /// an `int4`.
    case binary
}

/// Encodes rows as COPY wants them.
struct CopyEncoder: Sendable {
    private static let signature: [UInt8] =
        Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00, 0, 0, 0, 0, 0, 0, 0, 0]

    let format: CopyFormat

    /// What comes before the first row.
    var header: [UInt8] {
        switch format {
        case .text: []
        case .binary: CopyEncoder.signature
        }
    }

    /// What comes after the last row.
    var trailer: [UInt8] {
        switch format {
        case .text: []
        case .binary: [0xff, 0xff]
        }
    }

    func append(
        _ values: [(any PostgresEncodable)?], to bytes: inout [UInt8]
    ) throws(LeaseError) {
        switch format {
        case .text: appendText(values, to: &bytes)
        case .binary: try appendBinary(values, to: &bytes)
        }
    }

    private func appendText(_ values: [(any PostgresEncodable)?], to bytes: inout [UInt8]) {
        for (index, value) in values.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: "\t")) }
            guard let text = value?.postgresText else {
                bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "N")])
                continue
            }
            for byte in text.utf8 {
                switch byte {
                case UInt8(ascii: "\\"): bytes.append(contentsOf: [byte, byte])
                case UInt8(ascii: "\n"):
                    bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "n")])
                case UInt8(ascii: "\r"):
                    bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "r")])
                case UInt8(ascii: "\t"):
                    bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "t")])
                default: bytes.append(byte)
                }
            }
        }
        bytes.append(UInt8(ascii: "\n"))
    }

    private func appendBinary(
        _ values: [(any PostgresEncodable)?], to bytes: inout [UInt8]
    ) throws(LeaseError) {
        bytes.append(contentsOf: Int16(values.count).bigEndianBytes)
        for value in values {
            guard let value, !value.isPostgresNull else {
                bytes.append(contentsOf: Int32(-1).bigEndianBytes)
                continue
            }
            guard let field = value.postgresBinary else {
                throw .usage("\(type(of: value)) has no binary form: COPY it as text")
            }
            bytes.append(contentsOf: Int32(field.count).bigEndianBytes)
            bytes.append(contentsOf: field)
        }
    }
}

/// Takes rows out of the text form of COPY, which come in whole lines.
public struct CopyTextRows: Sendable {
    /// The fields of each line; nil is NULL. `bytes` must end with a line's end.
    public static func parse(_ bytes: [UInt8]) -> [[String?]] {
        var lines = bytes[...]
        if lines.last == UInt8(ascii: "\n") { lines.removeLast() }
        if bytes.isEmpty { return [] }
        return lines.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map(fields)
    }

    private static func fields(_ line: ArraySlice<UInt8>) -> [String?] {
        line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false).map(field)
    }

    private static func field(_ bytes: ArraySlice<UInt8>) -> String? {
        if bytes.elementsEqual([UInt8(ascii: "\\"), UInt8(ascii: "N")]) { return nil }
        guard bytes.contains(UInt8(ascii: "\\")) else {
            return String(decoding: bytes, as: UTF8.self)
        }
        var plain: [UInt8] = []
        var rest = bytes
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let escaped = rest.popFirst() else {
                plain.append(byte)
                continue
            }
            switch Unicode.Scalar(escaped) {
            case "b": plain.append(8)
            case "f": plain.append(12)
            case "n": plain.append(10)
            case "r": plain.append(13)
            case "t": plain.append(9)
            case "v": plain.append(11)
            default: plain.append(escaped)
            }
        }
        return String(decoding: plain, as: UTF8.self)
    }
}
