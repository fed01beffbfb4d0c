// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// Named statements follow their client from server to server.
@Suite struct RelayStatementTests {
    /// Each client's and server's references are the only ones, and all go with them.
    private func balanced(_ relay: RelayFixture) -> Bool {
        var relay = relay
        return relay.leftOver() == 0
    }

    @Test func aStatementIsPreparedOnTheServerThatItMeets() {
        var relay = RelayFixture()
        relay.prepare("s1", "select $1")
        let first = relay.lease()
        let prepared = first.prepared.count
        #expect(prepared == 1)
        let result = relay.send {
            $0.appendDescribe(statement: "s1")
            $0.appendBind(portal: "p", statement: "s1", texts: ["7"])
            $0.appendExecute(portal: "p")
            $0.appendSync()
        }
        #expect(
            result.server == [
                "Parse(pglease_1,select $1)", "Describe(S,pglease_1)", "Bind(p,pglease_1)",
                "Execute(p)", "Sync",
            ])
        let answer = relay.answer {
            $0.appendParseComplete()
            $0.appendParameterDescription([25])
            $0.appendRowDescription([ColumnDescription(name: "a")])
            $0.appendBindComplete()
            $0.appendDataRow(texts: ["7"])
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer == ["t", "T", "BindComplete", "D(7)", "C(SELECT 1)", "Z(I)"])
        #expect(relay.isLeaseOver)
        #expect(relay.server.conditionOnReturn == .clean)
        var other = first
        other.releaseAll(in: &relay.statements)
        #expect(balanced(relay))
    }

    @Test func aParseIsTheServersAlsoIfItHasTheTextAlready() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        relay.leaseAgain()
        var other = ClientStream()
        swap(&relay.client, &other)
        let inBatch = relay.send {
            $0.appendStatement("select 2")
            $0.appendParse(name: "y", query: "select 1")
            $0.appendRun("y")
            $0.appendSync()
        }
        #expect(inBatch.toClient.isEmpty)
        #expect(
            inBatch.server == [
                "Parse(,select 2)", "Bind(,)", "Execute()", "Parse(pglease_2,select 1)",
                "Describe(S,pglease_2)", "Bind(,pglease_2)", "Execute()", "Sync",
            ])
        let answer = relay.answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
            $0.appendParsed()
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(
            answer == [
                "ParseComplete", "BindComplete", "C(SELECT 1)", "ParseComplete", "BindComplete",
                "C(SELECT 1)", "Z(I)",
            ])
        // It means the same: it is one statement, and the server keeps the newer one.
        #expect(relay.statements.count == 1)
        #expect(relay.server.prepared.count == 1)
        relay.leaseAgain()
        swap(&relay.client, &other)
        #expect(relay.send { $0.appendRun("s1") }.server.first == "Bind(,pglease_2)")
        relay.answer {
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
        }
        // The other one is dropped with what is prepared next.
        #expect(
            relay.send { $0.appendParse(name: "z", query: "select 3") }.server == [
                "Close(S,pglease_1)", "Parse(pglease_3,select 3)", "Describe(S,pglease_3)",
            ])
        other.releaseAll(in: &relay.statements)
        #expect(balanced(relay))
    }

    @Test func theSameNameOfTwoClientsIsTwoStatements() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        relay.leaseAgain()
        var first = ClientStream()
        swap(&relay.client, &first)
        relay.prepare("s1", "select 2")
        relay.leaseAgain()
        #expect(relay.send { $0.appendRun("s1") }.server.first == "Bind(,pglease_2)")
        relay.answer {
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
        }
        relay.send { $0.appendSync() }
        relay.answer { $0.appendReadyForQuery(.idle) }
        relay.leaseAgain()
        swap(&relay.client, &first)
        #expect(relay.send { $0.appendRun("s1") }.server.first == "Bind(,pglease_1)")
        first.releaseAll(in: &relay.statements)
        #expect(balanced(relay))
    }

    @Test func aServerKeepsNoMoreThanItsBound() {
        var relay = RelayFixture(.transaction, prepared: 3)
        for number in 1...10 {
            let name = "s\(number)"
            let result = relay.send {
                $0.appendParse(name: name, query: "select \(number)")
                $0.appendRun(name)
                $0.appendSync()
            }
            let isFull = number > 3
            #expect(result.server.contains("Close(S,pglease_\(number - 3))") == isFull)
            let answer = relay.answer {
                if isFull { $0.appendCloseComplete() }
                $0.appendParsed()
                $0.appendBindComplete()
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
            }
            #expect(answer == ["ParseComplete", "BindComplete", "C(SELECT 1)", "Z(I)"])
            #expect(relay.server.prepared.count == min(number, 3))
        }
        // One that was dropped is prepared again.
        #expect(
            relay.send { $0.appendRun("s1") }.server == [
                "Close(S,pglease_8)", "Parse(pglease_1,select 1)", "Bind(,pglease_1)", "Execute()",
            ])
        #expect(balanced(relay))
    }

    // MARK: Errors

    @Test func whatABatchSkipsIsTakenBack() {
        var relay = RelayFixture()
        relay.prepare("kept", "select 0")
        relay.prepare("closed", "select 9")
        relay.send {
            $0.appendParse(name: "ok", query: "select 1")
            $0.appendBind(statement: "none")
            $0.appendParse(name: "skipped", query: "select 2")
            $0.appendCloseStatement(name: "closed")
            $0.appendParse(name: "twin", query: "select 0")
            $0.appendSync()
        }
        let answer = relay.answer {
            $0.appendParsed()
            $0.appendFailure(.invalidStatementName, "none")
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer == ["ParseComplete", "E(26000,none)", "Z(I)"])
        #expect(relay.isLeaseOver)
        // kept, closed and ok.
        #expect(relay.statements.count == 3)
        #expect(relay.client.statements.count == 3)
        #expect(relay.server.prepared.count == 3)
        let result = relay.send {
            $0.appendBind(statement: "skipped")
            $0.appendBind(statement: "twin")
            $0.appendBind(statement: "closed")
            $0.appendBind(statement: "ok")
        }
        #expect(
            result.server == [
                "Bind(,skipped)", "Bind(,twin)", "Bind(,pglease_2)", "Bind(,pglease_3)",
            ])
        #expect(balanced(relay))
    }

    @Test func anErrorWithoutItsSyncSkipsWhatComes() {
        var relay = RelayFixture()
        relay.send { $0.appendParse(name: "s1", query: "selec") }
        #expect(relay.answer { $0.appendFailure() } == ["E(42601,no)"])
        #expect(!relay.isLeaseOver)
        let skipped = relay.send {
            $0.appendParse(name: "s2", query: "select 1")
            $0.appendQuery("select 2")
            $0.appendBind(statement: "s2")
        }
        // It travels as it is: the server drops it.
        #expect(skipped.server == ["Parse(s2,select 1)", "Query(select 2)", "Bind(,s2)"])
        relay.send { $0.appendSync() }
        #expect(relay.answer { $0.appendReadyForQuery(.idle) } == ["Z(I)"])
        #expect(relay.isLeaseOver)
        #expect(relay.statements.count == 0)
    }

    @Test func aNameThatIsTakenIsToldInTheClientsWords() {
        for isThere in [true, false] {
            var relay = RelayFixture()
            relay.prepare("mine", "select 1")
            var before = ServerStream()
            if isThere { relay.leaseAgain() } else { before = relay.lease() }
            let result = relay.send {
                $0.appendParse(name: "mine", query: "select 2")
                $0.appendSync()
            }
            // Whatever this server has: the name is taken on it first.
            let sent = result.server
            #expect(
                sent == [
                    "Close(S,pglease_00)", "Parse(pglease_00,)", "Parse(pglease_00,select 2)",
                    "Sync",
                ])
            let answer = relay.answer {
                $0.appendCloseComplete()
                $0.appendParseComplete()
                $0.appendFailure(
                    .duplicatePreparedStatement, "prepared statement \"pglease_00\" already exists")
                $0.appendReadyForQuery(.idle)
            }
            #expect(answer == ["E(42P05,prepared statement \"mine\" already exists)", "Z(I)"])
            if !isThere { before.releaseAll(in: &relay.statements) }
            #expect(balanced(relay))
        }
    }

    @Test func anotherErrorForATakenNameIsToldAsItIs() {
        var relay = RelayFixture()
        relay.prepare("mine", "select 1")
        relay.send {
            $0.appendParse(name: "mine", query: "select 2")
            $0.appendSync()
        }
        let answer = relay.answer {
            $0.appendCloseComplete()
            $0.appendParseComplete()
            $0.appendFailure(.inFailedSqlTransaction, "aborted")
        }
        #expect(answer == ["E(25P02,aborted)"])
    }

    /// A statement that a skipped message would have prepared is prepared by the next batch, though
    /// both were sent at once.
    @Test func laterBatchesDoNotCountOnWhatAnEarlierOneMaySkip() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        var first = relay.lease()
        let result = relay.send {
            $0.appendBind(statement: "none")
            $0.appendRun("s1")
            $0.appendSync()
            $0.appendRun("s1")
            $0.appendSync()
        }
        #expect(
            result.server == [
                "Bind(,none)", "Parse(pglease_1,select 1)", "Bind(,pglease_1)", "Execute()", "Sync",
                "Close(S,pglease_1)", "Parse(pglease_1,select 1)", "Bind(,pglease_1)", "Execute()",
                "Sync",
            ])
        let answer = relay.answer {
            $0.appendFailure(.invalidStatementName, "none")
            $0.appendReadyForQuery(.idle)
            $0.appendCloseComplete()
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer == ["E(26000,none)", "Z(I)", "BindComplete", "C(SELECT 1)", "Z(I)"])
        #expect(relay.server.prepared.count == 1)
        first.releaseAll(in: &relay.statements)
        #expect(balanced(relay))
    }

    @Test func aBatchThatMaySkipADropIsFollowedByAnother() {
        var relay = RelayFixture(.transaction, prepared: 1)
        relay.prepare("s1", "select 1")
        let result = relay.send {
            $0.appendBind(statement: "none")
            $0.appendParse(name: "s2", query: "select 2")
            $0.appendSync()
            $0.appendRun("s1")
            $0.appendSync()
        }
        #expect(result.server.filter { $0 == "Close(S,pglease_1)" }.count == 2)
        relay.answer {
            $0.appendFailure(.invalidStatementName, "none")
            $0.appendReadyForQuery(.idle)
            $0.appendCloseComplete()
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.isLeaseOver)
        #expect(relay.server.prepared.count == 1)
        #expect(balanced(relay))
    }

    // MARK: Close and DEALLOCATE

    @Test func closingForgetsTheNameAndKeepsTheStatement() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        let result = relay.send {
            $0.appendCloseStatement(name: "s1")
            $0.appendSync()
        }
        #expect(result.server == ["Sync"])
        #expect(relay.answer { $0.appendReadyForQuery(.idle) } == ["CloseComplete", "Z(I)"])
        #expect(relay.server.prepared.count == 1)
        #expect(balanced(relay))
    }

    @Test func closingWhatIsTheClientsAloneDropsIt() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 'now'::date")
        relay.send { $0.appendCloseStatement(name: "s1") }
        #expect(relay.server.prepared.count == 0)
        #expect(
            relay.send { $0.appendParse(name: "s2", query: "select 2") }.server.first
                == "Close(S,pglease_1)")
        #expect(balanced(relay))
    }

    @Test func deallocateOfAClientsNameIsAnsweredByTheBroker() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        let alone = relay.send { $0.appendQuery("DEALLOCATE s1") }
        #expect(alone.toServer.isEmpty)
        #expect(alone.client == ["C(DEALLOCATE)", "Z(I)"])
        #expect(relay.send { $0.appendQuery("DEALLOCATE s1") }.server == ["Query(DEALLOCATE s1)"])
        relay.answer {
            $0.appendFailure(.invalidStatementName, "none")
            $0.appendReadyForQuery(.idle)
        }
        #expect(balanced(relay))
    }

    @Test func deallocateKeepsItsTurnAndTheStatus() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        let result = relay.send {
            $0.appendQuery("begin")
            $0.appendQuery("deallocate s1")
            $0.appendQuery("select 1")
        }
        #expect(result.server == ["Query(begin)", "Query(select 1)"])
        #expect(result.toClient.isEmpty)
        let answer = relay.answer {
            $0.appendCommandComplete("BEGIN")
            $0.appendReadyForQuery(.inTransaction)
        }
        #expect(answer == ["C(BEGIN)", "Z(T)", "C(DEALLOCATE)", "Z(T)"])
        #expect(balanced(relay))
    }

    @Test func deallocateByExtendedProtocolNamesTheServersStatement() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        let result = relay.send {
            $0.appendStatement("DEALLOCATE s1")
            $0.appendSync()
        }
        #expect(
            result.server == ["Parse(,DEALLOCATE pglease_1)", "Bind(,)", "Execute()", "Sync"])
        relay.answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCommandComplete("DEALLOCATE")
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.client.statements.isEmpty)
        #expect(relay.server.conditionOnReturn == .dirty)
        // Gone from the server or not: it is prepared anew.
        relay.server.beginLease()
        relay.prepare("s2", "select 1")
        #expect(relay.send { $0.appendRun("s2") }.server.first == "Bind(,pglease_2)")
        #expect(balanced(relay))
    }

    @Test(arguments: ["DEALLOCATE ALL", "DISCARD ALL"])
    func afterDroppingAllNoNameIsLeft(_ text: String) {
        for isExtended in [false, true] {
            var relay = RelayFixture()
            relay.prepare("s1", "select 1")
            relay.prepare("s2", "select 2")
            relay.send {
                if isExtended {
                    $0.appendStatement(text)
                    $0.appendSync()
                } else {
                    $0.appendQuery(text)
                }
            }
            let step = relay.step {
                if isExtended {
                    $0.appendParseComplete()
                    $0.appendBindComplete()
                }
                $0.appendCommandComplete(text)
                $0.appendReadyForQuery(.idle)
            }
            #expect(step.sessionWasReset == (text == "DISCARD ALL"))
            #expect(relay.client.statements.isEmpty)
            #expect(relay.server.prepared.count == 0)
            #expect(relay.statements.count == 0)
            #expect(relay.server.conditionOnReturn == .clean)
        }
    }

    @Test(arguments: ["DEALLOCATE ALL", "DISCARD ALL"])
    func whatIsSentBehindItIsPreparedAgain(_ text: String) {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        let result = relay.send {
            $0.appendQuery(text)
            $0.appendParse(name: "s2", query: "select 1")
            $0.appendSync()
            $0.appendQuery("select set_config('a.b', 'c', false)")
        }
        #expect(
            result.server.dropFirst().prefix(3) == [
                "Parse(pglease_2,select 1)", "Describe(S,pglease_2)", "Sync",
            ])
        relay.answer {
            $0.appendCommandComplete(text)
            $0.appendReadyForQuery(.idle)
            $0.appendParsed()
            $0.appendReadyForQuery(.idle)
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.client.statements.count == 1)
        #expect(relay.server.prepared.count == 1)
        #expect(relay.server.conditionOnReturn == .dirty)
        #expect(relay.send { $0.appendBind(statement: "s2") }.server == ["Bind(,pglease_2)"])
        #expect(balanced(relay))
    }

    /// Seed 960: what a failed transaction refuses is refused by the server.
    @Test func aParseInAFailedTransactionIsNotAnsweredByTheBroker() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        relay.send { $0.appendQuery("begin; selec") }
        relay.answer {
            $0.appendFailure()
            $0.appendReadyForQuery(.failed)
        }
        let result = relay.send {
            $0.appendParse(name: "s2", query: "select 1")
            $0.appendSync()
        }
        #expect(
            result.server == ["Parse(pglease_2,select 1)", "Describe(S,pglease_2)", "Sync"])
        let answer = relay.answer {
            $0.appendFailure(.inFailedSqlTransaction, "aborted")
            $0.appendReadyForQuery(.failed)
        }
        #expect(answer == ["E(25P02,aborted)", "Z(E)"])
        #expect(relay.client.statements.count == 1)
        #expect(relay.server.prepared.count == 1)
        #expect(balanced(relay))
    }

    /// Seed 28245: a Close that made room is skipped, but what it would have closed is gone already.
    @Test func aSkippedDropBehindADeallocateAllBringsNothingBack() {
        var relay = RelayFixture(.transaction, prepared: 1)
        relay.prepare("s1", "select 1")
        relay.send {
            $0.appendQuery("deallocate all")
            $0.appendBind(statement: "none")
            $0.appendParse(name: "s2", query: "select 2")
            $0.appendSync()
        }
        relay.answer {
            $0.appendCommandComplete("DEALLOCATE ALL")
            $0.appendReadyForQuery(.idle)
            $0.appendFailure(.invalidStatementName, "none")
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.server.prepared.count == 0)
        #expect(relay.statements.count == 0)
    }

    @Test func withoutTrackingNamesPassUntouched() {
        var relay = RelayFixture(.transaction, prepared: 0)
        let result = relay.send {
            $0.appendParse(name: "s1", query: "select 1")
            $0.appendRun("s1")
            $0.appendDescribe(statement: "s1")
            $0.appendCloseStatement(name: "s1")
            $0.appendQuery("DEALLOCATE s1")
        }
        #expect(
            result.server == [
                "Parse(s1,select 1)", "Bind(,s1)", "Execute()", "Describe(S,s1)", "Close(S,s1)",
                "Query(DEALLOCATE s1)",
            ])
        #expect(relay.statements.count == 0)
        #expect(relay.server.taint == .preparedStatements)
    }
}
