# SPDX-License-Identifier: Apache-2.0
"""Waiting, in the two colours of Python.

The pools' logic is written once, as coroutines over one of these. Those of `Blocking` never suspend:
`run` drives such a coroutine to its end in one step, in the caller's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
import time
from collections.abc import Coroutine
from typing import Any, Optional, Protocol, TypeVar

from ._turn import Ticket, Turn

T = TypeVar("T")


class Waits(Protocol):
    """Ways to wait; every timeout is in seconds, None is for ever."""

    def ticket(self) -> Ticket: ...

    async def turn(self, ticket: Any, timeout: float) -> bool:
        """Waits until the ticket is granted; False after the timeout."""

    async def readable(self, number: int, timeout: Optional[float]) -> bool: ...

    async def writable(self, number: int, timeout: Optional[float]) -> bool: ...

    async def sleep(self, seconds: float) -> None:
        """Returns early when `wake` was called."""

    def wake(self) -> None: ...


def run(steps: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        steps.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    steps.close()
    raise RuntimeError("a blocking pool's step tried to suspend")


class Blocking:
    """Waits by blocking the thread."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        # One for each number and event, made once: poll(2) looks at numbers, so it stays right when
        # a number is another socket's later. Nobody else waits for a link that one has.
        self._polls: dict[tuple[int, int], select.poll] = {}

    def ticket(self) -> BlockingTicket:
        return BlockingTicket()

    async def turn(self, ticket: BlockingTicket, timeout: float) -> bool:
        ticket.lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        return ticket.turn is not None

    async def readable(self, number: int, timeout: Optional[float]) -> bool:
        return self._poll(number, select.POLLIN, timeout)

    async def writable(self, number: int, timeout: Optional[float]) -> bool:
        return self._poll(number, select.POLLOUT, timeout)

    def _poll(self, number: int, event: int, timeout: Optional[float]) -> bool:
        watched = self._polls.get((number, event))
        if watched is None:
            # Looked up in the module now: gevent puts a cooperative one in its place.
            watched = self._polls[number, event] = select.poll()
            watched.register(number, event)
        if timeout is None:
            return bool(watched.poll())
        return bool(watched.poll(max(0.0, timeout * 1000)))

    async def sleep(self, seconds: float) -> None:
        self._woken.wait(seconds)

    def wake(self) -> None:
        self._woken.set()


class BlockingTicket:
    """A lock that is held until the turn comes."""

    __slots__ = ("__weakref__", "lock", "turn")

    def __init__(self) -> None:
        self.turn: Optional[Turn] = None
        self.lock = threading.Lock()
        self.lock.acquire()

    def grant(self) -> bool:
        with contextlib.suppress(RuntimeError):
            # It was woken before, by somebody who was then interrupted.
            self.lock.release()
        return True


class Asyncio:
    """Waits in the running event loop."""

    def __init__(self) -> None:
        self._sleepers: set[asyncio.Future[None]] = set()

    def ticket(self) -> AsyncioTicket:
        return AsyncioTicket(asyncio.get_running_loop())

    async def turn(self, ticket: AsyncioTicket, timeout: float) -> bool:
        await asyncio.wait([ticket.future], timeout=timeout)
        return ticket.turn is not None

    async def readable(self, number: int, timeout: Optional[float]) -> bool:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(number, ready.set)
        try:
            return await _within(ready, timeout)
        finally:
            # Before anything is put in the number's place: the loop watches what is behind it.
            loop.remove_reader(number)

    async def writable(self, number: int, timeout: Optional[float]) -> bool:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(number, ready.set)
        try:
            return await _within(ready, timeout)
        finally:
            loop.remove_writer(number)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.add(future)
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            self._sleepers.discard(future)

    def wake(self) -> None:
        for future in self._sleepers:
            if not future.done():
                future.set_result(None)


class AsyncioTicket:
    """A future that any thread can fulfil: the collector may run in any."""

    __slots__ = ("__weakref__", "future", "loop", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.turn: Optional[Turn] = None
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def grant(self) -> bool:
        try:
            self.loop.call_soon_threadsafe(self._fulfil)
            return True
        except RuntimeError:
            # The loop is closed: nobody waits there any more.
            return False

    def _fulfil(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


async def _within(event: asyncio.Event, timeout: Optional[float]) -> bool:
    if timeout is None:
        await event.wait()
        return True
    try:
        await asyncio.wait_for(event.wait(), max(0.0, timeout))
        return True
    except (asyncio.TimeoutError, TimeoutError):
        return event.is_set()


def seconds_until(moment: Optional[float]) -> Optional[float]:
    """From now to a value of time.monotonic(), at least 0."""
    return None if moment is None else max(0.0, moment - time.monotonic())
