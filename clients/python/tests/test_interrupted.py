# SPDX-License-Identifier: Apache-2.0
"""An exception at any step: a signal's handler (Celery's time limit, ^C), one that another thread sets.

CPython delivers such an exception where a function begins and where a call has ended. A profile function
is called at just these places: here it raises at the first of them, then at the second, and so on, until
a run comes to its end. Nothing is random, and no step is left out. Each time the pool's only place must
then be to be had, though the collector of cycles is off and the exception is kept with its traceback.
"""

import asyncio
import ctypes
import dis
import gc
import itertools
import signal
import sys
import threading
import warnings

import pytest
from harness import pooler
from harness.waiting import eventually
from pglease import psycopg2_pool, psycopg_pool
from pglease._keys import Claim
from programs import elsewhere, in_threads

from conftest import SOURCE, Way, leases

PACKAGE = str(SOURCE / "pglease")


class Interrupted(Exception):
    """What the handler raises."""


def by_signal():
    signal.raise_signal(signal.SIGUSR1)


def by_thread():
    """As one thread ends another; delivered before this function ends."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Interrupted))
    for _ in range(1000):
        pass


class Interruption:
    """Raises at the `number`-th step of the package in this thread."""

    # Of the function that had just returned, or just begun, if one had.
    edge = None

    def __init__(self, number, how=by_signal):
        self.left, self.how = number, how
        self.at = "the end"

    def __enter__(self):
        sys.setprofile(self._step)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    @property
    def is_over(self):
        return self.left < 0

    def _step(self, frame, event, _):
        if event in ("call", "return", "c_return") and (
                frame.f_code.co_filename.startswith(PACKAGE)) and not suspends(frame, event):
            self.left -= 1
            if self.left < 0:
                # Python takes the profile function away when it raises.
                Interruption.edge = frame if event != "c_return" else None
                self.at = f"{event} of {frame.f_code.co_qualname}:{frame.f_lineno}"
                self.how()


class AtLoops(Interruption):
    """Raises at the `number`-th jump back to a loop's beginning, where CPython delivers as well."""

    def __enter__(self):
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _enter(self, frame, *_):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._opcode

    def _opcode(self, frame, event, _):
        if event == "opcode" and frame.f_code.co_code[frame.f_lasti] in _JUMPS:
            self.left -= 1
            if self.left < 0:
                self.at = f"a loop of {frame.f_code.co_qualname}:{frame.f_lineno}"
                self.how()
        return self._opcode


def suspends(frame, event):
    """Where a coroutine suspends, CPython delivers nothing: what comes there is for the event loop. (One
    that a profile function raises there skips even `finally`.)"""
    return event == "return" and frame.f_code.co_code[frame.f_lasti] == _YIELD


_YIELD = dis.opmap["YIELD_VALUE"]
# Those of `await` and `yield from` are not among them: nothing is delivered there either.
_JUMPS = {number for name, number in dis.opmap.items()
          if name.startswith(("JUMP_BACKWARD", "POP_JUMP_BACKWARD")) and "NO_INTERRUPT" not in name}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    def handler(*_):
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    monkeypatch.setattr("pglease._leasing.LOOK_AGAIN", 0.01)
    # Where a weak reference's callback is interrupted, and of connections that nobody got.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    gc.collect()
    gc.disable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
    gc.enable()
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture(scope="module")
def shared(postgres):
    one = pooler.make(postgres, {
        # More than the pools': what the broker takes from an ended session it checks before it is given
        # out again. None may be held at the end of a test.
        "default_pool_size": 70, "reserve_pool_size": 0, "park_timeout": 600}, tcp=True).start()
    try:
        yield one
        one.check()
        one.stop()
        one.check()
    finally:
        one.destroy()


@pytest.fixture
def narrow(shared):
    yield shared
    eventually(lambda: leases(shared) == [], 20, lambda: f"leases left: {leases(shared)}")


def every_step(work, check, how=by_signal, kind=Interruption):
    """Interrupts `work` at its first step, its second and so on, with `check` after each; says how
    many there were."""
    kept = None
    for number in itertools.count():
        with kind(number, how) as interruption:
            try:
                work()
            except Interrupted as error:
                kept = error
        if kept is not None:
            empty_here(kept)
        try:
            check()
        except Exception as error:
            raise AssertionError(f"after step {number}: {interruption.at}") from error
        if not interruption.is_over:
            return number
        assert number < 5000


