// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("What a command leaves behind")
struct SessionTaintTests {
    @Test(
        "By its tag",
        arguments: [
            ("SET", SessionTaint.settings),
            ("RESET", .settings),
            ("DISCARD ALL", [.settings, .removal]),
            ("PREPARE", .preparedStatements),
            ("LISTEN", .listen),
            ("DECLARE CURSOR", .cursors),
            ("CREATE TABLE", .temporaryObjects),
            ("CREATE TABLE AS", .temporaryObjects),
            ("CREATE VIEW", .temporaryObjects),
            ("CREATE SEQUENCE", .temporaryObjects),
            ("CREATE FUNCTION", .temporaryObjects),
            ("LOAD", .libraries),
            ("CLOSE CURSOR", .removal),
            ("CLOSE CURSOR ALL", .removal),
            ("DISCARD PLANS", .removal),
            ("DISCARD TEMP", .removal),
            ("DROP TABLE", .removal),
            ("DROP FUNCTION", .removal),
            ("UNLISTEN", .removal),
            ("DO", .other),
            ("CALL", .other),
        ] as [(String, SessionTaint)])
    func tainting(tag: String, taint: SessionTaint) {
        #expect(withBytes(of: tag + "\0") { SessionTaint.ofCommandTag($0) } == taint)
    }

    @Test(
        "Tags that leave nothing",
        arguments: [
            "", "S", "SE", "SELECT 1", "SELECT 0", "SHOW", "SAVEPOINT", "SET CONSTRAINTS",
            "SECURITY LABEL", "START TRANSACTION", "INSERT 0 1", "UPDATE 3", "DELETE 2", "BEGIN",
            "COMMIT", "COPY 5", "CHECKPOINT", "CLUSTER", "COMMENT",
            "COMMIT PREPARED", "ROLLBACK", "ROLLBACK PREPARED", "RELEASE", "REVOKE", "REINDEX",
            "REFRESH MATERIALIZED VIEW", "REASSIGN OWNED", "PREPARE TRANSACTION", "LOCK TABLE",
            "DEALLOCATE", "DEALLOCATE ALL", "NOTIFY", "FETCH 1", "MOVE 1", "EXPLAIN", "MERGE 1",
            "VACUUM",
            "ALTER TABLE",
            "GRANT", "TRUNCATE TABLE", "VALUES", "EXECUTE",
        ])
    func clean(tag: String) {
        #expect(withBytes(of: tag + "\0") { SessionTaint.ofCommandTag($0) } == [])
    }

    @Test("A tag's cut body is never read past its end")
    func cutTags() {
        for tag in ["SET\0", "CREATE TABLE\0", "DISCARD ALL\0", "DECLARE CURSOR\0", "LOAD\0"] {
            for length in 0..<tag.utf8.count {
                let cut = Array(tag.utf8.prefix(length))
                _ = cut.withUnsafeBytes { SessionTaint.ofCommandTag($0) }
                _ = cut.withUnsafeBytes { CommandTagKind.of($0) }
            }
        }
    }

    @Test(
        "By the text alone",
        arguments: [
            ("select set_config('a','b',false)", SessionTaint.settings),
            ("SET_CONFIG", .settings),
            ("select public.dblink_connect_u('a', 'b')", .links),
            ("select dblink_disconnect('a')", .removal),
            ("select pg_advisory_unlock(1)", .removal),
            ("select pg_advisory_unlock_all()", .removal),
            ("select pg_catalog.Set_Config('a','b',false)", .settings),
            ("select \"set_config\"('a','b',false)", .settings),
            ("do $$set_config$$", .settings),
            ("update pg_settings set setting = 'x'", .settings),
            ("select pg_advisory_lock(1)", .advisoryLocks),
            ("select PG_ADVISORY_LOCK_SHARED(1)", .advisoryLocks),
            ("select pg_try_advisory_lock(1)", .advisoryLocks),
            ("select pg_try_advisory_lock_shared(1,2)", .advisoryLocks),
            ("pg_advisory_lock", .advisoryLocks),
            ("create temp table t ()", .temporaryObjects),
            ("CREATE TEMPORARY TABLE t AS SELECT 1", .temporaryObjects),
            ("select 1 into/**/temp t", .temporaryObjects),
            ("temp", .temporaryObjects),
            ("create table pg_temp.t as select 1", .temporaryObjects),
            ("create table \"pg_temp_3\".t as select 1", .temporaryObjects),
            ("select U&\"set\\005fconfig\"('a','b',false)", .other),
            (
                "create temp table x as select pg_advisory_lock(1), set_config('a','b','f')",
                [.temporaryObjects, .advisoryLocks, .settings]
            ),
        ] as [(String, SessionTaint)])
    func taintingText(sql: String, taint: SessionTaint) {
        #expect(withBytes(of: sql) { SessionTaint.inText($0) } == taint)
        #expect(withBytes(of: sql + "\0") { SessionTaint.inText($0) } == taint)
        #expect(withBytes(of: "\n" + sql + ";") { SessionTaint.inText($0) } == taint)
        // Wherever it stands among the blocks that are looked at together.
        for before in 1...40 {
            for after in [0, 1, 2, 15, 16, 17, 40] {
                let text =
                    String(repeating: " ", count: before) + sql
                    + String(repeating: ";", count: after)
                #expect(withBytes(of: text) { SessionTaint.inText($0) } == taint)
            }
        }
    }

