// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

@Suite struct CleaningTests {
    private static let conditions =
        "SET statement_timeout TO 0;RESET SESSION AUTHORIZATION;RESET ALL;SET statement_timeout TO 0"

    private func cleaning(
        _ reset: String?, connect: String? = nil, seed: Double = 0.5, dropsLinks: Bool = false
    ) -> Cleaning {
        Cleaning(resetQuery: reset, connectQuery: connect, seed: seed, dropsLinks: dropsLinks)
    }

    @Test(arguments: ["DISCARD ALL", " discard\nall ;"])
    func theDefaultOne(_ query: String) {
        let one = cleaning(query)
        #expect(one.texts.count == 3 && one.texts[0] == Self.conditions && one.texts[1] == query)
        #expect(one.texts[2].hasPrefix("RESET ROLE;SET seed TO 0.500000000000000;SELECT 1 FROM"))
        #expect(one.probe == 2 && one.links == nil && one.connect == nil && one.isComplete)
    }

    @Test func connectQueryIsTheLast() {
        let one = cleaning("DISCARD ALL", connect: "SET ROLE reader", dropsLinks: true)
        #expect(one.texts.last == "SET ROLE reader" && one.connect == 4)
        #expect(one.probe == nil && one.links == 2)
        #expect(one.texts[2].contains("dblink_disconnect"))
        #expect(one.texts[3] == "RESET ROLE;SET seed TO 0.500000000000000")
    }

    @Test func anOperatorsOwnMayNameARole() {
        let one = cleaning("SET ROLE nobody")
        #expect(one.texts[0].hasSuffix("RESET ROLE;RESET ALL"))
        #expect(one.texts[2].hasPrefix("SET seed"))
        #expect(cleaning("SET a = 1").texts[2].hasPrefix("RESET ROLE;"))
    }

    @Test func withoutAResetOnlyTheBoundaryIsPutBack() {
        #expect(cleaning(nil).texts.isEmpty && cleaning("").texts.isEmpty)
        let one = cleaning("", connect: "SET ROLE reader")
        #expect(one.texts == ["RESET SESSION AUTHORIZATION;RESET ROLE", "SET ROLE reader"])
        #expect(!one.isComplete && one.connect == 1)
    }

    @Test(arguments: [
        (0.0, "0.000000000000000"), (-0.25, "-0.250000000000000"), (1, "1.0"), (-1, "-1.0"),
        (1e-9, "0.000000001000000"), (7, "1.0"),
    ]) func seedsAreNumbersOfFixedPoint(_ seed: Double, _ text: String) {
        #expect(cleaning("DISCARD ALL", seed: seed).texts[2].contains("SET seed TO \(text);"))
    }

    // MARK: Its answers

    @Test func severalTextsAreAnsweredAsOne() {
        var relay = RelayFixture()
        var bytes: [UInt8] = []
        relay.server.ask(.reset, ["a", "b", "c"], probe: 1, into: &bytes)
        #expect(RelayTranscript.ofClient(bytes) == ["Query(a)", "Query(b)", "Query(c)"])
        let first = relay.step {
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
            $0.appendCommandComplete("RESET")
            $0.appendCommandComplete("SELECT 0")
            $0.appendReadyForQuery(.idle)
        }
        #expect(first.brokerAnswer == nil && relay.server.brokerQuery == .reset)
        let last = relay.step {
            $0.appendFailure(.queryCanceled)
            $0.appendReadyForQuery(.idle)
        }
        let answer = last.brokerAnswer
        #expect(answer?.errors.map(\.text) == [2] && answer?.error?.sqlState == .queryCanceled)
        #expect(answer?.hasFound == false && relay.server.brokerQuery == nil)
    }

    @Test func whatIsAskedForIsFound() {
        var relay = RelayFixture()
        var bytes: [UInt8] = []
        relay.server.ask(.reset, ["a", "b"], probe: 1, into: &bytes)
        let step = relay.step {
            $0.appendCommandComplete("DISCARD ALL")
            $0.appendReadyForQuery(.idle)
            $0.appendDataRow(texts: ["1"])
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(step.brokerAnswer?.hasFound == true && step.brokerAnswer?.error == nil)
    }

    private static func answer(to text: Int, failing: Int) -> [UInt8] {
        if text == failing { return DirectReturnFixture.failed() }
        return message {
            $0.appendCommandComplete(text == 2 ? "SELECT 1" : "SET")
            $0.appendReadyForQuery(.idle)
        }
    }

    @Test(arguments: 0..<5) func aReturnedConnectionIsCleanedByAllTexts(_ failing: Int) {
        var machine = DirectReturn(nonce: 77, reset: ["a", "b", "c"], probe: 2, setup: ["d"])
        var sent: [UInt8] = []
        machine.begin(into: &sent)
        let texts = ["Sync", "Query(a)", "Query(b)", "Query(c)", "Query(d)"]
        #expect(RelayTranscript.ofClient(sent).suffix(5) == texts[...])
        var answers = DirectReturnFixture.found()
        for text in 0..<4 { answers += Self.answer(to: text, failing: failing) }
        var more: [UInt8] = []
        let outcome = answers.withUnsafeBytes { machine.receive($0, toServer: &more).outcome }
        #expect(outcome == (failing < 3 ? .settled(.idle) : .clean))
        #expect(machine.isSetUp == (failing == 4) && machine.hasFound == (failing != 2))
    }
}
