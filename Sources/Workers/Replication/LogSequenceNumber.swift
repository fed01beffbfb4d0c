// SPDX-License-Identifier: Apache-2.0

/// A place in a server's write-ahead log, in bytes from its beginning: PostgreSQL's `pg_lsn`.
///
/// Zero is no place at all (InvalidXLogRecPtr).
package struct LogSequenceNumber: Comparable, Hashable, Sendable, CustomStringConvertible {
    package var rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let zero = LogSequenceNumber(rawValue: 0)

    /// Reads `16/B374D848`: two hexadecimal numbers of up to eight digits each.
    package init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        var value: UInt64 = 0
        for half in halves {
            guard (1...8).contains(half.utf8.count), half.utf8.allSatisfy(Self.isHexDigit),
                let number = UInt64(half, radix: 16)
            else { return nil }
            value = value << 32 | number
        }
        rawValue = value
    }

    // `UInt64(_:radix:)` alone would also take a sign.
    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    package var description: String {
        let high = String(rawValue >> 32, radix: 16, uppercase: true)
        let low = String(rawValue & 0xFFFF_FFFF, radix: 16, uppercase: true)
        return "\(high)/\(low)"
    }

    package static func < (left: LogSequenceNumber, right: LogSequenceNumber) -> Bool {
        left.rawValue < right.rawValue
    }
}
