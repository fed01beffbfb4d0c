# SPDX-License-Identifier: Apache-2.0
"""The connection that listens for a pool's clients: its bounds, its losses, operators, and a thousand clients."""

import contextlib
import signal
import threading

import psycopg2
import pytest

from harness import wire
from harness.postgres import Postgres
from harness.waiting import eventually
from test_listen import connect, heard, listens, run

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def own_postgres():
    """A PostgreSQL that the test may ill-treat."""
    one = Postgres()
    yield one
    one.destroy()


def leases(broker):
    return broker.console("SHOW LEASES")


def listening(broker):
    return [one for one in leases(broker) if one["kind"] == "listen"]


def hear_warning(connection, words="may have been missed"):
    """Waits for what the broker says by itself."""
    def said():
        connection.poll()
        return any(words in one for one in connection.notices)
    eventually(said, 20, lambda: f"a warning among {connection.notices}")


def test_one_connection_listens_and_is_shown(make_broker):
    broker = make_broker()
    clients = [connect(broker) for _ in range(20)]
    for number, one in enumerate(clients):
        listens(one, "shared", f"own_{number}")
    rows = listening(broker)
    assert len(rows) == 1
    assert rows[0]["purpose"] == "LISTEN for 20 clients"
    assert rows[0]["program"] == "pglease"
    run(clients[0], "NOTIFY shared, 'x'", "NOTIFY own_7, 'y'")
    for number, one in enumerate(clients):
        expected = [("shared", "x")] + ([("own_7", "y")] if number == 7 else [])
        assert heard(one, len(expected)) == expected
    for one in clients:
        one.close()
    eventually(lambda: listening(broker) == [], 10)


def test_the_connection_is_clean_when_nobody_listens_any_more(make_broker, postgres):
    broker = make_broker({"default_pool_size": "2"})
    connection = connect(broker)
    listens(connection, "gone")
    run(connection, "UNLISTEN gone")
    eventually(lambda: listening(broker) == [], 10)
    with connection.cursor() as cursor:
        for _ in range(5):
            cursor.execute("SELECT count(*) FROM pg_listening_channels()")
            assert cursor.fetchone() == (0,)
    connection.close()


def test_a_pool_of_one_connection_refuses(make_broker):
    broker = make_broker({"default_pool_size": "1"})
    connection = connect(broker)
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
        listens(connection, "a")
    assert "pool_size is 1" in caught.value.diag.message_detail
    assert "Raise pool_size" in caught.value.diag.message_hint
    run(connection, "BEGIN", "SELECT 1")
    run(connection, "LISTEN a")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        run(connection, "COMMIT")
    run(connection, "ROLLBACK", "SELECT 1")
    connection.close()


def test_the_whole_brokers_bound_counts(make_broker):
    broker = make_broker({"max_server_connections": "2"}, start=False)
    broker.databases = {"one": broker.server(dbname="app"), "two": broker.server(dbname="app")}
    broker.write()
    broker.start()
    first = psycopg2.connect(broker.dsn(dbname="one"))
    first.autocommit = True
    listens(first, "a")
    second = psycopg2.connect(broker.dsn(dbname="two"))
    second.autocommit = True
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="LISTEN needs") as caught:
        listens(second, "a")
    assert "max_server_connections is 2" in caught.value.diag.message_detail
    run(second, "SELECT 1")
    first.close()
    second.close()


def test_all_connections_of_a_pool_may_begin_to_listen_at_once(make_broker):
    size = 4
    broker = make_broker({"default_pool_size": str(size), "query_wait_timeout": "10"})
    clients = [connect(broker) for _ in range(size)]
    for one in clients:
        run(one, "BEGIN", "SELECT 1", "LISTEN crowd")
    waiting = [wire_commit(one) for one in clients]
    for one in waiting:
        one()
    run(clients[0], "NOTIFY crowd, 'x'")
    for one in clients:
        assert heard(one, 1) == [("crowd", "x")]
        one.close()


def wire_commit(connection):
    """COMMIT in a thread of its own; the result waits for it."""
    errors = []

    def work():
        try:
            run(connection, "COMMIT")
        except psycopg2.Error as error:
            errors.append(error)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def result():
        thread.join(20)
        assert not thread.is_alive() and errors == []
    return result


def test_a_lost_connection_is_told_and_replaced(make_broker, postgres):
    broker = make_broker()
    listener, notifier = connect(broker), connect(broker)
    listens(listener, "kept")
    broker.errors_expected = True
    pid = listening(broker)[0]["server_pid"]
    postgres.sql(f"SELECT pg_terminate_backend({pid})")
    hear_warning(listener)
    run(notifier, "NOTIFY kept, 'again'")
    assert heard(listener, 1) == [("kept", "again")]
    kinds = [one["kind"] for one in broker.console("SHOW EVENTS")]
    assert "listen_lost" in kinds and "listen_recovered" in kinds
    listener.close()
    notifier.close()


