// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// However the bytes are cut, what comes out and what is remembered is the same.
@Suite struct RelaySplitTests {
    /// What a client sends, round by round; each round is answered before the next.
    struct Script: CustomStringConvertible, Sendable {
        var description: String
        var rounds: [[UInt8]]
        var mode = RelayMode(
            pooling: .transaction, maxPreparedStatements: 2, maxMessageSize: 1 << 20)
    }

    static let scripts: [Script] =
        [
            Script(
                description: "simple queries",
                rounds: [
                    message {
                        $0.appendQuery("select a;rows 3 b")
                        $0.appendQuery("")
                        $0.appendQuery("fail c")
                    },
                    message {
                        $0.appendQuery("begin")
                        $0.appendQuery("set local mark d")
                        $0.appendQuery("notice e")
                        $0.appendQuery("bad f")
                        $0.appendQuery("rollback")
                    },
                ]),
            Script(
                description: "named statements",
                rounds: [
                    message {
                        $0.appendParse(name: "s1", query: "select a", parameterTypes: [25, 23])
                        $0.appendDescribe(statement: "s1")
                        $0.appendParse(name: "s2", query: "select a", parameterTypes: [25, 23])
                        $0.appendParse(name: "s3", query: "rows 5 b")
                        $0.appendParse(name: "s4", query: "insert c")
                        $0.appendSync()
                    },
                    message {
                        $0.appendBind(portal: "p", statement: "s3", texts: ["1", nil])
                        $0.appendExecute(portal: "p", maximumRows: 2)
                        $0.appendParse(name: "s5", query: "select a", parameterTypes: [25, 23])
                        $0.appendDescribe(portal: "p")
                        $0.appendExecute(portal: "p", maximumRows: 9)
                        $0.appendClosePortal(name: "p")
                        $0.appendDescribe(statement: "s1")
                        $0.appendCloseStatement(name: "s2")
                        $0.appendCloseStatement(name: "none")
                        $0.appendRun("s1")
                        $0.appendSync()
                        $0.appendQuery("deallocate s3")
                        $0.appendQuery("select d")
                        $0.appendQuery("deallocate all")
                    },
                ]),
            Script(
                description: "pipelines with errors",
                rounds: [
                    message {
                        $0.appendStatement("select a")
                        $0.appendSync()
                        $0.appendStatement("fail b")
                        $0.appendParse(name: "s0", query: "select c")
                        $0.appendQuery("select d")
                        $0.appendSync()
                        $0.appendParse(name: "s1", query: "select e")
                        $0.appendParse(name: "s1", query: "select f")
                        $0.appendSync()
                        $0.appendRun("s1")
                        $0.appendFlush()
                    },
                    message { $0.appendStatement("bad g") },
                    message {
                        $0.appendRun("s1")
                        $0.appendSync()
                    },
                ]),
            Script(
                description: "copies",
                rounds: [
                    message { $0.appendQuery("copy in a") },
                    message {
                        $0.appendCopyData(Array("row".utf8))
                        $0.appendCopyData(Array(repeating: 7, count: 300))
                        $0.appendCopyDone()
                        $0.appendStatement("copy in b")
                        $0.appendSync()
                    },
                    message {
                        $0.appendCopyData(Array("row".utf8))
                        $0.appendCopyDone()
                        $0.appendSync()
                        $0.appendStatement("copy in c")
                        $0.appendSync()
                        $0.appendCopyData(Array("row".utf8))
                        $0.appendCopyFail("no")
                        $0.appendSync()
                        $0.appendQuery("copy out 3 d")
                        $0.appendQuery("copy in e")
                    },
                    message {
                        $0.appendCopyData([UInt8(ascii: "x")])
                        $0.appendCopyData([UInt8(ascii: "y")])
                        $0.appendCopyDone()
                        $0.appendQuery("select f")
                    },
                ]),
            Script(
                description: "large messages",
                rounds: [
                    message {
                        $0.appendParse(name: "", query: "select a")
                        $0.appendBind(texts: [String(repeating: "v", count: 700)])
                        $0.appendExecute()
                        $0.appendSync()
                        $0.appendQuery("select " + String(repeating: "w", count: 900))
                    },
                    message {
                        $0.appendBind(statement: "", texts: [String(repeating: "v", count: 700)])
                        $0.appendSync()
                        $0.appendQuery("select set_config mark x")
                    },
                ]),
        ]
        + [RelayMode.Pooling.session, .transaction].map { pooling in
            Script(
                description: "names untouched, \(pooling)",
                rounds: [
                    message {
                        $0.appendParse(name: "s1", query: "select a")
                        $0.appendRun("s1")
                        $0.appendDescribe(statement: "s1")
                        $0.appendCloseStatement(name: "s1")
                        $0.appendSync()
                    }
                ],
                mode: RelayMode(pooling: pooling, maxPreparedStatements: 0, maxMessageSize: 1 << 20)
            )
        }