def empty_here(error):
    """What this file's own functions held goes, as it does when a program's function is left; so do a
    result that nobody got, and the arguments of a function that never began."""
    edge, Interruption.edge = Interruption.edge, None
    if edge is not None:
        edge.clear()
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == __file__:
            try:
                trace.tb_frame.clear()
            except RuntimeError:
                pass
        trace = trace.tb_next


WAYS = {
    "parked": dict(way="direct"), "unparked": dict(way="direct", park=False),
    "relay": dict(way="relay"), "tcp": dict(way="tcp")}


class Both:
    """The two blocking pools, in the same words."""

    def __init__(self, kind, broker, way, closing):
        words = dict(WAYS[way])
        way = Way(words.pop("way"))
        dsn = way.dsn(broker)
        if kind == "psycopg2":
            self.pool = psycopg2_pool.LeasePool(0, 1, dsn, wait=5, direct=way.direct, **words)
            self.block = self.pool.lease
        else:
            words.setdefault("park", way.direct)
            self.pool = psycopg_pool.ConnectionPool(
                dsn, min_size=0, max_size=1, timeout=5, direct=way.direct, **words)
            self.block = self.pool.connection
        closing(self.pool)
        self.book = self.pool._leasing.book

    def pair(self, **named):
        connection = self.pool.getconn(**named)
        try:
            connection.cursor().execute("SELECT 1")
        finally:
            self.pool.putconn(connection)

    def check(self):
        connection = self.pool.getconn()
        assert len(self.book.out) == 1 and self.book.taken == 1
        connection.cursor().execute("SELECT 1")
        self.pool.putconn(connection)
        assert self.book.taken == 0 and not self.book.lent


@pytest.fixture(params=["psycopg2", "psycopg"])
def kind(request):
    return request.param


@pytest.mark.parametrize("way", WAYS)
def test_getconn_and_putconn(kind, narrow, closing, way):
    one = Both(kind, narrow, way, closing)
    one.pair()
    assert every_step(one.pair, one.check) > 5


@pytest.mark.parametrize("way", ["parked", "relay"])
def test_in_another_thread(kind, narrow, closing, way):
    one = Both(kind, narrow, way, closing)
    one.pair()
    steps = []
    in_threads(1, lambda _: steps.append(every_step(one.pair, one.check, by_thread)))
    assert steps[0] > 5


@pytest.mark.long
def test_a_new_session_for_each(kind, narrow, closing):
    """Connecting, too: what is interrupted there leaves no session behind."""
    one = Both(kind, narrow, "parked", closing)

    def work():
        connection = one.pool.getconn()
        if kind == "psycopg2":
            one.pool.putconn(connection, close=True)
        else:
            try:
                connection.close()
            finally:
                one.pool.putconn(connection)

    def check():
        one.check()
        work()

    work()
    assert every_step(work, check) > 50


def test_for_other_purposes(kind, narrow, closing):
    one = Both(kind, narrow, "parked", closing)
    numbers = itertools.count()
    every_step(lambda: one.pair(purpose=f"job {next(numbers)}"), one.check)


@pytest.mark.parametrize("way", ["parked", "relay"])
def test_a_block(kind, narrow, closing, way):
    """The name of a block's connection outlives the block, where the program goes on."""
    one = Both(kind, narrow, way, closing)
    names = {}

    def work():
        with one.block() as names["connection"]:
            names["connection"].cursor().execute("SELECT 1")

    def check():
        # What an interrupted `with` never gave to its block is the generator's, and ends with it.
        if not one.book.lent:
            names["connection"] = names.get("connection")
        one.check()

    work()
    every_step(work, check)


def test_a_request_that_has_to_wait(kind, narrow, closing):
    one = Both(kind, narrow, "parked", closing)
    taken = one.pool.getconn()

    def work():
        # As from another thread: one that holds a lease does not wait here.
        request = one.pool._request(0.0, None, "p", *(
            (lambda: "another",) if kind == "psycopg" else ()))
        request.thread = "another"
        from pglease._waits import run
        with pytest.raises(one.pool._leasing.family.exhausted):
            run(one.pool._leasing.take(request, "k"))

    def check():
        nonlocal taken
        one.pool.putconn(taken)
        taken = None
        one.check()
        taken = one.pool.getconn()

    every_step(work, check)
    one.pool.putconn(taken)


