// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// However what the client sends is cut, lease commands are found, and all answers are the same.
@Suite struct RelayLeaseSplitTests {
    struct Script: CustomStringConvertible, Sendable {
        var description: String
        var bytes: [UInt8]
        /// In a transaction pool, of which nothing is held in front.
        var commands: Int
    }

    static let scripts: [Script] = [
        Script(
            description: "simple",
            bytes: message {
                $0.appendQuery("select a")
                $0.appendQuery("/* b */ LEASE WAIT '1s';")
                $0.appendQuery("lock b")
                $0.appendQuery("begin")
                $0.appendQuery("LEASE")
                $0.appendQuery("insert c")
                $0.appendQuery("LEASE ME")
                $0.appendQuery("commit")
                $0.appendQuery("LEASE RETURN")
                $0.appendQuery("LEASE RETURN")
                $0.appendQuery(" show mark")
            }, commands: 4),
        Script(
            description: "extended",
            bytes: message {
                $0.appendParse(name: "acquire", query: "LEASE DIRECT", parameterTypes: [])
                $0.appendDescribe(statement: "acquire")
                $0.appendParse(name: "back", query: "LEASE RETURN")
                $0.appendParse(name: "long", query: "select " + String(repeating: "x", count: 2100))
                $0.appendParse(name: "list", query: "listen a")
                $0.appendSync()
                $0.appendBind(portal: "p", statement: "acquire", resultFormats: [1, 0, 0, 1])
                $0.appendDescribe(portal: "p")
                $0.appendExecute(portal: "p", maximumRows: 1)
                $0.appendSync()
                $0.appendRun("long")
                $0.appendSync()
                $0.appendRun("acquire")
                $0.appendRun("long")
                $0.appendSync()
                $0.appendCloseStatement(name: "list")
                $0.appendRun("back")
                $0.appendSync()
                $0.appendBind(statement: "back", texts: ["1"])
                $0.appendRun("back")
                $0.appendSync()
                $0.appendQuery("deallocate acquire")
                $0.appendQuery("deallocate long")
                $0.appendRun("acquire")
                $0.appendSync()
            }, commands: 3),
        Script(
            description: "names that change hands",
            bytes: message {
                for text in ["LEASE", "select a", "LEASE RETURN", "LEASE ME", "select b"] {
                    $0.appendParse(name: "", query: text)
                    $0.appendRun("")
                    $0.appendSync()
                    $0.appendRun("")
                    $0.appendSync()
                }
            }, commands: 4),
        Script(
            description: "in the middle of things",
            bytes: message {
                $0.appendStatement("select a")
                $0.appendParse(name: "s1", query: "bad LEASE")
                $0.appendQuery("LEASE")
                $0.appendSync()
                $0.appendStatement("LEASE")
                $0.appendStatement("set mark b")
                $0.appendSync()
                $0.appendQuery("copy out 3 c")
                $0.appendQuery("LEASE RETURN")
                $0.appendStatement("fail d")
                $0.appendParse(name: "", query: "LEASE")
                $0.appendSync()
                $0.appendQuery("show mark")
            }, commands: 2),
    ]

    private struct Outcome: Equatable {
        var client: [String]
        var commands: [LeaseCommand]
        var books: String
    }

    private func run(
        _ pieces: [[UInt8]], _ pooling: RelayMode.Pooling, prepared: Int = 100
    ) -> Outcome {
        var talk = RelayLeaseTalk(pooling, prepared: prepared)
        for piece in pieces { talk.send(piece) }
        #expect(talk.ending == nil)
        return Outcome(
            client: talk.client, commands: talk.commands,
            books: "\(talk.relay) \(talk.relay.pending) \(talk.hasServer) \(talk.isHeld)"
                + " \(talk.relay.client.unnamed) \(talk.relay.leftOver())")
    }

    private func isSame(_ outcome: Outcome, _ whole: Outcome, _ cut: String) -> Bool {
        if outcome == whole { return true }
        Issue.record("\(cut)")
        #expect(outcome.client == whole.client)
        #expect(outcome.books == whole.books)
        return false
    }

