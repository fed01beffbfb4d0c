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

    @Test func statementsAreNamed() {
        #expect(
            words("do $$ begin execute 'deallocate all'; end $$") == [.execute, .deallocate, .all])
        #expect(words("select prepared from all_of_them") == [])
        #expect(words("Discard All") == [.reset, .all])
    }
}
