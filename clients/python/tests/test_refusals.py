# SPDX-License-Identifier: Apache-2.0
"""What a pool says when the broker lets it not in, will not wait, or names who holds: typed, in each pool."""

import asyncio
import inspect
import os
import stat
import subprocess
import sys
import threading

import psycopg
import psycopg2
import psycopg_pool as original
import pytest

import pglease
from pglease import psycopg2_pool, psycopg_pool

HOSTILE = "x\\\"), pid 1 \"y\" for 9.9 s (idle, for 'z'), and 3 more.\nHeld by: größer"


def take(kind, dsn, wait=5, **more):
    """A connection of a new pool of this kind, given back at once."""
    if kind == "psycopg2":
        pool = psycopg2_pool.LeasePool(0, 1, dsn, wait=wait, **more)
        try:
            pool.putconn(pool.getconn())
        finally:
            pool.closeall()
    elif kind == "psycopg":
        with psycopg_pool.ConnectionPool(dsn, min_size=0, max_size=1, timeout=wait, **more) as pool:
            pool.putconn(pool.getconn())
    else:
        async def main():
            async with psycopg_pool.AsyncConnectionPool(
                    dsn, min_size=0, max_size=1, timeout=wait, **more) as pool:
                await pool.putconn(await pool.getconn())
        asyncio.run(main())


KINDS = ["psycopg2", "psycopg", "async"]
DRIVERS = {"psycopg2": psycopg2, "psycopg": psycopg, "async": psycopg}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words, message", [
    ({"dbname": "elsewhere"}, 'no such database: elsewhere'),
    ({"user": "stranger"}, "stranger"),
    ({"password": "wrong"}, "password authentication failed")])
def test_a_refused_login_is_a_lease_error_with_all_that_was_said(make_broker, kind, words, message):
    broker = make_broker({"auth_type": "scram-sha-256"}, start=False, userlist={
        "app": "secret", "admin": "x"})
    broker.databases = {"app": broker.server(dbname="app")}
    broker.write()
    broker.start()
    with pytest.raises(pglease.LeaseRefused) as caught:
        take(kind, broker.dsn(**{"password": "secret", **words}), attempts=5, delay=60)
    error = caught.value
    assert isinstance(error, DRIVERS[kind].OperationalError), "old code goes on catching it"
    assert message in str(error) and not error.retryable
    assert isinstance(error.__cause__, DRIVERS[kind].OperationalError)
    if "dbname" in words:
        assert error.hint == "Add a line for it to [databases] and RELOAD."
        assert error.detail and "FATAL" not in error.detail


@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_with_too_many_clients_is_asked_again_and_then_exhausted(make_broker, kind):
    broker = make_broker({"max_client_conn": 1})
    with broker.wire():
        with pytest.raises(pglease.LeaseExhausted, match="no more connections allowed") as caught:
            take(kind, broker.dsn(), attempts=2, delay=0.01)
        assert caught.value.sqlstate == "53300" and caught.value.retryable
    assert broker.console("SHOW EVENTS")


# Everything is imported as root: the other user may not be able to read it.
FORBIDDEN = """
import os, sys
sys.path[:0] = {path!r}
import test_refusals, pglease
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
try:
    test_refusals.take({kind!r}, {dsn!r}, wait=60, attempts=3, delay=20)
except pglease.LeaseRefused as error:
    print(error.retryable, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")
@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_that_we_may_not_use_names_the_settings_and_is_not_tried_again(make_broker, kind):
    broker = make_broker({"unix_socket_mode": "0700"})
    assert stat.S_IMODE(os.stat(broker.socket_path).st_mode) == 0o700
    program = FORBIDDEN.format(path=sys.path, uid=65534, kind=kind, dsn=broker.dsn())
    # Three attempts with these delays would not be over by then.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=15, check=True, cwd=os.path.dirname(__file__))
    assert done.stdout.startswith("False"), done.stderr
    assert "Permission denied" in done.stdout
    assert "unix_socket_mode" in done.stdout and "unix_socket_group" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_who_will_not_wait_is_told_so(make_broker, kind):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire() as holder:
        holder.query("BEGIN")
        with pytest.raises(pglease.LeaseExhausted) as caught:
            take(kind, broker.dsn(), wait=0)
    assert "no server connection is free, and the request was not to wait" in str(caught.value)
    assert "0.0 s\n" not in str(caught.value).split("Held by")[0]


def test_nor_by_the_pools_own_bound(make_pool, way):
    pool = make_pool(way, maxconn=1)
    seen = []
    with pool.lease():

        thread = threading.Thread(target=lambda: seen.append(refused(pool)))
        thread.start()
        thread.join()
    assert "is free, and the request was not to wait for one" in seen[0]


def refused(pool):
    try:
        pool.getconn(wait=0)
    except pglease.LeaseExhausted as error:
        return str(error)


def test_the_holders_are_read_whatever_they_are_called(make_broker):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire(application_name=HOSTILE) as holder:
        quoted = HOSTILE.replace("'", "''")
        assert not [m for m in holder.query(f"LEASE FOR '{quoted}' THREAD 'a\"b'") if m.kind == "E"]
        with pytest.raises(pglease.LeaseExhausted) as caught:
            take("psycopg2", broker.dsn(), wait=0)
    shown = HOSTILE.replace("\n", " ")
    (one,) = caught.value.holders
    assert (one.pid, one.program, one.purpose, one.thread, one.activity) == \
        (os.getpid(), shown, shown, 'a"b', "idle")


@pytest.mark.parametrize("name", ["ConnectionPool", "AsyncConnectionPool"])
def test_what_is_a_coroutine_in_psycopg_pool_is_one_here(name):
    theirs, ours = getattr(original, name), getattr(psycopg_pool, name)
    for method in dir(theirs):
        if method.startswith("_") or not callable(getattr(theirs, method, None)):
            continue
        if hasattr(ours, method):
            assert inspect.iscoroutinefunction(getattr(ours, method)) \
                == inspect.iscoroutinefunction(getattr(theirs, method)), method


def test_the_async_pool_is_resized(make_broker):
    async def main():
        async with psycopg_pool.AsyncConnectionPool(
                make_broker().dsn(), min_size=0, max_size=1) as pool:
            await pool.resize(1, 3)
            assert (pool.min_size, pool.max_size) == (1, 3)
            held = [await pool.getconn(timeout=5) for _ in range(3)]
            for one in held:
                await pool.putconn(one)
    asyncio.run(main())
