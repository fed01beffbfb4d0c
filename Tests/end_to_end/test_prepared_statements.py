# SPDX-License-Identifier: Apache-2.0
"""Named statements of the extended protocol follow their client from server to server."""

import pytest

from harness import wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


@pytest.fixture(params=["transaction", "statement", "session"])
def broker(shared, request):
    from conftest import borrow
    yield from borrow(shared, request.param, request)


@pytest.fixture
def small(make_broker):
    """Two servers and several clients: statements must travel."""
    return make_broker({"default_pool_size": 2, "reserve_pool_size": 0,
                        "max_prepared_statements": 5})


def prepare(one, name, sql, types=()):
    one.send(wire.parse(sql, name, types), wire.sync())
    return one.until_ready()


def run(one, name, *values):
    one.send(wire.bind(values, name), wire.execute(), wire.sync())
    return one.until_ready()


def test_a_statement_is_prepared_once_and_run_often(broker):
    with broker.wire() as one:
        assert wire.kinds(prepare(one, "s", "SELECT $1::int + 1")) == "1Z"
        for number in range(20):
            assert wire.rows_of(run(one, "s", number)) == [[str(number + 1)]]


def test_a_statement_is_known_on_every_server(small):
    with small.wire() as one, small.wire() as other:
        prepare(one, "s", "SELECT $1::int, pg_backend_pid()")
        pids = {wire.rows_of(run(one, "s", 1))[0][1]}
        other.query("BEGIN")
        pids.add(wire.rows_of(run(one, "s", 1))[0][1])
        other.query("ROLLBACK")
        one.query("BEGIN")
        other.query("BEGIN")
        first = wire.rows_of(run(one, "s", 1))[0][1]
        assert other.value("SELECT pg_backend_pid()") != first
        one.query("COMMIT")
        one.query("SELECT 1")
        assert wire.rows_of(run(one, "s", 2))[0][0] == "2"
        other.query("ROLLBACK")


def test_clients_with_the_same_name_and_other_text_do_not_meet(broker):
    clients = [broker.wire() for _ in range(6)]
    for number, one in enumerate(clients):
        prepare(one, "same", f"SELECT {number}, $1::text")
    for _ in range(5):
        for number, one in enumerate(clients):
            assert wire.rows_of(run(one, "same", "x")) == [[str(number), "x"]]
    for one in clients:
        one.close()


def test_a_name_in_use_is_refused_with_42P05(broker):
    with broker.wire() as one:
        prepare(one, "s", "SELECT 1")
        assert wire.error_of(prepare(one, "s", "SELECT 2")).code == "42P05"
        assert wire.rows_of(run(one, "s")) == [["1"]]


def test_an_unknown_name_is_refused_with_26000(broker):
    with broker.wire() as one:
        assert wire.error_of(run(one, "never")).code == "26000"
        one.send(wire.describe_statement("never"), wire.sync())
        assert wire.error_of(one.until_ready()).code == "26000"
        assert one.value("SELECT 1") == "1"


def test_another_clients_statement_is_not_seen(broker):
    with broker.wire() as one, broker.wire() as other:
        prepare(one, "mine", "SELECT 1")
        run(one, "mine")
        for _ in range(3):
            assert wire.error_of(run(other, "mine")).code == "26000"


def test_close_forgets_the_statement_and_frees_its_name(broker):
    with broker.wire() as one:
        prepare(one, "s", "SELECT 1")
        one.send(wire.close_statement("s"), wire.sync())
        assert wire.kinds(one.until_ready()) == "3Z"
        assert wire.error_of(run(one, "s")).code == "26000"
        assert wire.kinds(prepare(one, "s", "SELECT 2")) == "1Z"
        assert wire.rows_of(run(one, "s")) == [["2"]]


def test_close_of_an_unknown_name_succeeds(broker):
    with broker.wire() as one:
        one.send(wire.close_statement("never"), wire.sync())
        assert wire.kinds(one.until_ready()) == "3Z"


def test_describe_shows_parameters_and_columns(broker):
    with broker.wire() as one:
        prepare(one, "s", "SELECT $1::int AS first, $2::text AS second")
        one.send(wire.describe_statement("s"), wire.sync())
        seen = one.until_ready()
        assert wire.kinds(seen) == "tTZ"
        assert seen[1].columns == ["first", "second"]
        assert seen[0].body == b"\0\x02" + b"\0\0\0\x17" + b"\0\0\0\x19"


