// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What a client leaves on a connection that it had directly, and how its end is found.
@Suite struct DirectReturnTests {
    typealias Fixture = DirectReturnFixture

    static let resets: [String?] = [nil, "discard all"]

    // MARK: What is sent first

    static let query =
        "SELECT CASE WHEN pg_catalog.now() OPERATOR(pg_catalog.=) pg_catalog.statement_timestamp()"
        + " THEN 'pglease-18446744073709551615-1'"
        + " ELSE ('a lease was returned to pglease in an open transaction, at '"
        + " OPERATOR(pg_catalog.||) pg_catalog.now()::pg_catalog.text)"
        + "::pg_catalog.int4::pg_catalog.text END"

    /// The query in front of the Sync, which would commit a batch; the reset right behind it.
    @Test(arguments: resets) func theFirstFlight(_ reset: String?) {
        var machine = DirectReturn(nonce: .max, reset: reset.map { [$0] } ?? [])
        var bytes: [UInt8] = []
        machine.begin(into: &bytes)
        let expected = message {
            $0.appendCopyFail("the lease is returned")
            $0.appendQuery(Self.query)
            $0.appendSync()
            if let reset { $0.appendQuery(reset) }
        }
        #expect(bytes == expected)
        let row = message { $0.appendDataRow(texts: ["pglease-18446744073709551615-1"]) }
        let input =
            row + Fixture.failed() + message { $0.appendReadyForQuery(.idle) }
            + (reset == nil ? [] : Fixture.discarded)
        bytes = []
        let (consumed, outcome) = input.withUnsafeBytes {
            machine.receive($0, toServer: &bytes)
        }
        #expect(consumed == input.count && bytes.isEmpty)
        #expect(outcome == (reset == nil ? .settled(.idle) : .clean))
    }

    // MARK: What was left

    /// What a client left, and how many marked queries it takes when it has read all its answers:
    /// without a reset, and with one, which fails in a transaction, too.
    struct Leftover: CustomStringConvertible, Sendable {
        var description: String
        var attempts = (plain: 1, withReset: 1)
        var committed: [String] = []
        var write: @Sendable (inout [UInt8]) -> Void
    }

    static let leftovers: [Leftover] = [
        Leftover(description: "nothing") { _ in },
        Leftover(description: "a query", committed: ["a"]) { $0.appendQuery("insert a") },
        Leftover(description: "a transaction", attempts: (2, 3)) {
            $0.appendQuery("begin")
            $0.appendQuery("insert a")
        },
        Leftover(description: "a transaction that failed", attempts: (2, 3)) {
            $0.appendQuery("begin")
            $0.appendQuery("insert a")
            $0.appendQuery("fail b")
        },
        Leftover(description: "many rows") { $0.appendQuery("rows 100 a") },
        Leftover(description: "rows of a portal in a transaction", attempts: (2, 3)) {
            $0.appendQuery("begin")
            $0.appendParse(name: "n", query: "rows 9 a")
            $0.appendBind(portal: "p", statement: "n")
            $0.appendExecute(portal: "p", maximumRows: 2)
        },
        Leftover(description: "a copy in", attempts: (2, 2)) { $0.appendQuery("copy in a") },
        Leftover(description: "a copy in, in a transaction", attempts: (3, 4)) {
            $0.appendQuery("begin")
            $0.appendQuery("copy in a")
            $0.appendCopyData([1])
        },
        Leftover(description: "a copy in of the extended protocol", attempts: (2, 2)) {
            $0.appendStatement("copy in a")
            $0.appendSync()
            $0.appendCopyData([1])
        },
        Leftover(description: "a copy out") { $0.appendQuery("copy out 50 a") },
        Leftover(description: "a batch without its Sync", attempts: (2, 2)) {
            $0.appendStatement("insert a")
        },
        Leftover(description: "a failed batch without its Sync", attempts: (2, 2)) {
            $0.appendStatement("insert a")
            $0.appendStatement("fail a")
            $0.appendStatement("insert b")
        },
        Leftover(description: "a pipeline of batches", committed: ["a"]) {
            for text in ["insert a", "fail b", "rows 3 c"] {
                $0.appendStatement(text)
                $0.appendSync()
            }
        },
        Leftover(description: "three errors") { for _ in 0..<3 { $0.appendQuery("bad a") } },
        Leftover(description: "notices, values, a statement and a mark") {
            $0.appendQuery("notice a")
            $0.appendQuery("set profile 1 none")
            $0.appendQuery("set mark a")
            $0.appendParse(name: "n", query: "select a")
            $0.appendSync()
        },
        Leftover(description: "what copies leave behind") {
            $0.appendCopyData([1])
            $0.appendCopyDone()
            $0.appendCopyFail("no")
            $0.appendFlush()
        },
    ]