    struct Outcome: Equatable {
        var toServer: [UInt8] = []
        var toClient: [UInt8] = []
        var books = ""
    }

    /// Runs a script; `cut` says into which pieces what is sent in a round is cut.
    private func run(
        _ script: Script, client: ([UInt8], Int) -> [[UInt8]], server: ([UInt8], Int) -> [[UInt8]]
    ) -> Outcome {
        var relay = RelayFixture()
        relay.mode = script.mode
        var backend = RelayBackend()
        var outcome = Outcome()
        for (round, bytes) in script.rounds.enumerated() {
            for piece in client(bytes, round) {
                let result = relay.send(piece)
                #expect(result.isMore)
                outcome.toServer += result.toServer
                outcome.toClient += result.toClient
                backend.input += result.toServer
            }
            while backend.step() {}
            for piece in server(noisy(backend.output), round) {
                let (passed, step) = relay.answerBytes(piece)
                #expect(step.broken == nil)
                outcome.toClient += passed
            }
            backend.output = []
        }
        outcome.books =
            "\(relay) \(relay.server.taint) \(relay.statements.count) \(relay.client.unnamed)"
            + " \(relay.isLeaseOver) \(relay.server.conditionOnReturn) \(relay.pending)"
        #expect(relay.carry.isEmpty)
        #expect(relay.leftOver() == 0)
        return outcome
    }

    /// Notices and parameters come at any time.
    private func noisy(_ bytes: [UInt8]) -> [UInt8] {
        let noise = message {
            $0.appendNoticeResponse(.notice("mind"))
            $0.appendParameterStatus(name: "TimeZone", value: "UTC")
        }
        return noise + bytes + noise
    }

    private func whole(_ bytes: [UInt8], _: Int) -> [[UInt8]] { [bytes] }

    private func each(_ bytes: [UInt8], _: Int) -> [[UInt8]] { bytes.map { [$0] } }

    @Test(arguments: scripts) func oneByteAtATime(_ script: Script) {
        let expected = run(script, client: whole, server: whole)
        #expect(!expected.toClient.isEmpty)
        #expect(run(script, client: each, server: whole) == expected)
        #expect(run(script, client: whole, server: each) == expected)
        #expect(run(script, client: each, server: each) == expected)
    }

