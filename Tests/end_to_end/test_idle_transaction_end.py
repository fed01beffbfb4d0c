# SPDX-License-Identifier: Apache-2.0
"""ROLLBACK and COMMIT of a session without a transaction wait for no server: drivers send them after
an error, also after the one that says that PostgreSQL is gone."""

import asyncio
import os
import signal

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import wire
from harness.faucet import Faucet
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

# Seconds: whoever waits so long for a server fails the test.
FOR_EVER = 30


@pytest.fixture
def faucet(postgres):
    one = Faucet(postgres.socket_path)
    yield one
    one.close()


@pytest.fixture
def broker(make_broker, faucet):
    """Its server is behind the faucet."""
    one = make_broker({"query_wait_timeout": FOR_EVER, "default_pool_size": 1,
                       "server_login_retry": 1, "server_check_delay": 0},
                      databases={"*": f"host=127.0.0.1 port={faucet.port}"})
    one.errors_expected = True
    return one


def lose(one, faucet):
    """PostgreSQL goes down under an open transaction: the session is idle afterwards."""
    one.query("BEGIN")
    faucet.refuse()
    seen = one.query("SELECT 1")
    assert wire.error_of(seen).code == "08006" and seen[-1].body == b"I"


def said(one, *messages):
    """What the other side says to these messages, notices among it."""
    one.send(*messages)
    seen = []
    while not seen or seen[-1] != "Z":
        m = one.read()
        if m.kind != "S":
            seen.append((m.kind, m.fields["S"], m.code, m.fields["M"]) if m.kind == "N"
                        else (m.kind, m.tag) if m.kind == "C" else m.kind)
    return seen


WARNING = ("N", "WARNING", "25P01", "there is no transaction in progress")


def extended(sql):
    return [wire.parse(sql), wire.bind(), wire.describe_portal(), wire.execute(), wire.sync()]


@pytest.mark.parametrize("sql, tag", [
    ("ROLLBACK", "ROLLBACK"), ("abort work;", "ROLLBACK"), ("COMMIT", "COMMIT"),
    ("/* bye */ END", "COMMIT"), ("ROLLBACK AND NO CHAIN", "ROLLBACK")])
def test_it_is_answered_as_postgresql_answers_it(broker, faucet, postgres, sql, tag):
    with wire.Wire(postgres.socket_path).start("app", "app") as direct:
        simple, by_parts = said(direct, wire.query(sql)), said(direct, *extended(sql))
        assert simple == [WARNING, ("C", tag), "Z"]
    with broker.wire() as one:
        lose(one, faucet)
        assert said(one, wire.query(sql)) == simple
        assert said(one, *extended(sql)) == by_parts


@pytest.mark.parametrize("sql", ["SELECT 1", "", "-- ping", "ROLLBACK TO here", "COMMIT; SELECT 1"])
def test_what_may_need_a_server_waits_for_one(broker, faucet, sql):
    with broker.wire() as one:
        lose(one, faucet)
        one.send(wire.query(sql))
        eventually(lambda: broker.waiting() == 1)
        faucet.flow()
        one.until_ready()


def test_a_statement_prepared_by_name_is_answered_by_its_text(broker, faucet):
    """As pgjdbc does with its own COMMIT and ROLLBACK after a while."""
    with broker.wire() as one:
        one.send(wire.parse("ROLLBACK", "S_1"), wire.sync())
        one.until_ready()
        lose(one, faucet)
        run = wire.bind(statement="S_1"), wire.execute(), wire.sync()
        assert said(one, *run) == ["2", WARNING, ("C", "ROLLBACK"), "Z"]
        faucet.flow()
        assert said(one, *run) == ["2", WARNING, ("C", "ROLLBACK"), "Z"], "as before"


def test_nor_in_a_paused_or_a_full_pool(make_broker):
    broker = make_broker({"query_wait_timeout": FOR_EVER, "default_pool_size": 1,
                          "query_wait_notify": 0})
    with broker.wire() as holder, broker.wire() as one:
        holder.query("BEGIN")
        assert said(one, wire.query("ROLLBACK")) == [WARNING, ("C", "ROLLBACK"), "Z"]
        assert broker.waiting() == 0
        holder.query("COMMIT")
        assert one.value("SELECT 'as good as before'") == "as good as before"
        broker.console("PAUSE")
        assert said(one, wire.query("COMMIT")) == [WARNING, ("C", "COMMIT"), "Z"]
        broker.console("RESUME")


def test_with_a_server_at_hand_it_is_the_servers_own_answer(transaction_broker):
    """So it is in the server's language, and not seen by who set client_min_messages."""
    with transaction_broker.wire(client_min_messages="error") as one:
        one.query("SELECT 1")
        assert said(one, wire.query("ROLLBACK")) == [("C", "ROLLBACK"), "Z"]


def test_a_transaction_that_was_lost_in_silence_is_told_before_the_commit(broker, faucet):
    """A COMMIT must never look as if it had worked."""
    with broker.wire() as one:
        one.query("BEGIN")
        faucet.refuse()
        broker.wait_logged("server lost")
        assert wire.error_of(one.query("COMMIT")).code == "08006"
        assert said(one, wire.query("ROLLBACK"))[1] == ("C", "ROLLBACK")


@pytest.mark.parametrize("driver", [psycopg2, psycopg])
def test_a_drivers_rollback_ends_at_once(broker, faucet, driver):
    connection = driver.connect(broker.dsn())
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    faucet.refuse()
    with pytest.raises(driver.OperationalError):
        cursor.execute("SELECT 2")
    connection.rollback()
    assert not connection.closed
    faucet.flow()
    eventually(lambda: works(connection, driver), 15)
    connection.close()


def works(connection, driver):
    try:
        connection.cursor().execute("SELECT 1")
        return True
    except driver.Error:
        connection.rollback()
        return False


def test_asyncpgs_transaction_block_ends_at_once(broker, faucet):
    async def main():
        connection = await asyncpg.connect(
            host=str(broker.socket_folder), port=broker.port, user="app", database="app")
        with pytest.raises(asyncpg.PostgresConnectionError):
            async with connection.transaction():
                faucet.refuse()
                await connection.execute("SELECT 1")
        await connection.execute("ROLLBACK")
        connection.terminate()
    asyncio.run(main())


def test_a_stopped_postgresql_holds_no_rollback_up(make_broker, postgres):
    """The server hangs, its connection still stands: whether it lives is being checked."""
    broker = make_broker({"query_wait_timeout": FOR_EVER, "default_pool_size": 1,
                          "server_check_delay": 0})
    with broker.wire() as one:
        pid = int(one.value("SELECT pg_backend_pid()"))
        os.kill(pid, signal.SIGSTOP)
        try:
            assert said(one, wire.query("ROLLBACK"))[1] == ("C", "ROLLBACK")
        finally:
            os.kill(pid, signal.SIGCONT)
