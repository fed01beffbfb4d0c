# SPDX-License-Identifier: Apache-2.0
"""psycopg2: pools, COPY, cursors, large values, notices, cancel."""

import io
import threading

import psycopg2
import psycopg2.errors
import psycopg2.extras
import psycopg2.pool
import pytest

from harness.waiting import eventually


def test_a_transaction_commits_and_rolls_back(broker, connect, table):
    connection = connect(broker, autocommit=False)
    cursor = connection.cursor()
    cursor.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
    connection.commit()
    cursor.execute(f"INSERT INTO {table} VALUES (2, 'lost')")
    connection.rollback()
    cursor.execute(f"SELECT * FROM {table}")
    assert cursor.fetchall() == [(1, "kept")]
    connection.commit()


def test_a_threaded_pool_serves_many_threads(broker, table):
    pool = psycopg2.pool.ThreadedConnectionPool(1, 8, broker.dsn())
    failures = []

    def work(worker):
        try:
            for step in range(25):
                connection = pool.getconn()
                try:
                    with connection, connection.cursor() as cursor:
                        cursor.execute(f"INSERT INTO {table} VALUES (%s, %s)",
                                       (worker * 1000 + step, str(worker)))
                        cursor.execute("SELECT %s", (worker,))
                        assert cursor.fetchone() == (worker,)
                finally:
                    pool.putconn(connection)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert failures == []
    with pool.getconn() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        assert cursor.fetchone() == (200,)
    pool.closeall()


def test_copy_from_and_to_a_stream(broker, connect, table):
    cursor = connect(broker).cursor()
    data = "".join(f"{n}\tname {n}\n" for n in range(20000))
    cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(data))
    back = io.StringIO()
    cursor.copy_expert(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT", back)
    assert back.getvalue() == data


def test_a_bad_row_in_a_copy_leaves_the_session_usable(broker, connect, table):
    connection = connect(broker)
    cursor = connection.cursor()
    lines = [f"{n}\tx\n" for n in range(20000)]
    lines[100] = "not a number\tx\n"
    with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
        cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO("".join(lines)))
    cursor.execute(f"SELECT count(*) FROM {table}")
    assert cursor.fetchone() == (0,)


def test_execute_values_writes_many_rows(broker, connect, table):
    cursor = connect(broker).cursor()
    rows = [(n, "x" * (n % 100)) for n in range(5000)]
    psycopg2.extras.execute_values(cursor, f"INSERT INTO {table} VALUES %s", rows, page_size=1000)
    cursor.execute(f"SELECT id, name FROM {table} ORDER BY id")
    assert cursor.fetchall() == rows


def test_a_named_cursor_fetches_within_its_transaction(broker, connect):
    connection = connect(broker, autocommit=False)
    with connection.cursor("by_parts") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT g FROM generate_series(1, 2500) g")
        assert sum(row[0] for row in cursor) == 2500 * 2501 // 2
    connection.commit()


def test_a_row_of_ten_megabytes_goes_both_ways(broker, connect):
    cursor = connect(broker).cursor()
    value = bytes(range(256)) * 4 * 10240
    cursor.execute("SELECT %s::bytea, length(%s::bytea)",
                   (psycopg2.Binary(value), psycopg2.Binary(value)))
    back, length = cursor.fetchone()
    assert bytes(back) == value and length == len(value)


def test_large_objects_within_a_transaction(broker, connect):
    connection = connect(broker, autocommit=False)
    written = connection.lobject(0, "wb")
    value = bytes(range(256)) * 4096
    written.write(value)
    oid = written.oid
    written.close()
    connection.commit()
    read = connection.lobject(oid, "rb")
    assert read.read() == value
    read.unlink()
    connection.commit()


def test_notices_arrive(broker, connect):
    connection = connect(broker)
    connection.cursor().execute(
        "DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$")
    assert "first" in connection.notices[0] and "second" in connection.notices[1]


def test_an_error_carries_all_its_fields(broker, connect, table):
    cursor = connect(broker).cursor()
    cursor.execute(f"INSERT INTO {table} VALUES (1, 'x')")
    with pytest.raises(psycopg2.errors.UniqueViolation) as caught:
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'x')")
    diagnostics = caught.value.diag
    assert diagnostics.table_name == table and diagnostics.constraint_name == f"{table}_pkey"
    assert diagnostics.message_detail == "Key (id)=(1) already exists."


def test_cancel_stops_the_running_query(broker, connect, postgres):
    connection = connect(broker)
    caught = []

    def work():
        try:
            connection.cursor().execute("SELECT pg_sleep(60) AS cancel_psycopg2")
        except psycopg2.Error as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: postgres.sql(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%cancel_psycopg2%' "
        "AND state = 'active' AND application_name <> 'harness'"))
    connection.cancel()
    thread.join(20)
    assert isinstance(caught[0], psycopg2.errors.QueryCanceled)
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)


def test_asynchronous_connections_poll_to_the_end(broker):
    connection = psycopg2.connect(broker.dsn(), async_=1)
    psycopg2.extras.wait_select(connection)
    cursor = connection.cursor()
    cursor.execute("SELECT generate_series(1, 1000)")
    psycopg2.extras.wait_select(connection)
    assert len(cursor.fetchall()) == 1000
    connection.close()


def test_two_phase_commit(broker, connect, table, postgres):
    if postgres.sql("SHOW max_prepared_transactions") == [("0",)]:
        with pytest.raises(psycopg2.Error) as caught:
            connection = connect(broker, autocommit=False)
            connection.tpc_begin(connection.xid(1, "one", "branch"))
            connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'x')")
            connection.tpc_prepare()
        assert caught.value.pgcode == "55000"
        connection.tpc_rollback()


def test_utf8_and_another_client_encoding(broker, connect):
    connection = connect(broker)
    cursor = connection.cursor()
    cursor.execute("SELECT %s", ("Grüße, мир, 世界",))
    assert cursor.fetchone() == ("Grüße, мир, 世界",)
    latin = connect(broker, client_encoding="LATIN1")
    cursor = latin.cursor()
    cursor.execute("SELECT %s, length(%s)", ("Grüße", "Grüße"))
    assert cursor.fetchone() == ("Grüße", 5)
    assert latin.encoding in ("LATIN1", "ISO88591")


def test_autocommit_in_statement_mode(statement_broker, connect, table):
    cursor = connect(statement_broker).cursor()
    cursor.execute(f"INSERT INTO {table} VALUES (1, 'x')")
    cursor.execute(f"SELECT count(*) FROM {table}")
    assert cursor.fetchone() == (1,)


@pytest.mark.broker_only
def test_statement_mode_refuses_transactions(statement_broker, connect):
    connection = connect(statement_broker, autocommit=False)
    with pytest.raises(psycopg2.Error) as caught:
        connection.cursor().execute("SELECT 1")
    assert caught.value.pgcode in ("08P01", "25001", "0A000") or connection.closed


def test_listen_and_notify_in_session_mode(session_broker, connect):
    listener, teller = connect(session_broker), connect(session_broker)
    listener.cursor().execute("LISTEN news")
    teller.cursor().execute("NOTIFY news, 'hello'")

    def heard():
        listener.poll()
        return listener.notifies
    notification = eventually(heard)[0]
    assert (notification.channel, notification.payload) == ("news", "hello")
