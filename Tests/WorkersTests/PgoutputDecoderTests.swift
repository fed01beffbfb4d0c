// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Workers

/// The decoder of `pgoutput`, and the frames around it, on whole, cut and mad bytes.
@Suite struct PgoutputDecoderTests {
    @Test("every message reads back", arguments: pgoutputSamples)
    func readsBack(_ message: PgoutputMessage) throws {
        #expect(try PgoutputDecoder.decode(PgoutputBytes.of(message)) == message)
    }

    @Test("cut at every byte it is an error, never a trap", arguments: pgoutputSamples)
    func isCut(_ message: PgoutputMessage) {
        let bytes = PgoutputBytes.of(message)
        for end in 0..<bytes.count {
            #expect(throws: ReplicationProtocolError.self) {
                try PgoutputDecoder.decode(Array(bytes[..<end]))
            }
        }
    }

    @Test("a byte too many is an error", arguments: pgoutputSamples)
    func hasMore(_ message: PgoutputMessage) {
        #expect(throws: ReplicationProtocolError.self) {
            try PgoutputDecoder.decode(PgoutputBytes.of(message) + [0])
        }
    }

    @Test("changed at random it is a message or an error", arguments: 0..<20)
    func isFuzzed(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for message in pgoutputSamples {
            let whole = PgoutputBytes.of(message)
            for _ in 0..<200 {
                var bytes = whole
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] =
                        UInt8.random(in: 0...255, using: &random)
                }
                _ = try? PgoutputDecoder.decode(bytes)
            }
        }
        for _ in 0..<2000 {
            let count = Int.random(in: 0...64, using: &random)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            _ = try? PgoutputDecoder.decode(bytes)
            _ = try? ReplicationFrame.decode(bytes)
        }
    }

    @Test("lengths that lie are errors")
    func lengthsLie() {
        var negative = PgoutputBytes()
        negative.append(letter: "I")
        negative.append(UInt32(1))
        negative.append(letter: "N")
        negative.append(UInt16(1))
        negative.append(letter: "t")
        negative.append(Int32(-1))
        #expect(throws: ReplicationProtocolError.self) {
            try PgoutputDecoder.decode(negative.bytes)
        }
        var huge = PgoutputBytes()
        huge.append(letter: "T")
        huge.append(UInt32.max)
        huge.append(UInt8(0))
        #expect(throws: ReplicationProtocolError.self) { try PgoutputDecoder.decode(huge.bytes) }
    }

    @Test("XLogData and keepalives, whole and cut")
    func frames() throws {
        var data = PgoutputBytes()
        data.append(letter: "w")
        data.append(UInt64(1))
        data.append(UInt64(2))
        data.append(Int64(3))
        data.bytes += [9, 8]
        #expect(
            try ReplicationFrame.decode(data.bytes)
                == .data(start: .init(rawValue: 1), walEnd: .init(rawValue: 2), payload: [9, 8]))
        var keepalive = PgoutputBytes()
        keepalive.append(letter: "k")
        keepalive.append(UInt64(5))
        keepalive.append(Int64(6))
        keepalive.append(UInt8(1))
        #expect(
            try ReplicationFrame.decode(keepalive.bytes)
                == .keepalive(walEnd: .init(rawValue: 5), wantsReply: true))
        for end in 0..<keepalive.bytes.count {
            #expect(throws: ReplicationProtocolError.self) {
                try ReplicationFrame.decode(Array(keepalive.bytes[..<end]))
            }
        }
        for end in 0..<25 {
            #expect(throws: ReplicationProtocolError.self) {
                try ReplicationFrame.decode(Array(data.bytes[..<end]))
            }
        }
    }

    @Test("a status update is 34 bytes and never claims less received than flushed")
    func statusUpdate() {
        let update = StandbyStatusUpdate(
            received: .init(rawValue: 1), flushed: .init(rawValue: 0x0102), sentAt: -1)
        let place: [UInt8] = [0, 0, 0, 0, 0, 0, 1, 2]
        #expect(
            update.bytes
                == [UInt8(ascii: "r")] + place + place + place
                + [UInt8](repeating: 255, count: 8) + [0])
    }
}

/// pg_lsn's text.
@Suite struct ReplicationPositionTests {
    @Test("reads and writes as PostgreSQL does")
    func text() {
        #expect(LogSequenceNumber("16/B374D848")?.rawValue == 0x16_B374_D848)
        #expect(LogSequenceNumber("0/0") == .zero)
        #expect(LogSequenceNumber("ffffffff/FFFFFFFF")?.rawValue == .max)
        #expect(LogSequenceNumber(rawValue: 0x16_0000_000A).description == "16/A")
        #expect(LogSequenceNumber(rawValue: 1) < LogSequenceNumber(rawValue: 1 << 32))
    }

    @Test(
        "what is none is nil",
        arguments: [
            "", "/", "1", "1/", "/1", "1/2/3", "g/0", "+1/0", "0/-1", "123456789/0", "1 /0",
        ])
    func isNone(_ text: String) { #expect(LogSequenceNumber(text) == nil) }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
