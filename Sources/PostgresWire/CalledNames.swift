// SPDX-License-Identifier: Apache-2.0

/// Names in front of a parenthesis, in a text: functions that it may call, tables and keywords among them.
package enum CalledNames {
    /// Where the first '(' of the text is; its length where it has none.
    package static func firstParenthesis(in sql: UnsafeRawBufferPointer) -> Int {
        var index = 0
        while sql.count - index > TextBlock.size {
            if let distance = TextBlock.distanceToParenthesis(sql, at: index) {
                return index + distance
            }
            index += TextBlock.size
        }
        while index < sql.count, sql[index] != UInt8(ascii: "(") { index += 1 }
        return index
    }

    /// Where the name stands that the parenthesis at `index` belongs to; nil: it belongs to none. With quotes, if
    /// it has them.
    package static func name(
        before index: Int, in sql: UnsafeRawBufferPointer
    ) -> Range<Int>? {
        var end = index
        while end > 0, isSpace(sql[end - 1]) { end -= 1 }
        guard end > 0 else { return nil }
        var start = end
        if sql[end - 1] == UInt8(ascii: "\"") {
            start -= 1
            while start > 0 {
                start -= 1
                guard sql[start] == UInt8(ascii: "\"") else { continue }
                // A doubled one is part of the name.
                guard start > 0, sql[start - 1] == UInt8(ascii: "\"") else { return start..<end }
                start -= 1
            }
            return nil
        }
        while start > 0, isIdentifierByte(sql[start - 1]) { start -= 1 }
        return start == end || isDigit(sql[start]) || sql[start] == UInt8(ascii: "$")
            ? nil : start..<end
    }

    /// FNV-1a of the name as PostgreSQL looks it up.
    package static func hash(_ name: Range<Int>, of sql: UnsafeRawBufferPointer) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        if sql[name.lowerBound] == UInt8(ascii: "\"") {
            for byte in spelled(name, of: sql) {
                hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
            }
        } else {
            for index in name {
                hash = (hash ^ UInt64(lowercased(sql[index]))) &* 0x0000_0100_0000_01b3
            }
        }
        return hash
    }

    package static func hash(of name: [UInt8]) -> UInt64 {
        name.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }

    /// The name as PostgreSQL looks it up.
    package static func spelled(_ name: Range<Int>, of sql: UnsafeRawBufferPointer) -> [UInt8] {
        guard sql[name.lowerBound] == UInt8(ascii: "\"") else {
            return sql[name].map(lowercased)
        }
        var bytes: [UInt8] = []
        var index = name.lowerBound + 1
        while index < name.upperBound - 1 {
            bytes.append(sql[index])
            index += sql[index] == UInt8(ascii: "\"") ? 2 : 1
        }
        return bytes
    }
}
