// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The framer: where the messages of an answer of a hundred rows begin, in bytes that were cut in the middle of one.
package struct FrameHotPath: ~Copyable, HotPath {
    private let bytes: WireBytes
    private var frames = MessageFrames()

    package init() {
        var answer = WireBytes.message("T", [0, 0])
        for _ in 0..<100 { answer += WireBytes.message("D", [0, 1, 0, 0, 0, 4, 49, 50, 51, 52]) }
        bytes = WireBytes(answer + WireBytes.answerEnd)
    }

    package mutating func step() {
        let middle = bytes.raw.count / 2
        let messages = count(0..<middle) + count(middle..<bytes.raw.count)
        precondition(messages == 103 && frames.isBetweenMessages, "the framer lost its way")
    }

    private mutating func count(_ range: Range<Int>) -> Int {
        let raw = UnsafeRawBufferPointer(rebasing: bytes.raw[range])
        var offset = 0
        var messages = 0
        while frames.next(in: raw, from: &offset) != nil { messages += 1 }
        return messages
    }
}
