// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import OperatorTools

@Suite("Keys")
struct KeyTests {
    private static let sequences: [([UInt8], Key)] = [
        (Array("\u{1B}[A".utf8), .up), (Array("\u{1B}OB".utf8), .down),
        (Array("\u{1B}[5~".utf8), .pageUp), (Array("\u{1B}[6~".utf8), .pageDown),
        (Array("\u{1B}[H".utf8), .home), (Array("\u{1B}[4~".utf8), .end),
        (Array("\u{1B}[Z".utf8), .backTab), (Array("\u{1B}[1;5A".utf8), .up),
        (Array("\u{1B}[15~".utf8), .unknown), (Array("é".utf8), .character("é")),
        (Array("日".utf8), .character("日")), ([0x7F], .backspace), ([0x0D], .enter),
        ([0x09], .tab), ([0x03], .interrupt), ([0x1A], .suspend), ([0x0C], .redraw),
        (Array("q".utf8), .character("q")), ([0xFF], .unknown),
    ]

    @Test("Each key is found, however its bytes arrive", arguments: sequences)
    func split(bytes: [UInt8], key: Key) {
        for place in 0...bytes.count {
            var decoder = KeyDecoder()
            let keys = decoder.feed(bytes[..<place]) + decoder.feed(bytes[place...])
            #expect(keys == [key], "split at \(place)")
            #expect(!decoder.isWaiting)
        }
    }

    @Test("Keys that come at once come in order")
    func several() {
        var decoder = KeyDecoder()
        let all = Self.sequences.flatMap(\.0)
        #expect(decoder.feed(all) == Self.sequences.map(\.1))
    }

    @Test("Escape alone is a key once nothing follows")
    func escape() {
        var decoder = KeyDecoder()
        #expect(decoder.feed([0x1B]).isEmpty)
        #expect(decoder.isWaiting)
        #expect(decoder.flush() == [.escape])
        #expect(decoder.feed(Array("\u{1B}x".utf8)) == [.escape, .character("x")])
        #expect(decoder.feed(Array("\u{1B}[".utf8)).isEmpty)
        #expect(decoder.flush() == [.unknown])
        // A sequence without an end is not kept for ever.
        _ = decoder.feed([0x1B, 0x5B] + [UInt8](repeating: 0x31, count: 100))
        _ = decoder.flush()
        #expect(!decoder.isWaiting)
    }
}
