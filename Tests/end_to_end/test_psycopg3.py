# SPDX-License-Identifier: Apache-2.0
"""psycopg 3: synchronous and asynchronous, prepared, pipelined, binary, COPY."""

import asyncio

import psycopg
import pytest

ROWS = 20000


def open_connection(broker, **more):
    return psycopg.connect(broker.dsn(), autocommit=True, **more)


def test_parameters_go_by_the_extended_protocol(broker):
    with open_connection(broker) as connection:
        row = connection.execute("SELECT %s::int + 1, %s::text, %s::jsonb",
                                 (41, "text", '{"a": 1}')).fetchone()
        assert row == (42, "text", {"a": 1})


@pytest.mark.pglease_only
def test_statements_prepared_at_once_are_reused(broker):
    with open_connection(broker, prepare_threshold=0) as connection:
        for number in range(50):
            assert connection.execute("SELECT %s::int", (number,)).fetchone() == (number,)
            with connection.transaction():
                row = connection.execute("SELECT %s::text || 'x'", (str(number),)).fetchone()
            assert row == (f"{number}x",)


@pytest.mark.pglease_only
def test_the_cache_of_prepared_statements_evicts_with_deallocate(broker):
    with open_connection(broker, prepare_threshold=0) as connection:
        connection.prepared_max = 3
        for number in range(30):
            statement = f"SELECT {number % 7} + %s::int"
            assert connection.execute(statement, (1,)).fetchone() == (number % 7 + 1,)


def test_without_preparing(broker):
    with open_connection(broker, prepare_threshold=None) as connection:
        for number in range(20):
            assert connection.execute("SELECT %s::int", (number,)).fetchone() == (number,)


def test_a_pipeline_answers_in_order(broker):
    with open_connection(broker, prepare_threshold=None) as connection, connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(200)]
        assert [one.fetchone()[0] for one in cursors] == list(range(200))


@pytest.mark.pglease_only
def test_a_pipeline_with_prepared_statements(broker):
    with open_connection(broker, prepare_threshold=0) as connection, connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(200)]
        assert [one.fetchone()[0] for one in cursors] == list(range(200))


def test_an_error_in_a_pipeline_ends_only_its_own_part(broker):
    with open_connection(broker, prepare_threshold=None) as connection:
        with connection.pipeline() as pipeline:
            good = connection.execute("SELECT 1")
            pipeline.sync()
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute("SELECT 1 / 0")
                pipeline.sync()
            after = connection.execute("SELECT 2")
            pipeline.sync()
            assert good.fetchone() == (1,)
            assert after.fetchone() == (2,)


def test_binary_values_go_both_ways(broker):
    with open_connection(broker) as connection:
        cursor = connection.cursor(binary=True)
        value = bytes(range(256)) * 400
        assert cursor.execute("SELECT %b::bytea, %b::int8", (value, 1 << 40)).fetchone() == \
            (value, 1 << 40)


@pytest.mark.parametrize("form", ["TEXT", "BINARY"])
def test_copy_both_ways(broker, table, form):
    with open_connection(broker) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} FROM STDIN (FORMAT {form})") as copy:
            copy.set_types(["int4", "text"])
            for number in range(ROWS):
                copy.write_row((number, f"name {number}"))
        with cursor.copy(f"COPY {table} TO STDOUT (FORMAT {form})") as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
        assert sorted(rows) == [(n, f"name {n}") for n in range(ROWS)]


def test_a_copy_given_up_leaves_nothing(broker, table):
    with open_connection(broker) as connection:
        with pytest.raises(KeyError), connection.cursor() as cursor:
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write_row((1, "x"))
                raise KeyError("given up")
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_nested_transactions(broker, table):
    with open_connection(broker) as connection:
        with connection.transaction():
            connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
            with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
                connection.execute(f"INSERT INTO {table} VALUES (1, 'twice')")
            connection.execute(f"INSERT INTO {table} VALUES (2, 'kept')")
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (2,)


def test_a_server_side_cursor(broker):
    with open_connection(broker) as connection, connection.transaction():
        with connection.cursor("parts") as cursor:
            cursor.execute("SELECT generate_series(1, 5000)")
            assert len(cursor.fetchmany(100)) == 100
            assert len(cursor.fetchall()) == 4900


def test_streaming_row_by_row(broker):
    with open_connection(broker) as connection, connection.cursor() as cursor:
        total = sum(row[0] for row in cursor.stream("SELECT generate_series(1, 5000)"))
        assert total == 5000 * 5001 // 2


def test_executemany_uses_a_pipeline(broker, table):
    with open_connection(broker, prepare_threshold=None) as connection:
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s)",
                               [(n, str(n)) for n in range(1000)])
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (1000,)


def test_cancel_safe_stops_the_running_query(broker, postgres):
    def sleeping(postgres):
        # A cancel that overtakes its query has no effect.
        return postgres.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")

    async def scene():
        connection = await psycopg.AsyncConnection.connect(broker.dsn(), autocommit=True)
        async with connection:
            running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
            while not sleeping(postgres):
                await asyncio.sleep(0)
            await connection.cancel_safe(timeout=10)
            with pytest.raises(psycopg.errors.QueryCanceled):
                await running
            cursor = await connection.execute("SELECT 7")
            assert await cursor.fetchone() == (7,)
    asyncio.run(scene())


def test_many_asynchronous_clients(broker):
    async def client(number):
        connection = await psycopg.AsyncConnection.connect(broker.dsn(), autocommit=True)
        async with connection:
            for step in range(10):
                async with connection.transaction():
                    cursor = await connection.execute(
                        "SELECT %s::int", (number * 100 + step,), prepare=False)
                    assert await cursor.fetchone() == (number * 100 + step,)

    async def scene():
        await asyncio.gather(*(client(number) for number in range(15)))
    asyncio.run(scene())


def test_libpq_shows_the_parameters_of_the_session(broker, postgres):
    with open_connection(broker) as connection:
        status = connection.pgconn.parameter_status
        assert status(b"server_version").startswith(
            postgres.sql("SHOW server_version")[0][0].split(" ")[0].encode())
        assert status(b"standard_conforming_strings") == b"on"
        assert status(b"integer_datetimes") == b"on"
