// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// How the marked row is found in whatever stream of bytes, and what is not taken for it.
@Suite struct DirectReturnStreamTests {
    typealias Fixture = DirectReturnFixture

    static let resets = DirectReturnTests.resets

    // MARK: What is no marker

    /// Rows that look like the marker's, or say what it says elsewhere.
    struct Forgery: CustomStringConvertible, Sendable {
        var description: String
        var write: @Sendable (inout [UInt8]) -> Void
    }

    static let marker = "pglease-77-1"

    static let forgeries: [Forgery] = [
        Forgery(description: "another nonce") { $0.appendDataRow(texts: ["pglease-78-1"]) },
        Forgery(description: "a longer nonce") { $0.appendDataRow(texts: ["pglease-770-1"]) },
        Forgery(description: "the next attempt") { $0.appendDataRow(texts: ["pglease-77-2"]) },
        Forgery(description: "no attempt") { $0.appendDataRow(texts: ["pglease-77-0"]) },
        Forgery(description: "cut") { $0.appendDataRow(texts: ["pglease-77-"]) },
        Forgery(description: "more") { $0.appendDataRow(texts: ["\(marker) "]) },
        Forgery(description: "in capitals") { $0.appendDataRow(texts: ["PGLEASE-77-1"]) },
        Forgery(description: "empty") { $0.appendDataRow(texts: [""]) },
        Forgery(description: "two columns") { $0.appendDataRow(texts: [marker, ""]) },
        Forgery(description: "two columns, reversed") { $0.appendDataRow(texts: ["", marker]) },
        Forgery(description: "no columns") { $0.appendDataRow(texts: []) },
        Forgery(description: "a NULL") { $0.appendDataRow(texts: [nil]) },
        Forgery(description: "copy data") { $0.appendCopyData(Array(marker.utf8)) },
        Forgery(description: "copy data like a row") {
            $0.appendCopyData(Array(Fixture.marked()[5...]))
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
            $0.appendReadyForQuery(.idle)
        }
        for pieces in [1, bytes.count] {
            var fixture = Fixture()
            fixture.begin()
            fixture.receive(bytes, pieces: pieces)
            #expect(fixture.outcome == .more && fixture.carry.isEmpty)
            // Not found in the first batch: the second attempt is the one that counts.
            #expect(fixture.attempts == 2)
            var found = Fixture.found(2)
            let last = found.suffix(6)
            found.removeLast(6)
            fixture.receive(found)
            #expect(fixture.outcome == .more, "not before the server is ready")
            fixture.receive(Array(last))
            #expect(fixture.outcome == .settled(.idle))
        }
    }

    /// With one byte changed, wherever, it is another row.
    @Test func noByteOfTheMarkerMayDiffer() {
        let row = Fixture.marked()
        for index in row.indices {
            var forged = row
            forged[index] ^= 1
            var fixture = Fixture()
            fixture.begin()
            fixture.receive(forged)
            fixture.receive(message { $0.appendReadyForQuery(.idle) })
            fixture.receive(message { $0.appendReadyForQuery(.idle) })
            #expect(fixture.outcome == .more, "byte \(index)")
        }
    }

    /// Behind an error it is the newest query that counts: the older one's answer may be on its way.
    @Test func theMarkerOfAnEarlierAttemptDoesNotSettle() {
        for reset in Self.resets {
            let tail = reset == nil ? [] : Fixture.discarded
            for pieces in [1, 5, Int.max / 2] {
                var fixture = Fixture(reset: reset)
                fixture.begin()
                fixture.receive(Fixture.failed())
                fixture.receive(Fixture.failed())
                #expect(fixture.attempts == 3)
                for attempt in 1...2 {
                    fixture.receive(Fixture.found(attempt) + tail, pieces: pieces)
                    #expect(fixture.outcome == .more)
                }
                #expect(fixture.attempts == 3, "nothing failed since")
                fixture.receive(Fixture.found(3) + tail, pieces: pieces)
                #expect(fixture.outcome == fixture.success)
            }
        }
    }

