// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV
import PostgresWire
import Testing

@testable import Broker

/// The words between two brokers, and the keys among peers.
@Suite struct HandoverTests {
    @Test(arguments: ["app", "", "%", "a b", "ä\n\0\u{7f}", "100%25", "🐘", "\\\"'"])
    func anyNameIsOneWord(_ name: String) {
        let word = HandoverWords.escaped(name)
        #expect(!word.isEmpty && !word.contains { $0.isWhitespace })
        #expect(word.utf8.allSatisfy { $0 > 32 && $0 < 127 })
        #expect(HandoverWords.unescaped(word[...]) == name)
    }

    @Test(arguments: ["%2", "%zz", "a%"]) func otherWordsAreNone(_ word: String) {
        #expect(HandoverWords.unescaped(word[...]) == nil)
    }

    /// Bytes 1 and 2 of eight are the peer's number, the low one first; the last two bits are how often it may be
    /// passed on.
    @Test func keysAreLaidOutAsPgbouncers() {
        var key = CancelKey(processID: 0x0134_1207, secret: 0x1111_1110)
        #expect(key.peerID == 0x1234)
        #expect(key.hopsLeft == 0)
        key.hopsLeft = 2
        #expect(key.secret == 0x1111_1112)
        #expect(
            key.request([]) == [
                0, 0, 0, 16, 4, 210, 22, 46, 1, 0x34, 0x12, 7, 0x11, 0x11, 0x11, 0x12,
            ])
    }

    @Test func aKeyAmongPeersMayBePassedOnThreeTimes() {
        var keys = CancelKeys()
        for _ in 0..<50 {
            let key = keys.register(ClientID(slot: 1, generation: 1), processID: 5, isPeer: true)
            #expect(key.hopsLeft == 3)
        }
    }

    @Test func whatTheFormerBrokerKeepsIsSummed() throws {
        let loop = try EventLoop()
        let ends = try Descriptor.makeSocketPair()
        let channel = try HandoverChannel(
            loop: loop, descriptor: ends.0, onLine: { _ in }, onEnd: {})
        let former = FormerBroker(processID: 1, channel: channel)
        former.keeps(3, of: PoolKey(database: "a", user: "x"))
        former.keeps(2, of: PoolKey(database: "a", user: "y"))
        former.keeps(1, of: PoolKey(database: "a", user: "x"))
        #expect(former.heldByDatabase == ["a": 3])
        #expect(former.heldByUser == ["x": 1, "y": 2])
        #expect(former.heldInAll == 3)
        channel.close()
        Descriptor.close(ends.1)
        #expect(loop.close(patience: .seconds(1)))
    }
}
