// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// LEASE and LEASE RETURN in the messages of either protocol, with a server and without.
@Suite struct RelayLeaseMessageTests {
    static let poolings: [RelayMode.Pooling] = [.transaction, .statement, .session]

    /// A client of such a pool that holds a server, or (not in a session pool) none.
    struct Place: CustomStringConvertible, Sendable {
        var pooling: RelayMode.Pooling
        var holds: Bool
        var prepared = 100
        var description: String { "\(pooling), \(holds ? "a server" : "none"), \(prepared)" }
    }

    static let places = poolings.flatMap { pooling in
        [0, 100].flatMap { prepared in
            [true, false].filter { $0 || pooling != .session }.map {
                Place(pooling: pooling, holds: $0, prepared: prepared)
            }
        }
    }

    private func send(
        _ place: Place, _ relay: inout RelayFixture, _ write: (inout [UInt8]) -> Void
    ) -> RelayFixture.FromClient {
        place.holds ? relay.send(write) : relay.sendWithoutLease(write)
    }

    // MARK: Simple

    @Test(arguments: places) func simpleCommandsAreTheShells(_ place: Place) {
        for text in ["LEASE", "lease direct;", " /* a */ LEASE RETURN"] {
            var relay = RelayFixture(place.pooling, prepared: place.prepared)
            let result = send(place, &relay) {
                $0.appendQuery(text)
                $0.appendQuery("select 1")
            }
            #expect(result.lease != nil)
            #expect(result.form == .simple)
            #expect(result.toClient.isEmpty && result.toServer.isEmpty)
            #expect(RelayTranscript.ofClient(relay.pending) == ["Query(select 1)"])
        }
    }