def test_parse_describe_bind_execute_close_in_one_write(broker):
    with broker.wire() as one:
        for _ in range(3):
            one.send(wire.parse("SELECT $1::int", "s"), wire.describe_statement("s"),
                     wire.bind([7], "s"), wire.execute(), wire.close_statement("s"), wire.sync())
            assert wire.kinds(one.until_ready()) == "1tT2DC3Z"


def test_the_unnamed_statement_serves_each_pipeline(broker):
    with broker.wire() as one, broker.wire() as other:
        for number in range(10):
            assert wire.rows_of(one.extended("SELECT $1::int", [number])) == [[str(number)]]
            assert wire.rows_of(other.extended("SELECT $1::text", ["x"])) == [["x"]]


def test_the_unnamed_statement_is_kept_across_syncs(broker):
    """JDBC prepares the unnamed statement, syncs, and binds it in a second trip."""
    with broker.wire() as one, broker.wire() as other:
        one.send(wire.parse("SELECT $1::int * 3"), wire.describe_statement(), wire.sync())
        assert wire.kinds(one.until_ready()) == "1tTZ"
        other.extended("SELECT 'something else'")
        assert wire.rows_of(run(one, "", 5)) == [["15"]]


def test_an_error_in_parse_leaves_nothing_behind(broker):
    with broker.wire() as one:
        assert wire.error_of(prepare(one, "s", "SELEC 1")).code == "42601"
        assert wire.error_of(run(one, "s")).code == "26000"
        assert wire.kinds(prepare(one, "s", "SELECT 1")) == "1Z"
        assert wire.rows_of(run(one, "s")) == [["1"]]


def test_an_error_in_a_pipeline_leaves_no_half_known_statement(broker):
    with broker.wire() as one:
        one.send(wire.parse("SELECT 1", "before"), wire.parse("SELEC", "bad"),
                 wire.parse("SELECT 2", "after"), wire.bind((), "after"), wire.execute(),
                 wire.sync())
        assert wire.kinds(one.until_ready()) == "1EZ"
        assert wire.rows_of(run(one, "before")) == [["1"]]
        for name in ("bad", "after"):
            assert wire.error_of(run(one, name)).code == "26000"
        assert wire.kinds(prepare(one, "after", "SELECT 3")) == "1Z"
        assert wire.rows_of(run(one, "after")) == [["3"]]


def test_an_error_before_a_close_keeps_the_statement(broker):
    with broker.wire() as one:
        prepare(one, "s", "SELECT 1")
        one.send(wire.parse("SELEC", "bad"), wire.close_statement("s"), wire.sync())
        assert wire.kinds(one.until_ready()) == "EZ"
        assert wire.rows_of(run(one, "s")) == [["1"]]


def test_deallocate_by_name_and_all(broker):
    with broker.wire() as one:
        prepare(one, "a", "SELECT 1")
        prepare(one, "b", "SELECT 2")
        assert wire.kinds(one.query("DEALLOCATE a")) == "CZ"
        assert wire.error_of(run(one, "a")).code == "26000"
        assert wire.rows_of(run(one, "b")) == [["2"]]
        assert one.query("DEALLOCATE ALL")[0].tag == "DEALLOCATE ALL"
        assert wire.error_of(run(one, "b")).code == "26000"
        assert wire.kinds(prepare(one, "a", "SELECT 3")) == "1Z"
        assert wire.rows_of(run(one, "a")) == [["3"]]


def test_deallocate_by_the_extended_protocol(broker):
    with broker.wire() as one:
        prepare(one, "a", "SELECT 1")
        assert wire.kinds(one.extended("DEALLOCATE ALL")) == "12CZ"
        assert wire.error_of(run(one, "a")).code == "26000"


def test_discard_all_forgets_the_statements(broker):
    with broker.wire() as one, broker.wire() as other:
        prepare(one, "a", "SELECT 1")
        prepare(other, "a", "SELECT 'other'")
        assert one.query("DISCARD ALL")[0].tag == "DISCARD ALL"
        assert wire.error_of(run(one, "a")).code == "26000"
        assert wire.rows_of(run(other, "a")) == [["other"]]


