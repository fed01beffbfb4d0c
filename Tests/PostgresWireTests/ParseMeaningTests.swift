// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite struct ParseMeaningTests {
    private func withBytes<Result>(
        of text: String, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        Array(text.utf8).withUnsafeBytes(body)
    }

    @Test(arguments: [
        "application_name", "statement_timeout", "lock_timeout", "log_min_duration_statement",
        "client_min_messages", "app.tenant", "tcp_user_timeout",
    ]) func harmlessSettings(_ name: String) {
        #expect(ParseMeaning.isHarmless(setting: name))
    }

    @Test(arguments: [
        "timezone", "datestyle", "intervalstyle", "client_encoding", "standard_conforming_strings",
        "array_nulls", "transform_null_equals", "search_path", "role", "session_authorization",
        "backslash_quote", "xmloption", "lc_monetary", "extra_float_digits", "one_that_comes_later",
    ]) func settingsThatCount(_ name: String) {
        #expect(!ParseMeaning.isHarmless(setting: name))
    }

    @Test(arguments: [
        "select 'now'::date", "select DATE 'Today'", "select ' tomorrow'::date", "'12:00yesterday'",
        "$$now$$", "E'\\x6eow'", "U&'\\006eow'", "select 'today 12:00'", "values ('NOW')",
    ]) func theTimeOfItsParse(_ text: String) {
        #expect(withBytes(of: text) { ParseMeaning.dependsOnTime($0) })
    }

    @Test(arguments: [
        "select now()", "select now () where a = 'x'", "select 'know', 'nowhere', snow", "",
        "select today from t", "select 'todays'", "update t set now_at = 'x'", "select $1",
    ]) func notTheTimeOfItsParse(_ text: String) {
        #expect(!withBytes(of: text) { ParseMeaning.dependsOnTime($0) })
    }

    @Test(
        arguments: [
            ("set local timezone = 'x'", SetScope.local),
            ("SET LOCAL app.x TO 1", [.local, .harmless]),
            ("set transaction read only", [.local, .harmless]),
            ("set statement_timeout = 1", .harmless),
            ("set session lock_timeout to '1s';", .harmless), ("set timezone = 'x'", []),
            ("set statement_timeout = 1; set timezone = 'x'", []), ("select 1", []), ("settle", []),
            ("set session authorization x", []),
            ("set session characteristics as transaction read only", []),
            ("set local \"app\".\"x\" = 1", [.local, .harmless]), ("set", []),
            ("set local", .local),
            ("set local time zone 'x'", .local), ("set role x", []), ("set local role x", .local),
        ] as [(String, SetScope)]) func scopeOfASet(_ text: String, _ scope: SetScope)
    {
        #expect(withBytes(of: text) { SetScope.of($0) } == scope)
    }

    @Test(
        arguments: [
            ("select set_config('app.x', 'y', true)", SessionTaint.localNames),
            ("select set_config('app.x', $1, false)", .harmlessSettings),
            ("select set_config('app.x', y, true)", .harmlessSettings),
            ("select set_config('app.x', 'y', true and false)", .harmlessSettings),
            ("select set_config ( 'statement_timeout' , $1, true)", .nothing),
            ("select set_config('search_path', 'y', true)", .settings),
            ("select set_config('app.' || 'x', 'y', true)", .settings),
            ("select set_config('app.x' || y, 'y', true)", .settings),
            ("select set_config($1, 'y', true)", .settings),
            (
                "select set_config('app.x', 'y', true), set_config('timezone', 'y', true)",
                [.settings, .localNames]
            ),
        ] as [(String, SessionTaint)]) func calls(_ text: String, _ taint: SessionTaint)
    {
        #expect(withBytes(of: text) { SessionTaint.inText($0) } == taint)
    }
}

@Suite struct StatementReferencesTests {
    private func references(_ text: String) -> [String] {
        Array(text.utf8).withUnsafeBytes { bytes in
            #expect(
                StatementReference.mayOccur(in: bytes)
                    || StatementReference.all(in: bytes).isEmpty)
            return StatementReference.all(in: bytes).map {
                let spelled = String(decoding: bytes[$0.range], as: UTF8.self)
                let name = String(decoding: $0.name, as: UTF8.self)
                return "\($0.kind) \(spelled)" + (name.isEmpty || spelled == name ? "" : " \(name)")
            }
        }
    }

    @Test(arguments: [
        ("execute s", ["execute s"]), ("EXECUTE S(1, 'x')", ["execute S s"]),
        ("execute \"S x\"", ["execute \"S x\" S x"]), ("/* x */ execute s", ["execute s"]),
        ("select 1; execute s; execute t", ["execute s", "execute t"]),
        ("explain execute s", ["execute s"]),
        ("explain (analyze, costs off) execute s(1)", ["execute s"]),
        ("explain analyze verbose execute s", ["execute s"]),
        ("create table x as execute s", ["execute s"]),
        ("create temp table x (a) as execute s with no data", ["execute s"]),
        ("deallocate s; select 2", ["deallocate s"]), ("deallocate prepare s", ["deallocate s"]),
        ("deallocate prepare", []), ("deallocate all", ["deallocateAll all"]),
        ("select 1; deallocate prepare all", ["deallocateAll all"]),
        ("discard all", ["deallocateAll all"]),
        ("discard plans", []), ("select 'execute s'; deallocate t", ["deallocate t"]),
        ("select $$; execute s$$, $1; execute t", ["execute t"]),
        ("select $a$; execute s $$ $a$; execute t", ["execute t"]),
        ("select e'\\'; execute s'; execute t", ["execute t"]),
        ("select '\\'; execute s", []), ("select 'it''s; execute s'; execute t", ["execute t"]),
        ("grant execute on function f() to x; select 1", []),
        ("create trigger t before insert on x execute function f()", []),
        ("select execute, deallocate from t; select 1", []),
        ("-- ; execute s\nselect 1; select 2", []),
        ("select (execute); select 1", []), ("do $$ begin execute 'x'; end $$", []),
        ("execute", []), ("execute ;", []), ("", []), (";;", []), ("select 'open; execute s", []),
        ("/* open; execute s", []), ("select $$open; execute s", []),
    ]) func found(_ text: String, _ expected: [String]) {
        #expect(references(text) == expected)
    }

    @Test func cutAnywhereItIsReadWithoutHarm() {
        let text =
            "/* x */ explain (costs) execute \"s\"($a$ x $a$, e'\\'', 'y'); deallocate all; discard all"
        for end in 0...text.utf8.count {
            _ = references(String(decoding: Array(text.utf8)[..<end], as: UTF8.self))
        }
    }
}