    @Test(arguments: places) func wrongCommandsAreRefused(_ place: Place) {
        var relay = RelayFixture(place.pooling, prepared: place.prepared)
        let result = send(place, &relay) {
            $0.appendQuery("LEASE ME")
            $0.appendQuery("LEASE WAIT 'x'")
            $0.appendQuery("LEASE RETURN")
        }
        #expect(
            result.client == [
                "E(42601,syntax error at or near \"ME\")", "Z(I)",
                "E(22023,invalid duration for WAIT: \"x\")", "Z(I)",
            ])
        #expect(result.lease == .giveBack)
        #expect(result.toServer.isEmpty)
    }

    @Test func theRefusalTellsTheTransactionsState() {
        for status in [TransactionStatus.idle, .inTransaction, .failed] {
            var relay = RelayFixture()
            relay.send { $0.appendQuery("begin") }
            relay.answer { $0.appendReadyForQuery(status) }
            let result = relay.send { $0.appendQuery("LEASE ME") }
            #expect(result.toClient.last == status.rawValue)
        }
    }

    @Test(arguments: places) func allElseIsNoConcernOfTheBroker(_ place: Place) {
        let texts = [
            "LEASES", "\"lease\"", "select 1", "", " ", "/* LEASE", "lock t", "-- LEASE",
            "BEGIN; LEASE",
        ]
        for text in texts {
            var relay = RelayFixture(place.pooling, prepared: place.prepared)
            let result = send(place, &relay) { $0.appendQuery(text) }
            if place.holds {
                #expect(result.server == ["Query(\(text))"])
            } else {
                #expect(result.needsLease)
            }
        }
    }

    /// What is longer is none: it need not be awaited whole.
    @Test(arguments: places) func lengthsAreBounded(_ place: Place) {
        for (length, isCommand) in [(2047, true), (2048, false), (10_000, false)] {
            let text = "LEASE" + String(repeating: " ", count: length - 5)
            var relay = RelayFixture(place.pooling, prepared: place.prepared)
            #expect((send(place, &relay) { $0.appendQuery(text) }.lease != nil) == isCommand)
            relay = RelayFixture(place.pooling, prepared: place.prepared)
            let parsed = send(place, &relay) { $0.appendParse(name: "s1", query: text) }
            // The count of types is two bytes.
            #expect((parsed.client == ["ParseComplete"]) == (isCommand && length < 2045))
        }
    }

    /// The first byte tells, in a session pool where nothing is awaited whole.
    @Test func aSessionPoolsQueryPassesAsItComes() {
        let whole = message { $0.appendQuery("select " + String(repeating: "x", count: 100)) }
        var relay = RelayFixture(.session)
        #expect(relay.send(Array(whole[..<5])).toServer.isEmpty, "it may be a lease command")
        #expect(relay.send([whole[5]]).toServer == Array(whole[..<6]))
        #expect(relay.send(Array(whole[6...20])).toServer == Array(whole[6...20]))
        let lease = message { $0.appendQuery("LEASE") }
        for count in 1..<lease.count {
            relay = RelayFixture(.session)
            let result = relay.send(Array(lease[..<count]))
            #expect(result.toServer.isEmpty && result.toClient.isEmpty && result.lease == nil)
            #expect(relay.send(Array(lease[count...])).lease != nil)
        }
    }

    // MARK: Extended

    private static let acquired = [
        "ParseComplete", "BindComplete", "T", "D(1)", "C(LEASE)", "Z(I)",
    ]

    @Test(arguments: poolings) func aWholeBatch(_ pooling: RelayMode.Pooling) {
        for name in ["", "s1"] {
            var talk = RelayLeaseTalk(pooling)
            let got = talk.say {
                $0.appendParse(name: name, query: "LEASE WAIT '2s'")
                $0.appendBind(statement: name)
                $0.appendDescribe(portal: "")
                $0.appendExecute()
                $0.appendSync()
            }
            #expect(got == Self.acquired)
            #expect(talk.server == ["Sync"], "the server is the client's: it ends the batch")
            #expect(talk.isHeld)
            let back = talk.say {
                $0.appendParse(name: "", query: "LEASE RETURN")
                $0.appendDescribe(statement: "")
                $0.appendBind(portal: "p")
                $0.appendDescribe(portal: "p")
                $0.appendExecute(portal: "p")
                $0.appendSync()
            }
            #expect(
                back == [
                    "ParseComplete", "t", "n", "BindComplete", "n", "C(LEASE RETURN)", "Z(I)",
                ])
            #expect(talk.server == (pooling == .session ? ["Sync"] : []))
            #expect(!talk.isHeld)
            #expect(talk.relay.leftOver() == 0)
        }
    }

    /// As most drivers do it: what is prepared in one batch is run in others.
    @Test(arguments: poolings) func aNamedStatementLivesOn(_ pooling: RelayMode.Pooling) {
        var talk = RelayLeaseTalk(pooling)
        let prepared = talk.say {
            $0.appendParse(name: "s1", query: "LEASE")
            $0.appendDescribe(statement: "s1")
            $0.appendParse(name: "s2", query: "LEASE RETURN")
            $0.appendSync()
        }
        #expect(prepared == ["ParseComplete", "t", "T", "ParseComplete", "Z(I)"])
        for _ in 0..<3 {
            let got = talk.say {
                $0.appendRun("s1")
                $0.appendSync()
            }
            #expect(got == ["BindComplete", "D(1)", "C(LEASE)", "Z(I)"])
            let back = talk.say {
                $0.appendRun("s2")
                $0.appendSync()
            }
            #expect(back == ["BindComplete", "C(LEASE RETURN)", "Z(I)"])
        }
        #expect(talk.commands.count == 6)
        let closed = talk.say {
            $0.appendCloseStatement(name: "s1")
            $0.appendCloseStatement(name: "s2")
            $0.appendSync()
            $0.appendRun("s1")
            $0.appendSync()
        }
        #expect(closed.prefix(3) == ["CloseComplete", "CloseComplete", "Z(I)"])
        #expect(closed.last == "Z(I)" && closed[3].hasPrefix("E(26000"))
        #expect(talk.relay.leftOver() == 0)
    }

    @Test func columnsHaveTheFormatsThatBindAsksFor() {
        for (asked, columns) in [
            ([], [0, 0, 0, 0]), ([0], [0, 0, 0, 0]), ([1], [1, 1, 1, 1]),
            ([1, 0, 0, 1], [1, 0, 0, 1]),
        ] as [([Int16], [Int16])] {
            var relay = RelayFixture()
            let result = relay.sendWithoutLease {
                $0.appendParse(name: "", query: "LEASE")
                $0.appendBind(resultFormats: asked)
                $0.appendDescribe(portal: "")
                $0.appendExecute()
            }
            #expect(result.form == .extended(formats: asked))
            let expected = message {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendRowDescription(LeaseAnswer.columns(formats: asked))
            }
            #expect(result.toClient == expected)
            #expect(LeaseAnswer.columns(formats: asked).map(\.format) == columns)
        }
    }

    @Test func theRowIsInTheFormatThatWasAskedFor() {
        func row(_ formats: [Int16]) -> [[UInt8]?] {
            LeaseAnswer.row(
                lease: 258, serverProcess: 7, kind: "relay", waitedMicroseconds: -1,
                formats: formats)
        }
        let kind = Array("relay".utf8)
        let text: [[UInt8]?] = [Array("258".utf8), Array("7".utf8), kind, Array("-1".utf8)]
        let binary: [[UInt8]?] = [
            [0, 0, 0, 0, 0, 0, 1, 2], [0, 0, 0, 7], kind, Array(repeating: 255, count: 8),
        ]
        #expect(row([]) == text)
        #expect(row([0]) == text)
        #expect(row([1]) == binary)
        #expect(row([1, 0, 1, 0]) == [binary[0], text[1], kind, text[3]])
        #expect(
            LeaseAnswer.columns().map(\.name) == ["lease_id", "server_pid", "kind", "waited_us"])
    }

    /// A Bind and why it is refused.
    struct BadBind: CustomStringConvertible, Sendable {
        var description: String
        var write: @Sendable (inout [UInt8]) -> Void
    }

    static let badBinds: [BadBind] = [
        BadBind(description: "a parameter") { $0.appendBind(statement: "s1", texts: ["1"]) },
        BadBind(description: "a NULL") { $0.appendBind(statement: "s1", texts: [nil]) },
        BadBind(description: "two formats") {
            $0.appendBind(statement: "s1", resultFormats: [0, 1])
        },
        BadBind(description: "five formats") {
            $0.appendBind(statement: "s1", resultFormats: [0, 1, 0, 1, 0])
        },
        BadBind(description: "a format that is none") {
            $0.appendBind(statement: "s1", resultFormats: [2])
        },
        BadBind(description: "a negative format") {
            $0.appendBind(statement: "s1", resultFormats: [-1])
        },
        BadBind(description: "cut off behind the name") { bytes in
            bytes.appendMessage(kind: FrontendKind.bind.rawValue) { $0 += [0, 0x73, 0x31, 0] }
        },
        BadBind(description: "cut off in the counts") { bytes in
            bytes.appendMessage(kind: FrontendKind.bind.rawValue) {
                $0 += [0, 0x73, 0x31, 0, 0, 0, 0]
            }
        },
        BadBind(description: "counts more than there is") { bytes in
            bytes.appendMessage(kind: FrontendKind.bind.rawValue) {
                $0 += [0, 0x73, 0x31, 0, 255, 255, 0, 0, 0, 0]
            }
        },
        BadBind(description: "more than it counts") { bytes in
            bytes.appendMessage(kind: FrontendKind.bind.rawValue) {
                $0 += [0, 0x73, 0x31, 0, 0, 0, 0, 0, 0, 0, 9]
            }
        },
    ]

    @Test(arguments: badBinds) func whatBindMustNotSay(_ bad: BadBind) {
        var relay = RelayFixture()
        relay.sendWithoutLease { $0.appendParse(name: "s1", query: "LEASE") }
        let result = relay.sendWithoutLease {
            bad.write(&$0)
            $0.appendExecute()
            $0.appendQuery("skipped")
            $0.appendSync()
            $0.appendRun("s1")
        }
        #expect(
            result.client == [
                "E(08P01,LEASE has no parameters, and results in text or binary format only)",
                "Z(I)", "BindComplete",
            ])
        #expect(result.lease != nil, "the statement is still there")
    }

    @Test func oneFormatForNoParameterIsAllRight() {
        var relay = RelayFixture()
        let result = relay.sendWithoutLease { bytes in
            bytes.appendParse(name: "", query: "LEASE")
            bytes.appendMessage(kind: FrontendKind.bind.rawValue) {
                $0 += [0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
            }
        }
        #expect(result.client == ["ParseComplete", "BindComplete"])
    }

    /// Nobody may have the broker keep a message of any length for a statement without parameters.
    @Test(arguments: places) func aLongBindIsNotKept(_ place: Place) {
        var relay = RelayFixture(place.pooling, prepared: place.prepared)
        _ = send(place, &relay) { $0.appendParse(name: "s1", query: "LEASE") }
        let long = message {
            $0.appendBind(statement: "s1", texts: [String(repeating: "x", count: 100_000)])
        }
        let result = send(place, &relay) { $0 += long[..<50_000] }
        #expect(relay.pending.isEmpty)
        #expect(result.client.count == 1 && result.client[0].hasPrefix("E(08P01"))
        let rest = send(place, &relay) {
            $0 += long[50_000...]
            $0.appendSync()
        }
        #expect(rest.client == (place.holds ? [] : ["Z(I)"]))
        #expect(rest.server == (place.holds ? ["Sync"] : []))
    }

    @Test func namesWithoutEndAreNotAwaited() {
        for kind in [FrontendKind.bind, .parse] {
            var relay = RelayFixture()
            relay.send { $0.appendParse(name: "s1", query: "LEASE") }
            let endless = message { bytes in
                bytes.appendMessage(kind: kind.rawValue) {
                    $0 += Array(repeating: 120, count: 1_200_000)
                }
            }
            #expect(relay.send(Array(endless[..<10_000])).isMore)
            #expect(relay.send(Array(endless[10_000..<1_100_000])).isMalformed)
        }
    }

    @Test(arguments: places) func refusedInABatch(_ place: Place) {
        var relay = RelayFixture(place.pooling, prepared: place.prepared)
        let result = send(place, &relay) {
            $0.appendParse(name: "s1", query: "LEASE ME")
            $0.appendRun("s1")
            $0.appendQuery("LEASE")
            $0.appendParse(name: "s2", query: "LEASE")
        }
        #expect(result.client == ["E(42601,syntax error at or near \"ME\")"])
        #expect(result.lease == nil && result.toServer.isEmpty)
        let next = send(place, &relay) {
            $0.appendSync()
            $0.appendParse(name: "s1", query: "LEASE")
        }
        #expect(next.server == (place.holds ? ["Sync"] : []))
        if place.holds { relay.answer { $0.appendReadyForQuery(.idle) } }
        let parsed = place.holds ? relay.send([]).client : Array(next.client.dropFirst())
        #expect(parsed == ["ParseComplete"])
    }

    /// A statement with parameters cannot be one of these: the text says so.
    @Test func aPlaceholderIsRefused() {
        var relay = RelayFixture()
        let result = relay.sendWithoutLease {
            $0.appendParse(name: "", query: "LEASE WAIT $1", parameterTypes: [25])
        }
        #expect(result.client == ["E(42601,syntax error at or near \"$1\")"])
    }

    // MARK: Portals

    @Test func portalsEndWithTheirBatch() {
        var talk = RelayLeaseTalk()
        let got = talk.say {
            $0.appendParse(name: "s1", query: "LEASE RETURN")
            $0.appendBind(portal: "p", statement: "s1")
            $0.appendSync()
            $0.appendExecute(portal: "p")
            $0.appendSync()
        }
        #expect(got.prefix(3) == ["ParseComplete", "BindComplete", "Z(I)"])
        #expect(got.dropFirst(3).first?.hasPrefix("E(34000") == true)
        #expect(talk.commands.isEmpty)
    }

    @Test func aPortalMayBeClosedAndTakenAgain() {
        var talk = RelayLeaseTalk()
        let got = talk.say {
            $0.appendParse(name: "s1", query: "LEASE RETURN")
            $0.appendParse(name: "s2", query: "select a")
            $0.appendSync()
            $0.appendBind(portal: "p", statement: "s1")
            $0.appendClosePortal(name: "p")
            $0.appendBind(portal: "p", statement: "s2")
            $0.appendExecute(portal: "p")
            $0.appendSync()
            $0.appendBind(statement: "s1")
            $0.appendBind(statement: "s2")
            $0.appendExecute()
            $0.appendSync()
        }
        #expect(
            got == [
                "ParseComplete", "ParseComplete", "Z(I)", "BindComplete", "CloseComplete",
                "BindComplete", "D(a)", "C(SELECT 1)", "Z(I)", "BindComplete", "BindComplete",
                "D(a)", "C(SELECT 1)", "Z(I)",
            ])
        #expect(talk.commands.isEmpty)
    }

    // MARK: Bounds

    @Test func statementsAndPortalsAreBounded() {
        var relay = RelayFixture()
        let many = relay.sendWithoutLease {
            for index in 0..<1000 { $0.appendParse(name: "s\(index)", query: "LEASE") }
            for index in 0..<1000 { $0.appendBind(portal: "p\(index)", statement: "s0") }
            $0.appendParse(name: "s5", query: "LEASE RETURN")
            $0.appendBind(portal: "p7", statement: "s5")
        }
        #expect(many.client.count == 2002)
        #expect(many.client.allSatisfy { $0.hasSuffix("Complete") })
        let refused = relay.sendWithoutLease {
            $0.appendBind(portal: "p", statement: "s0")
            $0.appendSync()
            $0.appendParse(name: "s", query: "LEASE")
            $0.appendSync()
        }
        let error = "E(54000,too many prepared LEASE statements)"
        #expect(refused.client == [error, "Z(I)", error, "Z(I)"])
        let room = relay.sendWithoutLease {
            $0.appendBind(portal: "p", statement: "s0")
            $0.appendCloseStatement(name: "s0")
            $0.appendParse(name: "s", query: "LEASE")
            $0.appendSync()
        }
        #expect(room.client == ["BindComplete", "CloseComplete", "ParseComplete", "Z(I)"])
    }
}
