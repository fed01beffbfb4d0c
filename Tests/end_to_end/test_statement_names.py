# SPDX-License-Identifier: Apache-2.0
"""Clients see their own names for prepared statements, in SQL and in errors. Each scene runs beside a direct
connection and must be told the same."""

import psycopg
import pytest

from harness import pooler, wire
from harness.wire import told

pytestmark = pytest.mark.pglease_only


@pytest.fixture(scope="module")
def two_servers(postgres):
    one = pooler.make(postgres, {"default_pool_size": 2, "reserve_pool_size": 0}).start()
    yield one
    one.stop()
    one.check()
    one.destroy()


@pytest.fixture
def pair(two_servers, postgres):
    """A client of the broker and a direct one; `both` does the same with each and compares."""
    with two_servers.wire() as one, wire.Wire(postgres.socket_path).start("app", "app") as plain:
        yield one, plain


def both(pair, *messages, times=1, skip=""):
    """`skip`: the place in the text, where names of another length shift it (extended protocol)."""
    seen = []
    for one in pair:
        one.send(*messages)
        seen.append(told(one.until_ready(times)))
        for kind, fields in seen[-1]:
            if kind == "E":
                fields.pop(skip, None)
    assert seen[0] == seen[1]
    return seen[0]


def prepare(pair, name, sql):
    return both(pair, wire.parse(sql, name), wire.sync())


def kinds(seen):
    return "".join(kind for kind, _ in seen)


def elsewhere(broker, one):
    """Another client holds the server that `one` was on last."""
    holder, second = broker.wire(), broker.wire()
    pid = one.value("SELECT pg_backend_pid()")
    holder.query("BEGIN")
    if holder.value("SELECT pg_backend_pid()") != pid:
        second.query("BEGIN")
        holder.query("COMMIT")
        holder, second = second, holder
    second.close()
    return holder


EXECUTES = ["EXECUTE s(7)", "execute S(7)", "EXECUTE \"s\" (7)", "explain EXECUTE s(7)",
            "/* x */ EXPLAIN (COSTS off) EXECUTE s (7)", "SELECT 'EXECUTE s(7)'; EXECUTE s(8); SELECT 1",
            "CREATE TEMP TABLE x AS EXECUTE s(7); DROP TABLE x", "EXECUTE s", "EXECUTE s(nothing)",
            "EXECUTE s(7); EXECUTE never(1)", "EXECUTE pglease_1(1)", "EXECUTE s(1/0)"]


@pytest.mark.parametrize("sql", EXECUTES)
def test_execute_of_a_statement_of_the_protocol(two_servers, pair, sql):
    prepare(pair, "s", "SELECT $1::int + 1 AS one")
    both(pair, wire.query(sql))
    with elsewhere(two_servers, pair[0]):
        both(pair, wire.query(sql))
    both(pair, wire.query("BEGIN"))
    both(pair, wire.query(sql))
    both(pair, wire.query("ROLLBACK"))
    if ";" not in sql:
        for _ in range(2):
            both(pair, wire.parse(sql), wire.bind(), wire.execute(), wire.sync(), skip="P")
            both(pair, wire.parse(sql, "e"), wire.sync())
            both(pair, wire.bind((), "e"), wire.execute(), wire.sync(), skip="P")
            with elsewhere(two_servers, pair[0]):
                both(pair, wire.bind((), "e"), wire.execute(), wire.sync(), skip="P")
            both(pair, wire.close_statement("e"), wire.sync())
    both(pair, wire.bind((1,), "s"), wire.execute(), wire.sync())


def test_execute_of_what_has_become_wrong(two_servers, pair, postgres, table):
    """The error of what the broker sends in front stands for that of the query."""
    prepare(pair, "s", f"SELECT name FROM {table}")
    postgres.sql(f"DROP TABLE {table}", dbname="app", user="app")
    for begin, end in (("SELECT 1", "SELECT 2"), ("BEGIN", "ROLLBACK")):
        with elsewhere(two_servers, pair[0]):
            both(pair, wire.query(begin))
            seen = both(pair, wire.query("EXECUTE s"))
            assert [fields["C"] for kind, fields in seen if kind == "E"] == ["42P01"]
            both(pair, wire.query("SELECT 3"))
            both(pair, wire.query(end))


