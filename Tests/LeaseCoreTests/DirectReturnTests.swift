import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What a client leaves on a connection that it had directly, and how its end is found.
@Suite struct DirectReturnTests {
    /// The broker and the server that it has back.
    struct Fixture {
        var backend = RelayBackend()
        var machine: DirectReturn
        var outcome = DirectReturn.Outcome.more
        var carry: [UInt8] = []
        /// What the broker sent, as texts.
        var sent: [String] = []

        init(reset: String? = nil) { machine = DirectReturn(nonce: 77, reset: reset) }

        var queries: Int { sent.count { $0.hasPrefix("Query(SELECT") } }
        /// What the newest of the marked queries answers.
        var marker: String { "pglease-77-\(queries)" }

        /// The client speaks, and has read so many bytes of the answers.
        mutating func leave(read: Int? = nil, _ write: (inout [UInt8]) -> Void) {
            backend.input += message(write)
            while backend.step() {}
            backend.output.removeFirst(min(read ?? backend.output.count, backend.output.count))
        }

        mutating func begin() {
            var bytes: [UInt8] = []
            machine.begin(into: &bytes)
            send(bytes)
        }

        private mutating func send(_ bytes: [UInt8]) {
            sent += RelayTranscript.ofClient(bytes)
            backend.input += bytes
        }

        mutating func receive(_ bytes: [UInt8]) {
            guard outcome == .more else {
                carry += bytes
                return
            }
            let input = carry + bytes
            var answer: [UInt8] = []
            let (consumed, outcome) = input.withUnsafeBytes {
                machine.receive($0, toServer: &answer)
            }
            carry = Array(input[consumed...])
            self.outcome = outcome
            send(answer)
        }

        /// To the end, the server's answers in pieces of this size.
        mutating func run(pieces: Int = .max) {
            while true {
                while backend.step() {}
                guard !backend.output.isEmpty else { return }
                let piece = Array(backend.output.prefix(pieces))
                backend.output.removeFirst(piece.count)
                receive(piece)
            }
        }
    }

    /// What was left, and how many marked queries it may take when all answers have been read.
    struct Leftover: CustomStringConvertible, Sendable {
        var description: String
        var write: @Sendable (inout [UInt8]) -> Void
        var queries = 1
    }

    static let leftovers: [Leftover] = [
        Leftover(description: "nothing", write: { _ in }),
        Leftover(description: "a query", write: { $0.appendQuery("select a") }),
        Leftover(
            description: "a transaction", write: { $0.appendQuery("begin") }, queries: 2),
        Leftover(
            description: "a transaction that failed",
            write: {
                $0.appendQuery("begin")
                $0.appendQuery("fail a")
            }, queries: 2),
        Leftover(description: "many rows", write: { $0.appendQuery("rows 500 a") }),
        Leftover(
            description: "rows of a portal in a transaction",
            write: {
                $0.appendQuery("begin")
                $0.appendParse(name: "", query: "rows 9 a")
                $0.appendBind(portal: "p")
                $0.appendExecute(portal: "p", maximumRows: 2)
            }, queries: 3),
        Leftover(description: "a copy in", write: { $0.appendQuery("copy in a") }),
        Leftover(
            description: "a copy in, in a transaction",
            write: {
                $0.appendQuery("begin")
                $0.appendQuery("copy in a")
                $0.appendCopyData([1])
            }, queries: 3),
        Leftover(
            description: "a copy in of the extended protocol",
            write: {
                $0.appendStatement("copy in a")
                $0.appendSync()
                $0.appendCopyData([1])
            }),
        Leftover(description: "a copy out", write: { $0.appendQuery("copy out 200 a") }),
        Leftover(
            description: "a batch without its Sync", write: { $0.appendStatement("select a") }),
        Leftover(
            description: "a failed batch without its Sync",
            write: {
                $0.appendStatement("fail a")
                $0.appendStatement("select b")
            }),
        Leftover(
            description: "a pipeline of batches",
            write: {
                for text in ["select a", "fail b", "rows 3 c"] {
                    $0.appendStatement(text)
                    $0.appendSync()
                }
            }),
        Leftover(
            description: "three errors",
            write: { for _ in 0..<3 { $0.appendQuery("bad a") } }, queries: 4),
        Leftover(
            description: "notices and values",
            write: {
                $0.appendQuery("notice a")
                $0.appendQuery("set profile 1 none")
            }),
        Leftover(
            description: "what copies leave behind",
            write: {
                $0.appendCopyData([1])
                $0.appendCopyDone()
                $0.appendCopyFail("no")
                $0.appendFlush()
            }),
    ]