    @Test(
        "Near misses",
        arguments: [
            "", "_", "m", "&", "select 1", "select reset_config()", "set_configuration",
            "myset_config", "set_confi", "select pg_advisory_xact_lock(1)",
            "select pg_try_advisory_xact_lock(1)", "xpg_advisory_lock", "my_pg_advisory_lock",
            "select temperature from t", "attempt", "select attemp", "mytemp", "temp_x", "temp1",
            "templates", "temporaryx", "contemporary", "select a & b", "u&x", "from m", "em", "tem",
            "pg_stat_activity", "pg_tem", "pg_setting", "étemp", "x_temp",
        ])
    func cleanText(sql: String) {
        #expect(withBytes(of: sql) { SessionTaint.inText($0) } == [])
        #expect(withBytes(of: sql + "\0") { SessionTaint.inText($0) } == [])
    }

    @Test("Every cut and every place in a longer text")
    func everyPlace() {
        let word = "pg_try_advisory_lock"
        for length in 0..<word.utf8.count {
            #expect(withBytes(of: String(word.prefix(length))) { SessionTaint.inText($0) } == [])
        }
        for distance in 0..<40 {
            let sql = String(repeating: " ", count: distance) + word + " temp"
            #expect(
                withBytes(of: sql) { SessionTaint.inText($0) }
                    == [.advisoryLocks, .temporaryObjects])
        }
    }

    @Test(
        "SET that ends with the transaction",
        arguments: [
            "SET LOCAL a = 1", "set local a to 'x' ;", "SET TRANSACTION READ ONLY",
            "  /* a /* b */ */ set -- x\n transaction isolation level serializable; ;\n",
            "SET CONSTRAINTS ALL DEFERRED", "SET/**/LOCAL search_path = a,b",
        ])
    func transactionLocal(sql: String) {
        #expect(withBytes(of: sql) { SessionTaint.isTransactionLocalSet($0) })
        #expect(withBytes(of: sql + "\0") { SessionTaint.isTransactionLocalSet($0) })
    }

    @Test(
        "SET that stays, or that cannot be told",
        arguments: [
            "", "SET", "SET a = 1", "SET SESSION a = 1", "SET locale = 1", "SET local_x = 1",
            "SET transaction_isolation = 'serializable'", "SET LOCAL a = 1; SET b = 2",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SETLOCAL a = 1",
            "SELECT 1; SET LOCAL a = 1", "/* SET LOCAL a = 1", "-- SET LOCAL a = 1",
            "/* /* */ SET LOCAL a = 1", "RESET a", "SET LOCAL a = 1; -- b",
            "SET \"local\".x = 1", "SET local.x = 1", "SET local . x TO 1",
            "SET transaction/**/.x = 1", "SET constraints.x = 1", "SET local = 1",
        ])
    func notTransactionLocal(sql: String) {
        #expect(!withBytes(of: sql) { SessionTaint.isTransactionLocalSet($0) })
    }

    @Test(
        "Tags by kind",
        arguments: [
            ("BEGIN", CommandTagKind.begin), ("START TRANSACTION", .begin), ("COMMIT", .commit),
            ("ROLLBACK", .rollback), ("SET", .set), ("RESET", .reset), ("PREPARE", .prepare),
            ("DEALLOCATE", .deallocate), ("DEALLOCATE ALL", .deallocateAll),
            ("DISCARD ALL", .discardAll), ("LISTEN", .listen), ("", .other), ("SELECT 1", .other),
            ("COPY 1", .other), ("COMMIT PREPARED", .other), ("ROLLBACK PREPARED", .other),
            ("SET CONSTRAINTS", .other), ("DISCARD TEMP", .other), ("PREPARE TRANSACTION", .other),
            ("LOCK TABLE", .other), ("DELETE 1", .other),
        ] as [(String, CommandTagKind)])
    func kinds(tag: String, kind: CommandTagKind) {
        #expect(withBytes(of: tag + "\0") { CommandTagKind.of($0) } == kind)
    }
}