    // MARK: What comes behind

    /// What comes behind the end is not taken: the shell closes the connection.
    @Test func whatComesBehindIsLeft() {
        let behind = message { $0.appendNoticeResponse(.notice("mind")) }
        for reset in Self.resets {
            let answers = Fixture.found() + (reset == nil ? [] : Fixture.discarded)
            let input = answers + behind
            var machine = DirectReturn(nonce: 77, reset: reset.map { [$0] } ?? [])
            var sent: [UInt8] = []
            machine.begin(into: &sent)
            let (consumed, outcome) = input.withUnsafeBytes {
                machine.receive($0, toServer: &sent)
            }
            #expect(outcome == (reset == nil ? .settled(.idle) : .clean))
            #expect(consumed == answers.count && machine.discarded == answers.count)
        }
    }

    @Test func whatIsThrownAwayIsCounted() {
        var fixture = Fixture()
        fixture.leave(read: 0) { $0.appendQuery("rows 500 a") }
        let left = Array(fixture.backend.output)
        fixture.begin()
        fixture.receive(Array(left[..<1000]))
        #expect(fixture.outcome == .more)
        #expect(fixture.machine.discarded == 1000 - fixture.carry.count)
        fixture.receive(Array(left[1000...]))
        #expect(fixture.machine.discarded == left.count && fixture.carry.isEmpty)
    }

    /// A message that is longer than what is kept is passed over, on either side of the marker, also
    /// when all of it happens to be there.
    @Test func longMessagesArePassed() {
        let long = message {
            $0.appendParameterStatus(name: "long", value: String(repeating: "x", count: 70_000))
            $0.appendNoticeResponse(.notice(String(repeating: "y", count: 200_000)))
        }
        for pieces in [1000, Int.max / 2] {
            var fixture = Fixture(reset: "discard all")
            fixture.begin()
            fixture.receive(long, pieces: pieces)
            #expect(fixture.outcome == .more && fixture.carry.isEmpty)
            fixture.receive(Fixture.found() + long + Fixture.discarded, pieces: pieces)
            #expect(fixture.outcome == .clean && fixture.carry.isEmpty)
            #expect(fixture.machine.parameters.map(\.name) == ["client_encoding"])
        }
    }

    /// The rest of a message that is awaited whole, and no more than that.
    @Test func littleIsKept() {
        let limit = 1 << 16
        // A row of the longest that is kept, without end; then what looks like one.
        let longest: [UInt8] = [UInt8(ascii: "D"), 0, 1, 0, 4]
        for byte in [0, UInt8(ascii: "D"), UInt8(ascii: "x")] {
            var fixture = Fixture()
            fixture.begin()
            var most = 0
            fixture.receive(longest)
            for _ in 0..<150 {
                fixture.receive([UInt8](repeating: byte, count: 1000))
                most = max(most, fixture.carry.count)
            }
            #expect(fixture.outcome == .more)
            #expect(most <= limit + 64, "\(byte): \(most)")
            fixture.receive(Fixture.found())
            #expect(fixture.outcome == .settled(.idle), "\(byte)")
        }
        // Behind the marker, too.
        var fixture = Fixture()
        fixture.begin()
        fixture.receive(Fixture.marked())
        fixture.receive(longest)
        var most = 0
        for _ in 0..<65 {
            fixture.receive([UInt8](repeating: 0, count: 1000))
            most = max(most, fixture.carry.count)
        }
        #expect(fixture.outcome == .more && most <= limit + 64)
    }

    // MARK: Where messages are cut

    /// The server's bytes come in two pieces, cut anywhere, and the machine says the same.
    @Test(arguments: DirectReturnTests.leftovers, resets)
    func cutAtEveryByte(_ left: DirectReturnTests.Leftover, _ reset: String?) {
        for read in [nil, 0] as [Int?] {
            var whole = Fixture(reset: reset)
            whole.leave(read: read, left.write)
            whole.begin()
            while whole.backend.step() {}
            for cut in 1...whole.backend.output.count {
                var fixture = whole
                fixture.run(first: cut)
                #expect(fixture.outcome == fixture.success, "cut at \(cut)")
                #expect(fixture.isTrue && fixture.isQuiet)
                #expect(fixture.backend.committed == left.committed)
                guard fixture.outcome == fixture.success else { return }
            }
        }
    }

