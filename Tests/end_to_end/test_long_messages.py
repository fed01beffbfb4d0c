# SPDX-License-Identifier: Apache-2.0
"""Messages of every length that PostgreSQL sends, and statements of every length that clients send."""

import pytest

from harness import wire
from harness.waiting import eventually

LONG = 1_100_000


def answers(seen):
    """Kinds with the bodies, parameters aside."""
    return [(one.kind, one.body) for one in seen]


def on(address):
    return wire.Wire(address).start("app")


def same(broker, postgres, play):
    """What a client sees through the broker is what it sees directly."""
    with on(postgres.socket_path) as one:
        direct = answers(play(one))
        notices = [note.body for note in one.notices]
    with broker.wire() as one:
        assert answers(play(one)) == direct
        assert [note.body for note in one.notices] == notices
        one.query("ROLLBACK")
        assert one.value("SELECT 1") == "1"
    return direct


def cast(size):
    return wire.parse("SELECT $1::int") + wire.bind(["a" * size]) + wire.execute() + wire.sync()


@pytest.mark.broker_only
@pytest.mark.parametrize("size", [1 << 14, (1 << 14) + 1, 100_000, LONG])
def test_an_error_of_every_length(broker, postgres, size):
    def play(one):
        one.query("BEGIN")
        one.send(cast(size))
        return one.until_ready()
    direct = same(broker, postgres, play)
    assert [kind for kind, _ in direct] == ["1", "E", "Z"] and direct[-1][1] == b"E"


ERRORS = {
    "simple": lambda one: one.query(f"SELECT '{'a' * LONG}'::int"),
    "alone": lambda one: one.query("DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 3000000); END $$"),
    "detail and hint": lambda one: one.query(
        "DO $$ BEGIN RAISE EXCEPTION 'm' USING DETAIL = repeat('d', 2000000),"
        " HINT = repeat('h', 2000000), ERRCODE = '22012'; END $$"),
    "notice": lambda one: one.query("DO $$ BEGIN RAISE NOTICE '%', repeat('x', 3000000); END $$"),
    "warning of the class": lambda one: one.query(
        "DO $$ BEGIN RAISE WARNING '%', repeat('x', 3000000) USING ERRCODE = '57P01'; END $$"),
}


@pytest.mark.broker_only
@pytest.mark.parametrize("what", ERRORS)
def test_long_words_of_the_server(broker, postgres, what):
    same(broker, postgres, ERRORS[what])


@pytest.mark.broker_only
def test_a_long_error_in_a_pipeline(broker, postgres):
    def play(one):
        one.send(wire.parse("SELECT 1") + wire.bind() + wire.execute() + wire.sync(), cast(LONG),
                 wire.parse("SELECT 2", "late") + wire.bind((), "late") + wire.execute(), wire.sync(),
                 wire.query("SELECT 3"))
        return one.until_ready(4)
    same(broker, postgres, play)


@pytest.mark.pglease_only
def test_long_errors_do_not_grow_the_broker(transaction_broker):
    with transaction_broker.wire() as one:
        one.send(cast(1 << 20))
        one.until_ready()
        before = transaction_broker.memory()
        one.send(cast(20 << 20))
        assert one.until_ready()[1].code == "22P02"
        assert transaction_broker.memory() < before + (10 << 20)


@pytest.mark.pglease_only
def test_a_long_error_of_a_reset_ends_its_connection_only(make_broker):
    broker = make_broker({
        "server_reset_query_always": 1, "default_pool_size": 1,
        "server_reset_query": "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 2000000); END $$"})
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"
        assert one.value("SELECT 2") == "2"
    eventually(lambda: broker.logged("server_reset_query failed"))
    assert all(len(line) < 40_000 for line in broker.log().splitlines())


@pytest.mark.pglease_only
def test_a_long_error_of_connect_query_is_told(make_broker, postgres):
    broker = make_broker(databases={"app": f"host={postgres.host} port={postgres.port} connect_query="
                                    "'DO $$ BEGIN RAISE EXCEPTION ''%'', repeat(''x'', 2000000); END $$'"})
    with broker.wire() as one:
        error = wire.error_of(one.query("SELECT 1"))
        assert error.code == "P0001" and "connect_query failed" in error.fields["M"]


# Statements.

def text_of(size):
    return f"SELECT $1::int + {len(str(size))} --" + "x" * size


def twice(name, size):
    """Parsed and described in one batch, run in two others: on other servers, perhaps."""
    def play(one):
        seen = []
        one.send(wire.parse(text_of(size), name), wire.describe_statement(name), wire.sync())
        seen += one.until_ready()
        for number in (1, 2):
            one.send(wire.bind([number], name), wire.execute(), wire.sync())
            seen += one.until_ready()
        return seen
    return play


