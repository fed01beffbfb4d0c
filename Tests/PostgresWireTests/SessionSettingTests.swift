// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("A statement that sets one setting")
struct SessionSettingTests {
    @Test(
        "Values as set_config takes them",
        arguments: [
            ("SET work_mem = '9MB'", "work_mem", "9MB"),
            (" set\tSession Work_Mem to 9216 ; ;", "work_mem", "9216"),
            ("SET a=-1", "a", "-1"), ("SET a = - 1", nil, ""), ("SET a = +1.50", "a", "1.50"),
            ("SET a = 0", "a", "0"), ("SET a = 0.5", "a", "0.5"), ("SET a TO off", "a", "off"),
            ("SET a TO OFF", "a", "off"), ("SET a = \"Off\"", "a", "Off"),
            ("SET DateStyle = iso, DMY", "datestyle", "iso, dmy"),
            ("SET DateStyle = 'iso, dmy'", "datestyle", "iso, dmy"),
            ("SET search_path=a , \"B c\",'d'", "search_path", "a, \"B c\", d"),
            ("SET search_path = 'a, b'", "search_path", "\"a, b\""),
            ("SET search_path = \"$user\", \"q\"\"q\"", "search_path", "\"$user\", \"q\"\"q\""),
            ("SET search_path TO ''", "search_path", "\"\""),
            ("SET my.x = 'it''s'", "my.x", "it's"), ("SET local.x = 1", "local.x", "1"),
            ("/* a */SET--b\n a/**/=/**/'c'--d", "a", "c"), ("SET \"A\" = 1", "a", "1"),
            ("SET a = \"default\"", "a", "default"),
            ("SET TIME ZONE 'UTC'", "timezone", "UTC"),
            ("SET SESSION TIME ZONE 'UTC'", "timezone", "UTC"),
            ("SET NAMES 'utf8'", "client_encoding", "utf8"),
            ("SELECT pg_catalog.set_config('search_path', '', false);", "search_path", ""),
            ("select set_config ( 'My.X' , 'a, \"b\"' , FALSE )", "my.x", "a, \"b\""),
        ] as [(String, String?, String)])
    func values(sql: String, name: String?, value: String) {
        let expected = name.map { SessionSetting.set(name: $0, value: value) }
        #expect(withBytes(of: sql) { SessionSetting.parse($0) } == expected)
        #expect(withBytes(of: sql + "\0") { SessionSetting.parse($0) } == expected)
    }

    @Test(
        "What goes back to its default",
        arguments: [
            ("RESET a", SessionSetting.reset(name: "a")), ("reset My.X;", .reset(name: "my.x")),
            ("SET a TO DEFAULT", .reset(name: "a")), ("SET a = default", .reset(name: "a")),
            ("RESET ALL", .resetAll), ("RESET \"all\"", .reset(name: "all")),
            ("SET NAMES", .reset(name: "client_encoding")),
            ("SET NAMES DEFAULT;", .reset(name: "client_encoding")),
            ("SET TIME ZONE LOCAL", .reset(name: "timezone")),
            ("SET TIME ZONE DEFAULT", .reset(name: "timezone")),
            ("RESET TIME ZONE", .reset(name: "timezone")), ("RESET ROLE", .reset(name: "role")),
            ("RESET SESSION AUTHORIZATION", .reset(name: "session_authorization")),
            ("RESET TRANSACTION ISOLATION LEVEL", .reset(name: "transaction_isolation")),
        ])
    func resets(sql: String, expected: SessionSetting) {
        #expect(withBytes(of: sql) { SessionSetting.parse($0) } == expected)
    }

    @Test(
        "What is not read",
        arguments: [
            "", " ", "s", "S;", "SELECT 1", "SHOW a", "SET", "SET a", "SET a =", "SET a 1",
            "SET LOCAL a = 1", "SET ROLE x", "SET role = x", "SET SESSION AUTHORIZATION x",
            "SET session_authorization = x", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET TRANSACTION READ ONLY", "SET transaction_read_only = on", "SET seed = 0.5",
            "SET NAMES utf8", "SET TIME ZONE -7", "SET a FROM CURRENT",
            "SET a = 1; SELECT 1", "SELECT 1; SET a = 1", "SET a = 1 2", "SET a = 'b' 'c'",
            "SET a = E'b'", "SET a = U&'b'", "SET a = $$b$$", "SET a = 'b\\c'", "SET a = 'é'",
            "SET a = 'b", "SET a = \"b", "SET a = é", "SET a = 4MB", "SET a = 010", "SET a = 1.",
            "SET a = 1e5", "SET a = b,", "SET a = default, b", "SET a = /* b", "SET a == 1",
            "SET session.a = 1", "SET SESSION = 1", "SET \"a b\" = 1", "SET é = 1", "RESET",
            "RESET a, b",
            "SELECT set_config('a', 'b', true)", "SELECT set_config('a', NULL, false)",
            "SELECT set_config('a', 'b', false), 1", "SELECT x.set_config('a', 'b', false)",
            "SELECT set_config('a', 'b' || 'c', false)", "SELECT set_config('role', 'b', false)",
            "SELECT set_config('a;b', 'c', false)", "SELECT set_config('', 'c', false)",
            "SELECT set_config('a', 'b', false) FROM t", "DISCARD ALL",
        ])
    func others(sql: String) {
        #expect(withBytes(of: sql) { SessionSetting.parse($0) } == nil)
    }

    @Test("Long values and names that the server cuts are not read")
    func bounds() {
        func isRead(_ sql: String) -> Bool {
            withBytes(of: sql) { SessionSetting.parse($0) } != nil
        }
        #expect(isRead("SET a = '\(String(repeating: "x", count: 8192))'"))
        #expect(!isRead("SET a = '\(String(repeating: "x", count: 8193))'"))
        #expect(!isRead("SET a = \(String(repeating: "x", count: 64))"))
        #expect(!isRead("SELECT set_config('a', '\(String(repeating: "x", count: 8193))', false)"))
    }

    @Test("A cut text is never read past its end")
    func cuts() {
        for sql in [
            "/**/SET a.b = 'c''d', \"e\", -1.5 ; --x", "SELECT set_config('a', 'b', false)",
        ] {
            for length in 0...sql.utf8.count {
                _ = Array(sql.utf8.prefix(length)).withUnsafeBytes { SessionSetting.parse($0) }
            }
        }
    }
}
