// SPDX-License-Identifier: Apache-2.0

/// A key of the terminal.
package enum Key: Equatable, Sendable {
    case character(Character)
    case up, down, pageUp, pageDown, home, end
    case enter, escape, tab, backTab, backspace
    /// Ctrl-C, Ctrl-Z and Ctrl-L; the terminal hands them over as bytes.
    case interrupt, suspend, redraw
    case unknown
}

/// Bytes of a terminal to keys.
package struct KeyDecoder: Sendable {
    private var pending: [UInt8] = []

    package init() {}

    /// Escape and the first byte of an arrow are the same: `flush` when nothing follows soon.
    package var isWaiting: Bool { !pending.isEmpty }

    package mutating func feed(_ bytes: some Sequence<UInt8>) -> [Key] {
        pending += bytes
        var keys: [Key] = []
        while let (key, length) = Self.first(pending[...], isComplete: false) {
            keys.append(key)
            pending.removeFirst(length)
        }
        return keys
    }

    /// No more bytes belong to what is pending.
    package mutating func flush() -> [Key] {
        var keys: [Key] = []
        while let (key, length) = Self.first(pending[...], isComplete: true) {
            keys.append(key)
            pending.removeFirst(length)
        }
        return keys
    }

    /// The first key and how long it is; nil: more bytes are needed.
    private static func first(
        _ bytes: ArraySlice<UInt8>, isComplete: Bool
    ) -> (Key, Int)? {
        guard let byte = bytes.first else { return nil }
        switch byte {
        case 0x1B: return sequence(bytes, isComplete: isComplete)
        case 0x03: return (.interrupt, 1)
        case 0x1A: return (.suspend, 1)
        case 0x0C: return (.redraw, 1)
        case 0x09: return (.tab, 1)
        case 0x0D, 0x0A: return (.enter, 1)
        case 0x7F, 0x08: return (.backspace, 1)
        case ..<0x20: return (.unknown, 1)
        default: return character(bytes, isComplete: isComplete)
        }
    }

    private static func character(_ bytes: ArraySlice<UInt8>, isComplete: Bool) -> (Key, Int)? {
        let length =
            switch bytes[bytes.startIndex] {
            case 0xC2...0xDF: 2
            case 0xE0...0xEF: 3
            case 0xF0...0xF4: 4
            default: 1
            }
        if bytes.count < length { return isComplete ? (.unknown, bytes.count) : nil }
        let text = String(validating: bytes.prefix(length), as: UTF8.self)
        guard let text, let character = text.first else { return (.unknown, 1) }
        return (.character(character), length)
    }

    /// `ESC [ A`, `ESC O A`, `ESC [ 5 ~`, `ESC [ 1 ; 5 A`.
    private static func sequence(_ bytes: ArraySlice<UInt8>, isComplete: Bool) -> (Key, Int)? {
        let rest = bytes.dropFirst()
        guard let second = rest.first else { return isComplete ? (.escape, 1) : nil }
        guard second == UInt8(ascii: "[") || second == UInt8(ascii: "O") else {
            return (.escape, 1)
        }
        let body = rest.dropFirst()
        guard let end = body.firstIndex(where: { (0x40...0x7E).contains($0) }) else {
            return isComplete || bytes.count > 16 ? (.unknown, bytes.count) : nil
        }
        let length = end - bytes.startIndex + 1
        let parameters = String(decoding: body[..<end], as: UTF8.self)
        let key: Key =
            switch (bytes[end], parameters) {
            case (UInt8(ascii: "A"), _): .up
            case (UInt8(ascii: "B"), _): .down
            case (UInt8(ascii: "H"), _), (UInt8(ascii: "~"), "1"), (UInt8(ascii: "~"), "7"): .home
            case (UInt8(ascii: "F"), _), (UInt8(ascii: "~"), "4"), (UInt8(ascii: "~"), "8"): .end
            case (UInt8(ascii: "~"), "5"): .pageUp
            case (UInt8(ascii: "~"), "6"): .pageDown
            case (UInt8(ascii: "Z"), _): .backTab
            case (UInt8(ascii: "M"), _) where second == UInt8(ascii: "O"): .enter
            default: .unknown
            }
        return (key, length)
    }
}
