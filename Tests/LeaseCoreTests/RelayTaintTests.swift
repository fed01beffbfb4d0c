// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What a lease leaves in the session, and whether it is cleaned away.
@Suite struct RelayTaintTests {
    @Test(arguments: [
        ("select 1", "SELECT 1", false), ("set a.b = 1", "SET", true),
        ("set local a.b = 1", "SET", false), ("set transaction read only", "SET", false),
        ("set local a.b = 1; set a.c = 2", "SET", true), ("listen x", "LISTEN", true),
        ("select set_config('a.b', '1', true)", "SELECT 1", false),
        ("select pg_advisory_lock(1)", "SELECT 1", true),
        ("prepare x as select 1", "PREPARE", true),
        ("create temp table t ()", "CREATE TABLE", true), ("do $$ $$", "DO", true),
        ("declare c cursor with hold for select 1", "DECLARE CURSOR", true),
        ("reset a.b", "RESET", true), ("load 'x'", "LOAD", true),
        ("discard all", "DISCARD ALL", false),
        ("insert into t values (1)", "INSERT 0 1", false),
    ]) func whatIsLeftBehindIsCleanedAway(_ text: String, _ tag: String, _ isDirty: Bool) {
        for way in 0..<3 {
            var relay = RelayFixture()
            if way == 2 { relay.prepare("s", text) }
            relay.send {
                switch way {
                case 0: $0.appendQuery(text)
                case 1: $0.appendStatement(text)
                default: $0.appendRun("s")
                }
                if way > 0 { $0.appendSync() }
            }
            relay.answer {
                if way == 1 { $0.appendParseComplete() }
                if way > 0 { $0.appendBindComplete() }
                $0.appendCommandComplete(tag)
                $0.appendReadyForQuery(.idle)
            }
            // More statements than one are none for the extended protocol.
            if way > 0, text.contains(";") { continue }
            let (isOver, condition) = (relay.isLeaseOver, relay.server.conditionOnReturn)
            #expect(isOver)
            #expect(condition == (isDirty ? .dirty : .clean), "way \(way)")
        }
    }

    /// The text bound last is not that of every portal.
    @Test func aSetIsNotTakenForTheSetLocalOfAnotherPortal() {
        var relay = RelayFixture()
        relay.prepare("session", "set a.b = 1")
        relay.prepare("local", "set local a.b = 1")
        relay.send {
            $0.appendBind(portal: "p", statement: "session")
            $0.appendBind(statement: "local")
            $0.appendExecute()
            $0.appendExecute(portal: "p")
            $0.appendSync()
        }
        relay.answer {
            $0.appendBindComplete()
            $0.appendBindComplete()
            $0.appendCommandComplete("SET")
        }
        let before = relay.server.taint
        #expect(!before.leavesSomething)
        relay.answer {
            $0.appendCommandComplete("SET")
            $0.appendReadyForQuery(.idle)
        }
        let after = relay.server.taint
        #expect(after == [.settings, .localNames])
    }
}
