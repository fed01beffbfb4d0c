// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PostgresWire

@Suite struct PinningTextTests {
    private func look(_ text: String) -> PinningText {
        Array(text.utf8).withUnsafeBytes { PinningText.inText($0) }
    }

    @Test(
        arguments: [
            ("create temp table t (x int)", PinningText.temporaryObjects),
            ("CREATE TEMPORARY VIEW v AS SELECT 1", .temporaryObjects),
            ("create or replace temp view v as select 1", .temporaryObjects),
            ("create local temporary sequence s", .temporaryObjects),
            ("/* a */ create global temp table t (x int)", .temporaryObjects),
            ("select 1 into temp t", .temporaryObjects),
            ("with a as (select 1) select * into local temporary t from a", .temporaryObjects),
            ("begin; create temp table t (x int); commit", .temporaryObjects),
            ("create temp table t (x int) on commit delete rows", .temporaryObjects),
            ("declare c cursor with hold for select 1", .heldCursors),
            ("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT ';'", .heldCursors),
            ("select pg_advisory_lock(1)", .advisoryLocks),
            ("SELECT pg_catalog.pg_try_advisory_lock_shared(1, 2)", .advisoryLocks),
            ("set seed = 0.5", .seed), ("SET SESSION SEED TO 0.5", .seed),
            ("load 'auto_explain'", .libraries),
            ("select dblink_connect('a', 'dbname=b')", .links),
            ("create temp table t (x int); load 'a'", [.temporaryObjects, .libraries]),
        ] as [(String, PinningText)])
    func shown(_ text: String, _ expected: PinningText) {
        #expect(look(text) == expected)
    }

    @Test(arguments: [
        "", ";", "select 1", "select temp from temporary", "create table temp (x int)",
        "create temp table t (x int) on commit drop", "select 'create temp table t (x int)'",
        "-- create temp table t ()\nselect 1", "declare c cursor for select 1",
        "declare c cursor without hold for select 1", "select pg_advisory_xact_lock(1)",
        "select pg_advisory_unlock(1)", "set temp = 1", "set seeds.a = 1", "loads",
        "drop table temp",
        "select 1 into t", "insert into temp values (1)",
        "create function f() returns void language sql as $$ select pg_advisory_lock(1) $$",
        "select 'no end; create temp table t (x int)", "select $1; select \"load\"",
    ])
    func notShown(_ text: String) {
        #expect(look(text) == [])
    }

    @Test func everyPrefixIsRead() {
        let text =
            "create temp table \"t\" (x int) /* a */; declare c cursor with hold for select $$a$$"
        for end in 0...text.utf8.count { _ = look(String(text.prefix(end))) }
    }
}

@Suite struct DatabaseCommandTests {
    private func database(_ text: String) -> String? {
        Array(text.utf8).withUnsafeBytes { DatabaseCommand.database(wantedBy: $0) }
    }

    @Test(
        arguments: [
            ("drop database x", "x"), ("DROP DATABASE IF EXISTS \"X y\" WITH (FORCE);", "X y"),
            ("/* a */ drop /* b */ database X", "x"), ("alter database x rename to y", "x"),
            ("ALTER DATABASE \"a\"\"b\" SET TABLESPACE t", "a\"b"),
            ("create database y template x", "x"),
            ("CREATE DATABASE y WITH OWNER o TEMPLATE = \"X\"", "X"),
            ("create database y template 'x y'", "x y"),
        ] as [(String, String)])
    func wanted(_ text: String, _ expected: String) {
        #expect(database(text) == expected)
    }

    @Test(arguments: [
        "", "drop", "drop database", "drop table x", "alter database x owner to o",
        "alter database x set work_mem = 1", "create database y", "create table template (x int)",
        "select 'drop database x'", "delete from x",
    ])
    func nothing(_ text: String) {
        #expect(database(text) == nil)
    }
}
