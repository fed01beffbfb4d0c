// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import LeaseCore

struct ListenLogTests {
    private func ended(_ statements: [ListenStatement], isCommitted: Bool = true)
        -> [ListenStatement]
    {
        var log = ListenLog()
        for statement in statements { log.note(statement) }
        return log.end(isCommitted: isCommitted)
    }

    private let a = ListenStatement.listen([97])
    private let b = ListenStatement.listen([98])
    private let s = ListenStatement.savepoint([115])

    @Test func aCommitKeepsTheOrderAndARollbackNothing() {
        #expect(ended([a, .unlisten([97]), b]) == [a, .unlisten([97]), b])
        #expect(ended([a, .unlistenAll], isCommitted: false) == [])
    }

    @Test func aRollbackToASavepointTakesBackWhatCameBehindIt() {
        #expect(ended([a, s, b, .rollbackTo([115])]) == [a])
        // It stays, and may be gone back to again.
        #expect(ended([a, s, b, .rollbackTo([115]), b, .rollbackTo([115])]) == [a])
        // The last of its name is meant.
        #expect(ended([s, a, s, b, .rollbackTo([115])]) == [a])
    }

    @Test func oneFromBeforeTheFirstListenTakesBackAll() {
        #expect(ended([s, a, b, .rollbackTo([115])]) == [])
        #expect(ended([a, .rollbackTo([120]), b]) == [b])
    }

    @Test func aReleaseKeepsWhatWasDone() {
        #expect(ended([a, s, b, .release([115]), .rollbackTo([120])]) == [])
        #expect(ended([a, .savepoint([120]), s, b, .release([115]), .rollbackTo([120])]) == [a])
        #expect(ended([a, s, b, .release([115])]) == [a, b])
    }

    @Test func aRollbackOfUnknownReachEndsItOnlyIfTheTransactionIsOver() {
        var log = ListenLog()
        log.note(a)
        log.noteRollback()
        #expect(log.end(isCommitted: true) == [])
        log.note(a)
        log.noteRollback()
        log.goesOn()
        #expect(log.end(isCommitted: true) == [a])
    }
}

struct ChannelTableTests {
    private let one = ClientID(slot: 1, generation: 1)
    private let two = ClientID(slot: 2, generation: 1)

    private func text(_ table: inout ChannelTable) -> String {
        String(decoding: table.takeChanges(), as: UTF8.self)
    }

    @Test func aChannelIsListenedToOnceAndAsLongAsSomebodyWantsIt() {
        var table = ChannelTable()
        let first = table.want(Array("a".utf8), one)
        #expect(table.want(Array("a".utf8), two) == first)
        #expect(text(&table) == #"LISTEN "a""#)
        #expect(!table.hasChanges)
        table.leave(first, one)
        #expect(text(&table) == "")
        #expect(table.clients(of: first) == [two])
        table.leave(first, two)
        #expect(table.isUnwanted)
        #expect(text(&table) == #"UNLISTEN "a""#)
        #expect(table.count == 0)
    }

    @Test func whatIsWantedAgainInTimeIsNotTold() {
        var table = ChannelTable()
        let number = table.want(Array("a".utf8), one)
        _ = text(&table)
        table.leave(number, one)
        #expect(table.want(Array("a".utf8), two) == number)
        #expect(text(&table) == "")
        // One that was never asked for is let go without a word.
        table.leave(table.want(Array("b".utf8), one), one)
        #expect(text(&table) == "")
        #expect(table.count == 1)
    }

    @Test func namesAreQuoted() {
        var table = ChannelTable()
        _ = table.want(Array(#"a"b"#.utf8), one)
        _ = table.want(Array("C d".utf8), one)
        #expect(text(&table) == #"LISTEN "a""b";LISTEN "C d""#)
    }

    @Test func afterALossAllAreListenedToAgain() {
        var table = ChannelTable()
        let gone = table.want(Array("a".utf8), one)
        _ = table.want(Array("b".utf8), one)
        _ = text(&table)
        table.leave(gone, one)
        table.forgetAsked()
        #expect(text(&table) == #"LISTEN "b""#)
        #expect(table.count == 1)
        #expect(table.allClients == [one])
    }
}