@pytest.mark.parametrize("way", ["parked", "relay"])
def test_who_waits_is_served_after_an_interrupted_return(kind, narrow, closing, way):
    one = Both(kind, narrow, way, closing)
    got = []

    def wait():
        connection = one.pool.getconn()
        one.pool.putconn(connection)
        got.append(True)

    def work():
        connection = one.pool.getconn()
        waiter = threading.Thread(target=wait)
        waiters.append(waiter)
        waiter.start()
        # The interruption is for what follows.
        profile = sys.getprofile()
        sys.setprofile(None)
        eventually(lambda: one.book.waiting == 1)
        sys.setprofile(profile)
        one.pool.putconn(connection)

    waiters = []

    def check():
        while waiters:
            waiters.pop().join(30)
            assert got.pop()
        one.check()

    one.pair()
    every_step(work, check)


@pytest.mark.parametrize("way", ["relay", "unparked"])
def test_at_the_end_of_each_pass_of_a_loop(kind, narrow, closing, way):
    one = Both(kind, narrow, way, closing)
    one.pair()
    assert every_step(one.pair, one.check, kind=AtLoops) > 0


def test_a_key_that_another_thread_waits_for(narrow, closing):
    """The next one has it, whether its taker was interrupted before, in or after the taking."""
    one = Both("psycopg2", narrow, "parked", closing)
    pool, keys = one.pool, one.pool._keys
    one.pair()

    def work():
        connection = pool.getconn("k")
        try:
            connection.cursor().execute("SELECT 1")
        finally:
            pool.putconn(connection, "k")

    def check():
        connection = pool.getconn("k")
        assert pool.getconn("k") is connection
        pool.putconn(key="k")
        one.check()
        assert keys.claims == {}

    assert every_step(work, check) > 100

    # One waits for the key while its taker waits for a turn, and is interrupted.
    taken = elsewhere(pool.getconn)
    claims = []

    def interrupted():
        claim = Claim()
        assert keys.claim(claim, "k", 0)
        claims.append(claim)
        raise Interrupted

    def wait():
        connection = pool.getconn("k")
        pool.putconn(connection)

    with pytest.raises(Interrupted) as kept:
        interrupted()
    waiter = threading.Thread(target=wait)
    waiter.start()
    pool.putconn(taken)
    waiter.join(0.01)
    assert waiter.is_alive(), "the key is another's"
    empty_here(kept.value)
    claims.clear()
    waiter.join(30)
    assert not waiter.is_alive() and keys.claims == {}


def test_a_forgotten_connection(kind, narrow, closing):
    one = Both(kind, narrow, "relay", closing)

    def work():
        connection = one.pool.getconn()
        del connection

    every_step(work, one.check)


# asyncio.


class Async:
    def __init__(self, pool):
        self.pool, self.book = pool, pool._leasing.book

    async def pair(self):
        connection = await self.pool.getconn()
        try:
            await connection.execute("SELECT 1")
        finally:
            await self.pool.putconn(connection)

    async def block(self):
        async with self.pool.connection() as connection:
            await connection.execute("SELECT 1")

    async def check(self):
        connection = await self.pool.getconn()
        assert len(self.book.out) == 1 and self.book.taken == 1
        await connection.execute("SELECT 1")
        await self.pool.putconn(connection)
        assert self.book.taken == 0 and not self.book.lent


async def with_pool(broker, way, work):
    words = dict(WAYS[way])
    way = Way(words.pop("way"))
    words.setdefault("park", way.direct)
    async with psycopg_pool.AsyncConnectionPool(
            way.dsn(broker), min_size=0, max_size=1, open=False, timeout=5, direct=way.direct,
            **words) as pool:
        await work(Async(pool))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["pair", "block"])
def test_asyncio_interrupted(narrow, way, what):
    async def work(one):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        await one.pair()
        for number in itertools.count():
            with Interruption(number) as interruption:
                task = loop.create_task(getattr(one, what)())
                await asyncio.wait([task])
            if task.exception() is not None:
                assert isinstance(task.exception(), Interrupted)
                empty_here(task.exception())
            try:
                await one.check()
            except Exception as error:
                raise AssertionError(f"after step {number}: {interruption.at}") from error
            if not interruption.is_over:
                return
            assert number < 5000

    asyncio.run(with_pool(narrow, way, work))
