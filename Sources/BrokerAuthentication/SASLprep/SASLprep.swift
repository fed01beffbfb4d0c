// SPDX-License-Identifier: Apache-2.0

/// SASLprep (RFC 4013) as PostgreSQL does it: what a password is before SCRAM hashes it.
///
/// Server and client both prepare it, so that one typed in another normal form, or with a space of
/// another kind, is the same password. Follows `pg_saslprep`, also where that differs from the RFC:
/// what is prohibited is looked for before the text is normalised.
package enum SASLprep {
    /// The prepared password. One that cannot be prepared stays as it is, as in PostgreSQL: what is not
    /// UTF-8, is nothing but invisible characters, or holds one that is prohibited or unassigned.
    package static func prepare(_ password: [UInt8]) -> [UInt8] {
        if password.allSatisfy({ $0 < 0x80 }) { return password }
        guard let text = String(validating: password, as: UTF8.self) else { return password }
        let mapped = map(text.unicodeScalars.map(\.value))
        guard !mapped.isEmpty, mapped.allSatisfy(isAllowed), hasOneDirection(mapped) else {
            return password
        }
        var prepared: [UInt8] = []
        for code in NormalForm.compatibilityComposed(mapped) {
            guard let scalar = Unicode.Scalar(code) else { return password }
            prepared.append(contentsOf: UTF8.encode(scalar)!)
        }
        return prepared
    }

    private static func map(_ codes: [UInt32]) -> [UInt32] {
        codes.compactMap { code in
            if code < 0x80 { return code }
            // U+200B is in both tables; PostgreSQL makes a space of it.
            if SASLprepRanges.spaces.contains(code) { return 0x20 }
            return SASLprepRanges.mappedToNothing.contains(code) ? nil : code
        }
    }

    private static func isAllowed(_ code: UInt32) -> Bool {
        !SASLprepRanges.prohibited.contains(code) && !SASLprepRanges.unassigned.contains(code)
    }

    /// RFC 3454, section 6: a text with letters from right to left begins and ends with such, and has
    /// none from left to right.
    private static func hasOneDirection(_ codes: [UInt32]) -> Bool {
        let rightToLeft = SASLprepRanges.rightToLeft
        guard codes.contains(where: rightToLeft.contains) else { return true }
        return rightToLeft.contains(codes.first!) && rightToLeft.contains(codes.last!)
            && !codes.contains(where: SASLprepRanges.leftToRight.contains)
    }
}

/// Ranges of codes, written as the gap since the range before and the number of codes, in turns.
struct RangeTable: ExpressibleByStringLiteral {
    private let text: StaticString

    init(stringLiteral text: StaticString) { self.text = text }

    func contains(_ code: UInt32) -> Bool {
        NumberReader.read(text) { numbers in
            var end: UInt32 = 0
            while let gap = numbers.next(), let count = numbers.next() {
                let start = end + gap
                end = start + count
                if code < end { return code >= start }
            }
            return false
        }
    }
}

/// The numbers of a table: base 36, a space behind each.
struct NumberReader {
    private let text: UnsafeBufferPointer<UInt8>
    private var offset = 0

    private init(_ text: UnsafeBufferPointer<UInt8>) { self.text = text }

    static func read<Result>(
        _ text: StaticString, _ body: (inout NumberReader) -> Result
    ) -> Result {
        text.withUTF8Buffer { bytes in
            var reader = NumberReader(bytes)
            return body(&reader)
        }
    }

    mutating func next() -> UInt32? {
        guard offset < text.count else { return nil }
        var value: UInt32 = 0
        while offset < text.count, text[offset] != UInt8(ascii: " ") {
            let digit = text[offset]
            value = value * 36 + UInt32(digit < UInt8(ascii: "a") ? digit - 48 : digit - 87)
            offset += 1
        }
        offset += 1
        return value
    }
}
