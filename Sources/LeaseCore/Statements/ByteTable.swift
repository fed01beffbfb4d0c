// SPDX-License-Identifier: Apache-2.0

/// Values by a key of bytes, looked up from a buffer without making an array of it.
///
/// Invariant: an entry lies at its hash or, after others of the same hash, at the next keys in a
/// row, with no gap before it.
package struct ByteTable<Value> {
    private struct Entry {
        var key: [UInt8]
        var value: Value
    }

    /// The hash of a key. The dictionary takes it as it is, and its own seed with it: another hash of the hash would cost
    /// more than all the rest of a look-up.
    private struct Position: Hashable {
        var number: UInt64

        static func == (left: Position, right: Position) -> Bool { left.number == right.number }

        func hash(into hasher: inout Hasher) { hasher.combine(number) }

        func _rawHashValue(seed: Int) -> Int {
            let mixed = (number ^ UInt64(bitPattern: Int64(seed))) &* 0x9e37_79b9_7f4a_7c15
            return Int(truncatingIfNeeded: mixed ^ (mixed >> 32))
        }

        var next: Position { Position(number: number &+ 1) }
    }

    private var entries: [Position: Entry] = [:]

    package init() {}

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }

    package func value(for key: UnsafeRawBufferPointer) -> Value? {
        var position = Self.hash(key)
        while let entry = entries[position] {
            if areEqual(entry.key, key) { return entry.value }
            position = position.next
        }
        return nil
    }

    package mutating func insert(_ value: Value, for key: UnsafeRawBufferPointer) {
        var position = Self.hash(key)
        while let entry = entries[position] {
            if areEqual(entry.key, key) { break }
            position = position.next
        }
        entries[position] = Entry(key: Array(key), value: value)
    }

    @discardableResult
    package mutating func remove(_ key: UnsafeRawBufferPointer) -> Value? {
        var position = Self.hash(key)
        while let entry = entries[position] {
            if areEqual(entry.key, key) {
                entries[position] = nil
                closeGap(after: position)
                return entry.value
            }
            position = position.next
        }
        return nil
    }

    package mutating func removeAll() { entries.removeAll() }

    /// Calls `body` with each value, in no order.
    package func forEachValue(_ body: (Value) -> Void) {
        for entry in entries.values { body(entry.value) }
    }

    /// Calls `body` with each key and its value, in no order.
    package func eachEntry(_ body: ([UInt8], Value) -> Void) {
        for entry in entries.values { body(entry.key, entry.value) }
    }

    /// The key of the first value of which this is true, in no order.
    package func key(where isWanted: (Value) -> Bool) -> [UInt8]? {
        entries.values.first { isWanted($0.value) }?.key
    }

    /// Entries behind a removed one may be there only because it was: they move up.
    private mutating func closeGap(after removed: Position) {
        var position = removed.next
        while let entry = entries.removeValue(forKey: position) {
            entry.key.withUnsafeBytes { insert(entry.value, for: $0) }
            position = position.next
        }
    }

    /// FNV-1a. A client that makes names collide slows its own look-ups down.
    private static func hash(_ key: UnsafeRawBufferPointer) -> Position {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in key {
            hash ^= UInt64(byte)
            hash = hash &* 0x0000_0100_0000_01b3
        }
        return Position(number: hash)
    }
}

/// Whether the bytes are the same, eight at a time.
func areEqual(_ key: [UInt8], _ bytes: UnsafeRawBufferPointer) -> Bool {
    let count = bytes.count
    guard key.count == count else { return false }
    return key.withUnsafeBytes { own in
        var index = 0
        while index + 8 <= count {
            guard
                own.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    == bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            else { return false }
            index += 8
        }
        while index < count {
            guard own[index] == bytes[index] else { return false }
            index += 1
        }
        return true
    }
}