DEALLOCATES = ["DEALLOCATE s; SELECT 2", "SELECT 1; DEALLOCATE PREPARE s", "DEALLOCATE s; DEALLOCATE t",
               "DEALLOCATE s; EXECUTE t", "DEALLOCATE t; EXECUTE t", "DEALLOCATE s; DEALLOCATE s",
               "DEALLOCATE ALL; SELECT 2", "SELECT 1; DEALLOCATE ALL", "DEALLOCATE never; DEALLOCATE s",
               "SELECT 1/0; DEALLOCATE s", "DEALLOCATE s; SELECT 1/0", "SELECT 'DEALLOCATE s'; SELECT 1",
               "DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL", "PREPARE p AS SELECT 1; DEALLOCATE p"]


@pytest.mark.parametrize("sql", DEALLOCATES)
@pytest.mark.parametrize("around", [None, "COMMIT", "ROLLBACK"])
def test_deallocate_among_other_statements(two_servers, pair, sql, around):
    """DEALLOCATE is not transactional."""
    for where in ("here", "elsewhere"):
        prepare(pair, "s", "SELECT 1")
        prepare(pair, "t", "SELECT 2")
        holder = elsewhere(two_servers, pair[0]) if where == "elsewhere" else None
        if around:
            both(pair, wire.query("BEGIN"))
        both(pair, wire.query(sql))
        if around:
            both(pair, wire.query(around))
        for name in "st":
            both(pair, wire.bind((), name), wire.execute(), wire.sync())
        if holder:
            holder.close()
        both(pair, wire.query("DEALLOCATE ALL"))


def test_what_is_sent_behind_a_deallocate_in_one_write(pair):
    prepare(pair, "s", "SELECT 1")
    both(pair, wire.query("SELECT 1; DEALLOCATE s"), wire.parse("SELECT 1", "s"), wire.bind((), "s"),
         wire.execute(), wire.sync(), times=2)
    both(pair, wire.query("SELECT 1; DEALLOCATE ALL"), wire.parse("SELECT 1", "s"),
         wire.bind((), "s"), wire.execute(), wire.sync(), times=2)
    both(pair, wire.query("SELECT 1; DEALLOCATE s"), wire.bind((), "s"), wire.execute(), wire.sync(),
         times=2)


def test_deallocate_by_a_prepared_statement(pair):
    prepare(pair, "s", "SELECT 1")
    prepare(pair, "d", "DEALLOCATE s")
    both(pair, wire.bind((), "d"), wire.execute(), wire.sync())
    both(pair, wire.bind((), "s"), wire.execute(), wire.sync())


def test_errors_name_the_clients_statement(pair):
    prepare(pair, "my stmt", "SELECT $1::int, $2::int")
    seen = both(pair, wire.bind((1,), "my stmt"), wire.sync())
    assert "my stmt" in seen[0][1]["M"]
    prepare(pair, "my stmt", "SELECT 2")
    both(pair, wire.query("EXECUTE \"my stmt\"(1)"))
    # Something inside the server drops it.
    both(pair, wire.query("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"), wire.bind((1, 2), "my stmt"),
         wire.sync(), times=2)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_brokers_names_are_nobodys(two_servers, pair, number):
    """Another client's statement is not to be had by its name on the server."""
    with two_servers.wire() as other:
        other.send(wire.parse("SELECT 'secret'", "s"), wire.sync())
        other.until_ready()
        name = f"pglease_{number}"
        both(pair, wire.bind((), name), wire.execute(), wire.sync())
        both(pair, wire.describe_statement(name), wire.sync())
        both(pair, wire.query(f"EXECUTE {name}"))
        both(pair, wire.query(f"DEALLOCATE {name}"))
        both(pair, wire.close_statement(name), wire.sync())
        prepare(pair, name, "SELECT 'mine'")
        both(pair, wire.bind((), name), wire.execute(), wire.sync())
        both(pair, wire.query(f"EXECUTE {name}"))
        other.send(wire.bind((), "s"), wire.execute(), wire.sync())
        assert wire.rows_of(other.until_ready()) == [["secret"]]


def test_psycopg_executes_what_it_prepared(two_servers, postgres):
    seen = []
    for source in (two_servers.dsn(), f"host={postgres.host} port={postgres.port} user=app dbname=app"):
        with psycopg.connect(source, prepare_threshold=0, autocommit=True) as one:
            one.execute("SELECT %s::int * 2", (3,))
            for _ in range(2):
                seen.append(one.execute("EXECUTE _pg3_0(21)").fetchall())
    assert seen[:2] == seen[2:]