    @Test(arguments: leftovers, resets) func whatWasLeftIsEnded(_ left: Leftover, _ reset: String?)
    {
        var unread = Fixture(reset: reset)
        unread.leave(read: 0, left.write)
        // The client has read nothing, everything, or up to some message's end.
        let ends = unread.messageEnds
        for read in Set(ends.prefix(4) + ends.suffix(4)) {
            for pieces in [Int.max, 1, 7, 64] {
                var fixture = unread
                fixture.backend.output.removeFirst(read)
                fixture.begin()
                fixture.run(pieces: pieces)
                #expect(fixture.outcome == fixture.success, "\(read) bytes read, \(pieces)")
                #expect(fixture.isTrue && fixture.isQuiet)
                #expect(fixture.backend.committed == left.committed)
                guard read == ends.last else { continue }
                // In one piece an error and the marker behind it are seen at once.
                let attempts = reset == nil ? left.attempts.plain : left.attempts.withReset
                #expect(pieces == 1 ? fixture.attempts == attempts : fixture.attempts <= attempts)
            }
        }
    }

    @Test(arguments: resets) func whoLeavesItAsItShouldBeCostsOneFlight(_ reset: String?) {
        var fixture = Fixture(reset: reset)
        fixture.leave { $0.appendQuery("select a") }
        fixture.begin()
        fixture.run()
        #expect(fixture.sent == ["CopyFail"] + fixture.attempt(1))
        #expect(fixture.outcome == fixture.success && fixture.isTrue)
    }

    /// The marked query fails, and takes the batch along before the Sync comes.
    @Test(arguments: resets) func aBatchWithoutItsSyncIsNotCommitted(_ reset: String?) {
        var fixture = Fixture(reset: reset)
        fixture.leave {
            $0.appendStatement("insert a")
            $0.appendFlush()
        }
        #expect(fixture.backend.isInTransaction && fixture.backend.status == .idle)
        fixture.begin()
        fixture.run()
        #expect(fixture.sent == ["CopyFail"] + fixture.attempt(1) + fixture.attempt(2))
        #expect(fixture.outcome == fixture.success && fixture.isTrue)
        #expect(fixture.backend.committed.isEmpty)
    }

    /// The error has been read: nothing but a ReadyForQuery answers the first attempt.
    @Test(arguments: resets) func aServerThatSkipsToTheSyncIsAskedAgain(_ reset: String?) {
        var fixture = Fixture(reset: reset)
        fixture.leave { $0.appendStatement("fail a") }
        #expect(fixture.backend.isSkipping)
        fixture.begin()
        fixture.run()
        #expect(fixture.sent == ["CopyFail"] + fixture.attempt(1) + fixture.attempt(2))
        #expect(fixture.outcome == fixture.success && fixture.isTrue)
    }

