// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("What the statements of a text put back")
struct SettingsResetTests {
    @Test(
        "One entry for each SET and RESET, where one of them puts something back",
        arguments: [
            ("", []), ("select 1", []), ("set a = 1", []), ("show a; set b = 2; select 1", []),
            ("reset a", [.one("a")]), (" /* x */ RESET \"A\" ;", [.one("a")]),
            ("reset all", [.all]), ("reset time zone", [.one("timezone")]),
            ("reset session authorization", [.one("session_authorization")]),
            ("set a to default", [.one("a")]), ("set session a = default", [.one("a")]),
            ("set local a to default; reset b", [nil, .one("b")]),
            ("set a = 1; reset a; set b to default;", [.sets("a"), .one("a"), .one("b")]),
            ("set session authorization default", [.one("session_authorization")]),
            ("reset a; set session characteristics as transaction read only", [.one("a"), nil]),
            ("select 1;\nclose all; unlisten *;\nreset all;", [.all]),
            ("reset nothing here; select 1", [.one("nothing")]), ("reset", [.unknown]),
            (
                "select ';reset a', \";reset b\", $x$;reset c;$y$;$x$ /* ;reset d */; reset e",
                [.one("e")]
            ),
            (#"select e'\';reset a', '\;', e'\\'; reset b"#, [.one("b")]),
            ("select 'it''s;reset a'; reset b", [.one("b")]),
            ("select $1 from a$b$c; reset d", [.one("d")]),
            ("select 1--;reset a\n;reset b", [.one("b")]), ("selected; settle; resets", []),
            (
                "begin; set transaction read only; reset a; commit",
                [.sets("transaction"), .one("a")]
            ),
        ] as [(String, [SettingsReset?])])
    func statements(sql: String, expected: [SettingsReset?]) {
        #expect(withBytes(of: sql) { SettingsReset.statements(of: $0) } == expected)
        #expect(withBytes(of: sql + "\0") { SettingsReset.statements(of: $0) } == expected)
    }

    @Test(
        "A text that cannot be taken apart",
        arguments: [
            "reset a; select 'b", "select 1; /* reset a", #"select '\'; reset a; '; reset b"#,
            "select 1; select \"a", "select 1; select $x$; reset a", "select 1; select e'",
        ])
    func unreadable(sql: String) {
        #expect(withBytes(of: sql) { SettingsReset.statements(of: $0) } == nil)
    }

    @Test("Cut anywhere, it is read to its end and no further")
    func cut() {
        let text = #"set a='\'||e'\''||$x$y$x$||"z"/*b*/;--c"# + "\nreset all;reset d"
        let bytes = Array(text.utf8)
        for length in 0...bytes.count {
            for start in 0...length {
                _ = Array(bytes[start..<length]).withUnsafeBytes {
                    SettingsReset.statements(of: $0)
                }
            }
        }
    }

    @Test("A statement of the extended protocol")
    func single() {
        let seen = ["reset a", "select 1; reset a", "set b to default", "show c"].map { sql in
            withBytes(of: sql) { SettingsReset.statement($0) }
        }
        #expect(seen == [.one("a"), nil, .one("b"), nil])
    }

    @Test("A semicolon is seen wherever it stands")
    func semicolons() {
        for length in 0..<40 {
            let text = "x" + String(repeating: ":", count: length) + ";reset a"
            #expect(withBytes(of: text) { SettingsReset.statements(of: $0) } == [.one("a")])
        }
    }

    @Test("What a reset covers")
    func covers() {
        #expect(SettingsReset.all.covers("a") && SettingsReset.one("a").covers("a"))
        #expect(!SettingsReset.one("a").covers("b") && !SettingsReset.unknown.covers("a"))
        #expect(SettingsReset.one("session_authorization").covers("role"))
        #expect(!SettingsReset.all.covers("role"))
        #expect(SettingsReset.putsBack("a", in: [.one("a"), .sets("b")]))
        #expect(!SettingsReset.putsBack("a", in: [.all, .sets("a")]))
        #expect(SettingsReset.putsBack("a", in: [.sets("a"), .all]))
        #expect(!SettingsReset.putsBack("a", in: [.hidden, .unknown, .overridden]))
    }

    @Test("DISCARD ALL and nothing like it")
    func discards() {
        let texts = [
            "discard all", " /* a */ DISCARD  All;", "discard plans", "discard", "discards all",
        ]
        #expect(
            texts.map { sql in withBytes(of: sql) { SettingsReset.isDiscardAll($0) } }
                == [true, true, false, false, false])
    }

    @Test("Literals of ASCII alone")
    func literals() {
        #expect(asciiLiteral("it's") == "'it''s'")
        #expect(asciiLiteral(#"a\b"#) == #"E'a\\b'"#)
        #expect(asciiLiteral("é\n\0") == #"E'\xc3\xa9\x0a'"#)
    }
}