    @Test(arguments: leftovers) func itsEndIsFound(_ left: Leftover) {
        // It has read everything, or nothing.
        for read in [nil, 0] as [Int?] {
            for pieces in [Int.max, 1, 7, 64] {
                for reset in [nil, "discard all"] {
                    var fixture = Fixture(reset: reset)
                    fixture.leave(read: read, left.write)
                    fixture.begin()
                    fixture.run(pieces: pieces)
                    #expect(fixture.outcome == (reset == nil ? .settled(.idle) : .clean))
                    #expect(fixture.carry.isEmpty, "the server owes nothing")
                    #expect(fixture.backend.status == .idle && !fixture.backend.isCopying)
                    #expect(!fixture.backend.isSkipping && fixture.backend.output.isEmpty)
                    #expect(fixture.machine.hasDroppedStatements == (reset != nil))
                    #expect(read != nil || fixture.queries <= left.queries + 1)
                }
            }
        }
    }

    @Test func whoLeavesItAsItShouldBeCostsOneFlight() {
        var fixture = Fixture()
        fixture.leave { $0.appendQuery("select a") }
        fixture.begin()
        #expect(fixture.sent.count == 3 && fixture.sent[0] == "CopyFail")
        #expect(fixture.queries == 1 && fixture.sent[2] == "Sync")
        fixture.run()
        #expect(fixture.outcome == .settled(.idle) && fixture.sent.count == 3)
        fixture = Fixture(reset: "discard all")
        fixture.begin()
        fixture.run()
        #expect(fixture.outcome == .clean)
        #expect(fixture.sent.count == 4 && fixture.sent[3] == "Query(discard all)")
    }

    /// Neither a transaction nor a batch without its Sync is committed by the broker.
    @Test func whatWasNotCommittedIsRolledBack() {
        for isBatch in [false, true] {
            for endsWithFlush in [false, true] {
                var fixture = Fixture()
                fixture.leave {
                    if isBatch {
                        $0.appendStatement("insert a")
                        if endsWithFlush { $0.appendFlush() }
                    } else {
                        $0.appendQuery("begin")
                        $0.appendQuery("insert a")
                    }
                }
                fixture.begin()
                fixture.run()
                #expect(fixture.outcome == .settled(.idle))
                #expect(fixture.backend.committed.isEmpty)
            }
        }
    }

    /// A reset that fails leaves a connection that is quiet, and no more.
    @Test func aResetThatFails() {
        var fixture = Fixture(reset: "fail a")
        fixture.begin()
        fixture.run()
        #expect(fixture.outcome == .settled(.idle))
        #expect(!fixture.machine.hasDroppedStatements)
        fixture = Fixture(reset: "begin")
        fixture.begin()
        fixture.run()
        #expect(fixture.outcome == .settled(.inTransaction))
    }

    @Test func whatTheResetReportsIsKept() {
        var fixture = Fixture(reset: "discard all")
        fixture.begin()
        fixture.receive(
            message {
                $0.appendParameterStatus(name: "before", value: "1")
                $0.appendDataRow(texts: [fixture.marker])
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
                $0.appendReadyForQuery(.idle)
                $0.appendParameterStatus(name: "TimeZone", value: "UTC")
                $0.appendCommandComplete("DISCARD ALL")
                $0.appendReadyForQuery(.idle)
            })
        #expect(fixture.outcome == .clean)
        #expect(fixture.machine.parameters.map(\.name) == ["TimeZone"])
    }

    @Test func whatIsThrownAwayIsCounted() {
        var fixture = Fixture()
        fixture.leave(read: 0) { $0.appendQuery("rows 500 a") }
        let left = fixture.backend.output
        fixture.backend.output = []
        fixture.begin()
        fixture.receive(Array(left[..<1000]))
        #expect(fixture.outcome == .more)
        #expect((900...1000).contains(fixture.machine.discarded))
        fixture.receive(Array(left[1000...]))
        #expect(fixture.machine.discarded == left.count)
    }

    /// A cancel that the client sent before it returned, and that comes late.
    @Test func aLateCancelHitsTheMarkedQuery() {
        for isInTransaction in [false, true] {
            // In a transaction the ROLLBACK may be hit, too.
            for cancels in 1...(isInTransaction ? 2 : 3) {
                var fixture = Fixture()
                fixture.leave { if isInTransaction { $0.appendQuery("begin") } }
                fixture.backend.cancels = cancels
                fixture.begin()
                fixture.run()
                #expect(fixture.outcome == .settled(.idle), "\(cancels), \(isInTransaction)")
                #expect(fixture.carry.isEmpty && fixture.backend.status == .idle)
            }
        }
    }

