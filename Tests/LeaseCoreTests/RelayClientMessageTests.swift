// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What a client's message becomes, by its kind and by the state that it comes in.
@Suite struct RelayClientMessageTests {
    /// One message of each kind that a client may send in a session.
    static let kinds: [(name: String, bytes: [UInt8])] = [
        ("Query", message { $0.appendQuery("select 1") }),
        ("Parse", message { $0.appendParse(name: "", query: "select 1") }),
        ("ParseNamed", message { $0.appendParse(name: "s1", query: "select 1") }),
        ("Bind", message { $0.appendBind() }),
        ("Describe", message { $0.appendDescribe(portal: "") }),
        ("Execute", message { $0.appendExecute() }),
        ("ClosePortal", message { $0.appendClosePortal(name: "p") }),
        ("Sync", message { $0.appendSync() }),
        ("Flush", message { $0.appendFlush() }),
        ("FunctionCall", message { $0.appendMessage(kind: 70) { $0 += [0, 0, 0, 1] } }),
        ("CopyData", message { $0.appendCopyData([65]) }),
        ("CopyDone", message { $0.appendCopyDone() }),
        ("CopyFail", message { $0.appendCopyFail("no") }),
    ]

    enum State: CaseIterable {
        case none, busy, serverSkips, clientSkips, copyIn, copyInExtended, session, statement
        case unprepared
    }

    private func fixture(_ state: State) -> RelayFixture {
        var relay = RelayFixture()
        switch state {
        case .none: break
        case .busy: relay.send { $0.appendQuery("select 0") }
        case .serverSkips:
            relay.send { $0.appendBind(statement: "none") }
            relay.answer { $0.appendFailure() }
        case .clientSkips: relay.client.isSkippingToSync = true
        case .copyIn:
            relay.send { $0.appendQuery("copy t from stdin") }
            relay.answer { $0.appendMessage(kind: BackendKind.copyInResponse.rawValue) { _ in } }
        case .copyInExtended:
            relay.send {
                $0.appendStatement("copy t from stdin")
                $0.appendSync()
            }
            relay.answer {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendMessage(kind: BackendKind.copyInResponse.rawValue) { _ in }
            }
        case .session: relay = RelayFixture(.session)
        case .statement: relay = RelayFixture(.statement)
        case .unprepared: relay = RelayFixture(.transaction, prepared: 0)
        }
        return relay
    }

    /// What of each kind reaches the server, unchanged unless it is given.
    private func expected(_ kind: String, _ state: State, _ bytes: [UInt8]) -> [String] {
        let same = RelayTranscript.ofClient(bytes)
        switch (state, kind) {
        case (.clientSkips, "Sync"): return same
        case (.clientSkips, _): return []
        case (.serverSkips, _), (.session, "ParseNamed"), (.unprepared, "ParseNamed"): break
        case (_, "ParseNamed"): return ["Parse(pglease_1,select 1)", "Describe(S,pglease_1)"]
        // The unnamed statement of an earlier client is not this one's.
        case (.none, "Bind"), (.busy, "Bind"), (.copyIn, "Bind"), (.statement, "Bind"),
            (.unprepared, "Bind"):
            return ["Close(S,)"] + same
        default: break
        }
        switch (state, kind) {
        case (.none, "CopyData"), (.none, "CopyDone"), (.none, "CopyFail"),
            (.serverSkips, "CopyData"), (.session, "CopyData"), (.session, "CopyDone"),
            (.session, "CopyFail"), (.statement, "CopyData"), (.statement, "CopyDone"),
            (.statement, "CopyFail"), (.unprepared, "CopyData"), (.unprepared, "CopyDone"),
            (.unprepared, "CopyFail"):
            return state == .serverSkips ? same : []
        default: return same
        }
    }

    @Test(arguments: State.allCases) func passesOrIsComposed(_ state: State) {
        for (kind, bytes) in Self.kinds {
            var relay = fixture(state)
            let result = relay.send(bytes)
            #expect(result.server == expected(kind, state, bytes), "\(kind) in \(state)")
            #expect(result.client == [], "\(kind) in \(state)")
            #expect(result.isMore)
            #expect(relay.pending.isEmpty)
        }
    }

    /// Each kind that has an answer is owed one; a Sync that a copy swallows is not.
    @Test(arguments: State.allCases) func owesAnAnswer(_ state: State) {
        for (kind, bytes) in Self.kinds {
            var relay = fixture(state)
            let wasOwing = relay.server.isOwing
            relay.send(bytes)
            let isAnswered: Bool =
                switch (state, kind) {
                case (_, "Flush"), (_, "CopyData"), (_, "CopyDone"), (_, "CopyFail"): false
                case (.serverSkips, _), (.clientSkips, _): kind == "Sync"
                case (.copyIn, "Sync"), (.copyInExtended, "Sync"): false
                default: true
                }
            #expect(relay.server.isOwing == (wasOwing || isAnswered), "\(kind) in \(state)")
        }
    }

    @Test func terminateStopsTheTurnInFrontOfWhatFollows() {
        for state in State.allCases {
            var relay = fixture(state)
            let result = relay.send {
                $0.appendTerminate()
                $0.appendQuery("select 2")
            }
            #expect(result.isTerminate, "\(state)")
            #expect(result.toServer.isEmpty)
            var without = RelayFixture()
            #expect(without.sendWithoutLease { $0.appendTerminate() }.isTerminate)
        }
    }

