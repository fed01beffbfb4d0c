// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Notices and parameters' new values, which PostgreSQL may send at any time, also to nobody.
enum UnaskedMessages {
    /// Where the beginning of one stands whose rest is still to come, behind nothing but others; else the end.
    static func beginning(in bytes: UnsafeRawBufferPointer) -> Int {
        var offset = 0
        while offset < bytes.count {
            let kind = BackendKind(rawValue: bytes[offset])
            guard kind == .noticeResponse || kind == .parameterStatus else { break }
            guard bytes.count - offset >= MessageHeader.size else { return offset }
            let length = MessageHeader(bytes, at: offset).bodyLength
            guard length >= 0, length <= longestKept else { break }
            let end = offset + MessageHeader.size + length
            if end > bytes.count { return offset }
            offset = end
        }
        return bytes.count
    }

    /// Bytes of a body that are kept until it is whole.
    private static let longestKept = 65536
}