    @Test(arguments: scripts) func cutOnceAnywhere(_ script: Script) {
        let expected = run(script, client: whole, server: whole)
        for round in script.rounds.indices {
            for cut in 0..<max(script.rounds[round].count, expected.toClient.count) {
                let cutter: ([UInt8], Int) -> [[UInt8]] = { bytes, current in
                    guard current == round, cut < bytes.count else { return [bytes] }
                    return [Array(bytes[..<cut]), Array(bytes[cut...])]
                }
                let fromClient = run(script, client: cutter, server: whole)
                let fromServer = run(script, client: whole, server: cutter)
                guard fromClient == expected, fromServer == expected else {
                    Issue.record("round \(round) cut at \(cut)")
                    #expect(
                        RelayTranscript.ofServer(fromServer.toClient)
                            == RelayTranscript.ofServer(expected.toClient))
                    #expect(
                        RelayTranscript.ofClient(fromClient.toServer)
                            == RelayTranscript.ofClient(expected.toServer))
                    #expect(fromClient.books == expected.books)
                    return
                }
            }
        }
    }

    @Test(arguments: scripts) func cutAnyhow(_ script: Script) {
        let expected = run(script, client: whole, server: whole)
        for seed in 0..<100 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            let pieces: ([UInt8], Int) -> [[UInt8]] = { bytes, _ in
                var result: [[UInt8]] = []
                var rest = bytes[...]
                while !rest.isEmpty {
                    let count = Int.random(
                        in: 1...max(1, Int.random(in: 1...80, using: &random)), using: &random)
                    result.append(Array(rest.prefix(count)))
                    rest = rest.dropFirst(count)
                }
                return result
            }
            #expect(run(script, client: pieces, server: pieces) == expected, "seed \(seed)")
        }
    }

    // MARK: Garbage

    /// Whatever comes, from either side: an answer or a verdict, never a trap.
    @Test func garbageNeverTraps() {
        let kinds = Array("QPBDECSHFdcfXpR".utf8)
        for seed in 0..<3_000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            let modes: [RelayMode.Pooling] = [.transaction, .session, .statement]
            var relay = RelayFixture(
                modes[Int(seed % 3)], prepared: seed.isMultiple(of: 5) ? 0 : 2,
                maxMessageSize: 1 << 16)
            for _ in 0..<20 {
                var bytes: [UInt8] = []
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let length = Int.random(in: 0...12, using: &random)
                    bytes.append(kinds.randomElement(using: &random)!)
                    let isTrue = Int.random(in: 0..<8, using: &random) > 0
                    bytes.appendInteger(
                        isTrue ? UInt32(length + 4) : UInt32.random(in: 0...400, using: &random))
                    for _ in 0..<length {
                        bytes.append([0, 0, 65, 83, 80, 255].randomElement(using: &random)!)
                    }
                }
                if Bool.random(using: &random) {
                    let result = relay.send(bytes)
                    guard result.isMore else { break }
                } else {
                    let result = relay.sendWithoutLease { $0 += bytes }
                    guard result.isMore || result.needsLease else { break }
                }
            }
            #expect(relay.leftOver() == 0, "seed \(seed)")
        }
    }

    @Test func garbageFromAServerNeverTraps() {
        let kinds = Array("123CDEGHINSTVWZdcnstAR".utf8)
        for seed in 0..<3_000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            var relay = RelayFixture()
            relay.send {
                $0.appendParse(name: "s1", query: "select 1")
                $0.appendRun("s1")
                $0.appendCloseStatement(name: "s1")
                $0.appendSync()
                $0.appendQuery("copy t from stdin")
                $0.appendParse(name: "s2", query: "select 1")
                $0.appendSync()
            }
            for _ in 0..<30 {
                let length = Int.random(in: 0...9, using: &random)
                var bytes = [kinds.randomElement(using: &random)!]
                let isTrue = Int.random(in: 0..<20, using: &random) > 0
                bytes.appendInteger(isTrue ? UInt32(length + 4) : random.next32())
                for _ in 0..<length {
                    bytes.append([0, 67, 73, 83, 84, 255].randomElement(using: &random)!)
                }
                if relay.answerBytes(bytes).step.broken != nil { break }
            }
            _ = relay.lose()
            #expect(relay.leftOver() == 0, "seed \(seed)")
        }
    }
}

extension SeededGenerator {
    fileprivate mutating func next32() -> UInt32 { UInt32(truncatingIfNeeded: next()) }
}
