// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// ROLLBACK and COMMIT of a client that has no lease, and would have to wait for one.
@Suite struct RelayTransactionEndTests {
    private static let warning = "N(25P01,there is no transaction in progress)"

    private func answer(_ relay: inout RelayFixture, _ write: (inout [UInt8]) -> Void) -> [String]?
    {
        guard relay.sendWithoutLease(write).needsLease else { return ["no lease is needed"] }
        return relay.answerTransactionEnd().map(RelayTranscript.ofServer)
    }

    @Test(arguments: [("ROLLBACK", "ROLLBACK"), ("abort;", "ROLLBACK"), ("END", "COMMIT")])
    func aQueryIsAnsweredWithItsWarningAndTag(text: String, tag: String) {
        var relay = RelayFixture()
        let said = answer(&relay) { $0.appendQuery(text) }
        #expect(said == [Self.warning, "C(\(tag))", "Z(I)"])
        #expect(relay.pending.isEmpty)
    }

    @Test(arguments: [true, false], [true, false])
    func aBatchIsAnsweredAsAWhole(isDescribed: Bool, isClosed: Bool) {
        var relay = RelayFixture()
        let said = answer(&relay) {
            $0.appendParse(name: "", query: "ROLLBACK")
            $0.appendBind()
            if isDescribed { $0.appendDescribe(portal: "") }
            $0.appendExecute()
            if isClosed { $0.appendClosePortal(name: "") }
            $0.appendSync()
        }
        var expected = ["ParseComplete", "BindComplete"]
        if isDescribed { expected.append("n") }
        expected += [Self.warning, "C(ROLLBACK)"]
        if isClosed { expected.append("CloseComplete") }
        #expect(said == expected + ["Z(I)"])
        // The unnamed statement stands, as it would on a server.
        relay.lease()
        #expect(relay.send { $0.appendBind() }.server == ["Parse(,ROLLBACK)", "Bind(,)"])
    }

    @Test func aPreparedStatementIsAnsweredByItsText() {
        var relay = RelayFixture()
        relay.prepare("S_1", "COMMIT")
        relay.prepare("S_2", "SELECT 1")
        let said = answer(&relay) {
            $0.appendRun("S_1")
            $0.appendSync()
        }
        #expect(said == ["BindComplete", Self.warning, "C(COMMIT)", "Z(I)"])
        let other = answer(&relay) {
            $0.appendRun("S_2")
            $0.appendSync()
        }
        #expect(other == nil)
    }

    @Test func aQueryEndsTheUnnamedStatement() {
        var relay = RelayFixture()
        relay.send {
            $0.appendParse(name: "", query: "select 1")
            $0.appendSync()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendReadyForQuery(.idle)
        }
        #expect(answer(&relay) { $0.appendQuery("ROLLBACK") } != nil)
        relay.lease()
        #expect(relay.send { $0.appendBind() }.server == ["Close(S,)", "Bind(,)"])
    }

    @Test(arguments: ["SELECT 1", "", "-- ping", "ROLLBACK TO a", "ROLLBACK; SELECT 1"])
    func whatElseANeedsAServer(text: String) {
        var relay = RelayFixture()
        #expect(answer(&relay) { $0.appendQuery(text) } == nil)
        #expect(!relay.pending.isEmpty)
    }

    @Test func aBatchOfMoreThanThatIsAServers() {
        let batches: [(inout [UInt8]) -> Void] = [
            {
                $0.appendStatement("ROLLBACK")
                $0.appendStatement("SELECT 1")
                $0.appendSync()
            },
            {
                $0.appendStatement("ROLLBACK")
                $0.appendFlush()
                $0.appendSync()
            },
            // Not whole yet: it waits with the rest.
            { $0.appendStatement("ROLLBACK") },
            {
                $0.appendParse(name: "", query: "ROLLBACK")
                $0.appendBind(texts: ["1"])
                $0.appendExecute()
                $0.appendSync()
            },
        ]
        for batch in batches {
            var relay = RelayFixture()
            #expect(answer(&relay, batch) == nil)
        }
    }

    @Test func inASessionPoolNothingIsAnswered() {
        var relay = RelayFixture(.session)
        #expect(answer(&relay) { $0.appendQuery("ROLLBACK") } == nil)
    }

    @Test func whatFollowsIsLeft() {
        var relay = RelayFixture()
        let said = answer(&relay) {
            $0.appendQuery("ROLLBACK")
            $0.appendQuery("SELECT 1")
        }
        #expect(said == [Self.warning, "C(ROLLBACK)", "Z(I)"])
        #expect(relay.sendWithoutLease().needsLease)
    }
}
