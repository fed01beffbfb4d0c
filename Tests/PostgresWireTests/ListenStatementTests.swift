// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

struct ListenStatementTests {
    private func statements(_ text: String) -> [ListenStatement]? {
        Array(text.utf8).withUnsafeBytes { ListenStatement.statements(of: $0) }
    }

    private func mayOccur(_ text: String) -> Bool {
        Array(text.utf8).withUnsafeBytes { ListenStatement.mayOccur(in: $0) }
    }

    private func name(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func namesAreThoseThatPostgreSQLLooksUp() {
        #expect(statements("LISTEN Orders") == [.listen(name("orders"))])
        #expect(statements(#" listen/*x*/"Or""ders";"#) == [.listen(name(#"Or"ders"#))])
        #expect(statements("UNLISTEN *") == [.unlistenAll])
        #expect(statements("UNLISTEN a") == [.unlisten(name("a"))])
        let long = String(repeating: "x", count: 70)
        #expect(statements("LISTEN \(long)") == [.listen(name(String(long.prefix(63))))])
        // Cut between two characters, not in one.
        let wide = String(repeating: "x", count: 62) + "éé"
        #expect(statements("LISTEN \(wide)") == [.listen(name(String(wide.prefix(62))))])
        #expect(statements(#"LISTEN U&"\0061""#) == nil)
    }

    @Test func statementsComeInTheirOrder() {
        #expect(
            statements("BEGIN; LISTEN a; savepoint S; listen b; rollback to savepoint s; END")
                == [
                    .other, .listen(name("a")), .savepoint(name("s")), .listen(name("b")),
                    .rollbackTo(name("s")), .commit,
                ])
        #expect(statements("SELECT 'LISTEN a; LISTEN b'") == [.other])
        #expect(
            statements("DO $$ BEGIN EXECUTE 'LISTEN a'; END $$; UNLISTEN b") == [
                .other, .unlisten(name("b")),
            ])
        #expect(statements("ROLLBACK WORK TO a") == [.rollbackTo(name("a"))])
        #expect(statements("ROLLBACK TO savepoint") == [.rollbackTo(name("savepoint"))])
        #expect(statements("ROLLBACK") == [.rollback])
        #expect(statements("ABORT") == [.rollback])
        #expect(statements("RELEASE savepoint x") == [.release(name("x"))])
        #expect(statements("release savepoint") == [.release(name("savepoint"))])
        #expect(statements(" ;; ") == [])
        #expect(statements("LISTEN a; SELECT 'no end") == nil)
    }

    @Test func theFirstLookMissesNone() {
        for pad in 0..<40 {
            let text = String(repeating: "s", count: pad) + ";LiSTeN a"
            #expect(mayOccur(text))
            #expect(mayOccur(String(repeating: "i", count: pad) + ";unlisten a" + text))
            #expect(!mayOccur(String(repeating: "lis", count: pad) + "liste n"))
        }
        #expect(!mayOccur("LISTE"))
    }
}
