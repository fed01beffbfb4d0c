// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PostgresWire

/// The first look at a text may only say "plain" where every other look finds nothing.
struct PlainTextTests {
    @Test(arguments: [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "UPDATE pgbench_tellers SET tbalance = tbalance + 1 WHERE tid = 5;",
        "insert into journal values (1, 'a long enough text')", "delete from journal where id = 12",
        "WITH x AS (SELECT 1) SELECT * FROM x ; ; \n", "SELECT 'long enough', 'and no end'\0",
    ])
    func plain(_ text: String) { #expect(isPlain(text)) }

    @Test(arguments: [
        "", "SELECT 1", "SET search_path TO elsewhere_and_more", "RESET search_path_and_more_of_it",
        "SELECT set_config('a.b', 'c', false)", "SELECT pg_advisory_lock(1234567890)",
        "SELECT 1 INTO TEMP x FROM somewhere_else", "SELECT 1, 2, 3, 4, 5, 6; SET x = 1",
        "SELECT ';' || 'is in a string, which is not looked into'",
        "DEALLOCATE a_statement_of_that_name", "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "EXECUTE a_statement_of_that_name(1)", "CREATE TABLE x AS EXECUTE something(1)",
        "LISTEN a_channel_with_a_long_name", "/* */ SET search_path TO elsewhere",
        "-- \nSET search_path TO elsewhere_and_more", "  SET search_path TO elsewhere_and_more",
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'y'",
        "SELECT U&\"dblink\\005fconnect\"('x')",
    ])
    func notPlain(_ text: String) { #expect(!isPlain(text)) }

    @Test(arguments: [
        ("BEGIN", true), ("begin;", true), ("Commit", true), ("COMMIT;", true), ("end", true),
        ("END;", true), ("", false), (";", false), ("BEGIN;;", false), ("BEGINS", false),
        ("ROLLBACK", false), ("COMMIT ", false), (" BEGIN", false), ("ABORT", false),
    ])
    func boundary(_ text: String, _ isOne: Bool) {
        withBytes(of: text) { sql in
            #expect(PlainText.isBoundary(sql) == isOne)
            guard isOne else { return }
            #expect(SessionTaint.inText(sql).isEmpty && SetScope.of(sql).isEmpty)
            #expect(SettingsReset.statements(of: sql) == [] && SessionSetting.parse(sql) == nil)
            #expect(StatementReference.all(in: sql).isEmpty && DeallocateText.parse(sql) == nil)
        }
    }

    /// Texts are put together from what the other looks search for, and from what they pass over.
    @Test(arguments: 0..<20)
    func plainMeansThatEveryOtherLookFindsNothing(_ seed: UInt64) {
        var random = Random(state: seed &* 0x9e37_79b9_7f4a_7c15 | 1)
        var plain = 0
        for _ in 0..<150 {
            var text = random.pick(Self.beginnings)
            for _ in 0..<(random.next() % 9) { text += random.pick(Self.pieces) }
            guard isPlain(text) else { continue }
            plain += 1
            withBytes(of: text) { sql in
                #expect(SessionTaint.inText(sql).isEmpty, "\(text)")
                #expect(SettingsReset.statements(of: sql) == [], "\(text)")
                #expect(SettingsReset.statement(sql) == nil, "\(text)")
                #expect(SessionSetting.parse(sql) == nil, "\(text)")
                #expect(SetScope.of(sql).isEmpty, "\(text)")
                #expect(StatementReference.all(in: sql).isEmpty, "\(text)")
                #expect(DeallocateText.parse(sql) == nil, "\(text)")
            }
        }
        #expect(plain > 0)
    }

    private static let beginnings = [
        "SELECT ", "select a, b from c ", "INSERT INTO t ", "UPDATE t SET ", "DELETE FROM t ",
        "WITH x AS (",
        "VALUES (1), (2) ", "SET ", "RESET ", "DEALLOCATE ", "EXECUTE ", "CREATE TABLE x AS ",
        " SELECT ",
        "s", "sel", "SELECT;", "-- x\nSELECT ", "DECLARE ", "DISCARD ALL ", "UPSERT ", "dele",
        "Eselect ",
    ]
    private static let pieces = [
        "a", " from t where x = 1", "set_config('a.b','c',false)", "pg_advisory_lock(1)", " temp ",
        " TEMPORARY ",
        ";", "; ", ";\n;", " SET x = 1", " RESET ALL", " DEALLOCATE ALL", "'", "''", "$$", "\0",
        "--\n", "/*", "*/",
        " execute p(1)", "pg_settings", "dblink_connect('a')", "U&\"\"", "0123456789abcde",
        "\u{e9}", " into x ",
        "LISTEN x", "pg_temp.t", " = $1", "(", ")",
    ]

    private func isPlain(_ text: String) -> Bool {
        withBytes(of: text) { PlainText.isOneStatement($0) }
    }

    private struct Random {
        var state: UInt64

        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state >> 11
        }

        mutating func pick(_ from: [String]) -> String { from[Int(next() % UInt64(from.count))] }
    }
}
