# SPDX-License-Identifier: Apache-2.0
"""A limit, an operator or a cancel meets a client that has sent several messages ahead.

What the broker ends, it ends as a whole: the client is told of each message that it failed, and none of them runs. (pgbouncer
closes both connections; what PostgreSQL has received may still run.) What the client itself cancels is cancelled as on a
connection of its own: what runs then, and nothing else.
"""

import pytest

from harness import pooler, wire
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]


@pytest.fixture(scope="module", autouse=True)
def objects(postgres):
    postgres.sql("CREATE TABLE ahead (word text); GRANT ALL ON ahead TO public", dbname="app")
    yield
    postgres.sql("DROP TABLE ahead", dbname="app")


def batch(text):
    return wire.parse(text) + wire.bind() + wire.execute() + wire.sync()


def running(postgres):
    return postgres.sql("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s "
                        "AND pid <> pg_backend_pid()", ("%/* held */%",))


def words(postgres):
    return [word for (word,) in postgres.sql("SELECT word FROM ahead", dbname="app")]


HELD = "SELECT pg_sleep(60) /* held */"
BEHIND = "INSERT INTO ahead VALUES ('behind')"
PIPELINES = {
    "queries": [wire.query(HELD), wire.query(BEHIND), wire.query(HELD)],
    "batches": [batch(HELD), batch(BEHIND), batch(HELD)],
    "a transaction behind it": [wire.query(HELD), wire.query("BEGIN"), wire.query(BEHIND),
                                wire.query("COMMIT")],
    "a transaction around it": [wire.query("BEGIN"), batch(BEHIND), batch(HELD), batch("COMMIT"),
                                wire.query(BEHIND)],
}
ANSWERED = {"a transaction around it": 2}


def end_by_timeout(broker):
    pass


def end_by_kill_lease(broker):
    broker.console(f"KILL LEASE {broker.console('SHOW LEASES')[0]['lease_id']}")


def end_by_kill_client(broker):
    client = next(row for row in broker.console("SHOW CLIENTS") if row["user"] == "app")
    broker.console(f"KILL_CLIENT {client['id']}")


@pytest.fixture(scope="module")
def brokers(postgres):
    """By whether query_timeout is to end it, and how PostgreSQL is reached."""
    made = {}
    for limit in (0, "300ms"):
        one = pooler.make(postgres, {"query_timeout": limit, "default_pool_size": 1})
        one.databases = {"app": one.server(), "tcp": one.server(host="127.0.0.1", dbname="app")}
        one.write()
        made[limit] = one.start()
    yield made
    for one in made.values():
        one.check()
        one.destroy()


WAYS = [(what, "app") for what in PIPELINES] + [("queries", "tcp"), ("batches", "tcp")]


@pytest.mark.parametrize("end, code, what, database", [
    *((end_by_timeout, "57P05", *way) for way in WAYS),
    *((end_by_kill_lease, "57P01", *way) for way in WAYS),
    (end_by_kill_client, "57P01", "queries", "app"), (end_by_kill_client, "57P01", "queries", "tcp")])
def test_nothing_runs_of_what_the_client_was_told_is_not_run(
        brokers, postgres, end, code, what, database):
    broker = brokers["300ms" if end is end_by_timeout else 0]
    messages = PIPELINES[what]
    with broker.wire(database=database) as one:
        one.send(*messages)
        if end is not end_by_timeout:
            eventually(lambda: running(postgres))
        end(broker)
        answered = ANSWERED.get(what, 0)
        assert all("E" not in wire.kinds(one.until_ready()) for _ in range(answered))
        if end is end_by_kill_client:
            assert one.until("E")[-1].code == code and one.closed_by_peer()
        else:
            for _ in range(len(messages) - answered):
                assert wire.error_of(one.until_ready()).code == code
            # The session goes on, on another connection: the first cannot have anything behind it.
            assert one.value("SELECT 7") == "7"
    eventually(lambda: not running(postgres))
    # Whoever gets the only place now comes behind whatever the backend still does.
    with broker.wire(database=database) as other:
        assert other.value("SELECT 8") == "8"
    assert words(postgres) == []


@pytest.mark.parametrize("end, limit", [(end_by_timeout, "300ms"), (end_by_kill_lease, 0)])
def test_a_single_message_costs_no_connection(brokers, postgres, end, limit):
    broker = brokers[limit]
    with broker.wire() as one:
        pid = one.value("SELECT pg_backend_pid()")
        one.send(batch(HELD))
        if end is not end_by_timeout:
            eventually(lambda: running(postgres))
        end(broker)
        error = wire.error_of(one.until_ready())
        assert "unless a COMMIT was under way" in error.fields["D"]
        assert one.value("SELECT pg_backend_pid()") == pid


# PostgreSQL signals twice for one cancel: this takes the second one.
ABSORBS = "DO $$ BEGIN PERFORM pg_sleep(0.3); EXCEPTION WHEN query_canceled THEN NULL; END $$"


@pytest.mark.parametrize("make", [wire.query, batch])
def test_a_cancel_ends_what_runs_and_nothing_else(brokers, postgres, make):
    """As on a connection of its own."""
    broker, told = brokers[0], []
    for address in (broker.socket_path, postgres.socket_path):
        # A second signal that comes before the block that takes it has begun shows nothing: once more.
        for _ in range(5):
            with wire.Wire(address).start("app", "app") as one:
                one.send(make(HELD), make(ABSORBS), make("INSERT INTO ahead VALUES ('kept')"),
                         make("SELECT 5"))
                eventually(lambda: running(postgres))
                wire.cancel(address, one.key)
                answers = [wire.told(one.until_ready()) for _ in range(4)]
            assert postgres.sql("DELETE FROM ahead RETURNING word", dbname="app") == [("kept",)]
            if answers[1][-2][0] == "C":
                break
        told.append(answers)
    assert told[0] == told[1] and told[0][0][-2][1]["C"] == "57014"
