import LeaseCore
import PostgresWire
import Testing

@Suite struct StatementTableTests {
    private func intern(_ text: String, _ table: inout StatementTable) -> StatementID {
        (Array(text.utf8) + [0, 0, 0]).withUnsafeBytes { table.intern($0) }
    }

    @Test func theSameTextIsOneStatement() {
        var table = StatementTable()
        let first = intern("select 1", &table)
        let second = intern("select 1", &table)
        let other = intern("select 2", &table)
        #expect(first == second)
        #expect(first != other)
        #expect(table.count == 2)
        #expect(table.references(to: first) == 2)
        #expect(table.name(of: first) != table.name(of: other))
    }

    @Test func otherParameterTypesAreAnotherStatement() {
        var table = StatementTable()
        let plain = intern("select $1", &table)
        let typed = (Array("select $1".utf8) + [0, 0, 1, 0, 0, 0, 25])
            .withUnsafeBytes { table.intern($0) }
        #expect(plain != typed)
    }

    @Test func theLastReferenceFreesItAndItsNameIsNotUsedAgain() {
        var table = StatementTable()
        let first = intern("select 1", &table)
        let name = table.name(of: first)
        table.retain(first)
        table.release(first)
        #expect(table.count == 1)
        table.release(first)
        #expect(table.count == 0)
        let again = intern("select 1", &table)
        #expect(again.slot == first.slot)
        #expect(table.name(of: again) != name)
        #expect(table.body(of: again) == Array("select 1".utf8) + [0, 0, 0])
    }

    @Test(arguments: [
        ("select 1", SessionTaint(), false),
        ("select set_config('a.b', 'c', false)", SessionTaint.settings, false),
        ("select pg_advisory_lock(1)", SessionTaint.advisoryLocks, false),
        ("create temp table t()", SessionTaint.temporaryObjects, false),
        ("set local work_mem = 1", SessionTaint(), true),
        ("set work_mem = 1", SessionTaint(), false),
    ]) func knowsWhatItLeavesBehind(_ text: String, _ taint: SessionTaint, _ isLocal: Bool) {
        var table = StatementTable()
        let id = intern(text, &table)
        #expect(table.taint(of: id) == taint)
        #expect(table.isTransactionLocalSet(id) == isLocal)
    }
}
