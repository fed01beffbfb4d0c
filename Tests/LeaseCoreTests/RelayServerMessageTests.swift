// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What a server's message becomes, by its kind and by what is owed.
@Suite struct RelayServerMessageTests {
    static let asynchronous: [(name: String, bytes: [UInt8])] = [
        ("Notice", message { $0.appendNoticeResponse(.notice("mind")) }),
        ("Parameter", message { $0.appendParameterStatus(name: "TimeZone", value: "UTC") }),
        ("Notification", message { $0.appendMessage(kind: 65) { $0 += [0, 0, 0, 1, 97, 0, 0] } }),
    ]

    /// The whole of an answer to a batch passes as it came, with anything in between.
    @Test func answersPassUnchanged() {
        let answer = message {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendRowDescription([ColumnDescription(name: "a")])
            $0.appendDataRow(texts: ["1", nil])
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        for (name, bytes) in Self.asynchronous {
            var relay = RelayFixture()
            relay.send {
                $0.appendParse(name: "", query: "select 1")
                $0.appendBind()
                $0.appendDescribe(portal: "")
                $0.appendExecute()
                $0.appendSync()
            }
            let whole = bytes + answer + bytes
            #expect(relay.answerBytes(whole).bytes == whole, "\(name)")
            #expect(relay.isLeaseOver)
        }
    }

    @Test func valuesThatChangeAreReported() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("set timezone = 'UTC'") }
        let step = relay.step {
            $0.appendCommandComplete("SET")
            $0.appendParameterStatus(name: "TimeZone", value: "UTC")
            $0.appendReadyForQuery(.idle)
        }
        #expect(step.changedParameters.map(\.name) == ["TimeZone"])
        #expect(step.brokerParameters.isEmpty)
        #expect(step.queries == 1 && step.transactions == 1)
        #expect(relay.server.conditionOnReturn == .dirty)
    }

    @Test func theBrokersOwnQueryShowsNothingToTheClient() {
        var relay = RelayFixture()
        var bytes: [UInt8] = []
        relay.server.ask(.profile, "SET a TO 'b'", into: &bytes)
        #expect(RelayTranscript.ofClient(bytes) == ["Query(SET a TO 'b')"])
        relay.send { $0.appendQuery("select 1") }
        let (passed, step) = relay.answerBytes(
            message {
                $0.appendNoticeResponse(.notice("mind"))
                $0.appendCommandComplete("SET")
                $0.appendParameterStatus(name: "TimeZone", value: "UTC")
                $0.appendReadyForQuery(.idle)
                $0.appendRowDescription([ColumnDescription(name: "a")])
            })
        #expect(RelayTranscript.ofServer(passed) == ["T"])
        #expect(step.brokerAnswer?.query == .profile)
        #expect(step.brokerAnswer?.error == nil)
        #expect(step.brokerParameters.map(\.value) == ["UTC"])
        #expect(step.queries == 0)
    }

    @Test func theBrokersOwnQueryReportsItsError() {
        var relay = RelayFixture()
        var bytes: [UInt8] = []
        relay.server.ask(.reset, "DISCARD ALL", into: &bytes)
        let (passed, step) = relay.answerBytes(
            message {
                $0.appendFailure(.activeSqlTransaction, "in a transaction")
                $0.appendReadyForQuery(.failed)
            })
        #expect(passed.isEmpty)
        #expect(step.brokerAnswer?.error?.sqlState == .activeSqlTransaction)
        #expect(relay.server.brokerQuery == nil)
        #expect(relay.server.status == .failed)
    }

    @Test func aFatalErrorIsKeptForTheEnd() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("select 1") }
        let (passed, step) = relay.answerBytes(
            message { $0.appendErrorResponse(.fatal(.adminShutdown, "terminating")) })
        #expect(passed.isEmpty)
        #expect(step.fatal?.sqlState == .adminShutdown)
        #expect(relay.lose().client == ["E(08006,lost)", "Z(I)"])
    }

    /// What cannot be an answer to what was sent ends the connection.
    @Test func whatWasNotAskedForBreaksTheServer() {
        let idle: [[UInt8]] = [
            message { $0.appendReadyForQuery(.idle) }, message { $0.appendParseComplete() },
            message { $0.appendBindComplete() }, message { $0.appendCloseComplete() },
            message { $0.appendMessage(kind: 33) { _ in } },
            message { $0.appendAuthenticationOk() },
        ]
        for bytes in idle {
            var relay = RelayFixture()
            #expect(relay.answerBytes(bytes).step.broken != nil, "\(bytes)")
        }
        for bytes in idle {
            var relay = RelayFixture()
            relay.send { $0.appendStatement("select 1") }
            relay.answer { $0.appendParseComplete() }
            relay.answer { $0.appendBindComplete() }
            if bytes.count == 5, bytes[0] != 33 { continue }
            #expect(relay.answerBytes(bytes).step.broken != nil, "\(bytes)")
        }
    }

    @Test func lengthsThatCannotBeBreakTheServer() {
        for length in [UInt32.max, 0, 1, 2, 3, 0x8000_0000] {
            var relay = RelayFixture()
            relay.send { $0.appendQuery("select 1") }
            var bytes: [UInt8] = [UInt8(ascii: "D")]
            bytes.appendInteger(length)
            #expect(relay.answerBytes(bytes).step.broken != nil, "\(length)")
        }
        for kind in "ZC".utf8 {
            var relay = RelayFixture()
            relay.send { $0.appendQuery("select 1") }
            var bytes = [kind]
            bytes.appendInteger(UInt32(1 << 21))
            #expect(relay.answerBytes(bytes).step.broken != nil, "\(kind)")
        }
    }

    @Test func statusesAndErrorsThatCannotBeReadBreakTheServer() {
        for (kind, body) in [(UInt8(ascii: "Z"), [UInt8]()), (90, [88]), (69, []), (69, [77, 65])] {
            var relay = RelayFixture()
            relay.send { $0.appendQuery("select 1") }
            let bytes = message { $0.appendMessage(kind: kind) { $0 += body } }
            #expect(relay.answerBytes(bytes).step.broken != nil, "\(kind) \(body)")
        }
    }

    // MARK: The end of the lease

    @Test(
        arguments: [
            (.transaction, .idle, true),
            (.transaction, .inTransaction, false), (.transaction, .failed, false),
            (.statement, .idle, true), (.statement, .inTransaction, true),
            (.session, .idle, false),
        ] as [(RelayMode.Pooling, TransactionStatus, Bool)]) func theLeaseEndsByStatus(
            _ pooling: RelayMode.Pooling, _ status: TransactionStatus, _ isOver: Bool
        )
    {
        var relay = RelayFixture(pooling)
        relay.send { $0.appendQuery("select 1") }
        #expect(!relay.isLeaseOver)
        relay.answer { $0.appendCommandComplete("SELECT 1") }
        #expect(!relay.isLeaseOver)
        relay.answer { $0.appendReadyForQuery(status) }
        #expect(relay.isLeaseOver == isOver)
    }

    /// A Flush brings all answers, and the transaction of the batch is still open.
    @Test(arguments: [RelayMode.Pooling.transaction, .statement])
    func aBatchWithoutItsSyncKeepsTheLease(_ pooling: RelayMode.Pooling) {
        var relay = RelayFixture(pooling)
        relay.send {
            $0.appendStatement("insert into t values (1)")
            $0.appendFlush()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCommandComplete("INSERT 0 1")
        }
        #expect(!relay.isOwing)
        #expect(!relay.isLeaseOver)
        relay.send { $0.appendSync() }
        relay.answer { $0.appendReadyForQuery(.idle) }
        #expect(relay.isLeaseOver)
    }

    @Test func onlyTheLastSyncEndsTheLease() {
        var relay = RelayFixture()
        relay.send {
            for _ in 0..<3 {
                $0.appendStatement("select 1")
                $0.appendSync()
            }
        }
        for round in 0..<3 {
            relay.answer {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
            }
            #expect(relay.isLeaseOver == (round == 2))
        }
    }

    @Test func aMessageOnItsWayKeepsTheLease() {
        var relay = RelayFixture()
        let notice = message { $0.appendNoticeResponse(.notice("mind")) }
        relay.send { $0.appendQuery("select 1") }
        relay.answer {
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
            $0 += notice.prefix(8)
        }
        #expect(!relay.isLeaseOver)
        relay.answer { $0 += notice.dropFirst(8) }
        #expect(relay.isLeaseOver)
    }

    // MARK: Copy

    private static let copyIn = message {
        $0.appendMessage(kind: BackendKind.copyInResponse.rawValue) { $0 += [0, 0, 0] }
    }

    @Test func theSyncThatACopyIgnoresHasNoAnswer() {
        var relay = RelayFixture()
        relay.send {
            $0.appendStatement("copy t from stdin")
            $0.appendSync()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0 += Self.copyIn
        }
        relay.send {
            $0.appendCopyData([65])
            $0.appendCopyDone()
            $0.appendSync()
        }
        relay.answer { $0.appendCommandComplete("COPY 1") }
        #expect(!relay.isLeaseOver)
        relay.answer { $0.appendReadyForQuery(.idle) }
        #expect(relay.isLeaseOver)
        #expect(relay.server.conditionOnReturn == .clean)
    }

    /// The client sends all of the copy before it hears that the server takes it.
    @Test func aCopyThatIsSentAheadKeepsItsSync() {
        for syncBefore in [false, true] {
            var relay = RelayFixture()
            relay.send {
                $0.appendStatement("copy t from stdin")
                if syncBefore { $0.appendSync() }
                $0.appendCopyData([65])
                $0.appendCopyDone()
                $0.appendSync()
            }
            let answer = message {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0 += Self.copyIn
                $0.appendCommandComplete("COPY 1")
                $0.appendReadyForQuery(.idle)
            }
            let (bytes, step) = relay.answerBytes(answer)
            #expect(step.broken == nil)
            #expect(bytes == answer)
            #expect(relay.isLeaseOver, "\(syncBefore)")
        }
    }

    @Test func aSyncBehindASimpleCopyHasNoAnswer() {
        var relay = RelayFixture()
        relay.send {
            $0.appendQuery("copy t from stdin")
            $0.appendSync()
        }
        relay.answer { $0 += Self.copyIn }
        relay.send { $0.appendCopyDone() }
        relay.answer {
            $0.appendCommandComplete("COPY 0")
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.isLeaseOver)
    }

    @Test func aCopyThatFailsSkipsToItsSync() {
        var relay = RelayFixture()
        relay.send {
            $0.appendStatement("copy t from stdin")
            $0.appendFlush()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0 += Self.copyIn
        }
        relay.send { $0.appendCopyData([65]) }
        #expect(relay.answer { $0.appendFailure() } == ["E(42601,no)"])
        relay.send {
            $0.appendCopyDone()
            $0.appendSync()
        }
        #expect(relay.answer { $0.appendReadyForQuery(.idle) } == ["Z(I)"])
        #expect(relay.isLeaseOver)
    }

    @Test func aCopyThatMayHaveIgnoredASyncIsNotTrustedWhenItFails() {
        var relay = RelayFixture()
        relay.send {
            $0.appendStatement("copy t from stdin")
            $0.appendSync()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0 += Self.copyIn
            $0.appendFailure()
        }
        // It failed before it read the Sync.
        #expect(relay.answer { $0.appendReadyForQuery(.idle) } == ["Z(I)"])
        #expect(relay.isLeaseOver)
        #expect(relay.server.conditionOnReturn == .broken)
    }
}