    @Test func kindsThatAreNotTheProtocolsEndTheSession() {
        let known = Set("QPBDECSHFdcfX".utf8)
        for kind in UInt8.min...UInt8.max where !known.contains(kind) {
            var relay = RelayFixture()
            let bytes = message { $0.appendMessage(kind: kind) { _ in } }
            #expect(relay.send(bytes).error?.sqlState == .protocolViolation, "\(kind)")
            var without = RelayFixture()
            #expect(
                without.sendWithoutLease { $0 += bytes }.error?.sqlState == .protocolViolation)
        }
    }

    @Test(arguments: [UInt32.max, 0, 1, 2, 3, 0x8000_0000, 0x7fff_ffff, 10_005] as [UInt32])
    func lengthsThatCannotBeEndTheSession(_ length: UInt32) {
        for kind in "QPBDECSHFdcfX".utf8 {
            var relay = RelayFixture(.transaction, maxMessageSize: 10_000)
            var bytes = [kind]
            bytes.appendInteger(length)
            let result = relay.send(bytes)
            #expect(result.error?.sqlState == .protocolViolation, "\(kind)")
            #expect(result.error?.severity == .fatal)
            #expect(result.toServer.isEmpty)
            var without = RelayFixture(.transaction, maxMessageSize: 10_000)
            #expect(
                without.sendWithoutLease { $0 += bytes }.error?.sqlState == .protocolViolation)
        }
    }

    @Test func bodiesWithoutTheirTerminatorEndTheSession() {
        let bodies: [(FrontendKind, [UInt8])] = [
            (.parse, []), (.parse, [65]), (.bind, []), (.bind, [65]), (.bind, [0]),
            (.bind, [0, 66]),
            (.describe, []), (.describe, [83]), (.describe, [83, 65]), (.describe, [90, 0]),
            (.close, []), (.close, [83]), (.close, [80, 65]), (.close, [0, 0]),
        ]
        for (kind, body) in bodies {
            var relay = RelayFixture()
            let result = relay.send { $0.appendMessage(kind: kind.rawValue) { $0 += body } }
            #expect(result.error?.sqlState == .protocolViolation, "\(kind) \(body)")
        }
    }

    /// A name must be seen whole, and a client must not make the broker keep a gigabyte for one.
    @Test func namesWithoutEndEndTheSession() {
        for kind in [FrontendKind.parse, .bind] {
            var relay = RelayFixture(.transaction, maxMessageSize: 1 << 30)
            var bytes = [kind.rawValue]
            bytes.appendInteger(UInt32(1 << 29))
            bytes += Array(repeating: 65, count: 1_100_000)
            #expect(relay.send(bytes).isMalformed, "\(kind)")
        }
    }

    @Test func aNamedStatementThatIsTooLongIsRefused() {
        var relay = RelayFixture()
        relay.statements.memory.limit = 1 << 24
        var bytes = [FrontendKind.parse.rawValue]
        bytes.appendInteger(UInt32(1 << 25))
        bytes += Array("s1\0".utf8)
        #expect(relay.send(bytes).error?.sqlState == .programLimitExceeded)
    }

    // MARK: Without a lease

    @Test func whatNeedsNoServerIsAnsweredWithoutOne() {
        var relay = RelayFixture()
        #expect(relay.sendWithoutLease { $0.appendSync() }.client == ["Z(I)"])
        for kind in ["Flush", "CopyData", "CopyDone", "CopyFail"] {
            let bytes = Self.kinds.first { $0.name == kind }!.bytes
            let result = relay.sendWithoutLease { $0 += bytes }
            #expect(result.isMore && result.toClient.isEmpty && relay.pending.isEmpty, "\(kind)")
        }
        for kind in ["Query", "Parse", "ParseNamed", "Bind", "Describe", "Execute", "ClosePortal"] {
            var relay = RelayFixture()
            let bytes = Self.kinds.first { $0.name == kind }!.bytes
            #expect(relay.sendWithoutLease { $0 += bytes }.needsLease, "\(kind)")
            #expect(relay.pending == bytes)
        }
    }

    @Test func aNamedStatementIsClosedWithoutAServer() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        let result = relay.sendWithoutLease {
            $0.appendCloseStatement(name: "s1")
            $0.appendSync()
            $0.appendCloseStatement(name: "s1")
        }
        #expect(result.client == ["CloseComplete", "Z(I)"])
        #expect(result.needsLease)
        #expect(relay.leftOver() == 0)
    }

    @Test func whatAnErrorMakesTheClientSkipNeedsNoServer() {
        var relay = RelayFixture()
        relay.client.isSkippingToSync = true
        let result = relay.sendWithoutLease {
            for (_, bytes) in Self.kinds where bytes[0] != FrontendKind.sync.rawValue {
                $0 += bytes
            }
            $0.appendSync()
        }
        #expect(result.client == ["Z(I)"])
        #expect(result.isMore && relay.pending.isEmpty)
        #expect(!relay.isSkippingToSync)
    }
}
