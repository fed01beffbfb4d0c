// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import BrokerConsole

@Suite struct ConsoleSessionTests {
    // MARK: Simple protocol

    @Test func aTable() {
        let client = ConsoleClientStub()
        let answers = client.query("SHOW LISTS;")
        #expect(answers.kinds == "TDDCZ")
        #expect(answers.columns.map(\.name) == ["list", "items"])
        #expect(answers.columns.map(\.type) == [25, 20])
        #expect(answers.texts == [["text", "0"], ["text", "1"]])
        #expect(answers.tags == ["SHOW"])
        #expect(answers.status == "I")
    }

    @Test func severalStatementsStopAtAnError() {
        let client = ConsoleClientStub(.statistics)
        let answers = client.query("SHOW LISTS; RELOAD; SHOW LISTS")
        #expect(answers.kinds == "TDDCEZ")
        #expect(answers.error?.sqlState == .protocolViolation)
        #expect(client.backend.commands.isEmpty)
    }

    @Test func aMistakeAnywhereDoesNothing() {
        let client = ConsoleClientStub()
        let answers = client.query("RELOAD; BOGUS")
        #expect(answers.kinds == "EZ")
        #expect(answers.error?.sqlState == .protocolViolation)
        #expect(client.backend.commands.isEmpty)
    }

    @Test func emptyQueries() {
        let client = ConsoleClientStub()
        #expect(client.query("").kinds == "IZ")
        #expect(client.query(" ;; -- ping").kinds == "IZ")
    }

    @Test func transactionsAreHeardBack() {
        let client = ConsoleClientStub()
        let answers = client.query("BEGIN")
        #expect(answers.tags == ["BEGIN"])
        #expect(answers.status == "T")
        #expect(client.query("SHOW LISTS").status == "T")
        #expect(client.query("BOGUS").status == "T")
        let end = client.query("COMMIT")
        #expect(end.tags == ["COMMIT"])
        #expect(end.status == "I")
    }

    @Test func help() {
        let answers = ConsoleClientStub().query("SHOW HELP")
        #expect(answers.kinds == "NCZ")
        #expect(answers.notice?.detail?.contains("LEASES") == true)
    }

    @Test func values() {
        let client = ConsoleClientStub()
        #expect(client.query("SELECT 1").texts == [["1"]])
        #expect(client.query("SELECT current_user").texts == [["ada"]])
        #expect(client.query("SELECT current_database()").texts == [["pglease"]])
        #expect(client.query("SELECT pg_backend_pid()").texts == [["7"]])
        #expect(client.query("SHOW is_superuser").texts == [["on"]])
        #expect(client.query("SHOW application_name").texts == [["test"]])
        let set = client.query("SET application_name = 'top'")
        #expect(set.kinds == "SCZ")
        #expect(client.backend.applicationNames == ["top"])
        #expect(client.query("SHOW application_name").texts == [["top"]])
    }

    // MARK: Commands

    @Test func commands() {
        let client = ConsoleClientStub()
        let answers = client.query("RELOAD")
        #expect(answers.kinds == "NCZ")
        #expect(answers.tags == ["RELOAD"])
        #expect(client.session.afterwards == nil)
        #expect(client.query("SHUTDOWN WAIT_FOR_CLIENTS").tags == ["SHUTDOWN"])
        #expect(client.session.afterwards == .shutDown(.waitForClients))
    }

    @Test func aRefusedCommandLeavesTheSession() {
        let client = ConsoleClientStub()
        client.backend.refusal = ConsoleRefusal(.configurationFileError, "no", detail: "a.ini:3: x")
        let answers = client.query("RELOAD")
        #expect(answers.kinds == "EZ")
        #expect(answers.error?.sqlState == .configurationFileError)
        #expect(answers.error?.detail == "a.ini:3: x")
        #expect(client.query("SELECT 1").kinds == "TDCZ")
    }

    @Test(arguments: ["RELOAD", "SHUTDOWN", "SHOW FDS"])
    func statisticsUsersMayNot(_ command: String) {
        let client = ConsoleClientStub(.statistics)
        #expect(client.query(command).error?.sqlState == .protocolViolation)
        #expect(client.backend.commands.isEmpty && client.backend.shows.isEmpty)
        #expect(client.query("SHOW POOLS").tags == ["SHOW"])
        #expect(client.query("SET extra_float_digits = 3").tags == ["SET"])
    }

