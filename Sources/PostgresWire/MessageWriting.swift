// SPDX-License-Identifier: Apache-2.0

/// The pieces that every message is written from. All integers of the protocol are big-endian.
extension [UInt8] {
    /// Appends one message: the type byte, a length that is filled in afterwards, and what `body`
    /// appends.
    @inlinable
    package mutating func appendMessage(kind: UInt8, _ body: (inout [UInt8]) -> Void) {
        append(kind)
        appendLengthPrefixed(body)
    }

    /// Appends a length that counts itself and what `body` appends: a startup packet, or a message
    /// after its kind.
    @inlinable
    package mutating func appendLengthPrefixed(_ body: (inout [UInt8]) -> Void) {
        let start = count
        appendInteger(UInt32(0))
        body(&self)
        let length = UInt32(count - start)
        self[start] = UInt8(truncatingIfNeeded: length >> 24)
        self[start + 1] = UInt8(truncatingIfNeeded: length >> 16)
        self[start + 2] = UInt8(truncatingIfNeeded: length >> 8)
        self[start + 3] = UInt8(truncatingIfNeeded: length)
    }

    @inlinable
    package mutating func appendInteger(_ value: UInt32) {
        append(UInt8(truncatingIfNeeded: value >> 24))
        append(UInt8(truncatingIfNeeded: value >> 16))
        append(UInt8(truncatingIfNeeded: value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }

    @inlinable
    package mutating func appendInteger(_ value: Int32) {
        appendInteger(UInt32(bitPattern: value))
    }

    @inlinable
    package mutating func appendInteger(_ value: Int16) {
        let bits = UInt16(bitPattern: value)
        append(UInt8(truncatingIfNeeded: bits >> 8))
        append(UInt8(truncatingIfNeeded: bits))
    }

    /// A count of columns, fields or formats, which the protocol gives 16 bits.
    mutating func appendCount(_ count: Int) {
        precondition(count <= Int(UInt16.max), "a message cannot hold \(count) fields")
        appendInteger(Int16(bitPattern: UInt16(count)))
    }

    /// A string with its terminator. A NUL inside would end it early and turn the rest into other
    /// fields: it is left out.
    package mutating func appendCString(_ text: String) {
        appendCString(text.utf8)
    }

    package mutating func appendCString(_ bytes: some Sequence<UInt8>) {
        // Nearly always it lies in one piece, without a NUL.
        let isAppended = bytes.withContiguousStorageIfAvailable { text in
            guard firstNUL(in: UnsafeRawBufferPointer(text), from: 0) == nil else { return false }
            append(contentsOf: text)
            return true
        }
        if isAppended != true {
            for byte in bytes where byte != 0 { append(byte) }
        }
        append(0)
    }

    /// A value with its 32-bit length in front, or -1 for NULL.
    mutating func appendValue(_ bytes: (some Collection<UInt8>)?) {
        guard let bytes else {
            appendInteger(Int32(-1))
            return
        }
        appendInteger(Int32(bytes.count))
        append(contentsOf: bytes)
    }
}