    @Test func aServerThatAnswersWithErrorsOnlyIsGivenUp() {
        for status in [TransactionStatus.idle, .failed] {
            var fixture = Fixture()
            fixture.begin()
            var rounds = 0
            while fixture.outcome == .more, rounds < 20 {
                fixture.receive(
                    message {
                        $0.appendFailure(.queryCanceled)
                        $0.appendReadyForQuery(status)
                    })
                rounds += 1
            }
            #expect(fixture.outcome == .broken("it answers with errors only"))
            #expect(rounds == 6)
            #expect(fixture.queries == 6)
        }
    }

    // MARK: What is no marker

    /// Rows that look like the marker's, or say what it says elsewhere.
    struct Forgery: CustomStringConvertible, Sendable {
        var description: String
        var write: @Sendable (inout [UInt8]) -> Void
    }

    static let marker = "pglease-77-1"

    static let forgeries: [Forgery] = [
        Forgery(description: "another nonce") { $0.appendDataRow(texts: ["pglease-78-1"]) },
        Forgery(description: "the next attempt") { $0.appendDataRow(texts: ["pglease-77-2"]) },
        Forgery(description: "no attempt") { $0.appendDataRow(texts: ["pglease-77-0"]) },
        Forgery(description: "cut") { $0.appendDataRow(texts: ["pglease-77-"]) },
        Forgery(description: "more") { $0.appendDataRow(texts: ["\(marker) "]) },
        Forgery(description: "in capitals") { $0.appendDataRow(texts: ["PGLEASE-77-1"]) },
        Forgery(description: "two columns") { $0.appendDataRow(texts: [marker, ""]) },
        Forgery(description: "two columns, reversed") { $0.appendDataRow(texts: ["", marker]) },
        Forgery(description: "no columns") { $0.appendDataRow(texts: []) },
        Forgery(description: "a NULL") { $0.appendDataRow(texts: [nil]) },
        Forgery(description: "copy data") { $0.appendCopyData(Array(marker.utf8)) },
        Forgery(description: "copy data like a row") { bytes in
            bytes.appendCopyData(Array(message { $0.appendDataRow(texts: [marker]) }[5...]))
        },
        Forgery(description: "a notice") { $0.appendNoticeResponse(.notice(marker)) },
        Forgery(description: "a tag") { $0.appendCommandComplete(marker) },
        Forgery(description: "a value") { $0.appendParameterStatus(name: marker, value: marker) },
        Forgery(description: "a column's name") {
            $0.appendRowDescription([ColumnDescription(name: marker)])
        },
    ]

    @Test(arguments: forgeries) func onlyATrueMarkerSettles(_ forgery: Forgery) {
        let bytes = message {
            forgery.write(&$0)
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        for pieces in [1, bytes.count] {
            var fixture = Fixture()
            fixture.begin()
            for start in stride(from: 0, to: bytes.count, by: pieces) {
                fixture.receive(Array(bytes[start..<start + pieces]))
            }
            #expect(fixture.outcome == .more)
            let row = message { [marker = fixture.marker] in
                $0.appendDataRow(texts: [marker])
                $0.appendCommandComplete("SELECT 1")
            }
            for start in stride(from: 0, to: row.count, by: min(pieces, row.count)) {
                fixture.receive(Array(row[start..<min(start + pieces, row.count)]))
            }
            #expect(fixture.outcome == .more, "not before the server is ready")
            fixture.receive(message { $0.appendReadyForQuery(.idle) })
            #expect(fixture.outcome == .more, "nor before it has answered the Sync")
            fixture.receive(message { $0.appendReadyForQuery(.inTransaction) })
            #expect(fixture.outcome == .settled(.inTransaction))
        }
    }

    /// Behind an error it is the newest query that counts: the older one's answer may be on its way.
    @Test func theMarkerOfAnEarlierAttemptDoesNotSettle() {
        var fixture = Fixture()
        fixture.begin()
        fixture.receive(
            message {
                $0.appendFailure()
                $0.appendReadyForQuery(.idle)
                $0.appendReadyForQuery(.idle)
            })
        fixture.receive(
            message {
                $0.appendDataRow(texts: [Self.marker])
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
                $0.appendReadyForQuery(.idle)
            })
        #expect(fixture.outcome == .more)
        #expect(fixture.queries == 2)
        fixture.receive(
            message {
                $0.appendDataRow(texts: ["pglease-77-2"])
                $0.appendCommandComplete("SELECT 1")
                $0.appendReadyForQuery(.idle)
                $0.appendReadyForQuery(.idle)
            })
        #expect(fixture.outcome == .settled(.idle))
    }

    /// What comes behind the end is not taken: the shell closes the connection.
    @Test func whatComesBehindIsLeft() {
        var fixture = Fixture()
        fixture.begin()
        let behind = message { $0.appendNoticeResponse(.notice("mind")) }
        fixture.receive(
            message {
                $0.appendDataRow(texts: [Self.marker])
                $0.appendReadyForQuery(.idle)
                $0.appendReadyForQuery(.idle)
                $0 += behind
            })
        #expect(fixture.outcome == .settled(.idle))
        #expect(fixture.carry == behind)
    }

    /// In front of the marker anything may be the rest of half a message; behind it nothing may.
    @Test func nonsenseBehindTheMarkerBreaksIt() {
        let nonsense: [[UInt8]] = [
            [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "x")], [UInt8(ascii: "Z"), 0, 0, 0, 4],
            [UInt8(ascii: "D"), 0, 0, 0, 3], [UInt8(ascii: "D"), 255, 255, 255, 255],
            [UInt8(ascii: "D"), 128, 0, 0, 0],
        ]
        for bytes in nonsense {
            for isBehind in [false, true] {
                var fixture = Fixture()
                fixture.begin()
                if isBehind { fixture.receive(message { $0.appendDataRow(texts: [Self.marker]) }) }
                fixture.receive(bytes)
                if case .broken = fixture.outcome {
                    #expect(isBehind)
                } else {
                    #expect(!isBehind && fixture.outcome == .more)
                }
            }
        }
    }

