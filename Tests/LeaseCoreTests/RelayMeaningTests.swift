// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// A Parse means what its client's settings make of it, now: what is shared, and what is not.
@Suite struct RelayMeaningTests {
    /// Two clients in turn on one server.
    private struct Pair {
        var relay = RelayFixture()
        let other = Cell(ClientStream())

        /// The other client gets the server.
        mutating func turn(settings: UInt32 = 0) {
            relay.leaseAgain()
            swap(&relay.client, &other.value)
            relay.environment = ParseEnvironment(settings: settings)
        }

        mutating func prepare(
            _ name: String = "s", _ text: String = "select 1", types: [UInt32] = [],
            column: String = "a"
        ) {
            relay.send {
                $0.appendParse(name: name, query: text)
                $0.appendSync()
            }
            relay.answer {
                $0.appendParsed(types: types, columns: [ColumnDescription(name: column)])
                $0.appendReadyForQuery(.idle)
            }
        }

        /// What the server is sent when the client runs it.
        mutating func run(_ name: String = "s", answers: Bool = true) -> [String] {
            let sent = relay.send {
                $0.appendRun(name)
                $0.appendSync()
            }.server
            if answers {
                relay.answer {
                    for message in sent {
                        if message.hasPrefix("Close") { $0.appendCloseComplete() }
                        if message.hasPrefix("Parse") { $0.appendParseComplete() }
                    }
                    $0.appendBindComplete()
                    $0.appendCommandComplete("SELECT 1")
                    $0.appendReadyForQuery(.idle)
                }
            }
            return Array(sent.dropLast(2))
        }

        /// Nothing is left when all are gone.
        func isBalanced() -> Bool {
            var relay = relay
            other.value.releaseAll(in: &relay.statements)
            return relay.leftOver() == 0
        }
    }

    @Test func underOtherSettingsItIsAnotherStatement() {
        var pair = Pair()
        pair.prepare()
        pair.turn(settings: 1)
        pair.prepare()
        #expect(pair.run() == ["Bind(,pglease_2)"])
        pair.turn(settings: 0)
        #expect(pair.run() == ["Bind(,pglease_1)"])
        #expect(pair.relay.server.prepared.count == 2)
        #expect(pair.isBalanced())
    }

    @Test(arguments: [false, true]) func withAnotherMeaningItIsAnotherStatement(_ isType: Bool) {
        var pair = Pair()
        pair.prepare(types: [23])
        pair.turn()
        pair.prepare(types: [isType ? 25 : 23], column: isType ? "a" : "b")
        #expect(pair.run() == ["Bind(,pglease_2)"])
        pair.turn()
        // The first client keeps what it has, on this server, too.
        #expect(pair.run() == ["Bind(,pglease_1)"])
        // Whoever comes now finds the second.
        pair.relay.send { $0.appendCloseStatement(name: "s") }
        pair.prepare(types: [isType ? 25 : 23], column: isType ? "a" : "b")
        #expect(pair.relay.statements.count == 2)
        #expect(pair.isBalanced())
    }