    @Test(arguments: ["begin", "begin;fail b"]) func aTransactionIsRolledBack(_ text: String) {
        var fixture = Fixture()
        fixture.leave { $0.appendQuery(text) }
        fixture.begin()
        fixture.run()
        #expect(
            fixture.sent == ["CopyFail"] + fixture.attempt(1)
                + fixture.attempt(2, rollback: true))
        #expect(fixture.outcome == .settled(.idle) && fixture.isTrue)
        // The reset fails in it as the marked query does, and is answered by one more.
        fixture = Fixture(reset: "discard all")
        fixture.leave { $0.appendQuery(text) }
        fixture.begin()
        fixture.run()
        #expect(
            fixture.sent == ["CopyFail"] + fixture.attempt(1)
                + fixture.attempt(2, rollback: true) + fixture.attempt(3, rollback: true))
        #expect(fixture.outcome == .clean && fixture.isTrue)
    }

    // MARK: The reset

    @Test func aResetThatFailsLeavesItSettled() {
        let texts: [(String, TransactionStatus)] = [
            ("fail r", .idle), ("begin", .inTransaction), ("begin;fail r", .failed),
        ]
        for (text, status) in texts {
            var fixture = Fixture(reset: text)
            fixture.leave { $0.appendQuery("set mark a") }
            fixture.begin()
            fixture.run(pieces: 3)
            #expect(fixture.outcome == .settled(status), "\(text)")
            #expect(fixture.attempts == 1 && fixture.carry.isEmpty)
            #expect(fixture.backend.status == status && fixture.backend.mark == "a")
            #expect(!fixture.machine.hasDroppedStatements)
        }
    }

    /// What was reported before the server's state was known, is of the client's making.
    @Test func onlyWhatComesBehindTheMarkerIsNoted() {
        var fixture = Fixture(reset: "discard all")
        fixture.begin()
        let before = message {
            $0.appendParameterStatus(name: "client_encoding", value: "LATIN1")
            $0.appendCommandComplete("DISCARD ALL")
            $0.appendReadyForQuery(.idle)
        }
        fixture.receive(before)
        #expect(fixture.outcome == .more && fixture.carry.isEmpty)
        #expect(fixture.machine.parameters.isEmpty && !fixture.machine.hasDroppedStatements)
        // The first attempt's answers: the second one's are awaited by now.
        fixture.receive(Fixture.found() + Fixture.discarded)
        #expect(fixture.outcome == .more)
        #expect(fixture.machine.parameters.isEmpty && !fixture.machine.hasDroppedStatements)
        fixture.receive(before.dropLast(6) + Fixture.found(2))
        #expect(fixture.outcome == .more)
        #expect(fixture.machine.parameters.isEmpty && !fixture.machine.hasDroppedStatements)
        fixture.receive(Fixture.discarded)
        #expect(fixture.outcome == .clean)
        #expect(fixture.machine.parameters.map(\.name) == ["client_encoding"])
        #expect(fixture.machine.parameters.map(\.value) == ["UTF8"])
        #expect(fixture.machine.hasDroppedStatements)
    }

    @Test func aResetThatDropsNoStatementsSaysSo() {
        var fixture = Fixture(reset: "reset all")
        fixture.leave { $0.appendQuery("set mark a") }
        fixture.begin()
        fixture.run()
        #expect(fixture.outcome == .clean && fixture.isTrue)
        #expect(!fixture.machine.hasDroppedStatements)
    }

    // MARK: Late cancels and errors

    /// A cancel that the client sent before it returned, and that comes late. With more of them the
    /// resets are hit, too, and every error costs an attempt.
    @Test(arguments: resets) func aLateCancelHitsTheMarkedQuery(_ reset: String?) {
        for cancels in 1...5 {
            var fixture = Fixture(reset: reset)
            fixture.leave { $0.appendQuery("set mark a") }
            fixture.backend.cancels = cancels
            fixture.begin()
            fixture.run(pieces: 9)
            #expect(fixture.outcome == fixture.success && fixture.isTrue, "\(cancels)")
            #expect(fixture.attempts == cancels + 1)
        }
        // In a transaction the ROLLBACK may be hit, too.
        for cancels in 1...2 {
            var fixture = Fixture(reset: reset)
            fixture.leave { $0.appendQuery("begin") }
            fixture.backend.cancels = cancels
            fixture.begin()
            fixture.run(pieces: 9)
            #expect(fixture.outcome == fixture.success && fixture.isTrue, "\(cancels)")
        }
    }

    @Test func aLateCancelHitsTheReset() {
        var fixture = Fixture(reset: "discard all")
        fixture.leave { $0.appendQuery("set mark a") }
        fixture.begin()
        // The CopyFail, the marked query, the Sync.
        for _ in 0..<3 { _ = fixture.backend.step() }
        fixture.backend.cancels = 1
        fixture.run(pieces: 9)
        #expect(fixture.outcome == .settled(.idle) && fixture.isTrue)
        #expect(fixture.backend.mark == "a" && fixture.attempts == 1)
        #expect(!fixture.machine.hasDroppedStatements)
    }

    /// The row is out when the cancel comes: the error is not the reset's.
    @Test func aLateCancelBehindTheMarkedRow() {
        var fixture = Fixture(reset: "discard all")
        fixture.begin()
        fixture.receive(Fixture.marked() + Fixture.failed())
        fixture.receive(message { $0.appendReadyForQuery(.idle) })
        #expect(fixture.outcome == .more)
        fixture.receive(Fixture.discarded)
        #expect(fixture.outcome == .clean && fixture.attempts == 1)
    }

    @Test(arguments: [TransactionStatus.idle, .inTransaction, .failed])
    func aServerThatAnswersWithErrorsOnlyIsGivenUp(_ status: TransactionStatus) {
        for reset in Self.resets {
            var fixture = Fixture(reset: reset)
            fixture.begin()
            var rounds = 0
            while !fixture.isOver, rounds < 20 {
                fixture.receive(Fixture.failed(status))
                rounds += 1
            }
            #expect(fixture.outcome == .broken("it answers with errors only"))
            #expect(rounds == 6 && fixture.attempts == 6)
            let rollbacks = fixture.sent.count { $0 == "Query(ROLLBACK)" }
            #expect(rollbacks == (status == .idle ? 0 : 5))
        }
    }

    /// Without an error there is nothing to repeat: once it was skipped, perhaps, and no more.
    @Test func aServerThatIsOnlyReadyIsAskedTwice() {
        var fixture = Fixture()
        fixture.begin()
        for _ in 0..<20 { fixture.receive(message { $0.appendReadyForQuery(.inTransaction) }) }
        #expect(fixture.outcome == .more)
        #expect(
            fixture.sent == ["CopyFail"] + fixture.attempt(1)
                + fixture.attempt(2, rollback: true))
    }

    /// What it says of its state is believed behind the marker only.
    @Test func anUnknownStatusOrAnImpossibleLengthBreaksTheEnd() {
        let unknown: [UInt8] = [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "x")]
        let empty: [UInt8] = [UInt8(ascii: "Z"), 0, 0, 0, 4]
        for bytes in [unknown, empty] {
            var fixture = Fixture()
            fixture.begin()
            fixture.receive(bytes)
            #expect(fixture.outcome == .more && fixture.attempts == 1)
            fixture.receive(Fixture.marked())
            fixture.receive(bytes)
            #expect(fixture.outcome == .broken("it reported an unknown transaction status"))
        }
        for length in [[0, 0, 0, 3], [255, 255, 255, 255], [128, 0, 0, 0], [64, 0, 0, 5]]
            as [[UInt8]]
        {
            var fixture = Fixture()
            fixture.begin()
            fixture.receive([UInt8(ascii: "D")] + length)
            #expect(fixture.outcome == .more)
            fixture.receive(Fixture.marked() + [UInt8(ascii: "N")] + length)
            #expect(fixture.outcome == .broken("it broke the protocol"))
        }
    }
}