    // MARK: Extended protocol

    @Test func extendedAsAsyncpg() {
        let client = ConsoleClientStub()
        let prepared = client.send {
            $0.appendParse(name: "s1", query: "SHOW LISTS")
            $0.appendDescribe(statement: "s1")
            $0.appendSync()
        }
        #expect(prepared.kinds == "1tTZ")
        let answers = client.send {
            $0.appendBind(statement: "s1", resultFormats: [1])
            $0.appendExecute()
            $0.appendSync()
        }
        #expect(answers.kinds == "2DDCZ")
        #expect(answers.rows[1] == [Array("text".utf8), [0, 0, 0, 0, 0, 0, 0, 1]])
        #expect(
            client.send {
                $0.appendCloseStatement(name: "s1")
                $0.appendSync()
            }.kinds == "3Z")
        #expect(
            client.send {
                $0.appendBind(statement: "s1")
                $0.appendSync()
            }.error?.sqlState
                == .invalidStatementName)
    }

    @Test func binaryValuesByType() {
        let client = ConsoleClientStub()
        func cell(_ sql: String) -> [UInt8]? {
            let answers = client.send {
                $0.appendParse(name: "", query: sql)
                $0.appendBind(resultFormats: [1])
                $0.appendDescribe(portal: "")
                $0.appendExecute()
                $0.appendSync()
            }
            #expect(answers.kinds == "12TDCZ")
            #expect(answers.columns.map(\.format) == [1])
            return answers.rows[0][0]
        }
        #expect(cell("SELECT 258") == [0, 0, 1, 2])
        #expect(cell("SELECT pg_is_in_recovery()") == [0])
        #expect(cell("SELECT 'a'") == [0x61])
    }

    @Test func formatsPerColumn() {
        let client = ConsoleClientStub()
        let answers = client.send {
            $0.appendParse(name: "", query: "SHOW LISTS")
            $0.appendBind(resultFormats: [0, 1])
            $0.appendExecute()
            $0.appendSync()
        }
        #expect(answers.rows[0] == [Array("text".utf8), [0, 0, 0, 0, 0, 0, 0, 0]])
        let wrong = client.send {
            $0.appendBind(resultFormats: [0, 1, 0])
            $0.appendSync()
        }
        #expect(wrong.error?.sqlState == .protocolViolation)
        let unknown = client.send {
            $0.appendBind(resultFormats: [2])
            $0.appendSync()
        }
        #expect(unknown.error?.sqlState == .protocolViolation)
    }

    @Test func rowsInParts() {
        let client = ConsoleClientStub()
        client.backend.rowCount = 5
        let first = client.send {
            $0.appendParse(name: "", query: "SHOW LISTS")
            $0.appendBind()
            $0.appendExecute(maximumRows: 2)
            $0.appendExecute(maximumRows: 2)
            $0.appendFlush()
        }
        #expect(first.kinds == "12DDsDDs")
        let rest = client.send {
            $0.appendExecute(maximumRows: 2)
            $0.appendExecute(maximumRows: 2)
            $0.appendSync()
        }
        #expect(rest.kinds == "DCCZ")
        #expect((first + rest).texts.map { $0[1] } == ["0", "1", "2", "3", "4"])
        #expect(client.backend.shows.count == 1)
        // Outside a transaction the Sync has ended the portal.
        #expect(
            client.send {
                $0.appendExecute()
                $0.appendSync()
            }.error?.sqlState == .invalidCursorName)
    }

    @Test func aPortalLivesAsLongAsItsTransaction() {
        let client = ConsoleClientStub()
        client.send { $0.appendQuery("BEGIN") }
        client.send {
            $0.appendParse(name: "", query: "SHOW LISTS")
            $0.appendBind(portal: "c")
            $0.appendExecute(portal: "c", maximumRows: 1)
            $0.appendSync()
        }
        #expect(
            client.send {
                $0.appendExecute(portal: "c")
                $0.appendSync()
            }.kinds == "DCZ")
    }

    @Test func anErrorSkipsToSync() {
        let client = ConsoleClientStub()
        let answers = client.send {
            $0.appendParse(name: "", query: "BOGUS")
            $0.appendBind()
            $0.appendExecute()
            $0.appendQuery("RELOAD")
        }
        #expect(answers.kinds == "E")
        #expect(client.backend.commands.isEmpty)
        #expect(client.send { $0.appendSync() }.kinds == "Z")
        #expect(client.query("SELECT 1").kinds == "TDCZ")
    }

    @Test func parametersAreRefused() {
        let client = ConsoleClientStub()
        let parse = client.send {
            $0.appendParse(name: "", query: "SHOW $1")
            $0.appendSync()
        }
        #expect(parse.error?.sqlState == .protocolViolation)
        let bind = client.send {
            $0.appendParse(name: "", query: "SHOW POOLS")
            $0.appendBind(texts: ["1", nil])
            $0.appendSync()
        }
        #expect(bind.kinds == "1EZ")
        #expect(bind.error?.sqlState == .protocolViolation)
    }

    @Test func commandsAndEmptyStatementsInTheExtendedProtocol() {
        let client = ConsoleClientStub()
        let answers = client.send {
            $0.appendParse(name: "", query: "RELOAD")
            $0.appendDescribe(statement: "")
            $0.appendBind()
            $0.appendExecute()
            $0.appendExecute()
            $0.appendSync()
        }
        #expect(answers.kinds == "1tn2NCEZ")
        #expect(client.backend.commands == [.reload])
        let empty = client.send {
            $0.appendParse(name: "", query: "-- ping")
            $0.appendBind()
            $0.appendDescribe(portal: "")
            $0.appendExecute()
            $0.appendSync()
        }
        #expect(empty.kinds == "12nIZ")
        #expect(
            client.send {
                $0.appendParse(name: "", query: "RELOAD; RELOAD")
                $0.appendSync()
            }
            .error?.sqlState == .protocolViolation)
    }

    @Test func namesAreNotTakenTwice() {
        let client = ConsoleClientStub()
        client.send {
            $0.appendParse(name: "a", query: "SHOW POOLS")
            $0.appendSync()
        }
        #expect(
            client.send {
                $0.appendParse(name: "a", query: "SHOW POOLS")
                $0.appendSync()
            }
            .error?.sqlState == .duplicatePreparedStatement)
        #expect(client.query("DEALLOCATE a").tags == ["DEALLOCATE"])
        #expect(client.query("DEALLOCATE a").error?.sqlState == .invalidStatementName)
        let twice = client.send {
            $0.appendParse(name: "", query: "SHOW POOLS")
            $0.appendBind(portal: "p")
            $0.appendBind(portal: "p")
            $0.appendSync()
        }
        #expect(twice.error?.sqlState == .duplicateCursor)
    }

    @Test func namesHaveALimit() {
        let client = ConsoleClientStub()
        for number in 0..<ConsoleSession.namesLimit {
            #expect(
                client.send { $0.appendParse(name: "s\(number)", query: "SHOW POOLS") }.kinds == "1"
            )
        }
        let over = client.send {
            $0.appendParse(name: "over", query: "SHOW POOLS")
            $0.appendSync()
        }
        #expect(over.error?.sqlState == .programLimitExceeded)
    }

    // MARK: Bad input

    @Test func terminate() {
        let client = ConsoleClientStub()
        client.send { $0.appendTerminate() }
        #expect(client.lastStep == .terminated)
    }

    private static let malformed: [(kind: Unicode.Scalar, body: [UInt8])] = [
        ("Q", Array("SHOW".utf8)), ("P", [0]), ("B", [0, 0, 0]), ("D", [0x58, 0]), ("D", []),
        ("E", [0, 0]), ("C", [0x53]), ("B", [0, 0, 0, 0, 0, 1, 0, 0, 0, 9]), ("?", []), ("p", [0]),
    ]

    @Test(arguments: malformed)
    func malformedMessages(_ kind: Unicode.Scalar, _ body: [UInt8]) {
        let client = ConsoleClientStub()
        client.send { $0.appendMessage(kind: UInt8(ascii: kind)) { $0.append(contentsOf: body) } }
        guard case .malformed(let error) = client.lastStep else {
            Issue.record("\(kind) was taken: \(client.lastStep)")
            return
        }
        #expect(error.sqlState == .protocolViolation)
    }
}