    /// A type may have been made again: what looks the same need not be.
    @Test func aCopyThatIsOlderThanTheClientsParseIsMadeAgain() {
        var pair = Pair()
        pair.prepare()
        var second = pair.relay.lease()
        #expect(pair.run() == ["Parse(pglease_1,select 1)", "Bind(,pglease_1)"])
        swap(&second, &pair.relay.server)
        pair.turn()
        pair.prepare()
        swap(&second, &pair.relay.server)
        pair.relay.leaseAgain()
        #expect(
            pair.run() == ["Close(S,pglease_1)", "Parse(pglease_1,select 1)", "Bind(,pglease_1)"])
        #expect(pair.run() == ["Bind(,pglease_1)"])
        pair.turn()
        #expect(pair.run() == ["Bind(,pglease_1)"])
        #expect(pair.relay.statements.count == 1)
        second.releaseAll(in: &pair.relay.statements)
        #expect(pair.isBalanced())
    }

    /// The types that its client was told are named when a server is told it again.
    @Test func typesStayWhatTheyWere() {
        var pair = Pair()
        pair.prepare("s", "select $1", types: [23])
        var first = pair.relay.lease()
        let sent = pair.relay.send { $0.appendRun("s") }.toServer
        let text = Array("select $1".utf8)
        #expect(
            sent.starts(
                with: message {
                    $0.appendParse(
                        name: "pglease_1", query: "select $1", parameterTypes: [23])
                }))
        #expect(sent.contains(text[0]))
        first.releaseAll(in: &pair.relay.statements)
        #expect(pair.isBalanced())
    }

    @Test(arguments: [
        "set search_path = x; select 1", "do $$ begin end $$", "create table t ()",
        "select set_config('timezone', 'x', true)", "begin; set local timezone = 'x'",
    ]) func whereTheSessionMayDifferNothingIsShared(_ text: String) {
        for isBefore in [true, false] {
            var pair = Pair()
            if !isBefore { pair.prepare() }
            pair.turn()
            pair.relay.send { $0.appendQuery("begin") }
            pair.relay.answer {
                $0.appendCommandComplete("BEGIN")
                $0.appendReadyForQuery(.inTransaction)
            }
            pair.relay.send { $0.appendQuery(text) }
            pair.relay.answer {
                for part in text.split(separator: ";") {
                    let word = part.split(separator: " ")[0].uppercased()
                    $0.appendCommandComplete(word == "CREATE" ? "CREATE TABLE" : word)
                }
                $0.appendReadyForQuery(.inTransaction)
            }
            pair.prepare()
            #expect(pair.relay.statements.count == (isBefore ? 1 : 2))
            pair.turn()
            pair.prepare("t")
            #expect(pair.relay.statements.count == 2)
            #expect(pair.isBalanced())
        }
    }

    /// Nothing of it bears on the meaning of a text.
    @Test(arguments: [
        "set local app.tenant = 'x'", "select set_config('app.tenant', 'x', true)",
        "set local statement_timeout = 1", "listen x", "set transaction read only",
    ]) func whatIsHarmlessKeepsNothingFromBeingShared(_ text: String) {
        var pair = Pair()
        pair.prepare()
        pair.turn()
        pair.relay.send { $0.appendQuery("begin") }
        pair.relay.answer {
            $0.appendCommandComplete("BEGIN")
            $0.appendReadyForQuery(.inTransaction)
        }
        pair.relay.send { $0.appendQuery(text) }
        pair.relay.answer {
            $0.appendCommandComplete(text.split(separator: " ")[0].uppercased())
            $0.appendReadyForQuery(.inTransaction)
        }
        pair.prepare()
        #expect(pair.relay.statements.count == 1)
        #expect(pair.run() == ["Bind(,pglease_2)"])
        #expect(pair.isBalanced())
    }

    /// What is sent in one write has no answer yet: it is known when the Parse has its own.
    @Test func whatWasSentInFrontCounts() {
        var pair = Pair()
        pair.prepare()
        pair.turn()
        pair.relay.send {
            $0.appendQuery("select 1; set timezone to 'x'")
            $0.appendParse(name: "s", query: "select 1")
            $0.appendRun("s")
            $0.appendSync()
        }
        pair.relay.answer {
            $0.appendCommandComplete("SELECT 1")
            $0.appendCommandComplete("SET")
            $0.appendReadyForQuery(.idle)
            $0.appendParsed(columns: [ColumnDescription(name: "a")])
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(pair.relay.statements.count == 2)
        #expect(pair.isBalanced())
    }

    /// PostgreSQL analyses a statement again under the settings of who binds it.
    @Test func whoseSettingsHaveChangedGoesOnAlone() {
        var pair = Pair()
        pair.prepare()
        pair.turn()
        pair.prepare()
        pair.turn(settings: 1)
        #expect(
            pair.run() == ["Close(S,pglease_1)", "Parse(pglease_3,select 1)", "Bind(,pglease_3)"])
        #expect(pair.run() == ["Bind(,pglease_3)"])
        pair.turn(settings: 0)
        #expect(pair.run() == ["Bind(,pglease_2)"])
        #expect(pair.isBalanced())
    }

    @Test func onADirectOrExplicitLeaseItIsSharedUntilItSets() {
        var pair = Pair()
        pair.prepare()
        pair.turn()
        pair.relay.mode = pair.relay.mode.held
        pair.relay.server.hold()
        pair.prepare()
        #expect(pair.relay.statements.count == 1)
        pair.relay.send { $0.appendQuery("discard all") }
        pair.relay.answer {
            $0.appendCommandComplete("DISCARD ALL")
            $0.appendReadyForQuery(.idle)
        }
        #expect(pair.relay.client.statements.isEmpty)
        // They are the server's own settings now.
        pair.prepare()
        #expect(pair.relay.statements.count == 2)
        #expect(pair.isBalanced())
    }

    /// The description comes in pieces, and is long.
    @Test func theDescriptionIsReadByteByByte() {
        var pair = Pair()
        let columns = (0..<100).map { ColumnDescription(name: "column \($0)") }
        for size in [1, 7, 1000] {
            pair.turn()
            let sent = pair.relay.send {
                $0.appendParse(name: "s\(size)", query: "select 1")
                $0.appendSync()
            }
            let closes = sent.server.count { $0.hasPrefix("Close") }
            let bytes = message {
                for _ in 0..<closes { $0.appendCloseComplete() }
                $0.appendParsed(types: [1, 2, 3], columns: columns)
                $0.appendReadyForQuery(.idle)
            }
            var passed: [UInt8] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                let part = Array(bytes[start..<min(start + size, bytes.count)])
                passed += pair.relay.answerBytes(part).bytes
            }
            let told = RelayTranscript.ofServer(passed).filter { $0 != "CloseComplete" }
            #expect(told == ["ParseComplete", "Z(I)"])
        }
        #expect(pair.relay.statements.count == 1)
        #expect(pair.isBalanced())
    }

    /// The client is gone before the answer: nothing is left over.
    @Test func aClientThatVanishesLeavesNothing() {
        for answered in 0...3 {
            var pair = Pair()
            pair.relay.send {
                $0.appendParse(name: "s", query: "select 1")
                $0.appendSync()
            }
            #expect(pair.relay.beginDraining() != nil)
            pair.relay.answer {
                if answered > 0 { $0.appendParseComplete() }
                if answered > 1 { $0.appendParameterDescription([]) }
                if answered > 2 {
                    $0.appendNoData()
                    $0.appendReadyForQuery(.idle)
                }
            }
            #expect(pair.isBalanced())
        }
    }
}

