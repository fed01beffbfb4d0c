# SPDX-License-Identifier: Apache-2.0
"""asyncio's cancellation at any await: of taking, giving back, blocks, and of waiting here and at the broker.

What is cancelled suspends at the same places each time. It is cancelled at the first of them, then at the
second, and so on, until it comes to its end; in three manners, because each loses something else.
"""

import asyncio
import gc
import itertools
import os

import pytest
from harness import pooler
from harness.waiting import eventually
from pglease import psycopg_pool
from test_interrupted import WAYS, Async, narrow, shared  # noqa: F401 (fixtures)

from conftest import Way, leases

MANNERS = ["while it waits", "when it was to go on", "again and again"]


class Cancelled:
    """Runs a coroutine as a task that is cancelled where it suspends for the `number`-th time: while it waits;
    or when what it waits for has come, and only its next step has not; or there and wherever it suspends later."""

    def __init__(self, work, number, manner):
        self.work, self.left, self.manner = work.__await__(), number, manner
        self.is_over = True

    def __await__(self):
        task = asyncio.current_task()
        value, error = None, None
        while True:
            try:
                future = self.work.send(value) if error is None else self.work.throw(error)
            except StopIteration as end:
                return end.value
            value, error = None, None
            self.left -= 1
            if self.left < 0:
                self.is_over = False
                self.cancel(task, future)
            try:
                value = yield future
            except BaseException as thrown:
                error = thrown

    def cancel(self, task, future):
        if self.manner == "when it was to go on" and future is not None:
            if self.left == -1:
                # Before the task's own callback, which wakes it.
                future.add_done_callback(lambda _: task.cancel())
        elif self.left == -1 or self.manner == "again and again":
            task.cancel()

    async def run(self):
        return await self


def every_await(manner, make, around, check):
    """Cancels `make()` at each of its awaits; `around(task)` may do what it waits for."""
    async def all_of_it():
        for number in itertools.count():
            one = Cancelled(make(), number, manner)
            task = asyncio.ensure_future(one.run())
            await around(task)
            done, _ = await asyncio.wait([task], timeout=30)
            assert done, f"it hangs, cancelled at await {number}"
            assert task.cancelled() or task.exception() is None, task.exception()
            if number and one.is_over:
                return number
            del task, one
            try:
                await check()
            except Exception as error:
                raise AssertionError(f"after await {number}") from error
            assert number < 500

    return all_of_it()


async def nothing(_):
    pass


@pytest.fixture(scope="module")
def single(postgres):
    one = pooler.make(postgres, {
        "default_pool_size": 1, "reserve_pool_size": 0, "park_timeout": 600}, tcp=True).start()
    try:
        yield one
        one.check()
        one.stop()
        one.check()
    finally:
        one.destroy()


@pytest.fixture(params=WAYS)
def pools(request, narrow):  # noqa: F811
    """Makes a pool of one place; in the end all pools have left no descriptor behind."""
    words = dict(WAYS[request.param])
    way = Way(words.pop("way"))
    words.setdefault("park", way.direct)

    def make(**more):
        return psycopg_pool.AsyncConnectionPool(
            way.dsn(more.pop("on", narrow)), open=False, timeout=20, direct=way.direct,
            **{"min_size": 0, "max_size": 1, **words, **more})

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield make
    gc.collect()
    after = len(os.listdir("/proc/self/fd"))
    # The socket that leads nowhere is made once, and stays.
    assert after <= before + 1


def in_pool(pool, work):
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with pool:
            one = Async(pool)
            await one.pair()
            await work(one)

    asyncio.run(main())


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("what", ["pair", "block", "new"])
def test_a_lease(pools, what, manner):
    async def work(one):
        async def new():
            await one.pool.drain()
            await one.pair()

        make = {"pair": one.pair, "block": one.block, "new": new}[what]
        await every_await(manner, make, nothing, one.check)

    in_pool(pools(), work)


@pytest.mark.parametrize("manner", MANNERS)
def test_waiting_for_a_turn(pools, manner):
    """Cancelled before, at and after the moment in which the turn comes."""
    async def work(one):
        held = await one.pool.getconn()

        async def around(task):
            nonlocal held
            # It waits, or was cancelled before.
            while not one.book.waiting and not task.done():
                await asyncio.sleep(0)
            await one.pool.putconn(held)

        async def check():
            nonlocal held
            await one.check()
            held = await one.pool.getconn()

        assert await every_await(manner, one.pair, around, check) >= 1

    in_pool(pools(), work)


@pytest.mark.parametrize("manner", MANNERS)
def test_waiting_for_a_lease(pools, single, manner):
    """The broker's only connection is another pool's; it comes while the waiting is cancelled."""
    async def work(one):
        async with pools(on=single, park=False) as holders:
            held = await holders.getconn()

            async def around(task):
                while not task.done() and not single.waiting():
                    await asyncio.sleep(0)
                await holders.putconn(held)

            async def check():
                nonlocal held
                await one.check()
                held = await holders.getconn()

            await every_await(manner, one.pair, around, check)
        assert single.waiting() == 0

    in_pool(pools(on=single), work)
    eventually(lambda: leases(single) == [])
