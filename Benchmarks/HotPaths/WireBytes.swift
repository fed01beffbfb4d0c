// SPDX-License-Identifier: Apache-2.0

/// Messages that stay where they are for as long as a path is measured.
struct WireBytes: ~Copyable {
    let raw: UnsafeRawBufferPointer

    init(_ bytes: [UInt8]) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        memory.copyBytes(from: bytes)
        raw = UnsafeRawBufferPointer(memory)
    }

    deinit { raw.deallocate() }

    static func message(_ kind: Character, _ body: [UInt8]) -> [UInt8] {
        let length = UInt32(body.count + 4)
        let size = (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32($0))) }
        return [kind.asciiValue!] + size + body
    }

    static func text(_ words: String) -> [UInt8] { Array(words.utf8) + [0] }

    /// The row's description, the row, and the end of an answer.
    static let answer =
        description + message("D", [0, 1, 0, 0, 0, 1, 49]) + answerEnd

    static let description = message(
        "T", [0, 1] + text("n") + [UInt8](repeating: 0, count: 18))

    static let answerEnd = message("C", text("SELECT 1")) + message("Z", [73])
}
