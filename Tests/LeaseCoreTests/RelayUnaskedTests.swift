// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What a server says while nothing is asked of it.
@Suite struct RelayUnaskedTests {
    private static let unasked: [(name: String, bytes: [UInt8])] = [
        ("row", message { $0.appendDataRow(texts: ["stray"]) }),
        ("half a row", Array(message { $0.appendDataRow(texts: ["stray"]) }.prefix(8))),
        ("a byte", [UInt8(ascii: "D")]),
        ("error", message { $0.appendFailure(.internalError, "stray") }),
        ("tag", message { $0.appendCommandComplete("stray") }),
        ("columns", message { $0.appendRowDescription([ColumnDescription(name: "a")]) }),
        ("ready", message { $0.appendReadyForQuery(.idle) }),
        ("parsed", message { $0.appendParseComplete() }),
        ("copy", message { $0.appendCopyIn() }),
        ("copy data", message { $0.appendCopyData([1]) }),
    ]

    @Test func behindAnAnswerItBreaksTheServer() {
        let answer = message {
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        for pooling in [RelayMode.Pooling.transaction, .statement, .session] {
            for (name, bytes) in Self.unasked {
                var relay = RelayFixture(pooling)
                relay.send { $0.appendQuery("select 1") }
                let (passed, step) = relay.answerBytes(answer + bytes)
                #expect(passed == answer, "\(name)")
                #expect(step.broken != nil, "\(name)")
                #expect(step.queries == 1)
            }
        }
    }

    @Test func behindTheBrokersOwnQueryItBreaksTheServer() {
        for (name, bytes) in Self.unasked {
            var relay = RelayFixture()
            var query: [UInt8] = []
            relay.server.ask(.reset, "DISCARD ALL", into: &query)
            let (passed, step) = relay.answerBytes(
                message {
                    $0.appendCommandComplete("DISCARD ALL")
                    $0.appendReadyForQuery(.idle)
                } + bytes)
            #expect(passed.isEmpty && step.broken != nil, "\(name)")
        }
    }

    @Test func inAHeldLeaseItBreaksTheServer() {
        var relay = RelayFixture()
        relay.mode = relay.mode.held
        for (name, bytes) in Self.unasked {
            relay.lease()
            #expect(relay.answerBytes(bytes).step.broken != nil, "\(name)")
        }
    }

    /// A row is no answer to a Parse.
    @Test func whatAnswersSomethingElseBreaksTheServer() {
        let sent: [(name: String, bytes: [UInt8], answer: [UInt8])] = [
            (
                "Parse", message { $0.appendParse(name: "", query: "select 1") },
                message { $0.appendParseComplete() }
            ),
            ("Sync", message { $0.appendSync() }, message { $0.appendReadyForQuery(.idle) }),
        ]
        let rows = ["row", "tag", "columns", "copy", "copy data"]
        for (name, bytes, answer) in sent {
            for (what, words) in Self.unasked where rows.contains(what) {
                var relay = RelayFixture()
                relay.send(bytes)
                #expect(relay.answerBytes(words + answer).step.broken != nil, "\(what) for \(name)")
            }
        }
    }

    /// Seeds 1507, 1587 and 2304: only a ReadyForQuery may come once too often behind a copy that failed.
    @Test func behindACopyThatFailedItBreaksTheServer() {
        for (name, bytes) in Self.unasked where name != "ready" {
            var relay = RelayFixture()
            relay.beginCopy()
            relay.send {
                $0.appendCopyDone()
                $0.appendSync()
            }
            let answer = message {
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
            }
            let (passed, step) = relay.answerBytes(answer + bytes)
            #expect(passed == answer && relay.server.isSuspect, "\(name)")
            #expect(step.broken != nil, "\(name)")
        }
    }

    /// A copy that fails by itself (a trigger does) before the server reads the Sync behind it: that one is
    /// answered, too, and what was sent behind it has its own answers.
    @Test func aSyncBehindACopyThatFailedEarlyIsNoAnswerToAQuery() {
        let ready = message { $0.appendReadyForQuery(.idle) }
        let answer = message {
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        for isBehindBatch in [false, true] {
            var relay = RelayFixture()
            relay.mode = relay.mode.held
            relay.beginCopy()
            relay.send {
                $0.appendCopyDone()
                $0.appendSync()
                if isBehindBatch {
                    $0.appendBind()
                    $0.appendSync()
                }
                $0.appendQuery("select 1")
            }
            let batch = isBehindBatch ? message { $0.appendBindComplete() } + ready : []
            let all = message { $0.appendFailure() } + ready + ready + batch + answer
            let (passed, step) = relay.answerBytes(all)
            #expect(passed == all && step.broken == nil)
            #expect(relay.server.isQuiet && relay.server.isSuspect)
        }
    }

    /// The end of a second copy, sent before the first has ended, is counted with the second.
    @Test func theEndOfACopyBehindAnotherIsItsOwn() {
        var relay = RelayFixture()
        relay.beginCopy()
        relay.send {
            $0.appendCopyDone()
            $0.appendSync()
            $0.appendStatement("copy t from stdin")
            $0.appendSync()
            $0.appendCopyFail("no")
            $0.appendSync()
            $0.appendQuery("select 1")
        }
        let answer = message {
            $0.appendCommandComplete("COPY 0")
            $0.appendReadyForQuery(.idle)
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCopyIn()
            $0.appendFailure()
            $0.appendReadyForQuery(.idle)
        }
        _ = relay.answerBytes(answer)
        #expect(relay.isOwing)
        let (_, step) = relay.answerBytes(
            message {
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
            })
        #expect(step.queries == 1 && step.broken == nil && relay.server.isQuiet)
    }

    /// PostgreSQL's own end, while nothing is asked: the connection serves nobody any more.
    @Test func aFatalErrorBehindAnAnswerEndsTheConnection() {
        for pooling in [RelayMode.Pooling.transaction, .session] {
            var relay = RelayFixture(pooling)
            relay.send { $0.appendQuery("select 1") }
            let words = message { $0.appendErrorResponse(.fatal(.adminShutdown, "going")) }
            let answer = message {
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
            }
            let (passed, step) = relay.answerBytes(answer + words)
            // A session is the server's own, and so is its end.
            #expect(passed == (pooling == .session ? answer + words : answer))
            #expect(relay.server.hasToldItsEnd == (pooling == .session))
            #expect(step.fatal?.sqlState == .adminShutdown && step.broken == nil)
            #expect(relay.server.isEnding && relay.server.conditionOnReturn == .broken)
        }
    }

    /// A crash is announced by a warning; so may be anything that a function raises.
    @Test func aWarningIsTheEndIfNothingFollows() {
        let warning = PgError(
            severity: .warning, sqlState: SQLState(rawValue: "57P02"), message: "going")
        var relay = RelayFixture(.session)
        relay.send { $0.appendQuery("select 1") }
        let step = relay.step { $0.appendNoticeResponse(warning) }
        #expect(step.fatal?.message == "going" && relay.server.hasToldItsEnd)
        let next = relay.step { $0.appendCommandComplete("DO") }
        #expect(next.fatal == nil && !relay.server.hasToldItsEnd && !relay.server.isEnding)
    }

    /// The beginning of what may come at any time keeps the lease until the rest is there.
    @Test func aPieceOfANoticeKeepsTheLease() {
        let notice = message { $0.appendNoticeResponse(.notice("mind")) }
        for count in 1..<notice.count {
            var relay = RelayFixture()
            relay.send { $0.appendQuery("select 1") }
            let answer = message {
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
            }
            let (first, step) = relay.answerBytes(answer + notice.prefix(count))
            #expect(step.broken == nil && !relay.isLeaseOver)
            #expect(relay.server.conditionOnReturn == .broken)
            let (second, _) = relay.answerBytes(Array(notice.dropFirst(count)))
            #expect(first + second == answer + notice)
            #expect(relay.isLeaseOver && relay.server.conditionOnReturn == .clean)
        }
    }
}

extension RelayFixture {
    /// The server takes rows, and a Sync was sent that it ignores.
    fileprivate mutating func beginCopy() {
        send {
            $0.appendStatement("copy t from stdin")
            $0.appendSync()
        }
        answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCopyIn()
        }
    }
}

extension [UInt8] {
    fileprivate mutating func appendCopyIn() {
        appendMessage(kind: BackendKind.copyInResponse.rawValue) { $0 += [0, 0, 0] }
    }
}