    /// The client stopped reading in the middle of a message: from there on nothing can be framed, and
    /// the marker is found all the same.
    @Test(arguments: resets) func aMessageThatTheClientReadByHalf(_ reset: String?) {
        var whole = Fixture(reset: reset)
        whole.leave(read: 0) {
            $0.appendQuery("rows 3 value")
            $0.appendQuery("notice attention")
            $0.appendQuery("copy out 3 value")
            $0.appendQuery("set profile 1 none")
            $0.appendQuery("fail b")
        }
        for read in 0...whole.backend.output.count {
            for pieces in [1, 3, Int.max] {
                var fixture = whole
                fixture.backend.output.removeFirst(read)
                fixture.begin()
                fixture.run(pieces: pieces)
                #expect(fixture.outcome == fixture.success, "\(read) bytes read, \(pieces)")
                #expect(fixture.isTrue)
            }
        }
    }

    /// In a transaction the marked query fails, and that has to be read where nothing can be framed:
    /// it is found truly, or not at all.
    @Test(arguments: resets) func halfAMessageInATransactionNeverSettlesByMistake(_ reset: String?)
    {
        var whole = Fixture(reset: reset)
        whole.leave(read: 0) {
            $0.appendQuery("begin")
            $0.appendQuery("insert lost")
            $0.appendQuery("rows 3 value")
        }
        for read in 0...whole.backend.output.count {
            for pieces in [1, 3, Int.max] {
                var fixture = whole
                fixture.backend.output.removeFirst(read)
                fixture.begin()
                fixture.run(pieces: pieces)
                #expect(fixture.isTrue, "\(read) bytes read, \(pieces)")
                #expect(fixture.backend.committed.isEmpty)
            }
        }
    }

