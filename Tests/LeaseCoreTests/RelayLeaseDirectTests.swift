// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// A client that has its server directly speaks to the broker: only lease commands are for it.
/// No byte can reach a server: `runWithoutLease` has no way to one.
@Suite struct RelayLeaseDirectTests {
    private let refusal = PgError.error(.objectNotInPrerequisite, "direct")
    private let told = "E(55000,direct)"

    private func answers(
        _ pooling: RelayMode.Pooling = .transaction, _ write: (inout [UInt8]) -> Void
    ) -> RelayFixture.FromClient {
        var relay = RelayFixture(pooling)
        let result = relay.sendWithoutLease(refusal: refusal, write)
        #expect(!result.needsLease && !result.awaitsQuiet && result.toServer.isEmpty)
        return result
    }

    @Test func theReturnIsTheShells() {
        #expect(answers { $0.appendQuery("LEASE RETURN") }.lease == .giveBack)
        #expect(answers { $0.appendQuery("LEASE") }.lease != nil, "to be refused: one is held")
        let extended = answers {
            $0.appendStatement("LEASE RETURN")
            $0.appendSync()
        }
        #expect(extended.client == ["ParseComplete", "BindComplete"])
        #expect(extended.lease == .giveBack)
        #expect(extended.form == .extended(formats: []))
    }

    @Test func whatNeedsNoServerIsAnswered() {
        #expect(answers { $0.appendSync() }.client == ["Z(I)"])
        #expect(answers { $0.appendFlush() }.client.isEmpty)
        #expect(answers { $0.appendTerminate() }.isTerminate)
        let copies = answers {
            $0.appendCopyData([1, 2])
            $0.appendCopyFail("no")
            $0.appendCopyDone()
        }
        #expect(copies.client.isEmpty && copies.isMore)
    }

    @Test func aStatementIsRefusedAndTheSessionGoesOn() {
        for pooling in RelayLeaseMessageTests.poolings {
            let simple = answers(pooling) {
                $0.appendQuery("select 1")
                $0.appendQuery("")
                $0.appendQuery("LEASE ME")
                $0.appendMessage(kind: FrontendKind.functionCall.rawValue) { $0 += [1, 2, 3] }
                $0.appendQuery("LEASE RETURN")
            }
            #expect(
                simple.client == [
                    told, "Z(I)", told, "Z(I)", "E(42601,syntax error at or near \"ME\")", "Z(I)",
                    told, "Z(I)",
                ])
            #expect(simple.lease == .giveBack)
            for write: (inout [UInt8]) -> Void in [
                { $0.appendParse(name: "s1", query: "select 1") },
                { $0.appendBind(statement: "s1") }, { $0.appendDescribe(statement: "s1") },
                { $0.appendDescribe(portal: "") }, { $0.appendCloseStatement(name: "s1") },
                { $0.appendExecute() },
            ] {
                let batch = answers(pooling) {
                    write(&$0)
                    $0.appendQuery("skipped")
                    $0.appendParse(name: "", query: "LEASE RETURN")
                    $0.appendSync()
                    $0.appendQuery("LEASE RETURN")
                }
                #expect(batch.client == [told, "Z(I)"])
                #expect(batch.lease == .giveBack)
            }
        }
    }

    /// In a batch that began with a lease command.
    @Test func aBatchOfBoth() {
        let result = answers {
            $0.appendParse(name: "s1", query: "LEASE RETURN")
            $0.appendStatement("select 1")
            $0.appendSync()
            $0.appendRun("s1")
        }
        #expect(result.client == ["ParseComplete", told, "Z(I)", "BindComplete"])
        #expect(result.lease == .giveBack)
    }

    @Test func aLongMessageIsRefusedAtOnceAndThrownAway() {
        let long = message {
            $0.appendQuery("select " + String(repeating: "x", count: 60_000))
            $0.appendQuery("LEASE" + String(repeating: " ", count: 5_000))
        }
        var relay = RelayFixture()
        var told: [String] = []
        for start in stride(from: 0, to: long.count, by: 1_000) {
            let piece = long[start..<min(start + 1_000, long.count)]
            told += relay.sendWithoutLease(refusal: refusal) { $0 += piece }.client
            #expect(relay.pending.count <= LeaseCommand.lengthLimit)
        }
        #expect(told == [self.told, "Z(I)", self.told, "Z(I)"])
    }

    @Test func whatHoldsItsOwnNamesIsClosed() {
        var relay = RelayFixture()
        relay.prepare("s1", "select 1")
        let result = relay.sendWithoutLease(refusal: refusal) {
            $0.appendCloseStatement(name: "s1")
            $0.appendSync()
            $0.appendRun("s1")
            $0.appendSync()
        }
        #expect(result.client == ["CloseComplete", "Z(I)", told, "Z(I)"])
        #expect(relay.leftOver() == 0)
    }

    @Test func nonsenseEndsTheSession() {
        #expect(answers { $0.appendMessage(kind: UInt8(ascii: "p")) { _ in } }.isMalformed)
        #expect(answers { $0 += [UInt8(ascii: "Q"), 0, 0, 0, 3] }.isMalformed)
    }

    @Test func cutAnywhereTheAnswersAreTheSame() {
        let bytes = message {
            $0.appendQuery("select 1")
            $0.appendQuery("LEASE ME")
            $0.appendStatement("LEASE RETURN")
            $0.appendDescribe(portal: "")
            $0.appendStatement("select 1")
            $0.appendCloseStatement(name: "")
            $0.appendSync()
            $0.appendCopyData([1, 2, 3])
            $0.appendSync()
        }
        func run(_ pieces: [[UInt8]]) -> (client: [UInt8], commands: Int, pending: [UInt8]) {
            var relay = RelayFixture()
            var client: [UInt8] = []
            var commands = 0
            for piece in pieces {
                var result = relay.sendWithoutLease(refusal: refusal) { $0 += piece }
                client += result.toClient
                while result.lease != nil {
                    commands += 1
                    client += message { $0.appendCommandComplete("LEASE RETURN") }
                    result = relay.sendWithoutLease(refusal: refusal)
                    client += result.toClient
                }
            }
            return (client, commands, relay.pending)
        }
        let whole = run([bytes])
        #expect(whole.commands == 1 && whole.pending.isEmpty)
        #expect(run(bytes.map { [$0] }) == whole)
        for cut in 1..<bytes.count {
            #expect(run([Array(bytes[..<cut]), Array(bytes[cut...])]) == whole, "cut at \(cut)")
        }
    }
}
