// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// Names of prepared lease commands among the names of other statements: a name stands for what it
/// was given to last.
@Suite struct RelayLeaseNameTests {
    private let gone = "E(26000,prepared statement \"s1\" does not exist)"
    private let unnamedGone = "E(26000,unnamed prepared statement does not exist)"

    private func parse(_ talk: inout RelayLeaseTalk, _ name: String, _ text: String) {
        let got = talk.say {
            $0.appendParse(name: name, query: text)
            $0.appendSync()
        }
        #expect(got == ["ParseComplete", "Z(I)"])
    }

    private func run(_ talk: inout RelayLeaseTalk, _ name: String) -> [String] {
        talk.say {
            $0.appendRun(name)
            $0.appendSync()
        }
    }

    @Test func aStatementTakesTheNameOfALeaseCommand() {
        for pooling in RelayLeaseMessageTests.poolings {
            for name in ["", "s1"] {
                var talk = RelayLeaseTalk(pooling)
                parse(&talk, name, "LEASE")
                parse(&talk, name, "select a")
                #expect(run(&talk, name) == ["BindComplete", "D(a)", "C(SELECT 1)", "Z(I)"])
                #expect(talk.commands.isEmpty)
            }
        }
    }

    @Test func aLeaseCommandTakesTheNameOfAStatement() {
        for pooling in RelayLeaseMessageTests.poolings {
            for name in ["", "s1"] {
                var talk = RelayLeaseTalk(pooling)
                parse(&talk, name, "select a")
                parse(&talk, name, "LEASE RETURN")
                #expect(run(&talk, name).first == "BindComplete")
                #expect(talk.commands == [.giveBack])
                #expect(talk.relay.leftOver() == 0)
            }
        }
    }

    /// Closed, it is not what it was before.
    @Test func nothingComesBackWhenItIsClosed() {
        for isHolding in [false, true] {
            var talk = RelayLeaseTalk()
            if isHolding { _ = talk.say { $0.appendQuery("LEASE") } }
            for (name, error) in [("s1", gone), ("", unnamedGone)] {
                parse(&talk, name, "select a")
                parse(&talk, name, "LEASE")
                let closed = talk.say {
                    $0.appendCloseStatement(name: name)
                    $0.appendSync()
                }
                #expect(closed == ["CloseComplete", "Z(I)"])
                #expect(run(&talk, name) == [error, "Z(I)"])
            }
            #expect(talk.relay.leftOver() == 0)
        }
    }

    @Test func oneThatIsRefusedTakesNoName() {
        var talk = RelayLeaseTalk()
        parse(&talk, "s1", "select a")
        _ = talk.say {
            $0.appendParse(name: "s1", query: "LEASE ME")
            $0.appendSync()
        }
        #expect(run(&talk, "s1") == ["BindComplete", "D(a)", "C(SELECT 1)", "Z(I)"])
    }

    /// However long its text is, and wherever the message is cut.
    @Test func aLongStatementTakesTheName() {
        for pooling in RelayLeaseMessageTests.poolings {
            for length in [10, 2040, 3000, 40_000] {
                let long = "select " + String(repeating: "x", count: length)
                let bytes = message { $0.appendParse(name: "s1", query: long) }
                for cut in 5...11 {
                    var talk = RelayLeaseTalk(pooling)
                    parse(&talk, "s1", "LEASE")
                    talk.send(Array(bytes[..<cut]))
                    talk.send(Array(bytes[cut...]))
                    _ = talk.say { $0.appendSync() }
                    #expect(run(&talk, "s1").contains("C(SELECT 1)"), "\(pooling), cut at \(cut)")
                    #expect(talk.commands.isEmpty)
                }
            }
        }
    }

    @Test func aSimpleQueryDestroysTheUnnamedOne() {
        for pooling in RelayLeaseMessageTests.poolings {
            for text in ["select b", "LEASE ME"] {
                var talk = RelayLeaseTalk(pooling)
                parse(&talk, "", "LEASE")
                _ = talk.say { $0.appendQuery(text) }
                #expect(run(&talk, "") == [unnamedGone, "Z(I)"])
                #expect(talk.commands.isEmpty)
            }
        }
    }

    // MARK: DEALLOCATE

    @Test func deallocatedByName() {
        for pooling in RelayLeaseMessageTests.poolings {
            var talk = RelayLeaseTalk(pooling)
            parse(&talk, "s1", "LEASE")
            #expect(
                talk.say { $0.appendQuery("deallocate PREPARE s1;") } == ["C(DEALLOCATE)", "Z(I)"])
            #expect(talk.toServer.isEmpty)
            #expect(run(&talk, "s1") == [gone, "Z(I)"])
            #expect(talk.say { $0.appendQuery("deallocate s1") }.first == gone)
            #expect(talk.commands.isEmpty)
        }
    }

    @Test func deallocateAllForgetsThemAll() {
        for pooling in RelayLeaseMessageTests.poolings {
            for text in ["deallocate all", "discard all"] {
                var talk = RelayLeaseTalk(pooling)
                parse(&talk, "s1", "LEASE")
                #expect(talk.say { $0.appendQuery(text) }.first?.hasPrefix("C(D") == true)
                #expect(run(&talk, "s1") == [gone, "Z(I)"])
            }
        }
    }

    @Test func otherNamesAreDeallocatedAsEver() {
        var talk = RelayLeaseTalk()
        parse(&talk, "s1", "LEASE")
        parse(&talk, "s2", "select a")
        #expect(talk.say { $0.appendQuery("deallocate s2") } == ["C(DEALLOCATE)", "Z(I)"])
        #expect(run(&talk, "s2").first?.hasPrefix("E(26000") == true)
        #expect(run(&talk, "s1").contains("C(LEASE)"))
    }

    /// In an open batch PostgreSQL answers, but the name goes.
    @Test func closedInTheMiddleOfABatch() {
        var talk = RelayLeaseTalk()
        parse(&talk, "s1", "LEASE")
        let got = talk.say {
            $0.appendStatement("select a")
            $0.appendCloseStatement(name: "s1")
            $0.appendSync()
        }
        #expect(got.suffix(2) == ["CloseComplete", "Z(I)"])
        #expect(run(&talk, "s1") == [gone, "Z(I)"])
    }
}