    /// What is left of a row, begins like this.
    static let remains: [(String, [UInt8])] = [
        ("text", Array("the rest of a value".utf8)),
        ("a length over 1 GB", [UInt8(ascii: "D"), 64, 0, 0, 5, 1, 2, 3]),
        ("a length below zero", [UInt8(ascii: "D"), 255, 255, 255, 255, 1, 2, 3]),
        ("a length of 1 GB", [UInt8(ascii: "D"), 64, 0, 0, 4, 1, 2, 3]),
        ("a length of 500 MB", [UInt8(ascii: "d"), 29, 205, 101, 0]),
        ("the longest that is kept", [UInt8(ascii: "D"), 0, 1, 0, 4, 9]),
        ("the shortest that is not", [UInt8(ascii: "D"), 0, 1, 0, 5, 9]),
        ("some bytes too many", [UInt8(ascii: "D"), 0, 0, 0, 40]),
        ("a ReadyForQuery", [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "I")]),
        ("one in a transaction", [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "T")]),
        ("an error", Fixture.failed() + [1, 2, 3]),
        ("half a header", [UInt8(ascii: "Z"), 0, 0]),
        ("a beginning of the marker", Array(Fixture.marked().dropLast(1))),
        ("two beginnings of it", Array(Fixture.marked().dropLast(2) + Fixture.marked().prefix(7))),
        ("many bytes that it begins with", [UInt8](repeating: UInt8(ascii: "D"), count: 90)),
    ]

    @Test(arguments: remains, resets)
    func bytesThatLookLikeAHeader(_ remains: (String, [UInt8]), _ reset: String?) {
        for pieces in [1, 2, 7, 30, Int.max] {
            var fixture = Fixture(reset: reset)
            fixture.leave { $0.appendQuery("set mark a") }
            fixture.backend.output = remains.1
            fixture.begin()
            fixture.run(pieces: pieces)
            #expect(fixture.outcome == fixture.success, "\(remains.0), \(pieces)")
            #expect(fixture.isTrue)
        }
    }

    /// A message that the client wrote by half swallows what the broker sends, or a part of it: nothing
    /// that is untrue comes of that.
    @Test(arguments: resets) func aMessageThatTheClientWroteByHalf(_ reset: String?) {
        for length in [0, 300, 600] {
            let bytes = message {
                $0.appendQuery("select " + String(repeating: "x", count: length))
            }
            for written in 1..<bytes.count {
                var fixture = Fixture(reset: reset)
                fixture.leave { $0 += bytes[..<written] }
                fixture.begin()
                fixture.run(pieces: 50)
                #expect(fixture.isTrue, "\(written) of \(bytes.count)")
                if fixture.outcome == .more { #expect(fixture.attempts <= 2) }
            }
        }
    }

    // MARK: Garbage

    /// Something like a message. If it is framed, its length is true, so that what follows is read;
    /// else it may be anything, and mostly hides what follows.
    private static func garbage(
        isFramed: Bool, using random: inout SeededGenerator
    ) -> [UInt8] {
        let kinds = Array("EZEZEZEZDDTCSNGHWdcAn12".utf8)
        let length = Int.random(in: 0...70, using: &random)
        var bytes = [kinds.randomElement(using: &random)!]
        let isTrue = isFramed || Int.random(in: 0..<15, using: &random) > 0
        bytes.appendInteger(
            isTrue ? UInt32(length + 4) : UInt32(truncatingIfNeeded: random.next()))
        for _ in 0..<length {
            bytes.append([0, 1, 12, 69, 73, 84, 255].randomElement(using: &random)!)
        }
        if Int.random(in: 0..<8, using: &random) == 0 { bytes += Fixture.marked(9) }
        // All but the last byte or more of what the machine looks for.
        if !isFramed, Int.random(in: 0..<4, using: &random) == 0 {
            let row = Fixture.marked()
            bytes += row.prefix(Int.random(in: 1..<row.count, using: &random))
            bytes.append(255)
        }
        return bytes
    }

    @Test(arguments: [false, true]) func garbageNeverTrapsAndNeverSettles(_ isFramed: Bool) {
        var broken = 0
        for seed in 0..<1_000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            var fixture = Fixture(reset: Self.resets[Int(seed % 2)])
            fixture.begin()
            var round = 0
            while !fixture.isOver, round < 200 {
                round += 1
                fixture.receive(Self.garbage(isFramed: isFramed, using: &random))
                if fixture.carry.count > (1 << 16) + 64 { Issue.record("seed \(seed) keeps it") }
            }
            switch fixture.outcome {
            case .more: break
            case .settled, .clean: Issue.record("seed \(seed) is \(fixture.outcome)")
            case .broken(let reason):
                broken += 1
                #expect(reason == "it answers with errors only")
            }
        }
        if isFramed { #expect(broken > 500) }
    }

    @Test func theMarkerIsFoundBehindGarbage() {
        var found = 0
        for seed in 0..<1_500 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            var fixture = Fixture(reset: Self.resets[Int(seed % 2)])
            let tail = seed.isMultiple(of: 2) ? [] : Fixture.discarded
            fixture.begin()
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                fixture.receive(Self.garbage(isFramed: seed % 3 == 0, using: &random))
            }
            // Garbage may have swallowed a part, and asked again by it.
            var asked = 0
            while !fixture.isOver, asked < fixture.attempts {
                asked = fixture.attempts
                let answers = Fixture.found(asked) + tail
                fixture.receive(
                    answers, pieces: Int.random(in: 1...answers.count, using: &random))
            }
            if fixture.outcome == fixture.success {
                found += 1
            } else if fixture.outcome != .broken("it answers with errors only") {
                Issue.record("seed \(seed) is \(fixture.outcome)")
            }
        }
        #expect(found > 1_000)
    }
}