    /// Half a message of the client's swallows what the broker sends: nothing settles by mistake.
    @Test func halfAMessageOfTheClientsNeverSettles() {
        let bytes = message {
            $0.appendQuery("select '" + String(repeating: "x", count: 300))
        }
        for cut in [1, 4, 5, 6, 40, 200] {
            var fixture = Fixture()
            fixture.leave { $0 += bytes[..<cut] }
            fixture.begin()
            fixture.run(pieces: 5)
            #expect(fixture.outcome == .more || fixture.backend.isDead)
        }
    }

    /// Wherever the client stopped reading: the marker is found, and with it the end.
    @Test func aMessageThatTheClientReadByHalf() {
        var whole = Fixture()
        whole.leave(read: 0) {
            $0.appendQuery("rows 3 a")
            $0.appendQuery("fail b")
            $0.appendQuery("copy out 2 c")
        }
        let count = whole.backend.output.count
        for read in 0...count {
            for pieces in [1, 3, Int.max] {
                var fixture = whole
                fixture.backend.output.removeFirst(read)
                fixture.begin()
                fixture.run(pieces: pieces)
                #expect(fixture.outcome == .settled(.idle), "read \(read), pieces of \(pieces)")
                #expect(fixture.carry.isEmpty && fixture.backend.output.isEmpty)
            }
        }
    }

    @Test func garbageNeverTrapsAndNeverSettles() {
        let kinds = Array("DEZDEZTCSNGHWdcAn12".utf8)
        var broken = 0
        for seed in 0..<5_000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            var fixture = Fixture()
            fixture.begin()
            var round = 0
            while fixture.outcome == .more, round < 30 {
                round += 1
                let length = Int.random(in: 0...70, using: &random)
                var bytes = [kinds.randomElement(using: &random)!]
                let isTrue = Int.random(in: 0..<15, using: &random) > 0
                bytes.appendInteger(
                    isTrue
                        ? UInt32(length + 4) : UInt32(truncatingIfNeeded: random.next()))
                for _ in 0..<length {
                    bytes.append([0, 1, 12, 69, 73, 84, 255].randomElement(using: &random)!)
                }
                if bytes[0] == UInt8(ascii: "D"), Bool.random(using: &random) {
                    bytes += message { $0.appendDataRow(texts: ["pglease-77-9"]) }
                }
                fixture.receive(bytes)
            }
            switch fixture.outcome {
            case .more: break
            case .broken: broken += 1
            case .settled, .clean: Issue.record("seed \(seed) settled")
            }
            // And behind the marker, where it may settle.
            fixture = Fixture(reset: seed.isMultiple(of: 2) ? "discard all" : nil)
            fixture.begin()
            fixture.receive(message { $0.appendDataRow(texts: [Self.marker]) })
            for _ in 0..<8 {
                var bytes = [kinds.randomElement(using: &random)!, 0, 0, 0]
                bytes.append(UInt8.random(in: 3...12, using: &random))
                for _ in 0..<Int.random(in: 0...8, using: &random) {
                    bytes.append([0, 1, 12, 69, 73, 84, 255].randomElement(using: &random)!)
                }
                fixture.receive(bytes)
            }
            if case .broken = fixture.outcome { broken += 1 }
        }
        #expect(broken > 1_000)
    }
}
