// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What is still owed to a client that sends nothing more.
@Suite struct RelayGoodbyeTests {
    private func isIn(_ bytes: some Sequence<UInt8>, passing: Int = 0) -> Bool {
        Array(bytes).withUnsafeBytes { Goodbye.isIn($0, passing: passing) }
    }

    @Test func aTerminateIsFoundWhereverItStands() {
        let query = message { $0.appendQuery("select 'X\u{0}\u{0}\u{0}\u{4}'") }
        let terminate = message { $0.appendTerminate() }
        #expect(isIn(terminate))
        #expect(isIn(query + terminate))
        #expect(isIn(query + terminate + [1, 2]))
        #expect(!isIn(query) && !isIn([]) && !isIn(query + terminate.dropLast()))
        #expect(isIn(query.dropFirst(9) + terminate, passing: query.count - 9))
        #expect(!isIn(query.dropFirst(9), passing: query.count - 9 + 3))
        #expect(!isIn([UInt8(ascii: "Q"), 0, 0, 0, 1] + terminate))
    }

    @Test func whatWillBeAnsweredWithoutTheClient() {
        let sent: [(name: String, bytes: [UInt8], willAnswer: Bool)] = [
            ("nothing", [], false),
            ("query", message { $0.appendQuery("select 1") }, true),
            (
                "batch",
                message {
                    $0.appendStatement("select 1")
                    $0.appendSync()
                }, true
            ),
            ("batch without its Sync", message { $0.appendStatement("select 1") }, false),
            (
                "query and half a query",
                message {
                    $0.appendQuery("select 1")
                    $0 += message { $0.appendQuery(String(repeating: "x", count: 20_000)) }.prefix(
                        99)
                }, true
            ),
            (
                "half a query",
                Array(message { $0.appendQuery(String(repeating: "x", count: 20_000)) }.prefix(99)),
                false
            ),
        ]
        for (name, bytes, willAnswer) in sent {
            var relay = RelayFixture()
            relay.send(bytes)
            let message = relay.client.passing
            #expect(relay.server.willAnswer(without: message) == willAnswer, "\(name)")
        }
    }

    @Test func aCopyWaitsForItsClient() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("copy t from stdin") }
        #expect(relay.willAnswer)
        relay.answer {
            $0.appendMessage(kind: BackendKind.copyInResponse.rawValue) { $0 += [0, 0, 0] }
        }
        #expect(!relay.willAnswer)
        relay.send { $0.appendCopyDone() }
        #expect(relay.willAnswer)
    }

    @Test func aRowOnItsWayIsAnsweredFor() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("select 1") }
        relay.answer {
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
            $0 += message { $0.appendNoticeResponse(.notice("mind")) }.prefix(9)
        }
        #expect(relay.willAnswer)
    }
}
