// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// The unnamed statement follows its client, too.
@Suite struct RelayUnnamedTests {
    @Test func theUnnamedStatementFollowsItsClient() {
        var relay = RelayFixture()
        relay.send {
            $0.appendParse(name: "", query: "select $1")
            $0.appendSync()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendReadyForQuery(.idle)
        }
        relay.lease()
        let result = relay.send {
            $0.appendDescribe(statement: "")
            $0.appendBind(texts: ["1"])
            $0.appendSync()
        }
        #expect(result.server == ["Parse(,select $1)", "Describe(S,)", "Bind(,)", "Sync"])
        let answer = relay.answer {
            $0.appendParseComplete()
            $0.appendParameterDescription([])
            $0.appendNoData()
            $0.appendBindComplete()
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer == ["t", "n", "BindComplete", "Z(I)"])
    }

    @Test func aQueryOrACloseDestroysTheUnnamedStatement() {
        for isClose in [true, false] {
            var relay = RelayFixture()
            relay.send {
                $0.appendParse(name: "", query: "select 1")
                if isClose { $0.appendCloseStatement(name: "") } else { $0.appendQuery("select 2") }
                $0.appendSync()
            }
            relay.lease()
            #expect(relay.send { $0.appendBind() }.server == ["Close(S,)", "Bind(,)"])
        }
    }

    @Test func anUnnamedStatementThatFailedIsNotThereOnTheNextServer() {
        var relay = RelayFixture()
        relay.send {
            $0.appendParse(name: "", query: "selec")
            $0.appendSync()
        }
        relay.answer {
            $0.appendFailure()
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.send { $0.appendBind() }.server == ["Close(S,)", "Bind(,)"])
    }

    /// Seed 222 of the simulation: an unnamed statement of an earlier batch failed, that of a later
    /// one stands.
    @Test func anUnnamedStatementThatFailedDoesNotTakeTheNextAlong() {
        var relay = RelayFixture()
        relay.send {
            $0.appendStatement("selec")
            $0.appendSync()
            $0.appendParse(name: "", query: "select 2")
            $0.appendSync()
        }
        relay.answer {
            $0.appendFailure()
            $0.appendReadyForQuery(.idle)
            $0.appendParseComplete()
            $0.appendReadyForQuery(.idle)
        }
        relay.lease()
        #expect(relay.send { $0.appendBind() }.server == ["Parse(,select 2)", "Bind(,)"])
    }

    /// Seed 6386: the broker's Parse of it may be skipped with the batch that it came for.
    @Test func laterBatchesDoNotCountOnAnUnnamedStatementThatMayBeSkipped() {
        var relay = RelayFixture()
        relay.send {
            $0.appendParse(name: "", query: "select 1")
            $0.appendSync()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendReadyForQuery(.idle)
        }
        relay.lease()
        let result = relay.send {
            $0.appendBind(statement: "none")
            $0.appendBind()
            $0.appendSync()
            $0.appendBind()
            $0.appendBind()
            $0.appendSync()
        }
        #expect(
            result.server == [
                "Bind(,none)", "Parse(,select 1)", "Bind(,)", "Sync", "Parse(,select 1)", "Bind(,)",
                "Bind(,)", "Sync",
            ])
    }
}
