// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("DEALLOCATE as a whole text")
struct DeallocateTextTests {
    @Test(
        "Forms of it",
        arguments: [
            ("DEALLOCATE s1", DeallocateText.name(Array("s1".utf8))),
            ("deallocate prepare S1", .name(Array("s1".utf8))),
            ("DEALLOCATE \"S\"\"1\"", .name(Array("S\"1".utf8))),
            ("DEALLOCATE\"S1\";", .name(Array("S1".utf8))),
            ("DEALLOCATE \"all\"", .name(Array("all".utf8))),
            ("DEALLOCATE allx", .name(Array("allx".utf8))),
            ("DEALLOCATE É_$1", .name(Array("É_$1".utf8))),
            ("DEALLOCATE ALL", .all),
            (" -- gone\n/* a /* b */ */ Deallocate Prepare /**/ All ; ; -- end", .all),
            ("DEALLOCATE PREPARE", .name(Array("prepare".utf8))),
            ("DEALLOCATE PREPARE;", .name(Array("prepare".utf8))),
            ("DEALLOCATE prepared", .name(Array("prepared".utf8))),
        ])
    func forms(sql: String, expected: DeallocateText) {
        #expect(withBytes(of: sql) { DeallocateText.parse($0) } == expected)
        #expect(withBytes(of: sql + "\0") { DeallocateText.parse($0) } == expected)
    }

    @Test(
        "What it is not",
        arguments: [
            "", " ", "D", "SELECT 1", "DELETE FROM t", "DEALLOCATE", "DEALLOCATE ;",
            "DEALLOCATE 1", "DEALLOCATE $1", "DEALLOCATE a b", "DEALLOCATE a; SELECT 1",
            "SELECT 1; DEALLOCATE a", "DEALLOCATEa", "DEALLOCATE_ALL", "DEALLOCATE \"a",
            "DEALLOCATE \"\"", "DEALLOCATE 'a'", "DEALLOCATE a.b", "DEALLOCATE U&\"a\"",
            "DEALLOCATE all all", "DEALLOCATE /* a", "/* DEALLOCATE a", "DEALLOCATE a /* b",
            "DEALLOCATE PREPARE PREPARE x", "DISCARD ALL",
        ])
    func others(sql: String) {
        #expect(withBytes(of: sql) { DeallocateText.parse($0) } == nil)
    }

    @Test("A cut text is never read past its end")
    func cuts() {
        let sql = "/**/DEALLOCATE PREPARE \"a\"\"b\" ; --x"
        for length in 0...sql.utf8.count {
            _ = Array(sql.utf8.prefix(length)).withUnsafeBytes { DeallocateText.parse($0) }
        }
        #expect(withBytes(of: sql) { DeallocateText.parse($0) } == .name(Array("a\"b".utf8)))
    }
}