def test_the_number_kept_on_a_server_is_bounded(small, postgres):
    with small.wire() as one:
        for number in range(40):
            prepare(one, f"s{number}", f"SELECT {number}")
        for number in range(40):
            assert wire.rows_of(run(one, f"s{number}")) == [[str(number)]]
        for _ in range(4):
            assert int(one.value("SELECT count(*) FROM pg_prepared_statements")) <= 6


def test_many_clients_share_what_is_the_same(small):
    clients = [small.wire() for _ in range(10)]
    for one in clients:
        prepare(one, "s", "SELECT 'the same text'")
        run(one, "s")
    with small.wire() as looker:
        assert int(looker.value("SELECT count(*) FROM pg_prepared_statements")) <= 2
    for one in clients:
        one.close()


def test_types_given_in_parse_are_part_of_the_statement(broker):
    with broker.wire() as one, broker.wire() as other:
        prepare(one, "s", "SELECT pg_typeof($1)", [20])
        prepare(other, "s", "SELECT pg_typeof($1)", [25])
        assert wire.rows_of(run(one, "s", "1")) == [["bigint"]]
        assert wire.rows_of(run(other, "s", "1")) == [["text"]]


def test_a_changed_table_gives_the_servers_error_and_a_new_prepare_works(broker, postgres, table):
    with broker.wire() as one:
        prepare(one, "s", f"SELECT * FROM {table}")
        run(one, "s")
        postgres.sql(f"ALTER TABLE {table} ADD COLUMN more int", dbname="app", user="app")
        seen = run(one, "s")
        assert wire.kinds(seen) in ("2CZ", "EZ")
        if "E" in wire.kinds(seen):
            assert wire.error_of(seen).code == "0A000"
        one.send(wire.close_statement("s"), wire.sync())
        one.until_ready()
        prepare(one, "s", f"SELECT * FROM {table}")
        assert wire.kinds(run(one, "s")) == "2CZ"


def test_prepare_within_a_transaction_that_rolls_back_stays(broker):
    """As on PostgreSQL: statements are not transactional."""
    if broker.settings["pool_mode"] == "statement":
        pytest.skip("no transactions in statement mode")
    with broker.wire() as one:
        one.query("BEGIN")
        prepare(one, "s", "SELECT 9")
        one.query("ROLLBACK")
        assert wire.rows_of(run(one, "s")) == [["9"]]


def test_sql_prepare_within_a_transaction(broker):
    if broker.settings["pool_mode"] == "statement":
        pytest.skip("no transactions in statement mode")
    with broker.wire() as one:
        one.query("BEGIN")
        one.query("PREPARE by_sql AS SELECT 5")
        assert one.rows("EXECUTE by_sql") == [["5"]]
        one.query("COMMIT")


def test_statements_survive_a_restart_of_the_server(make_broker, postgres):
    broker = make_broker({"default_pool_size": 2})
    broker.errors_expected = True
    with broker.wire() as one:
        prepare(one, "s", "SELECT $1::int")
        assert wire.rows_of(run(one, "s", 1)) == [["1"]]
        postgres.terminate(*(row[0] for row in postgres.backends(dbname="app", user="app")))
        eventually(lambda: "E" not in wire.kinds(run(one, "s", 2)))
        assert wire.rows_of(run(one, "s", 3)) == [["3"]]


def test_portals_with_names_live_within_their_transaction(broker):
    if broker.settings["pool_mode"] == "statement":
        pytest.skip("no transactions in statement mode")
    with broker.wire() as one:
        prepare(one, "s", "SELECT generate_series(1, $1::int)")
        one.query("BEGIN")
        one.send(wire.bind([4], "s", "p"), wire.execute("p", 2), wire.sync())
        assert wire.kinds(one.until_ready()) == "2DDsZ"
        one.send(wire.describe_portal("p"), wire.execute("p"), wire.sync())
        assert wire.kinds(one.until_ready()) == "TDDCZ"
        one.query("COMMIT")


def test_statement_names_of_every_form(broker):
    with broker.wire() as one:
        for name in ("x" * 63, "with space", "ünïcödé", "__asyncpg_stmt_1__", "S_1", "0"):
            prepare(one, name, "SELECT $1::text")
            assert wire.rows_of(run(one, name, name)) == [[name]]