def test_a_restart_of_postgresql(own_postgres, make_broker):
    broker = make_broker(on=own_postgres)
    listeners = [connect(broker) for _ in range(10)]
    for number, one in enumerate(listeners):
        listens(one, "every", f"own_{number}")
    broker.errors_expected = True
    own_postgres.restart()
    for one in listeners:
        hear_warning(one)
    notifier = connect(broker)
    run(notifier, "NOTIFY every, 'x'", "NOTIFY own_3, 'y'")
    for number, one in enumerate(listeners):
        expected = [("every", "x")] + ([("own_3", "y")] if number == 3 else [])
        assert heard(one, len(expected)) == expected
        one.close()
    notifier.close()


def test_pause_lets_go_and_resume_listens_again(make_broker):
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server()}
    broker.write()
    broker.start()
    listener, notifier = connect(broker), connect(broker)
    listens(listener, "a")
    broker.console("PAUSE app")
    assert broker.console("SHOW SERVERS") == []
    broker.console("RESUME app")
    hear_warning(listener)
    run(notifier, "NOTIFY a, 'x'")
    assert heard(listener, 1) == [("a", "x")]
    listener.close()
    notifier.close()


def test_reconnect_takes_another_connection(make_broker):
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server()}
    broker.write()
    broker.start()
    listener, notifier = connect(broker), connect(broker)
    listens(listener, "a")
    before = listening(broker)[0]["server_pid"]
    broker.console("RECONNECT app")
    eventually(lambda: [one["server_pid"] for one in listening(broker)] not in ([], [before]), 10)
    run(notifier, "NOTIFY a, 'x'")
    assert heard(listener, 1) == [("a", "x")]
    listener.close()
    notifier.close()


def test_kill_lease_of_the_one_that_listens(make_broker):
    broker = make_broker()
    listener, notifier = connect(broker), connect(broker)
    listens(listener, "a")
    broker.errors_expected = True
    broker.console(f"KILL LEASE {listening(broker)[0]['lease_id']}")
    hear_warning(listener)
    run(notifier, "NOTIFY a, 'x'")
    assert heard(listener, 1) == [("a", "x")]
    listener.close()
    notifier.close()


def test_a_listening_client_does_not_keep_the_broker_from_stopping(make_broker):
    broker = make_broker()
    listener = connect(broker)
    listens(listener, "a")
    broker.send_signal(signal.SIGINT)
    assert broker.wait(10) == 0
    listener.close()


def test_a_client_that_does_not_read_holds_up_nobody(make_broker):
    broker = make_broker({"client_write_timeout": "2"})
    deaf, listener, notifier = connect(broker), connect(broker), connect(broker)
    listens(deaf, "many")
    listens(listener, "many")
    broker.errors_expected = True
    payload = "x" * 7000
    for number in range(300):
        run(notifier, f"NOTIFY many, '{number} {payload}'")
        assert heard(listener, number + 1)[-1][1].startswith(f"{number} ")
    eventually(lambda: len(broker.console("SHOW CLIENTS")) == 3, 20)
    for one in (deaf, listener, notifier):
        one.close()


@pytest.mark.parametrize("shared", [True, False])
def test_a_thousand_clients_of_fifty_channels(make_broker, shared):
    count, each = 1000, 50
    broker = make_broker({"max_client_conn": "1200", "default_pool_size": "5",
                          "query_wait_timeout": "120"}, open_files=4096)
    clients = []
    with contextlib.ExitStack() as stack:
        for number in range(count):
            client = stack.enter_context(broker.wire(timeout=100))
            first = 0 if shared else number * each
            text = ";".join(f"LISTEN c{first + index}" for index in range(each))
            client.send(wire.query(text))
            clients.append(client)
        for client in clients:
            client.until_ready()
        rows = listening(broker)
        assert len(rows) == 1 and rows[0]["purpose"] == f"LISTEN for {count} clients"
        notifier = connect(broker)
        run(notifier, "NOTIFY c7, 'x'")
        for client in clients if shared else clients[:1]:
            told = client.next()
            assert told.kind == "A" and told.body[4:] == b"c7\0x\0"
        notifier.close()


def test_what_a_function_listens_to_is_told_while_no_connection_is_free_for_the_hub(
        make_broker, postgres):
    """Seed 5700 of scripts/differential: the client's own server tells it until the broker listens."""
    broker = make_broker({"default_pool_size": 2})
    postgres.sql(
        "CREATE OR REPLACE FUNCTION hear_it(channel text) RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN EXECUTE format('LISTEN %I', channel); END$$", dbname="app", user="app")
    with broker.wire() as one, broker.wire() as other:
        other.query("BEGIN")
        one.query("SELECT hear_it('late_news')")
        for payload in ("first", "second"):
            seen = one.extended(f"NOTIFY late_news, '{payload}'")
            told = [each.body for each in seen if each.kind == "A"]
            assert [payload.encode() in body for body in told] == [True], seen
        other.query("COMMIT")
        hub = eventually(lambda: [row for row in broker.console("SHOW SERVERS")
                                  if row["application_name"] == "pglease LISTEN"])
        assert len(hub) == 1
        # The connection that heard it goes back, and is clean.
        eventually(lambda: broker.pool()["sv_active"] == "1", 10, lambda: str(broker.pool()))
        postgres.sql("NOTIFY late_news, 'third'", dbname="app")
        heard = eventually(lambda: [each for each in one.query("") if each.kind == "A"])
        assert len(heard) == 1 and b"third" in heard[0].body
