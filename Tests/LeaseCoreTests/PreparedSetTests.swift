// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

@Suite struct PreparedSetTests {
    private func statements(_ count: Int, _ table: inout StatementTable) -> [StatementID] {
        (0..<count).map { number in
            (Array("select \(number)".utf8) + [0, 0, 0])
                .withUnsafeBytes { table.make($0, in: ParseEnvironment()) }
        }
    }

    private func copy(_ name: String, since: UInt64 = 0) -> PreparedSet.Copy {
        PreparedSet.Copy(name: Array(name.utf8), since: since)
    }

    private let x = Array("x".utf8)

    @Test func countsOneReferenceForEach() {
        var table = StatementTable()
        let ids = statements(2, &table)
        var set = PreparedSet()
        set.add(ids[0], copy("x"), in: &table)
        set.add(ids[0], copy("x"), in: &table)
        set.add(ids[1], copy("y"), in: &table)
        #expect(set.count == 2)
        #expect(ids.map { table.references(to: $0) } == [2, 2])
        set.remove(ids[0], in: &table)
        set.remove(ids[0], in: &table)
        #expect(ids.map { table.references(to: $0) } == [1, 2])
        set.removeAll(in: &table)
        #expect(ids.map { table.references(to: $0) } == [1, 1])
        #expect(set.count == 0)
    }

    /// Its client closes it, and two Parses of it have no answer yet: they are counted, whatever comes back before.
    @Test func whatIsOnItsWayIsNotForgotten() {
        var table = StatementTable()
        let id = statements(1, &table)[0]
        var set = PreparedSet()
        set.add(id, copy("x"), in: &table)
        #expect(set.abandon(id, in: &table) == copy("x"))
        set.sent(id, as: copy("x"), batch: 1, in: &table)
        set.sent(id, as: copy("x"), batch: 2, in: &table)
        #expect(set.abandon(id, in: &table) == nil)
        // The drop in front of the first was skipped, so was the Parse; the second drop is answered, its Parse fails.
        set.add(id, copy("x"), in: &table)
        set.missed(id, in: &table)
        set.dropped(id)
        set.missed(id, in: &table)
        #expect(set.count == 0)
        #expect(table.references(to: id) == 1)
    }

    /// Only the batch that it was sent in can count on it before the answer.
    @Test func onItsWayItIsInDoubtForLaterBatches() {
        var table = StatementTable()
        let id = statements(1, &table)[0]
        var set = PreparedSet()
        set.sent(id, as: copy("x"), batch: 1, in: &table)
        #expect(set.use(id, batch: 1) == .there(x))
        #expect(set.use(id, batch: 2) == .inDoubt(x))
        #expect(set.leastRecentlyUsed == nil)
        // Batch 2 drops it and sends it again; then batch 1 fails.
        set.sent(id, as: copy("x"), batch: 2, in: &table)
        set.missed(id, in: &table)
        #expect(set.use(id, batch: 2) == .there(x))
        set.dropped(id)
        set.arrived(id)
        #expect(set.use(id, batch: 3) == .there(x))
        #expect(set.leastRecentlyUsed == id)
        #expect(table.references(to: id) == 2)
        // Again, and the drop is answered, but not the Parse behind it.
        set.sent(id, as: copy("x"), batch: 4, in: &table)
        set.dropped(id)
        set.missed(id, in: &table)
        #expect(set.use(id, batch: 5) == .absent)
        #expect(table.references(to: id) == 1)
    }

    @Test func whatWasSentSinceOutlivesADeallocateAll() {
        var table = StatementTable()
        let ids = statements(3, &table)
        var set = PreparedSet()
        set.add(ids[0], copy("x"), in: &table)
        set.add(ids[1], copy("x"), in: &table)
        set.doubtAll()
        #expect(set.use(ids[0], batch: 1) == .inDoubt(x))
        set.sent(ids[0], as: copy("x"), batch: 1, in: &table)
        set.sent(ids[2], as: copy("x"), batch: 1, in: &table)
        #expect(set.use(ids[0], batch: 1) == .there(x))
        set.forgetAll(in: &table)
        #expect(ids.map { set.contains($0) } == [true, false, true])
        set.missed(ids[0], in: &table)
        set.arrived(ids[2])
        #expect(ids.map { set.contains($0) } == [false, false, true])
        #expect(ids.map { table.references(to: $0) } == [1, 1, 2])
    }

    @Test func theLeastRecentlyUsedGoesFirst() {
        var table = StatementTable()
        let ids = statements(3, &table)
        var set = PreparedSet()
        #expect(set.leastRecentlyUsed == nil)
        for id in ids { set.add(id, copy("x"), in: &table) }
        #expect(set.leastRecentlyUsed == ids[0])
        #expect(set.use(ids[0], batch: 0) == .there(x))
        #expect(set.leastRecentlyUsed == ids[1])
        set.remove(ids[1], in: &table)
        #expect(set.use(ids[1], batch: 0) == .absent)
        #expect(set.contains(ids[2]))
        #expect(set.leastRecentlyUsed == ids[2])
    }

    /// What a server was given before a client's Parse may mean something else than that.
    @Test func anOlderCopyDoesNotServe() {
        var table = StatementTable()
        let id = statements(1, &table)[0]
        var set = PreparedSet()
        set.add(id, copy("x", since: 5), in: &table)
        #expect(set.use(id, batch: 1, since: 5) == .there(x))
        #expect(set.use(id, batch: 1, since: 6) == .inDoubt(x))
        set.sent(id, as: copy("x", since: 7), batch: 1, in: &table)
        #expect(set.use(id, batch: 1, since: 6) == .there(x))
        // It was skipped: what is there is older than it would have been.
        set.missed(id, in: &table)
        #expect(set.use(id, batch: 2, since: 6) == .inDoubt(x))
    }

    @Test func aFreshCopyTakesThePlaceOfAnother() {
        var table = StatementTable()
        let ids = statements(2, &table)
        var set = PreparedSet()
        set.add(ids[0], copy("x", since: 1), in: &table)
        set.add(ids[1], copy("y", since: 2), in: &table)
        set.adopt(ids[0], from: ids[1], in: &table)
        #expect(set.count == 1)
        #expect(set.use(ids[0], batch: 1, since: 2) == .there(Array("y".utf8)))
        #expect(set.takeSuperseded() == [x])
        #expect(set.takeSuperseded() == [])
        #expect(ids.map { table.references(to: $0) } == [2, 1])
    }

    @Test func aFreshCopyIsDroppedIfAnotherIsUnderWay() {
        var table = StatementTable()
        let ids = statements(2, &table)
        var set = PreparedSet()
        set.sent(ids[0], as: copy("x", since: 1), batch: 1, in: &table)
        set.add(ids[1], copy("y", since: 2), in: &table)
        set.adopt(ids[0], from: ids[1], in: &table)
        #expect(set.takeSuperseded() == [Array("y".utf8)])
        #expect(set.name(of: ids[0]) == x)
        #expect(ids.map { table.references(to: $0) } == [2, 1])
    }

    @Test func aDropThatIsTakenBackGivesWayToWhatCameSince() {
        var table = StatementTable()
        let id = statements(1, &table)[0]
        var set = PreparedSet()
        set.add(id, copy("y", since: 2), in: &table)
        set.add(id, copy("x", since: 1), in: &table)
        #expect(set.name(of: id) == Array("y".utf8))
        #expect(set.takeSuperseded() == [x])
        set.supersede(x)
        set.forgetAll(in: &table)
        #expect(set.takeSuperseded() == [])
        #expect(table.references(to: id) == 1)
    }
}
