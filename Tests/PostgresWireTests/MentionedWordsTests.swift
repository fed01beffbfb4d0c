// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

struct MentionedWordsTests {
    private func words(_ text: String) -> MentionedWords {
        Array(text.utf8).withUnsafeBytes { MentionedWords.inText($0) }
    }

    @Test(arguments: [
        "select run('RESET x')", "discard plans", "set a to default", "set time zone local",
        "set names", "call run_both('Set Names', 'SELECT 1')", "do $$set names$$",
        "set names;", "do $$begin execute 'set names'; end$$",
    ])
    func aSettingMayGoBack(text: String) {
        #expect(words(text).contains(.reset), "\(text)")
    }

    @Test(arguments: [
        "set names 'UTF8'", "select names from t", "select names, 1", "select resets", "set x = 1",
        "select usernames",
    ]) func noSettingGoesBack(text: String) {
        #expect(!words(text).contains(.reset), "\(text)")
    }

    private func mayResetWithin(_ text: String) -> Bool {
        Array(text.utf8).withUnsafeBytes { MentionedWords.mayResetWithin($0) }
    }

    @Test(arguments: [
        "select run('RESET x')", "do $$begin reset all; end$$", "do 'begin reset all; end'",
        "do $do$ begin execute $q$set a to default$q$; end $do$", "call run_both('SET NAMES', '')",
        "select 'it''s'; select run('discard all')", "select \"'\", run('set time zone local')",
    ]) func whatIsCalledMayPutBack(text: String) { #expect(mayResetWithin(text), "\(text)") }

    @Test(arguments: [
        "set local timezone = 'Etc/UTC'", "select 1; set local timezone = 'x'; select 2",
        "select 'reset default'; set timezone = 'x'", "select run('set local timezone = ''x''')",
        "reset all; select run('x')", "set a to default; select f(1)", "select \"reset\"(1)",
        "select $1, f($2) from reset", "insert into t values (default)",
        "do $$begin perform 1; end$$",
    ]) func nothingIsPutBackWithin(text: String) { #expect(!mayResetWithin(text), "\(text)") }

    @Test func statementsAreNamed() {
        #expect(
            words("do $$ begin execute 'deallocate all'; end $$") == [.execute, .deallocate, .all])
        #expect(words("select prepared from all_of_them") == [])
        #expect(words("Discard All") == [.reset, .all])
    }
}
