// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("What a text may set, by name")
struct SettingNamesTests {
    @Test(
        "Named, and nothing besides",
        arguments: [
            ("select 1", []),
            ("set work_mem = 1", ["work_mem"]),
            ("SET Work_Mem TO '1MB'; select 1; set session \"App\".x to 2", ["work_mem", "app.x"]),
            ("begin; set app.tenant = '42'; commit", ["app.tenant"]),
            ("set local work_mem = 1", []),
            ("set local.x = 1", ["local.x"]),
            ("set session.x = 1", ["session.x"]),
            ("set transaction isolation level serializable", []),
            ("set constraints all deferred", []),
            ("set time zone 'UTC'", ["timezone"]),
            ("set time.zone = 1", ["time.zone"]),
            ("set names 'UTF8'", ["client_encoding"]),
            ("set schema 's'", ["search_path"]),
            ("set xml option document", ["xmloption"]),
            ("set seed to 0.5", ["seed"]),
            ("set role r", []),
            ("set session authorization r", []),
            (
                "set session characteristics as transaction read only",
                [
                    "default_transaction_isolation", "default_transaction_read_only",
                    "default_transaction_deferrable",
                ]
            ),
            ("select set_config('App.X', $1, false)", ["app.x"]),
            (
                "select pg_catalog.set_config ( 'a.b' , 'c', false), \"set_config\"('work_mem','1',true)",
                ["a.b", "work_mem"]
            ),
            ("select 'set work_mem = 1', $$; set x = 1$$", []),
            ("/* set a = 1; */ select 1 -- ; set b = 1\n; set c = 1", ["c"]),
        ] as [(String, [String])])
    func complete(text: String, names: [String]) {
        let found = withBytes(of: text) { SettingNames.inText($0) }
        #expect(found.names == names)
        #expect(found.isComplete)
    }

    @Test(
        "It may set something besides",
        arguments: [
            ("select set_config($1, $2, false)", []),
            ("select set_config('a.' || 'b', 'c', false)", []),
            ("select set_config(E'a.b', 'c', false)", ["a.b"]),
            ("do $$ begin perform set_config('app.x', '1', false); end $$", ["app.x"]),
            ("do $$ begin set app.y = 1; end $$", ["app.y"]),
            ("call p()", []),
            ("explain analyze select f()", []),
            ("reset work_mem", []),
            ("execute p", []),
            ("update pg_settings set setting = '1' where name = 'work_mem'", []),
            ("set \"äpp\".x = 1", []),
            ("select 'no end", []),
        ] as [(String, [String])])
    func open(text: String, names: [String]) {
        let found = withBytes(of: text) { SettingNames.inText($0) }
        #expect(found.names.filter { $0.contains(".") } == names)
        #expect(!found.isComplete)
    }

    @Test("Names of classes in the values of a Bind")
    func parameters() {
        var names = SettingNames()
        withBytes(of: "\0\0\0\u{2}\0\0\0\u{a}App.Tenant\0\0\0\u{3}a.b.\0.c d e.") {
            names.addClassNames(in: $0)
        }
        #expect(names.names == ["app.tenant", "a.b"])
    }

    @Test("Of very many names it is known that there are more")
    func bounded() {
        let text = (0..<100).map { "set a.x\($0) = 1" }.joined(separator: ";")
        let found = withBytes(of: text) { SettingNames.inText($0) }
        #expect(found.names.count == SettingNames.limit)
        #expect(!found.isComplete)
    }
}

@Suite("The statement of a PREPARE")
struct PrepareTextTests {
    @Test(
        "Where it stands",
        arguments: [
            ("prepare p as select 1", "p", "select 1"),
            ("PREPARE p (int, text) AS select $1, $2;", "p", "select $1, $2"),
            ("prepare P(numeric(10,2), \"a)b\") as /* c */ values ($1)", "p", "values ($1)"),
            ("prepare \"P q\" as select 1; select 2", "P q", "select 1"),
            ("select 1; prepare a as select 'x;y'; prepare b as select 2", "a", "select 'x;y'"),
            ("select 1; prepare a as select 'x;y'; prepare b as select 2", "b", "select 2"),
            ("prepare p as select 1; deallocate p; prepare p as select 2", "p", "select 2"),
        ])
    func found(text: String, name: String, body: String) {
        let range = withBytes(of: text) { PrepareText.body(of: Array(name.utf8), in: $0) }
        #expect(range.map { String(decoding: Array(text.utf8)[$0], as: UTF8.self) } == body)
    }

    @Test(
        "None, or in doubt",
        arguments: ["", "select 1", "prepare q as select 1", "prepare p", "prepare p as select 'x"])
    func none(text: String) {
        #expect(withBytes(of: text) { PrepareText.body(of: Array("p".utf8), in: $0) } == nil)
    }
}
