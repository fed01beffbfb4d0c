// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// Where a lease command's turn is not yet, or never: behind what is owed, in batches and copies,
/// behind errors.
@Suite struct RelayLeaseTurnTests {
    private static let copyIn = message {
        $0.appendMessage(kind: BackendKind.copyInResponse.rawValue) { $0 += [0, 0, 0] }
    }

    // MARK: Behind what is owed

    /// What stands in front, and what the server answers to it.
    struct Front: CustomStringConvertible, Sendable {
        var description: String
        var sent: @Sendable (inout [UInt8]) -> Void
        var answered: @Sendable (inout [UInt8]) -> Void
    }

    static let fronts: [Front] = [
        Front(
            description: "a query", sent: { $0.appendQuery("q") },
            answered: {
                $0.appendCommandComplete("INSERT 0 1")
                $0.appendReadyForQuery(.idle)
            }),
        Front(
            description: "a batch",
            sent: {
                $0.appendStatement("q")
                $0.appendSync()
            },
            answered: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("INSERT 0 1")
                $0.appendReadyForQuery(.idle)
            }),
        Front(
            description: "a query that fails", sent: { $0.appendQuery("q") },
            answered: {
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
            }),
        Front(
            description: "two queries",
            sent: {
                $0.appendQuery("q")
                $0.appendQuery("r")
            },
            answered: {
                for _ in 0..<2 {
                    $0.appendCommandComplete("INSERT 0 1")
                    $0.appendReadyForQuery(.idle)
                }
            }),
    ]

    static let commands: [@Sendable (inout [UInt8]) -> Void] = [
        { $0.appendQuery("LEASE") }, { $0.appendQuery("LEASE ME") },
        { $0.appendParse(name: "s1", query: "LEASE RETURN") },
        { $0.appendParse(name: "", query: "LEASE ME") },
        { $0.appendBind(statement: "known") }, { $0.appendDescribe(statement: "known") },
        { $0.appendCloseStatement(name: "known") }, { $0.appendQuery("deallocate known") },
    ]

    /// Its answer would overtake theirs.
    @Test(arguments: fronts) func itAwaitsQuiet(_ front: Front) {
        for command in Self.commands {
            for pooling in RelayLeaseMessageTests.poolings {
                func begin() -> (relay: RelayFixture, sent: RelayFixture.FromClient) {
                    var relay = RelayFixture(pooling)
                    relay.mode = relay.mode.held
                    relay.send { $0.appendParse(name: "known", query: "LEASE") }
                    let sent = relay.send {
                        front.sent(&$0)
                        command(&$0)
                        $0.appendQuery("behind")
                    }
                    return (relay, sent)
                }
                var (relay, sent) = begin()
                #expect(sent.awaitsQuiet)
                #expect(sent.toServer == message(front.sent), "nothing of it, or behind it")
                #expect(sent.toClient.isEmpty)
                #expect(
                    relay.pending
                        == message {
                            command(&$0)
                            $0.appendQuery("behind")
                        })
                let answers = message(front.answered)
                for cut in [1, answers.count - 6] where cut > 0 {
                    // Asked again before the end, it still awaits.
                    var early = begin().relay
                    _ = early.answerBytes(Array(answers[..<cut]))
                    #expect(early.send([]).awaitsQuiet)
                }
                _ = relay.answerBytes(answers)
                let result = relay.send([])
                #expect(!result.awaitsQuiet)
                #expect(result.lease != nil || !result.toClient.isEmpty)
            }
        }
    }

    /// A notice that is half through when nothing is owed: nothing may come into its middle.
    @Test func itAwaitsTheEndOfAMessage() {
        var relay = RelayFixture()
        relay.mode = relay.mode.held
        let notice = message { $0.appendNoticeResponse(.notice("mind")) }
        _ = relay.answerBytes(Array(notice[..<9]))
        #expect(relay.send { $0.appendQuery("LEASE RETURN") }.awaitsQuiet)
        _ = relay.answerBytes(Array(notice[9...]))
        #expect(relay.send([]).lease == .giveBack)
    }

    /// The broker's own query in front is owed like any other.
    @Test func itAwaitsTheProfile() {
        var relay = RelayFixture()
        var prelude: [UInt8] = []
        relay.server.ask(.profile, "SET a TO 'b'", into: &prelude)
        #expect(relay.send { $0.appendQuery("LEASE") }.awaitsQuiet)
        relay.answer {
            $0.appendCommandComplete("SET")
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.send([]).lease != nil)
    }

    /// Nobody would answer, and so nobody would wake it.
    @Test func whatTheBrokerAnswersIsNotAwaited() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        relay.prepare("s2", "select 2")
        relay.mode = relay.mode.held
        let simple = relay.send {
            $0.appendQuery("deallocate s1")
            $0.appendQuery("LEASE RETURN")
        }
        #expect(simple.client == ["C(DEALLOCATE)", "Z(I)"])
        #expect(simple.lease == .giveBack)
        let extended = relay.send {
            $0.appendCloseStatement(name: "s2")
            $0.appendParse(name: "", query: "LEASE RETURN")
            $0.appendBind()
            $0.appendExecute()
        }
        #expect(extended.client == ["CloseComplete", "ParseComplete", "BindComplete"])
        #expect(extended.lease == .giveBack)
    }

    /// Seed 11: rows that the server sends are nothing that a LEASE could disturb.
    @Test(arguments: ["LEASE", "LEASE RETURN"]) func behindACopyOutItWaits(_ text: String) {
        for isExtended in [false, true] {
            var relay = RelayFixture()
            relay.mode = text == "LEASE" ? relay.mode : relay.mode.held
            relay.send { $0.appendQuery("copy t to stdout") }
            relay.answer {
                $0.appendMessage(kind: BackendKind.copyOutResponse.rawValue) { $0 += [0, 0, 0] }
                $0.appendCopyData([1])
            }
            let early = relay.send {
                if isExtended {
                    $0.appendParse(name: "", query: text)
                } else {
                    $0.appendQuery(text)
                }
            }
            #expect(early.awaitsQuiet && early.toServer.isEmpty)
            relay.answer {
                $0.appendCopyDone()
                $0.appendCommandComplete("COPY 1")
                $0.appendReadyForQuery(.idle)
            }
            let then = relay.send([])
            #expect(isExtended ? then.client == ["ParseComplete"] : then.lease != nil)
        }
    }

    // MARK: In the middle of things

    @Test func inABatchItGoesToTheServer() {
        for pooling in RelayLeaseMessageTests.poolings {
            for endsWithFlush in [false, true] {
                var relay = RelayFixture(pooling)
                relay.send { $0.appendParse(name: "known", query: "LEASE") }
                relay.send {
                    $0.appendStatement("select 1")
                    if endsWithFlush { $0.appendFlush() }
                }
                if endsWithFlush {
                    relay.answer {
                        $0.appendParseComplete()
                        $0.appendBindComplete()
                        $0.appendCommandComplete("SELECT 1")
                    }
                }
                let rest = message {
                    $0.appendParse(name: "", query: "LEASE")
                    $0.appendBind(statement: "known")
                    $0.appendDescribe(statement: "known")
                    $0.appendQuery("LEASE RETURN")
                }
                let result = relay.send(rest)
                #expect(result.isMore && result.toClient.isEmpty)
                #expect(result.toServer == rest)
            }
        }
    }

    /// What PostgreSQL says to it there.
    @Test func inABatchItIsASyntaxError() {
        var talk = RelayLeaseTalk()
        let got = talk.say {
            $0.appendStatement("insert a")
            $0.appendParse(name: "", query: "bad lease")
            $0.appendBind()
            $0.appendSync()
        }
        #expect(got.suffix(2) == ["E(42601,bad lease)", "Z(I)"])
        #expect(talk.backend.committed.isEmpty)
    }

    /// A batch may begin with lease commands: what follows has a server of its own.
    @Test func aBatchOfBoth() {
        var talk = RelayLeaseTalk()
        let got = talk.say {
            $0.appendStatement("LEASE")
            $0.appendStatement("select a")
            $0.appendSync()
            $0.appendStatement("LEASE RETURN")
            $0.appendSync()
        }
        #expect(
            got == [
                "ParseComplete", "BindComplete", "D(1)", "C(LEASE)", "ParseComplete",
                "BindComplete", "D(a)", "C(SELECT 1)", "Z(I)", "ParseComplete", "BindComplete",
                "C(LEASE RETURN)", "Z(I)",
            ])
        #expect(talk.ending == nil && !talk.hasServer)
    }

    @Test func inACopyItGoesToTheServer() {
        for pooling in RelayLeaseMessageTests.poolings {
            for isExtended in [false, true] {
                var relay = RelayFixture(pooling)
                relay.send {
                    guard isExtended else {
                        $0.appendQuery("copy t from stdin")
                        return
                    }
                    $0.appendStatement("copy t from stdin")
                    $0.appendSync()
                }
                relay.answer {
                    if isExtended {
                        $0.appendParseComplete()
                        $0.appendBindComplete()
                    }
                    $0 += Self.copyIn
                }
                let result = relay.send { $0.appendQuery("LEASE") }
                #expect(result.server == ["Query(LEASE)"])
            }
        }
    }

    /// Sent behind the COPY before the server has said that it copies: it must not be what keeps
    /// the rows back.
    @Test func aCopyThatBeginsIsNotAwaited() {
        var relay = RelayFixture()
        let sent = relay.send {
            $0.appendQuery("copy t from stdin")
            $0.appendQuery("LEASE")
            $0.appendCopyDone()
        }
        #expect(sent.awaitsQuiet)
        relay.answer { $0 += Self.copyIn }
        #expect(relay.isReadingRows, "the shell goes on when it sees this")
        #expect(relay.send([]).server == ["Query(LEASE)", "CopyDone"])
    }

    @Test func skippedToTheSync() {
        // Behind an error of the server's.
        var relay = RelayFixture()
        relay.send { $0.appendStatement("q") }
        relay.answer { $0.appendFailure() }
        let result = relay.send {
            $0.appendParse(name: "s1", query: "LEASE")
            $0.appendQuery("LEASE")
            $0.appendSync()
            $0.appendQuery("LEASE")
        }
        #expect(result.server == ["Parse(s1,LEASE)", "Query(LEASE)", "Sync"])
        #expect(result.awaitsQuiet)
        relay.answer { $0.appendReadyForQuery(.idle) }
        #expect(relay.send([]).lease != nil)
        // Behind one of the broker's.
        for holds in [true, false] {
            var relay = RelayFixture()
            let bytes = message {
                $0.appendParse(name: "s1", query: "LEASE ME")
                $0.appendParse(name: "s2", query: "LEASE")
                $0.appendQuery("LEASE")
            }
            let result = holds ? relay.send(bytes) : relay.sendWithoutLease { $0 += bytes }
            #expect(result.client.count == 1 && result.lease == nil && result.isMore)
        }
    }

    /// The shell refused the command in a batch.
    @Test func theShellsErrorSkipsToTheSync() {
        var relay = RelayFixture()
        let first = relay.sendWithoutLease {
            $0.appendStatement("LEASE RETURN")
            $0.appendStatement("insert a")
            $0.appendSync()
            $0.appendQuery("LEASE RETURN")
        }
        #expect(first.lease == .giveBack)
        relay.client.failBatch()
        let rest = relay.sendWithoutLease()
        #expect(rest.client == ["Z(I)"])
        #expect(rest.lease == .giveBack)
    }

    // MARK: Behind the loss of a server

    /// Told instead of the command's own answer; it is the next one that is carried out.
    @Test func aDeferredErrorComesFirst() {
        for write: (inout [UInt8]) -> Void in [
            { $0.appendQuery("LEASE RETURN") }, { $0.appendQuery("LEASE") },
            { $0.appendQuery("LEASE ME") },
        ] {
            var relay = RelayFixture()
            relay.client.deferredError = .error(.connectionFailure, "lost")
            let result = relay.sendWithoutLease {
                write(&$0)
                $0.appendQuery("LEASE")
            }
            #expect(result.client == ["E(08006,lost)", "Z(I)"])
            #expect(result.lease != nil)
        }
        var relay = RelayFixture()
        relay.client.deferredError = .error(.connectionFailure, "lost")
        let result = relay.sendWithoutLease {
            $0.appendStatement("LEASE RETURN")
            $0.appendSync()
            $0.appendQuery("LEASE RETURN")
        }
        #expect(result.client == ["E(08006,lost)", "Z(I)"])
        #expect(result.lease == .giveBack)
    }

    /// The broker's error stands for its batch, and what is left of that is skipped. A transaction
    /// goes on behind such an error: its loss is told.
    @Test func aServerThatIsLostBehindTheBrokersError() {
        for isInTransaction in [false, true] {
            for isSyncSent in [false, true] {
                var relay = RelayFixture()
                if isInTransaction {
                    relay.send { $0.appendQuery("begin") }
                    relay.answer {
                        $0.appendCommandComplete("BEGIN")
                        $0.appendReadyForQuery(.inTransaction)
                    }
                }
                let sent = relay.send {
                    $0.appendParse(name: "", query: "LEASE ME")
                    if isSyncSent { $0.appendSync() }
                }
                #expect(sent.client == ["E(42601,syntax error at or near \"ME\")"])
                #expect(relay.lose().client == (isSyncSent ? ["Z(I)"] : []))
                if !isSyncSent {
                    let rest = relay.sendWithoutLease {
                        $0.appendStatement("insert a")
                        $0.appendSync()
                    }
                    #expect(rest.client == ["Z(I)"])
                }
                let next = relay.sendWithoutLease { $0.appendQuery("select 1") }
                #expect(next.client == (isInTransaction ? ["E(08006,lost)", "Z(I)"] : []))
            }
        }
    }

    // MARK: The end of the session

    @Test func terminateBehindALease() {
        var relay = RelayFixture()
        let result = relay.sendWithoutLease {
            $0.appendQuery("LEASE RETURN")
            $0.appendTerminate()
        }
        #expect(result.lease == .giveBack)
        #expect(relay.sendWithoutLease().isTerminate)
    }
}
