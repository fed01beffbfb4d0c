import LeaseCore
import Testing

@Suite struct ProfileTableTests {
    private func entries(_ pairs: [(String, String)]) -> [ProfileEntry] {
        pairs.map { ProfileEntry(name: $0.0, value: $0.1) }
    }

    @Test func theSameSettingsAreOneProfileInAnyOrder() {
        var table = ProfileTable()
        let first = table.intern(entries([("a", "1"), ("b", "2")]))
        let second = table.intern(entries([("b", "2"), ("a", "1")]))
        #expect(first == second)
        #expect(table.count == 1)
        #expect(table.intern(entries([("a", "2"), ("b", "2")])) != first)
    }

    @Test func theLastValueOfANameCounts() {
        var table = ProfileTable()
        let id = table.intern(entries([("a", "1"), ("a", "2")]))
        #expect(table.entries(of: id) == entries([("a", "2")]))
        #expect(table.setup(from: .serverDefault, to: id) == "SET \"a\" TO '2'")
    }

    @Test func noSettingsAreTheServersOwn() {
        var table = ProfileTable()
        #expect(table.intern([]) == .serverDefault)
        table.release(.serverDefault)
        table.retain(.serverDefault)
        #expect(table.count == 0)
        #expect(table.setup(from: .serverDefault, to: .serverDefault) == "")
    }

    @Test func aNumberIsNeverUsedAgain() {
        var table = ProfileTable()
        let first = table.intern(entries([("a", "1")]))
        table.retain(first)
        table.release(first)
        #expect(table.count == 1)
        table.release(first)
        #expect(table.count == 0)
        #expect(table.entries(of: first).isEmpty)
        #expect(table.intern(entries([("a", "1")])) != first)
    }

    @Test func setupQuotesNamesAndValues() {
        var table = ProfileTable()
        let id = table.intern(entries([("my.\"x", "it's \\ so")]))
        #expect(
            table.setup(from: .serverDefault, to: id)
                == #"SET "my.""x" TO E'it''s \\ so'"#)
    }

    @Test func setupFromAnotherProfileResetsItFirst() {
        var table = ProfileTable()
        let first = table.intern(entries([("a", "1")]))
        let second = table.intern(entries([("search_path", "x, y")]))
        #expect(
            table.setup(from: first, to: second)
                == "RESET ALL;SELECT pg_catalog.set_config('search_path', 'x, y', false)")
        #expect(table.setup(from: first, to: .serverDefault) == "RESET ALL")
    }
}
