// SPDX-License-Identifier: Apache-2.0

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
        #expect(table.setup(from: .serverDefault, to: id).settings == ["SET \"a\" TO '2'"])
    }

    @Test func noSettingsAreTheServersOwn() {
        var table = ProfileTable()
        #expect(table.intern([]) == .serverDefault)
        table.release(.serverDefault)
        table.retain(.serverDefault)
        #expect(table.count == 0)
        let setup = table.setup(from: .serverDefault, to: .serverDefault)
        #expect(setup.inOneText == "" && setup.texts(connectQuery: "c") == [""])
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

    private func setup(
        from: [(String, String)]? = nil, to: [(String, String)]
    ) -> ProfileSetup {
        var table = ProfileTable()
        let current = from.map { table.intern(entries($0)) } ?? .serverDefault
        let target = table.intern(entries(to))
        return table.setup(from: current, to: target)
    }

    private static let begin = "BEGIN ISOLATION LEVEL READ COMMITTED;"

    @Test func setupQuotesNamesAndValues() {
        #expect(
            setup(to: [("my.\"x", "it's \\ so")]).settings == [#"SET "my.""x" TO E'it''s \\ so'"#])
        #expect(
            setup(to: [("my.é", "ü")]).settings
                == [#"SELECT pg_catalog.set_config(E'my.\xc3\xa9', E'\xc3\xbc', false)"#])
    }

    @Test func setupFromAnotherProfileResetsItFirst() {
        let other = setup(from: [("a", "1")], to: [("search_path", "x, y")])
        #expect(other.reset == "RESET ALL" && !other.mustBeAwaited)
        #expect(
            other.inOneText == Self.begin
                + "RESET ALL;SELECT pg_catalog.set_config('search_path', 'x, y', false);COMMIT")
        #expect(setup(from: [("a", "1")], to: []).inOneText == Self.begin + "RESET ALL;COMMIT")
    }

    @Test func whoTheSessionIsGoesBackToo() {
        let identity = "RESET SESSION AUTHORIZATION;RESET ROLE"
        #expect(setup(from: [("role", "r")], to: []).reset == "\(identity);RESET ALL")
        #expect(
            setup(from: [("session_authorization", "r")], to: []).reset
                == "\(identity);RESET ALL")
        #expect(setup(to: [("role", "r")]).settings == ["SET \"role\" TO 'r'"])
    }

    @Test func roleAndTimeoutsComeLast() {
        let names = ["a", "lock_timeout", "role", "statement_timeout", "transaction_timeout", "z"]
        let order = ["a", "z", "role", "lock_timeout", "transaction_timeout", "statement_timeout"]
        #expect(
            setup(to: names.map { ($0, "1") }).settings == order.map { "SET \"\($0)\" TO '1'" })
    }

    @Test func aTimeoutInForceIsEndedFirstAndAwaited() {
        let timed = setup(from: [("statement_timeout", "1")], to: [("a", "1")])
        #expect(timed.reset == "SET statement_timeout TO 0;RESET ALL" && timed.mustBeAwaited)
        #expect(setup(from: [("transaction_timeout", "1")], to: []).mustBeAwaited)
        for (value, isAwaited) in [
            ("999", true), ("1000", false), ("20ms", true), ("1s", false), ("0", false),
            ("0.5s", true), ("9us", true), ("", true), ("5min", false), ("-1", true),
        ] {
            let setup = setup(from: [("statement_timeout", value)], to: [])
            #expect(setup.mustBeAwaited == isAwaited, "\(value)")
        }
        #expect(!setup(from: [("lock_timeout", "1")], to: []).mustBeAwaited)
    }

    @Test func connectQueryComesBetween() {
        let both = setup(from: [("a", "1")], to: [("b", "2")])
        let block = Self.begin + "SET \"b\" TO '2';COMMIT"
        #expect(both.texts(connectQuery: nil) == ["RESET ALL", block])
        #expect(
            both.texts(connectQuery: "c")
                == ["RESET ALL;RESET SESSION AUTHORIZATION;RESET ROLE", "c", block])
        #expect(setup(to: [("b", "2")]).texts(connectQuery: "c") == [block])
        #expect(setup(from: [("a", "1")], to: []).texts(connectQuery: nil) == ["RESET ALL"])
    }

    @Test func whatAStartupPacketOnlyChecksIsOnlyChecked() {
        #expect(
            setup(to: [("transaction_isolation", "serializable"), ("a", "1")]).settings == [
                "SAVEPOINT pglease", "SELECT 1",
                "SET LOCAL \"transaction_isolation\" TO 'serializable'",
                "ROLLBACK TO pglease", "SET \"a\" TO '1'",
            ])
        #expect(setup(to: [("seed", "0.5")]).settings.isEmpty)
        #expect(setup(to: [("seed", "7")]).settings == ["SET \"seed\" TO '7'"])
    }
}

@Suite struct ProfileMeaningTests {
    private func entry(_ name: String, _ value: String) -> ProfileEntry {
        ProfileEntry(name: name, value: value)
    }

    @Test func profilesThatDifferInHarmlessSettingsMeanTheSame() {
        var table = ProfileTable()
        let plain = table.intern([entry("timezone", "UTC")])
        let named = table.intern([entry("timezone", "UTC"), entry("application_name", "a")])
        let other = table.intern([entry("timezone", "Asia/Tokyo"), entry("application_name", "a")])
        let harmless = table.intern([entry("application_name", "a")])
        #expect(plain != named)
        #expect(plain.meaning == named.meaning)
        #expect(other.meaning != plain.meaning)
        #expect(harmless.meaning == ProfileID.serverDefault.meaning)
        #expect(plain.meaning != 0)
    }

    @Test func aNumberOfSettingsThatAreGoneDoesNotComeAgain() {
        var table = ProfileTable()
        let first = table.intern([entry("timezone", "UTC")])
        let second = table.intern([entry("timezone", "UTC"), entry("lock_timeout", "1")])
        table.release(first)
        let third = table.intern([entry("timezone", "UTC")])
        #expect(third.meaning == first.meaning)
        table.release(second)
        table.release(third)
        #expect(table.intern([entry("timezone", "UTC")]).meaning > first.meaning)
    }
}