/// Names of prepared statements in SQL and in errors.
@Suite struct RelayStatementNameTests {
    private func prepared(_ names: String...) -> RelayFixture {
        var relay = RelayFixture()
        for name in names { relay.prepare(name, "select '\(name)'") }
        return relay
    }

    @Test func executeNamesTheServersStatement() {
        var relay = prepared("s")
        #expect(
            relay.send { $0.appendQuery("execute s(1); select 's'") }.server
                == ["Query(execute pglease_1(1); select 's')"])
        relay.answer {
            $0.appendCommandComplete("SELECT 1")
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(
            relay.send { $0.appendStatement("execute s") }.server.first
                == "Parse(,execute pglease_1)")
        #expect(relay.leftOver() == 0)
    }

    @Test func whatTheServerLacksIsToldInFront() {
        var relay = prepared("s")
        var first = relay.lease()
        #expect(
            relay.send { $0.appendQuery("execute s") }.server == [
                "Parse(pglease_1,select 's')", "Sync", "Query(execute pglease_1)",
            ])
        let answer = relay.answer {
            $0.appendParseComplete()
            $0.appendReadyForQuery(.idle)
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer == ["C(SELECT 1)", "Z(I)"])
        #expect(relay.isLeaseOver)
        first.releaseAll(in: &relay.statements)
        #expect(relay.leftOver() == 0)
    }

    @Test func itsErrorStandsForTheQuerys() {
        var relay = prepared("s")
        var first = relay.lease()
        relay.send { $0.appendQuery("execute s") }
        let answer = relay.answer {
            $0.appendFailure(.syntaxError, "gone")
            $0.appendReadyForQuery(.idle)
            $0.appendFailure(
                .invalidStatementName, "prepared statement \"pglease_1\" does not exist")
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer == ["E(42601,gone)", "Z(I)"])
        #expect(relay.isLeaseOver)
        #expect(relay.server.prepared.count == 0)
        first.releaseAll(in: &relay.statements)
        #expect(relay.leftOver() == 0)
    }

    @Test(arguments: [true, false]) func deallocateAmongOthers(_ isReached: Bool) {
        var relay = prepared("s", "t")
        #expect(
            relay.send { $0.appendQuery("select 1; deallocate s") }.server
                == ["Query(select 1; deallocate pglease_1)"])
        #expect(relay.client.statements.count == 1)
        relay.answer {
            if isReached {
                $0.appendCommandComplete("SELECT 1")
                $0.appendCommandComplete("DEALLOCATE")
            } else {
                $0.appendFailure()
            }
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.client.statements.count == (isReached ? 1 : 2))
        #expect(relay.server.prepared.count == (isReached ? 1 : 2))
        #expect(relay.leftOver() == 0)
    }

    @Test(arguments: ["deallocate all", "select 1; deallocate all", "discard all"])
    func whatIsSentBehindADropOfAllIsNew(_ text: String) {
        for isReached in [true, false] {
            var relay = prepared("s", "t")
            relay.send {
                $0.appendQuery(text)
                $0.appendParse(name: "s", query: "select 2")
                $0.appendSync()
            }
            relay.answer {
                if isReached {
                    if text.hasPrefix("select") { $0.appendCommandComplete("SELECT 1") }
                    $0.appendCommandComplete(
                        text.split(separator: ";").last!.uppercased()
                            .trimmingPrefix(" ").description)
                } else {
                    $0.appendFailure()
                }
                $0.appendReadyForQuery(.idle)
                $0.appendParsed()
                $0.appendReadyForQuery(.idle)
            }
            #expect(relay.client.statements.count == (isReached ? 1 : 2))
            #expect(relay.leftOver() == 0)
        }
    }

    @Test func aQueryThatIsTakenBackDropsNothing() {
        var relay = prepared("s", "t")
        let before = relay.client.position
        relay.send { $0.appendQuery("deallocate all; select 1") }
        #expect(relay.client.statements.isEmpty)
        relay.server.takeBack(&relay.client, before: before, statements: &relay.statements)
        #expect(relay.client.statements.count == 2)
        #expect(relay.leftOver() == 0)
    }

    @Test func errorsAndNoticesSayTheClientsName() {
        var relay = prepared("mine")
        relay.send {
            $0.appendBind(statement: "mine")
            $0.appendSync()
        }
        let answer = relay.answer {
            $0.appendNoticeResponse(.notice("of \"pglease_1\" and \"pglease_10\""))
            $0.appendFailure(.protocolViolation, "statement \"pglease_1\" requires 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(
            answer == [
                "N(00000,of \"mine\" and \"pglease_10\")", "E(08P01,statement \"mine\" requires 1)",
                "Z(I)",
            ])
        #expect(relay.leftOver() == 0)
    }

    @Test func aPositionIsThatOfTheClientsText() {
        var relay = prepared("s")
        relay.send { $0.appendQuery("execute s(no)") }
        var error = PgError.error(.syntaxError, "no")
        error.position = "execute pglease_1(".count + 1
        let (bytes, _) = relay.answerBytes(
            message {
                $0.appendErrorResponse(error)
                $0.appendReadyForQuery(.idle)
            })
        var own = error
        own.position = "execute s(".count + 1
        #expect(
            bytes
                == message {
                    $0.appendErrorResponse(own)
                    $0.appendReadyForQuery(.idle)
                })
        #expect(relay.leftOver() == 0)
    }

    @Test func aNameOfOursThatTheClientNeverGaveIsUnknown() {
        var relay = prepared("s")
        let sent = relay.send {
            $0.appendBind(statement: "pglease_1")
            $0.appendSync()
        }
        #expect(sent.server == ["Bind(,pglease_0)", "Sync"])
        let answer = relay.answer {
            $0.appendFailure(.invalidStatementName, "\"pglease_0\" does not exist")
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer == ["E(26000,\"pglease_1\" does not exist)", "Z(I)"])
        #expect(
            relay.send {
                $0.appendCloseStatement(name: "pglease_1")
                $0.appendDescribe(statement: "pglease_1")
            }.server == ["Close(S,pglease_0)", "Describe(S,pglease_0)"])
        #expect(
            relay.send {
                $0.appendSync()
                $0.appendQuery("execute pglease_1")
            }.server == ["Sync", "Query(execute pglease_0)"])
        #expect(relay.leftOver() == 0)
    }

    @Test func aStatementThatNamesItselfHasAnEnd() {
        var relay = prepared("s")
        relay.prepare("e", "execute s")
        relay.prepare("f", "execute f")
        var first = relay.lease()
        #expect(
            relay.send { $0.appendRun("e") }.server == [
                "Parse(pglease_1,select 's')", "Parse(pglease_2,execute pglease_1)",
                "Bind(,pglease_2)", "Execute()",
            ])
        #expect(
            relay.send { $0.appendRun("f") }.server == [
                "Parse(pglease_3,execute f)", "Bind(,pglease_3)", "Execute()",
            ])
        first.releaseAll(in: &relay.statements)
        #expect(relay.leftOver() == 0)
    }
}
