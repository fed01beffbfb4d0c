// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// Leases that end in the middle of things: the server is lost, the client is gone, no server comes.
@Suite struct RelayLeaseEndTests {
    private static let copyIn = message {
        $0.appendMessage(kind: BackendKind.copyInResponse.rawValue) { $0 += [0, 0, 0] }
    }

    /// What the client sent and the server answered before it was lost, and what the client is told.
    struct Loss: CustomStringConvertible, Sendable {
        var description: String
        var sent: @Sendable (inout [UInt8]) -> Void
        var answered: @Sendable (inout [UInt8]) -> Void = { _ in }
        var told: [String]
        /// What a Sync brings then.
        var afterSync = ["Z(I)"]
    }

    static let losses: [Loss] = [
        Loss(description: "nothing owed", sent: { _ in }, told: []),
        Loss(
            description: "a query", sent: { $0.appendQuery("q") }, told: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "three queries", sent: { for _ in 0..<3 { $0.appendQuery("q") } },
            told: ["E(08006,lost)", "Z(I)", "E(08006,lost)", "Z(I)", "E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a query whose error has passed", sent: { $0.appendQuery("q") },
            answered: { $0.appendFailure() }, told: ["Z(I)"]),
        Loss(
            description: "the second of two queries",
            sent: {
                $0.appendQuery("q")
                $0.appendQuery("q")
            },
            answered: {
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
            }, told: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a batch",
            sent: {
                $0.appendStatement("q")
                $0.appendSync()
            }, told: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "two batches, the first half answered",
            sent: {
                for _ in 0..<2 {
                    $0.appendStatement("q")
                    $0.appendSync()
                }
            }, answered: { $0.appendParseComplete() },
            told: ["E(08006,lost)", "Z(I)", "E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a batch whose error has passed",
            sent: {
                $0.appendStatement("q")
                $0.appendSync()
            }, answered: { $0.appendFailure() }, told: ["Z(I)"]),
        Loss(
            description: "a Sync behind complete answers",
            sent: {
                $0.appendStatement("q")
                $0.appendSync()
            },
            answered: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("INSERT 0 1")
            }, told: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a batch without its Sync", sent: { $0.appendStatement("q") },
            told: ["E(08006,lost)"]),
        Loss(
            description: "an answered batch without its Sync",
            sent: {
                $0.appendStatement("q")
                $0.appendFlush()
            },
            answered: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("INSERT 0 1")
            }, told: [], afterSync: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a failed batch without its Sync", sent: { $0.appendStatement("q") },
            answered: { $0.appendFailure() }, told: []),
        Loss(
            description: "an idle transaction", sent: { $0.appendQuery("begin") },
            answered: {
                $0.appendCommandComplete("BEGIN")
                $0.appendReadyForQuery(.inTransaction)
            }, told: [], afterSync: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a copy", sent: { $0.appendQuery("copy t from stdin") },
            answered: { $0 += copyIn }, told: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a copy of the extended protocol",
            sent: {
                $0.appendStatement("copy t from stdin")
                $0.appendSync()
            },
            answered: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0 += copyIn
            }, told: ["E(08006,lost)"]),
        Loss(
            description: "rows", sent: { $0.appendQuery("q") },
            answered: {
                $0.appendRowDescription([ColumnDescription(name: "a")])
                $0.appendDataRow(texts: ["1"])
            }, told: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "a function call",
            sent: { $0.appendMessage(kind: FrontendKind.functionCall.rawValue) { _ in } },
            told: ["E(08006,lost)", "Z(I)"]),
        Loss(
            description: "names in flight",
            sent: {
                $0.appendParse(name: "s1", query: "q")
                $0.appendRun("s1")
                $0.appendCloseStatement(name: "s1")
                $0.appendSync()
            }, told: ["E(08006,lost)", "Z(I)"]),
    ]

    @Test(arguments: losses) func eachOwedAnswerBecomesTheError(_ loss: Loss) {
        var relay = RelayFixture()
        relay.send(loss.sent)
        relay.answer(loss.answered)
        let (outcome, told) = relay.lose()
        #expect(outcome == .goesOn)
        #expect(told == loss.told)
        #expect(relay.sendWithoutLease { $0.appendSync() }.client == loss.afterSync)
        #expect(relay.sendWithoutLease { $0.appendSync() }.client == ["Z(I)"])
        #expect(relay.leftOver() == 0)
    }

    /// The broker's own query in front is nobody's business.
    @Test func theBrokersQueryIsNotTold() {
        var relay = RelayFixture()
        var prelude: [UInt8] = []
        relay.server.ask(.profile, "SET a TO 'b'", into: &prelude)
        relay.send { $0.appendQuery("q") }
        #expect(relay.lose().client == ["E(08006,lost)", "Z(I)"])
    }

    @Test func halfAMessageEndsTheSession() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("q") }
        let row = message { $0.appendDataRow(texts: ["a long one"]) }
        relay.answer { $0 += row.prefix(12) }
        let (outcome, told) = relay.lose()
        #expect(outcome == .ends)
        #expect(told == [])
    }

    @Test func theRestOfAMessageToALostServerIsDropped() {
        var relay = RelayFixture()
        let long = message { $0.appendQuery(String(repeating: "x", count: 20_000)) }
        relay.send { $0 += long.prefix(10_000) }
        #expect(relay.lose().client == ["E(08006,lost)", "Z(I)"])
        let rest = relay.sendWithoutLease {
            $0 += long.dropFirst(10_000)
            $0.appendSync()
        }
        #expect(rest.client == ["Z(I)"])
    }

    @Test func aCopyToALostServerIsDropped() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("copy t from stdin") }
        relay.answer { $0 += Self.copyIn }
        relay.send { $0.appendCopyData([65]) }
        _ = relay.lose()
        let rest = relay.sendWithoutLease {
            $0.appendCopyData([66])
            $0.appendCopyDone()
            $0.appendQuery("select 1")
        }
        #expect(rest.toClient.isEmpty && rest.needsLease)
    }

    @Test func aTransactionThatWasLostIsToldOnce() {
        for isExtended in [false, true] {
            var relay = RelayFixture()
            relay.client.deferredError = .error(.connectionFailure, "lost")
            let result = relay.sendWithoutLease {
                if isExtended {
                    $0.appendStatement("q")
                    $0.appendSync()
                } else {
                    $0.appendQuery("q")
                }
                $0.appendQuery("again")
            }
            #expect(result.client == ["E(08006,lost)", "Z(I)"])
            #expect(result.needsLease)
        }
    }

    @Test func aRefusedBatchIsAnsweredOnce() {
        for isExtended in [false, true] {
            var relay = RelayFixture()
            let waiting = relay.sendWithoutLease {
                if isExtended {
                    $0.appendStatement("q")
                    $0.appendSync()
                } else {
                    $0.appendQuery("q")
                }
                $0.appendQuery("next")
            }
            #expect(waiting.needsLease)
            let refused = relay.refuseBatch(with: .error(.tooManyConnections, "full"))
            let rest = relay.sendWithoutLease()
            #expect(refused.client + rest.client == ["E(53300,full)", "Z(I)"])
            #expect(rest.needsLease)
        }
    }

    // MARK: Sent again

    /// What a dead server took nothing of goes to another, and the books are as if it had never been.
    @Test func whatIsTakenBackIsSentAgain() {
        let batch = message {
            $0.appendParse(name: "s2", query: "select 2")
            $0.appendRun("s1")
            $0.appendCloseStatement(name: "s1")
            $0.appendStatement("select 3")
            $0.appendSync()
        }
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        var first = relay.lease()
        let position = relay.client.position
        let sent = relay.send(batch).server
        relay.server.takeBack(&relay.client, before: position, statements: &relay.statements)
        #expect(relay.client.statements.count == 1)
        #expect(relay.statements.count == 1)
        #expect(relay.client.unnamed.isEmpty)
        relay.server.releaseAll(in: &relay.statements)
        relay.lease()
        let again = relay.send(batch).server
        #expect(again.count == sent.count)
        // The statement of another Parse has another name.
        #expect(sent.first == "Parse(pglease_2,select 2)")
        #expect(again.first == "Parse(pglease_3,select 2)")
        #expect(again.dropFirst(2) == sent.dropFirst(2))
        first.releaseAll(in: &relay.statements)
        #expect(relay.leftOver() == 0)
    }

    // MARK: Draining

    struct Drain: CustomStringConvertible, Sendable {
        var description: String
        var sent: @Sendable (inout [UInt8]) -> Void
        var answered: @Sendable (inout [UInt8]) -> Void = { _ in }
        var drained: [String]
        /// What the server answers to all that.
        var rest: @Sendable (inout [UInt8]) -> Void
    }

    private static let gone = "Bind(,of a client that is gone)"

    static let drains: [Drain] = [
        Drain(description: "nothing", sent: { _ in }, drained: [], rest: { _ in }),
        Drain(
            description: "a query", sent: { $0.appendQuery("q") }, drained: ["CopyFail"],
            rest: {
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "a query that turns out to be a copy",
            sent: { $0.appendQuery("copy t from stdin") }, drained: ["CopyFail"],
            rest: {
                $0 += copyIn
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "a copy", sent: { $0.appendQuery("copy t from stdin") },
            answered: { $0 += copyIn }, drained: ["CopyFail"],
            rest: {
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "a copy that the client has ended",
            sent: { $0.appendQuery("copy t from stdin") },
            answered: {
                $0 += copyIn
                $0.appendCommandComplete("COPY 0")
            }, drained: ["CopyFail"], rest: { $0.appendReadyForQuery(.idle) }),
        Drain(
            description: "a batch",
            sent: {
                $0.appendStatement("q")
                $0.appendSync()
            }, drained: ["CopyFail", "Sync"],
            rest: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "a batch that turns out to be a copy",
            sent: {
                $0.appendStatement("copy t from stdin")
                $0.appendSync()
            }, drained: ["CopyFail", "Sync"],
            rest: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0 += copyIn
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "a copy whose Sync was ignored",
            sent: {
                $0.appendStatement("copy t from stdin")
                $0.appendSync()
            },
            answered: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0 += copyIn
            }, drained: ["CopyFail", gone, "Sync"],
            rest: {
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "a batch without its Sync", sent: { $0.appendStatement("insert") },
            drained: ["CopyFail", gone, "Sync"],
            rest: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("INSERT 0 1")
                $0.appendFailure(.invalidStatementName, "gone")
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "an answered batch without its Sync",
            sent: { $0.appendStatement("insert") },
            answered: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("INSERT 0 1")
            }, drained: [gone, "Sync"],
            rest: {
                $0.appendFailure(.invalidStatementName, "gone")
                $0.appendReadyForQuery(.idle)
            }),
        Drain(
            description: "a failed batch without its Sync", sent: { $0.appendStatement("q") },
            answered: { $0.appendFailure() }, drained: ["Sync"],
            rest: { $0.appendReadyForQuery(.idle) }),
    ]

    @Test(arguments: drains) func whatAVanishedClientLeftComesToAnEnd(_ drain: Drain) {
        var relay = RelayFixture()
        relay.send(drain.sent)
        relay.answer(drain.answered)
        #expect(relay.beginDraining() == drain.drained)
        let (bytes, step) = relay.answerBytes(message(drain.rest))
        #expect(bytes.isEmpty)
        #expect(step.broken == nil)
        #expect(relay.isQuiet)
        #expect(relay.isLeaseOver)
        #expect(relay.leftOver() == 0)
    }

    @Test func aMessageThatIsHalfSentCannotBeDrained() {
        var relay = RelayFixture()
        let long = message { $0.appendQuery(String(repeating: "x", count: 20_000)) }
        relay.send { $0 += long.prefix(10_000) }
        #expect(relay.beginDraining() == nil)
    }

    @Test func theRestOfARowIsDrained() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("q") }
        let row = message { $0.appendDataRow(texts: ["a long one"]) }
        relay.answer { $0 += row.prefix(12) }
        #expect(relay.beginDraining() == ["CopyFail"])
        let (bytes, _) = relay.answerBytes(
            message {
                $0 += row.dropFirst(12)
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
            })
        #expect(bytes.isEmpty)
        #expect(relay.isLeaseOver)
    }
}
