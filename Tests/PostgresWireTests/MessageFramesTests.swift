// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PostgresWire

@Suite("Frames of bytes that pass")
struct MessageFramesTests {
    private let bytes: [UInt8] = {
        var bytes: [UInt8] = []
        bytes.appendQuery("IDENTIFY_SYSTEM")
        bytes.appendSync()
        bytes.appendCopyFail("no more")
        bytes += [UInt8(ascii: "X"), 0, 0, 0, 4]
        return bytes
    }()
    private let kinds = Array("QSfX".utf8)

    private func pass(_ bytes: ArraySlice<UInt8>, _ frames: inout MessageFrames) -> [UInt8] {
        bytes.withUnsafeBytes { raw in
            var seen: [UInt8] = []
            var offset = 0
            while let kind = frames.next(in: raw, from: &offset) { seen.append(kind) }
            #expect(offset == raw.count)
            return seen
        }
    }

    @Test("Each message is seen once, wherever the bytes are cut")
    func cuts() {
        for first in 0...bytes.count {
            for second in first...bytes.count {
                var frames = MessageFrames()
                var seen = pass(bytes[..<first], &frames)
                seen += pass(bytes[first..<second], &frames)
                seen += pass(bytes[second...], &frames)
                #expect(seen == kinds)
                #expect(frames.isBetweenMessages)
            }
        }
    }

    @Test("Between messages only at their ends")
    func ends() {
        var ends: Set<Int> = [0]
        var offset = 0
        while offset < bytes.count {
            let header = bytes.withUnsafeBytes { MessageHeader($0, at: offset) }
            offset += MessageHeader.size + header.bodyLength
            ends.insert(offset)
        }
        for cut in 0...bytes.count {
            var frames = MessageFrames()
            _ = pass(bytes[..<cut], &frames)
            #expect(frames.isBetweenMessages == ends.contains(cut))
        }
    }

    @Test("A length that cannot be ends the search", arguments: [0, 3, UInt32.max, 1 << 31])
    func lengths(length: UInt32) {
        var frames = MessageFrames()
        var broken: [UInt8] = [UInt8(ascii: "Q")]
        withUnsafeBytes(of: length.bigEndian) { broken += $0 }
        #expect(pass((broken + bytes)[...], &frames).isEmpty)
        #expect(frames.isBroken && !frames.isBetweenMessages)
        #expect(pass(bytes[...], &frames).isEmpty)
    }
}
