// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// Messages that must be seen, and are longer than what is kept of them.
@Suite struct RelayLongMessageTests {
    private static let long = String(repeating: "x", count: 1_200_000)

    /// Feeds pieces, and checks that little is carried from one to the next.
    private func feed(
        _ relay: inout RelayFixture, _ bytes: [UInt8], pieces: Int = 30_000
    ) -> (bytes: [UInt8], steps: [ServerStep]) {
        var passed: [UInt8] = []
        var steps: [ServerStep] = []
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + pieces, bytes.count)
            let (more, step) = relay.answerBytes(Array(bytes[offset..<end]))
            passed += more
            steps.append(step)
            #expect(relay.carry.count <= 16_500)
            offset = end
        }
        return (passed, steps)
    }

    @Test(arguments: [5000, 16_384, 30_000, 1_300_000]) func aLongErrorPasses(_ pieces: Int) {
        var relay = RelayFixture()
        relay.send {
            $0.appendStatement("select $1::int")
            $0.appendSync()
        }
        let answer = message {
            $0.appendParseComplete()
            $0.appendFailure(.syntaxError, Self.long)
            $0.appendReadyForQuery(.failed)
        }
        let (passed, steps) = feed(&relay, answer, pieces: pieces)
        #expect(passed == answer)
        #expect(steps.allSatisfy { $0.broken == nil })
        #expect(relay.server.status == .failed && !relay.server.isOwing)
    }

    @Test func aLongErrorIsFollowedByWhatTheBrokerAnswers() {
        var relay = RelayFixture()
        relay.prepare("s", "select 1")
        relay.send {
            $0.appendQuery("fail")
            $0.appendCloseStatement(name: "s")
            $0.appendSync()
        }
        let (passed, _) = feed(
            &relay,
            message {
                $0.appendFailure(.syntaxError, Self.long)
                $0.appendReadyForQuery(.idle)
                $0.appendReadyForQuery(.idle)
            })
        let seen = RelayTranscript.ofServer(passed)
        #expect(seen.map { $0.prefix(4) } == ["E(42", "Z(I)", "Clos", "Z(I)"])
        #expect(relay.isLeaseOver)
    }

    @Test func aLongErrorOfTheBrokersOwnQueryIsKeptInPart() {
        var relay = RelayFixture()
        var bytes: [UInt8] = []
        relay.server.ask(.reset, "DISCARD ALL", into: &bytes)
        let (passed, steps) = feed(
            &relay,
            message {
                $0.appendFailure(.syntaxError, Self.long)
                $0.appendReadyForQuery(.idle)
            })
        #expect(passed.isEmpty)
        let error = steps.compactMap(\.brokerAnswer).first?.error
        #expect(error?.sqlState == .syntaxError)
        #expect((1000..<17_000).contains(error?.message.utf8.count ?? 0))
    }

    @Test func aLongFatalErrorIsToldOfInPart() {
        for pooling in [RelayMode.Pooling.transaction, .session] {
            var relay = RelayFixture(pooling)
            relay.send { $0.appendQuery("select 1") }
            let words = message { $0.appendErrorResponse(.fatal(.adminShutdown, Self.long)) }
            let (passed, steps) = feed(&relay, words)
            #expect(passed == (pooling == .session ? words : []))
            #expect(steps.compactMap(\.fatal).first?.sqlState == .adminShutdown)
            #expect(relay.isEnding)
        }
    }

    /// An error that is told in other words leaves nothing of its own behind.
    @Test func theRestOfAnErrorInOtherWordsIsThrownAway() {
        var relay = RelayFixture()
        relay.prepare("s", "select 1")
        relay.send {
            $0.appendParse(name: "s", query: "select 2")
            $0.appendSync()
        }
        let (passed, _) = feed(
            &relay,
            message {
                // Of a statement that takes the name on the server.
                $0.appendCloseComplete()
                $0.appendParseComplete()
                $0.appendFailure(.duplicatePreparedStatement, Self.long)
                $0.appendReadyForQuery(.idle)
            })
        let expected = "E(42P05,prepared statement \"s\" already exists)"
        #expect(RelayTranscript.ofServer(passed) == [expected, "Z(I)"])
    }

    @Test func aLongParameterAndALongNoticePass() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("select 1") }
        let answer = message {
            $0.appendNoticeResponse(.notice(Self.long))
            $0.appendCommandComplete("SET")
            $0.appendParameterStatus(name: "search_path", value: Self.long)
            $0.appendReadyForQuery(.idle)
        }
        let (passed, step) = relay.answerBytes(answer)
        #expect(passed == answer)
        #expect(step.changedParameters.map(\.name) == ["search_path"])
        #expect(relay.isLeaseOver)
    }

    // MARK: Statements

    private func parse(_ relay: inout RelayFixture, _ size: Int) {
        relay.send {
            $0.appendParse(name: "", query: "select 1 --" + String(repeating: "x", count: size))
            $0.appendSync()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendReadyForQuery(.idle)
        }
    }

    @Test func aLongUnnamedStatementIsKeptAndFreed() {
        var relay = RelayFixture()
        parse(&relay, 1_000_000)
        #expect(relay.statements.memory.used > 1_000_000)
        relay.lease()
        let sent = relay.send { $0.appendBind() }.server
        #expect(sent.count == 2 && sent[0].hasPrefix("Parse(,select 1") && sent[1] == "Bind(,)")
        // The next one takes its place, also in memory.
        relay = RelayFixture()
        parse(&relay, 1_000_000)
        parse(&relay, 10)
        #expect(relay.client.unnamed.capacity < 2000)
        #expect(relay.statements.memory.used == relay.client.unnamed.count)
        relay.send { $0.appendQuery("select 1") }
        #expect(relay.client.unnamed.capacity == 0 && relay.statements.memory.used == 0)
    }

    @Test func whatIsKeptHasABound() {
        var relay = RelayFixture()
        relay.statements.memory.limit = 100_000
        parse(&relay, 70_000)
        #expect(relay.client.unnamed.count > 70_000)
        var other = ClientStream()
        swap(&relay.client, &other)
        parse(&relay, 70_000)
        #expect(relay.client.unnamed.isEmpty && relay.client.unnamedNotKept > 70_000)
        relay.lease()
        #expect(relay.send { $0.appendBind() }.server == ["Close(S,)", "Bind(,)"])
        relay.send { $0.appendSync() }
        let (bytes, _) = relay.answerBytes(
            message {
                $0.appendCloseComplete()
                $0.appendFailure(.invalidStatementName, "unnamed prepared statement does not exist")
                $0.appendReadyForQuery(.idle)
            })
        #expect(String(decoding: bytes, as: UTF8.self).contains("max_statement_memory"))
        // A short one is always kept.
        parse(&relay, 60_000)
        #expect(relay.client.unnamed.count > 60_000)
        other.releaseAll(in: &relay.statements)
        #expect(relay.leftOver() == 0 && relay.statements.memory.used == 0)
    }

    /// Sent again to another server, failed, or closed: the bytes are counted all the same.
    @Test func theCountFollowsEveryEnd() {
        var relay = RelayFixture()
        parse(&relay, 80_000)
        let before = relay.statements.memory.used
        let position = relay.client.position
        relay.send { $0.appendParse(name: "", query: "select 2") }
        relay.server.takeBack(&relay.client, before: position, statements: &relay.statements)
        #expect(relay.statements.memory.used == before)
        relay.lease()
        relay.send {
            $0.appendParse(name: "", query: "selec")
            $0.appendSync()
        }
        relay.answer {
            $0.appendFailure()
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.statements.memory.used == 0)
        relay.prepare("s", "select 1")
        #expect(relay.statements.memory.used > 0)
        #expect(relay.leftOver() == 0 && relay.statements.memory.used == 0)
    }

    @Test func aLongParseIsAwaitedBeforeALeaseIsAskedFor() {
        for name in ["", "s"] {
            var relay = RelayFixture()
            let text = String(repeating: "x", count: 200_000)
            let bytes = message { $0.appendParse(name: name, query: text) }
            let first = relay.sendWithoutLease { $0 += bytes.dropLast() }
            #expect(first.isMore && !first.needsLease)
            #expect(relay.sendWithoutLease { $0 += bytes.suffix(1) }.needsLease)
        }
    }
}