@pytest.mark.broker_only
@pytest.mark.parametrize("name", ["", "named"])
@pytest.mark.parametrize("size", [10, 66_000, LONG])
def test_a_statement_of_every_length_lives_until_the_next(broker, postgres, name, size):
    kinds = [kind for kind, _ in same(broker, postgres, twice(name, size))]
    assert kinds == list("1tTZ2DCZ2DCZ")


def test_a_named_statement_of_17_megabytes(transaction_broker):
    with transaction_broker.wire() as one:
        assert wire.kinds(twice("named", 17 << 20)(one)) == "1tTZ2DCZ2DCZ"


@pytest.mark.broker_only
def test_a_long_unnamed_statement_on_another_server(make_broker):
    broker = make_broker({"default_pool_size": 2})
    with broker.wire() as one, broker.wire() as other:
        one.send(wire.parse(text_of(66_000)), wire.describe_statement(), wire.sync())
        assert wire.kinds(one.until_ready()) == "1tTZ"
        # The one that it was parsed on is taken.
        other.query("BEGIN")
        for number in (1, 2):
            one.send(wire.bind([number]), wire.execute(), wire.sync())
            assert wire.rows_of(one.until_ready()) == [[str(number + 5)]]
        one.query("SELECT 1")
        one.send(wire.bind([1]), wire.execute(), wire.sync())
        assert wire.error_of(one.until_ready()).code == "26000"


@pytest.mark.broker_only
def test_ten_thousand_parameters(broker, postgres):
    count = 10_000
    sql = f"SELECT {count} WHERE 1 IN (" + ", ".join(f"${n}::int" for n in range(1, count + 1)) + ")"

    def play(one):
        one.send(wire.parse(sql), wire.describe_statement(), wire.sync())
        seen = one.until_ready()
        one.send(wire.bind([1] * count), wire.execute(), wire.sync())
        return seen + one.until_ready()
    assert wire.rows_of([wire.Message(*one) for one in same(broker, postgres, play)]) == [[str(count)]]


@pytest.mark.broker_only
@pytest.mark.parametrize("size", [100, 20_000, 100_000])
def test_names_of_every_length(session_broker, transaction_broker, postgres, size):
    name = "n" * size

    def play(one):
        one.send(wire.parse("SELECT 7", name), wire.bind((), name), wire.execute(), wire.sync())
        return one.until_ready()
    for broker in (session_broker, transaction_broker):
        same(broker, postgres, play)


@pytest.mark.pglease_only
def test_a_slow_sender_of_a_long_statement_holds_no_server(make_broker):
    broker = make_broker({"default_pool_size": 1})
    with broker.wire() as slow, broker.wire() as other:
        raw = wire.parse(text_of(300_000)) + wire.bind([1]) + wire.execute() + wire.sync()
        slow.send(raw[:200_000])
        assert other.value("SELECT 1") == "1"
        slow.send(raw[200_000:])
        assert wire.rows_of(slow.until_ready()) == [["7"]]


@pytest.mark.pglease_only
def test_what_is_kept_is_bounded_and_freed(make_broker):
    broker = make_broker({"max_statement_memory": 1_000_000, "default_pool_size": 1})

    def parsed(size):
        one = broker.wire()
        one.send(wire.parse(text_of(size)), wire.sync())
        assert wire.kinds(one.until_ready()) == "1Z"
        return one

    def run(one):
        one.send(wire.bind([1]), wire.execute(), wire.sync())
        return one.until_ready()

    clients = [parsed(400_000), parsed(400_000)]
    with parsed(400_000) as late, parsed(60_000) as short:
        # It says why, where it cannot go on; what comes in one batch always runs.
        error = wire.error_of(run(late))
        assert error.code == "26000" and "max_statement_memory" in error.fields["D"]
        late.send(wire.parse(text_of(400_000)), wire.bind([1]), wire.execute(), wire.sync())
        assert wire.kinds(late.until_ready()) == "12DCZ"
        assert wire.kinds(run(short)) == "2DCZ"
        # A simple query ends it, and so does the end of its session.
        clients[0].query("SELECT 1")
        clients[1].close()
        eventually(lambda: len([row for row in broker.console("SHOW CLIENTS")
                                if row["database"] == "app"]) == 3)
        with parsed(900_000) as large:
            assert wire.kinds(run(large)) == "2DCZ"
    clients[0].close()


@pytest.mark.pglease_only
def test_a_named_statement_that_is_too_long_is_refused_with_words(make_broker):
    broker = make_broker({"max_statement_memory": 1_000_000})
    with broker.wire() as one:
        one.send(wire.parse(text_of(1_100_000), "long")[:60_000])
        error = one.next()
        assert error.code == "54000" and "max_statement_memory" in error.fields["H"]
