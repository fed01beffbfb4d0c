// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire
import Testing

@Suite struct StatementTableTests {
    private let here = ParseEnvironment()

    private func make(
        _ text: String, types: [UInt8] = [0, 0], in environment: ParseEnvironment?,
        _ table: inout StatementTable
    ) -> StatementID {
        (Array(text.utf8) + [0] + types).withUnsafeBytes { table.make($0, in: environment) }
    }

    private func meaning(_ types: [UInt32] = [], _ column: String = "a") -> ParsedMeaning {
        var description: [UInt8] = [0, UInt8(types.count)]
        for type in types { withUnsafeBytes(of: type.bigEndian) { description += $0 } }
        return ParsedMeaning(description + Array(column.utf8))!
    }

    @Test func whatMeansTheSameIsOneStatement() {
        var table = StatementTable()
        let first = make("select 1", in: here, &table)
        let second = make("select 1", in: here, &table)
        #expect(first != second)
        #expect(table.name(of: first) != table.name(of: second))
        #expect(table.learn(first, meaning(), mayShare: true) == first)
        #expect(table.learn(second, meaning(), mayShare: true) == first)
        #expect(table.count == 2)
        // Who may share it is for the caller: references are the callers'.
        #expect(table.references(to: first) == 1)
    }

    @Test func anotherMeaningTakesThePlaceOfTheFirst() {
        for other in [meaning([23]), meaning([], "b")] {
            var table = StatementTable()
            let first = make("select 1", in: here, &table)
            let second = make("select 1", in: here, &table)
            let third = make("select 1", in: here, &table)
            #expect(table.learn(first, meaning(), mayShare: true) == first)
            #expect(table.learn(second, other, mayShare: true) == second)
            table.release(first)
            #expect(table.learn(third, other, mayShare: true) == second)
            table.release(second)
            #expect(table.learn(third, other, mayShare: true) == third)
            table.release(third)
            #expect(table.count == 0)
        }
    }

    @Test(arguments: [
        ParseEnvironment(pool: PoolID(1), settings: 0), ParseEnvironment(settings: 1), nil,
    ]) func elsewhereItIsAnotherStatement(_ other: ParseEnvironment?) {
        var table = StatementTable()
        let first = make("select 1", in: here, &table)
        let second = make("select 1", in: other, &table)
        #expect(table.learn(first, meaning(), mayShare: true) == first)
        #expect(
            table.learn(second, meaning(), mayShare: true) == (other == nil ? nil : second))
    }

    @Test(arguments: ["select 'now'::date", "execute x", "deallocate x"])
    func someTextsAreOneClientsOwn(_ text: String) {
        var table = StatementTable()
        let id = make(text, in: here, &table)
        #expect(table.learn(id, meaning(), mayShare: true) == nil)
        #expect(table.namesOthers(id) == text.hasSuffix(" x"))
    }

    @Test func otherParameterTypesAreAnotherStatement() {
        var table = StatementTable()
        let plain = make("select $1", in: here, &table)
        let typed = make("select $1", types: [0, 1, 0, 0, 0, 25], in: here, &table)
        #expect(table.learn(plain, meaning([25]), mayShare: true) == plain)
        #expect(table.learn(typed, meaning([25]), mayShare: true) == typed)
    }

    @Test func itIsToldAgainWithTheTypesThatWereFound() {
        var table = StatementTable()
        let id = make("select $1", in: here, &table)
        let text = Array("select $1".utf8) + [0]
        #expect(table.definition(of: id) == text + [0, 0])
        _ = table.learn(id, meaning([25]), mayShare: false)
        #expect(table.definition(of: id) == text + [0, 1, 0, 0, 0, 25])
        #expect(table.body(of: id) == text + [0, 0])
    }

    @Test func theLastReferenceFreesItAndItsNameIsNotUsedAgain() {
        var table = StatementTable()
        let first = make("select 1", in: here, &table)
        let name = table.name(of: first)
        table.retain(first)
        table.release(first)
        #expect(table.count == 1)
        table.release(first)
        #expect(table.count == 0)
        let again = make("select 1", in: here, &table)
        #expect(again.slot == first.slot)
        #expect(table.name(of: again) != name)
        #expect(table.body(of: again) == Array("select 1".utf8) + [0, 0, 0])
    }

    @Test func aForkIsSharedWithNobody() {
        var table = StatementTable()
        let first = make("select 1", in: here, &table)
        _ = table.learn(first, meaning([25]), mayShare: true)
        let fork = table.fork(first)
        #expect(table.learn(fork, meaning([25]), mayShare: true) == nil)
        table.release(fork)
        let second = make("select 1", in: here, &table)
        #expect(table.learn(second, meaning([25]), mayShare: true) == first)
    }

    @Test(arguments: [
        ("select 1", SessionTaint(), false),
        ("select set_config('a.b', 'c', false)", SessionTaint.harmlessSettings, false),
        ("select pg_advisory_lock(1)", SessionTaint.advisoryLocks, false),
        ("create temp table t()", SessionTaint.temporaryObjects, false),
        ("set local work_mem = 1", SessionTaint(), true),
        ("set work_mem = 1", SessionTaint(), false),
    ]) func knowsWhatItLeavesBehind(_ text: String, _ taint: SessionTaint, _ isLocal: Bool) {
        var table = StatementTable()
        let id = make(text, in: here, &table)
        #expect(table.taint(of: id) == taint)
        #expect(table.setScope(of: id).contains(.local) == isLocal)
    }
}
