# SPDX-License-Identifier: Apache-2.0
"""asyncpg: pool, prepared statement cache, cursors, COPY."""

import asyncio
import functools
import io

import asyncpg
import pytest


def scene(function):
    """Runs an async test; its first arguments are fixtures."""
    @functools.wraps(function)
    def run(*arguments, **named):
        asyncio.run(asyncio.wait_for(function(*arguments, **named), 90))
    return run


async def open_connection(broker, **more):
    host, port = str(broker.dsn_host), broker.dsn_port
    return await asyncpg.connect(host=host, port=port, user="app", database="app", **more)


@pytest.mark.pglease_only
@scene
async def test_statements_are_cached_and_found_again(broker):
    connection = await open_connection(broker)
    for number in range(100):
        assert await connection.fetchval("SELECT $1::int + 1", number) == number + 1
        assert await connection.fetchval("SELECT $1::text", str(number)) == str(number)
    await connection.close()


@scene
async def test_without_a_statement_cache(broker):
    connection = await open_connection(broker, statement_cache_size=0)
    for number in range(20):
        assert await connection.fetchval("SELECT $1::int", number) == number
    await connection.close()


@pytest.mark.pglease_only
@scene
async def test_a_pool_of_many_tasks(broker, table):
    async def work(pool, number):
        async with pool.acquire() as connection:
            async with connection.transaction():
                await connection.execute(f"INSERT INTO {table} VALUES ($1, $2)", number, "x")
                assert await connection.fetchval("SELECT $1::int", number) == number

    pool = await asyncpg.create_pool(
        host=str(broker.dsn_host), port=broker.dsn_port, user="app", database="app",
        min_size=2, max_size=8)
    await asyncio.gather(*(work(pool, number) for number in range(200)))
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 200
    await pool.close()


@pytest.mark.pglease_only
@scene
async def test_a_prepared_statement_lives_across_transactions(broker):
    connection = await open_connection(broker)
    statement = await connection.prepare("SELECT $1::int * 2 AS twice")
    assert [one.name for one in statement.get_attributes()] == ["twice"]
    for number in range(20):
        assert await statement.fetchval(number) == 2 * number
        async with connection.transaction():
            assert await statement.fetchval(number) == 2 * number
    await connection.close()


@scene
async def test_a_cursor_within_a_transaction(broker):
    connection = await open_connection(broker)
    async with connection.transaction():
        values = [row[0] async for row in connection.cursor("SELECT generate_series(1, 1000)",
                                                            prefetch=50)]
    assert values == list(range(1, 1001))
    await connection.close()


@scene
async def test_copy_records_in_and_out(broker, table):
    connection = await open_connection(broker)
    records = [(number, f"name {number}") for number in range(10000)]
    await connection.copy_records_to_table(table, records=records)
    out = io.BytesIO()
    await connection.copy_from_query(f"SELECT * FROM {table} ORDER BY id", output=out)
    assert out.getvalue().decode().splitlines() == [f"{n}\tname {n}" for n in range(10000)]
    await connection.close()


@scene
async def test_executemany(broker, table):
    connection = await open_connection(broker)
    await connection.executemany(f"INSERT INTO {table} VALUES ($1, $2)",
                                 [(number, str(number)) for number in range(1000)])
    assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1000
    await connection.close()


@scene
async def test_an_error_leaves_the_connection_usable(broker):
    connection = await open_connection(broker)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.fetchval("SELECT 1 / $1::int", 0)
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await connection.fetchval("SELEC 1")
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@scene
async def test_a_timeout_cancels_the_query(broker):
    connection = await open_connection(broker)
    with pytest.raises(asyncio.TimeoutError):
        await connection.fetchval("SELECT pg_sleep(60)", timeout=0.2)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@scene
async def test_rich_types_go_both_ways(broker):
    connection = await open_connection(broker)
    value = ["a", None, "ü"]
    assert await connection.fetchval("SELECT $1::text[]", value) == value
    row = await connection.fetchrow("SELECT 1.5::numeric AS n, '1 day'::interval AS i, NULL AS z")
    assert str(row["n"]) == "1.5" and row["i"].days == 1 and row["z"] is None
    await connection.close()


@scene
async def test_reset_between_uses_of_a_pool(session_broker):
    connection = await open_connection(session_broker)
    await connection.execute("SET statement_timeout = '77s'")
    await connection.reset()
    assert await connection.fetchval("SHOW statement_timeout") == "0"
    await connection.close()


@scene
async def test_server_settings_are_in_force(broker):
    if broker.program != "pglease":
        pytest.skip("pgbouncer refuses unknown startup parameters")
    connection = await open_connection(broker, server_settings={"statement_timeout": "12345"})
    assert await connection.fetchval("SHOW statement_timeout") == "12345ms"
    await connection.close()


@scene
async def test_listeners_in_session_mode(session_broker):
    listener, teller = [await open_connection(session_broker) for _ in range(2)]
    heard = asyncio.get_running_loop().create_future()
    await listener.add_listener("asyncpg_news", lambda *what: heard.set_result(what[2:]))
    await teller.execute("NOTIFY asyncpg_news, 'hello'")
    assert await asyncio.wait_for(heard, 10) == ("asyncpg_news", "hello")
    await listener.remove_listener("asyncpg_news", lambda *_: None)
    await listener.close()
    await teller.close()