    @Test(arguments: scripts) func cutOnceAnywhere(_ script: Script) {
        for pooling in RelayLeaseMessageTests.poolings {
            for prepared in [0, 1, 100] {
                let whole = run([script.bytes], pooling, prepared: prepared)
                #expect(whole.books.hasSuffix(" 0"))
                if pooling == .transaction, prepared > 0 {
                    #expect(whole.commands.count == script.commands, "\(whole.client)")
                }
                for cut in 1..<script.bytes.count {
                    let pieces = [Array(script.bytes[..<cut]), Array(script.bytes[cut...])]
                    let outcome = run(pieces, pooling, prepared: prepared)
                    if !isSame(outcome, whole, "\(pooling), \(prepared), cut at \(cut)") { return }
                }
            }
        }
    }

    @Test(arguments: scripts) func cutAnyhow(_ script: Script) {
        for pooling in RelayLeaseMessageTests.poolings {
            let whole = run([script.bytes], pooling)
            let bytewise = run(script.bytes.map { [$0] }, pooling)
            if !isSame(bytewise, whole, "\(pooling), byte by byte") { return }
            for seed in 0..<30 as Range<UInt64> {
                var random = SeededGenerator(seed: seed)
                var pieces: [[UInt8]] = []
                var rest = script.bytes[...]
                while !rest.isEmpty {
                    let count = Int.random(in: 1...60, using: &random)
                    pieces.append(Array(rest.prefix(count)))
                    rest = rest.dropFirst(count)
                }
                if !isSame(run(pieces, pooling), whole, "\(pooling), seed \(seed)") { return }
            }
        }
    }

    /// Random messages about lease commands, sound or not: a verdict, never a trap.
    @Test func garbageNeverTraps() {
        let texts = ["LEASE", "LEASE RETURN", "LEASE ME", "select a", " ", "deallocate s"]
        let names = ["", "s", "t"]
        for seed in 0..<4_000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            let pooling = RelayLeaseMessageTests.poolings[Int(seed % 3)]
            var relay = RelayFixture(
                pooling, prepared: seed.isMultiple(of: 5) ? 0 : 2, maxMessageSize: 1 << 16)
            let refusal: PgError? =
                seed.isMultiple(of: 2) ? .error(.objectNotInPrerequisite, "direct") : nil
            for _ in 0..<20 {
                var bytes: [UInt8] = []
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let name = names.randomElement(using: &random)!
                    let text = texts.randomElement(using: &random)!
                    switch Int.random(in: 0..<9, using: &random) {
                    case 0: bytes.appendQuery(text)
                    case 1: bytes.appendParse(name: name, query: text)
                    case 2: bytes.appendBind(portal: name, statement: name)
                    case 3: bytes.appendDescribe(statement: name)
                    case 4: bytes.appendDescribe(portal: name)
                    case 5: bytes.appendExecute(portal: name)
                    case 6: bytes.appendCloseStatement(name: name)
                    case 7: bytes.appendClosePortal(name: name)
                    default: bytes.appendSync()
                    }
                }
                if Int.random(in: 0..<4, using: &random) == 0 {
                    let index = bytes.indices.randomElement(using: &random)!
                    bytes[index] = [0, 1, 83, 255].randomElement(using: &random)!
                }
                if Int.random(in: 0..<4, using: &random) == 0 {
                    bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random))
                }
                let holds = Bool.random(using: &random)
                let result =
                    holds
                    ? relay.send(bytes)
                    : relay.sendWithoutLease(refusal: refusal) { $0 += bytes }
                if result.isMalformed || result.isTerminate { break }
                if result.lease != nil, result.form != .simple { relay.client.failBatch() }
                if holds {
                    var backend = RelayBackend()
                    backend.input = result.toServer
                    while backend.step() {}
                    if relay.answerBytes(backend.output).step.broken != nil { break }
                }
            }
            #expect(relay.leftOver() == 0, "seed \(seed)")
        }
    }
}
