import LeaseCore
import Testing

@Suite struct PreparedSetTests {
    private func statements(_ count: Int, _ table: inout StatementTable) -> [StatementID] {
        (0..<count).map { number in
            (Array("select \(number)".utf8) + [0, 0, 0]).withUnsafeBytes { table.intern($0) }
        }
    }

    @Test func countsOneReferenceForEach() {
        var table = StatementTable()
        let ids = statements(2, &table)
        var set = PreparedSet()
        set.add(ids[0], in: &table)
        set.add(ids[0], in: &table)
        set.add(ids[1], in: &table)
        #expect(set.count == 2)
        #expect(ids.map { table.references(to: $0) } == [2, 2])
        set.remove(ids[0], in: &table)
        set.remove(ids[0], in: &table)
        #expect(ids.map { table.references(to: $0) } == [1, 2])
        set.removeAll(in: &table)
        #expect(ids.map { table.references(to: $0) } == [1, 1])
        #expect(set.count == 0)
    }

    @Test func theLeastRecentlyUsedGoesFirst() {
        var table = StatementTable()
        let ids = statements(3, &table)
        var set = PreparedSet()
        #expect(set.leastRecentlyUsed == nil)
        for id in ids { set.add(id, in: &table) }
        #expect(set.leastRecentlyUsed == ids[0])
        #expect(set.use(ids[0]) == true)
        #expect(set.leastRecentlyUsed == ids[1])
        set.remove(ids[1], in: &table)
        #expect(set.use(ids[1]) == false)
        #expect(set.contains(ids[2]))
        #expect(set.leastRecentlyUsed == ids[2])
    }
}
