# SPDX-License-Identifier: Apache-2.0
"""LISTEN through a transaction pool: notifications come as on a connection of one's own."""

import asyncio
import select
import subprocess

import asyncpg
import psycopg
import psycopg2
import psycopg2.extensions
import pytest



@pytest.fixture
def channel(request):
    return f"channel_{abs(hash(request.node.name)) % 10**9}"


def connect(broker, autocommit=True, **more):
    connection = psycopg2.connect(broker.dsn(**more))
    connection.autocommit = autocommit
    return connection


def run(connection, *statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def heard(connection, count, within=10):
    """The first notifications, as psycopg2 hands them out: channel and payload."""
    def enough():
        connection.poll()
        return len(connection.notifies) >= count
    while not enough():
        assert select.select([connection], [], [], within)[0], \
            f"{len(connection.notifies)} of {count} came"
    return [(one.channel, one.payload) for one in connection.notifies]


def listens(connection, *channels):
    run(connection, *(f"LISTEN {one}" for one in channels))


def test_a_notification_reaches_an_idle_client(broker, channel):
    listener, notifier = connect(broker), connect(broker)
    listens(listener, channel)
    run(notifier, f"NOTIFY {channel}, 'one'", f"SELECT pg_notify('{channel}', 'two')")
    assert heard(listener, 2) == [(channel, "one"), (channel, "two")]
    listener.close()
    notifier.close()


def test_ones_own_notification_is_there_behind_execute(broker, channel):
    connection = connect(broker)
    for number in range(20):
        listens(connection, channel)
        run(connection, f"NOTIFY {channel}, '{number}'")
        assert [(one.payload, one.pid) for one in connection.notifies] == \
            [(str(number), connection.info.backend_pid)]
        connection.notifies.clear()
        run(connection, f"SELECT pg_notify('{channel}', 'function')")
        assert [one.pid for one in connection.notifies] == [connection.info.backend_pid]
        connection.notifies.clear()
    connection.close()


def test_anothers_notification_is_not_ones_own(broker, channel):
    listener, notifier = connect(broker), connect(broker)
    listens(listener, channel)
    for number in range(100):
        run(notifier, f"NOTIFY {channel}, '{number}'")
        run(listener, "SELECT 1")
    heard(listener, 100)
    assert [one.payload for one in listener.notifies] == [str(n) for n in range(100)]
    assert listener.info.backend_pid not in {one.pid for one in listener.notifies}
    listener.close()
    notifier.close()


def test_in_a_transaction_they_wait_for_its_end(broker, channel):
    listener, notifier = connect(broker), connect(broker)
    listens(listener, channel)
    run(listener, "BEGIN", "SELECT 1")
    run(notifier, f"NOTIFY {channel}, 'within'")
    run(listener, "SELECT 2")
    assert listener.notifies == []
    run(listener, "COMMIT")
    assert [one.payload for one in listener.notifies] == ["within"]
    listener.close()
    notifier.close()


def test_what_is_committed_before_the_statement_is_told_before_its_answer(broker, channel):
    """As directly: ReadyForQuery comes behind what was notified before."""
    listener, notifier = connect(broker), connect(broker)
    listens(listener, channel)
    for number in range(50):
        run(notifier, f"NOTIFY {channel}, '{number}'")
        run(listener, "SELECT 1")
        assert listener.notifies[-1].payload == str(number)
    listener.close()
    notifier.close()


@pytest.mark.parametrize("end, expected", [("COMMIT", ["after"]), ("ROLLBACK", [])])
def test_a_listen_holds_from_the_commit_on(broker, channel, end, expected):
    listener, notifier = connect(broker), connect(broker)
    run(listener, "BEGIN", f"LISTEN {channel}")
    run(notifier, f"NOTIFY {channel}, 'before'")
    run(listener, end)
    run(notifier, f"NOTIFY {channel}, 'after'")
    run(listener, "SELECT 1")
    assert [one.payload for one in listener.notifies] == expected
    listener.close()
    notifier.close()


def test_savepoints_take_back_what_was_begun_in_them(broker, channel):
    listener, notifier = connect(broker), connect(broker)
    run(listener, "BEGIN", f"LISTEN {channel}_a", "SAVEPOINT s", f"LISTEN {channel}_b",
        f"UNLISTEN {channel}_a", "ROLLBACK TO s", f"LISTEN {channel}_c", "RELEASE s", "COMMIT")
    for name in "abc":
        run(notifier, f"NOTIFY {channel}_{name}")
    run(listener, "SELECT 1")
    assert [one.channel[-1] for one in listener.notifies] == ["a", "c"]
    listener.close()
    notifier.close()


@pytest.mark.parametrize("text", ["UNLISTEN {}", "UNLISTEN *", "DISCARD ALL"])
def test_unlisten(broker, channel, text):
    listener, notifier = connect(broker), connect(broker)
    listens(listener, channel, f"{channel}_kept")
    run(notifier, f"NOTIFY {channel}, 'heard'")
    run(listener, text.format(channel))
    run(notifier, f"NOTIFY {channel}, 'not heard'", f"NOTIFY {channel}_kept, 'kept'")
    run(listener, "SELECT 1")
    kept = ["kept"] if text == "UNLISTEN {}" else []
    assert [one.payload for one in listener.notifies] == ["heard", *kept]
    listener.close()
    notifier.close()


def test_a_rolled_back_unlisten(broker, channel):
    listener, notifier = connect(broker), connect(broker)
    listens(listener, channel)
    run(listener, "BEGIN", f"UNLISTEN {channel}", "ROLLBACK")
    run(notifier, f"NOTIFY {channel}")
    run(listener, "SELECT 1")
    assert len(listener.notifies) == 1
    listener.close()
    notifier.close()


def test_several_statements_in_one_text(broker, channel):
    connection = connect(broker)
    run(connection, f"LISTEN {channel}; NOTIFY {channel}, 'one'; SELECT 1")
    assert [one.payload for one in connection.notifies] == ["one"]
    run(connection, f"BEGIN; LISTEN {channel}_two; COMMIT; NOTIFY {channel}_two, 'two'")
    assert [one.payload for one in connection.notifies] == ["one", "two"]
    with pytest.raises(psycopg2.errors.DivisionByZero):
        run(connection, f"LISTEN {channel}_three; SELECT 1 / 0")
    run(connection, f"NOTIFY {channel}_three", "SELECT 1")
    assert len(connection.notifies) == 2
    connection.close()


def test_without_autocommit(broker, channel):
    listener, notifier = connect(broker, autocommit=False), connect(broker)
    listens(listener, channel)
    listener.commit()
    run(notifier, f"NOTIFY {channel}, 'x'")
    assert heard(listener, 1) == [(channel, "x")]
    listener.close()
    notifier.close()


def test_names_are_cut_and_quoted_as_postgresql_does(broker, channel):
    connection = connect(broker)
    long = "x" * 62 + "éé"
    name = f'"A ""{channel}"" Ä"'
    listens(connection, f'"{long}"', name, channel.upper())
    run(connection, f'NOTIFY "{long}", \'long\'', f"NOTIFY {name}, 'quoted'", f"NOTIFY {channel}")
    assert [one.payload for one in connection.notifies] == ["long", "quoted", ""]
    assert connection.notifies[1].channel == f'A "{channel}" Ä'
    connection.close()


def test_errors_are_postgresqls_own(broker, channel):
    connection = connect(broker)
    with pytest.raises(psycopg2.errors.SyntaxError):
        run(connection, "LISTEN")
    with pytest.raises(psycopg2.errors.SyntaxError):
        run(connection, f"LISTEN {channel} and more")
    run(connection, "BEGIN")
    with pytest.raises(psycopg2.errors.UndefinedTable):
        run(connection, "SELECT * FROM nowhere_at_all")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        run(connection, f"LISTEN {channel}")
    run(connection, "ROLLBACK", f"NOTIFY {channel}", "SELECT 1")
    assert connection.notifies == []
    connection.close()


# Drivers.


def test_psycopg3_notifies(broker, channel):
    with psycopg.connect(broker.dsn(), autocommit=True) as listener, \
            psycopg.connect(broker.dsn(), autocommit=True) as notifier:
        listener.execute(f"LISTEN {channel}")
        for number in range(5):
            notifier.execute("SELECT pg_notify(%s, %s)", (channel, str(number)))
        listener.execute("SELECT pg_notify(%s, 'own')", (channel,))
        got = [(one.payload, one.pid == listener.info.backend_pid)
               for one in listener.notifies(timeout=10, stop_after=6)]
        assert got == [(str(n), False) for n in range(5)] + [("own", True)]


def test_psycopg3_prepared_and_in_transactions(broker, channel):
    with psycopg.connect(broker.dsn(), autocommit=True, prepare_threshold=0) as connection:
        for number in range(3):
            with connection.transaction():
                connection.execute(f"LISTEN {channel}")
                with pytest.raises(ZeroDivisionError), connection.transaction():
                    connection.execute(f"LISTEN {channel}_inner")
                    raise ZeroDivisionError
            connection.execute(f"NOTIFY {channel}_inner")
            connection.execute(f"NOTIFY {channel}, '{number}'")
            got = [one.payload for one in connection.notifies(timeout=10, stop_after=1)]
            assert got == [str(number)]
            connection.execute(f"UNLISTEN {channel}")


def test_psycopg3_pipeline(broker, channel):
    with psycopg.connect(broker.dsn(), autocommit=True) as connection:
        seen = []
        connection.add_notify_handler(lambda one: seen.append(one.payload))
        with connection.pipeline() as pipeline:
            connection.execute(f"LISTEN {channel}")
            connection.execute(f"NOTIFY {channel}, 'one'")
            pipeline.sync()
            connection.execute(f"NOTIFY {channel}, 'two'")
            connection.execute(f"UNLISTEN {channel}")
            pipeline.sync()
            connection.execute(f"NOTIFY {channel}, 'three'")
        assert seen[:1] == ["one"]
        assert "three" not in seen


def test_asyncpg_listeners(broker, channel):
    async def main():
        address = {"host": str(broker.dsn_host), "port": broker.dsn_port, "user": "app",
                   "database": "app"}
        listener, notifier = await asyncpg.connect(**address), await asyncpg.connect(**address)
        got, enough = [], asyncio.Event()

        def hear(connection, pid, name, payload):
            got.append((pid == connection.get_server_pid(), name, payload))
            if len(got) == 4:
                enough.set()

        await listener.add_listener(channel, hear)
        for number in range(3):
            await notifier.execute("SELECT pg_notify($1, $2)", channel, str(number))
        await listener.execute(f"NOTIFY {channel}, 'own'")
        await asyncio.wait_for(enough.wait(), 10)
        assert got == [(False, channel, str(n)) for n in range(3)] + [(True, channel, "own")]
        await listener.remove_listener(channel, hear)
        await notifier.execute(f"NOTIFY {channel}, 'late'")
        await listener.fetchval("SELECT 1")
        assert len(got) == 4
        await listener.close()
        await notifier.close()
    asyncio.run(main())


def test_psql(broker, channel):
    done = subprocess.run(
        ["psql", broker.dsn(), "-X", "-c", f"LISTEN {channel}", "-c", f"NOTIFY {channel}, 'x'"],
        capture_output=True, text=True, check=True)
    assert f'Asynchronous notification "{channel}" with payload "x" received' in done.stdout
