# SPDX-License-Identifier: Apache-2.0
"""asyncpg's pool, leasing from a pglease broker.

The one change in a program that has an asyncpg pool::

    from pglease.asyncpg_pool import create_pool       # was: from asyncpg import create_pool

Everything else is asyncpg's own: the pool is a subclass of its pool. An acquired connection has a lease,
through the broker, until it is released. What is new: `purpose` and `hold` for `acquire`, `wait`, `hold`,
`attempts`, `delay`, `factor` for the pool, and errors that name the holders.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Generator
from types import TracebackType
from typing import Any, Callable, Optional

import asyncpg
from asyncpg import compat
from asyncpg.pool import Pool as _AsyncpgPool

from . import _caller, _command, errors
from ._link import log
from ._outcome import ENDED, NO_LEASE, ONLY_NOW, Family
from ._policy import Policy
from ._request import ANSWER_GRACE, Request
from ._wire import Fields

__all__ = [
    "BrokerAway", "LeaseExhausted", "LeaseRefused", "LeaseRevoked", "Pool", "PoolLock", "ServerLost",
    "ServerUnreachable", "create_pool",
]

Connection = Any
Callback = Callable[[Any], Awaitable[None]]

# A broker that starts or stops: asked again within the deadline.
_PASSING = ("57P01", "57P03")
# The shortest time to connect, also where the answer is wanted at once.
_CONNECT_TIME = 2.0


class _AsyncpgError(errors.LeaseError):
    def __str__(self) -> str:
        # Past asyncpg's own, which adds detail and hint: they are in the text.
        return str(self.args[0]) if self.args else ""


class LeaseExhausted(_AsyncpgError, errors.LeaseExhausted, asyncio.TimeoutError):
    """No lease was free by the deadline; `holders` has them."""


class PoolLock(_AsyncpgError, errors.PoolLock, asyncio.TimeoutError):
    """Every holder of a lease also waits for one."""


class LeaseRevoked(_AsyncpgError, errors.LeaseRevoked, asyncpg.PostgresError):
    """The broker took the lease back: a limit was reached."""


class ServerLost(_AsyncpgError, errors.ServerLost, asyncpg.PostgresConnectionError):
    """PostgreSQL's connection broke during the lease."""


class ServerUnreachable(_AsyncpgError, errors.ServerUnreachable, asyncpg.PostgresConnectionError):
    """The broker cannot reach PostgreSQL."""


class BrokerAway(_AsyncpgError, errors.BrokerAway, asyncpg.PostgresConnectionError, ConnectionError):
    """The broker cannot be reached."""


class LeaseRefused(_AsyncpgError, errors.LeaseRefused, asyncpg.PostgresError):
    """Another refusal, with its own code."""


_FAMILY: Family[Any] = Family(
    exhausted=LeaseExhausted, pool_lock=PoolLock, revoked=LeaseRevoked, server_lost=ServerLost,
    unreachable=ServerUnreachable, broker_away=BrokerAway, refused=LeaseRefused)


class _Wish:
    """One acquiring: what it asks for, and what the broker refused."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.timer: Any = None
        # The broker was asked, and counts.
        self.is_asked = False
        self.refusal: Optional[errors.LeaseError] = None

    def ask(self) -> str:
        """The text of LEASE. From here on the broker keeps the deadline; a little later it counts as away."""
        self.is_asked = True
        if self.request.wait is not None:
            due = asyncio.get_running_loop().time() + self.request.left + ANSWER_GRACE
            # asyncio's, or before Python 3.11 that of asyncpg.
            change = getattr(self.timer, "reschedule", None) or self.timer.update
            change(due)
        return self.request.command(direct=False)


# Of the task that acquires: asyncpg hands nothing through to `setup`.
_wish: contextvars.ContextVar[_Wish] = contextvars.ContextVar("pglease_wish")


class Acquiring:
    """What `Pool.acquire` gives: to be awaited, or entered."""

    __slots__ = ("_connection", "_done", "_pool", "_words")

    def __init__(self, pool: Pool, words: dict[str, Any]) -> None:
        self._pool, self._words = pool, words
        self._connection: Connection = None
        self._done = False

    def __await__(self) -> Generator[Any, None, Connection]:
        self._done = True
        return self._pool._acquire(**self._words).__await__()

    async def __aenter__(self) -> Connection:
        if self._connection is not None or self._done:
            raise asyncpg.InterfaceError("a connection is already acquired")
        self._connection = await self._pool._acquire(**self._words)
        return self._connection

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        self._done = True
        connection, self._connection = self._connection, None
        reason = _reason(connection, error)
        await self._pool.release(connection)
        if reason is not None:
            raise reason from error


class Pool(_AsyncpgPool):
    """asyncpg's Pool, whose connections lease from the broker. Made by `create_pool`.

    `max_size` leases are out at a time. Idle connections hold no lease, so `min_size` of them cost the
    broker next to nothing. A task that is cancelled while it waits leaves the queue, here and at the
    broker.
    """

    def __init__(self, *args: Any, wait: Optional[float] = None, hold: Optional[float] = None,
                 attempts: Optional[int] = None, delay: Optional[float] = None,
                 factor: Optional[float] = None, setup: Optional[Callback] = None,
                 reset: Optional[Callback] = None, **kwargs: Any) -> None:
        self._policy = Policy.make(wait=wait, hold=hold, direct=False, attempts=attempts, delay=delay,
                                   factor=factor)
        self._own_setup, self._own_reset = setup, reset
        # Connections on their way back without a lease.
        self._refused: set[int] = set()
        super().__init__(*args, setup=self._begin, reset=self._end, **kwargs)

    def acquire(self, *, timeout: Optional[float] = None, purpose: Optional[str] = None,
                hold: Optional[float] = None) -> Acquiring:
        """A connection with a lease: `async with pool.acquire() as connection`, or awaited and given back
        with `release`.

        Waits until the deadline (`timeout`, else the pool's `wait`), then raises LeaseExhausted (an
        asyncio.TimeoutError, with `holders`).
        """
        return Acquiring(self, {"timeout": timeout, "purpose": purpose, "hold": hold})

    async def release(self, connection: Connection, *, timeout: Optional[float] = None) -> None:
        """Gives a lease back. An open transaction is rolled back. Never raises for what ended the lease
        before: that is logged."""
        try:
            await super().release(connection, timeout=timeout)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in ENDED:
                raise
            log.warning("a lease had ended before it was given back: %s", error)

    # Around each lease.

    async def _acquire(self, timeout: Optional[float], purpose: Optional[str] = None,
                       hold: Optional[float] = None) -> Connection:
        policy = self._policy
        request = Request(
            wait=policy.wait if timeout is None else max(0.0, timeout),
            hold=policy.hold if hold is None else hold, purpose=purpose, where=_caller.place(),
            thread=_caller.task())
        delay, attempt = policy.delay, 1
        while True:
            try:
                return await self._once(request, timeout)
            except errors.LeaseError as error:
                if (not error.retryable or attempt >= policy.attempts or delay >= request.left
                        or self._closing):
                    raise
                log.info("no lease yet, attempt %d of %d: %s", attempt, policy.attempts, error)
            await asyncio.sleep(delay)
            delay *= policy.factor
            attempt += 1

    async def _once(self, request: Request, timeout: Optional[float]) -> Connection:
        wish = _Wish(request)
        token = _wish.set(wish)
        try:
            async with compat.timeout(self._patience(request)) as wish.timer:
                connection = await super()._acquire(None)
        except asyncio.TimeoutError as error:
            if isinstance(error, errors.LeaseError):
                raise
            raise (_FAMILY.away("it does not answer", request.waited) if wish.is_asked
                   else self._full(request)) from None
        finally:
            _wish.reset(token)
        if wish.refusal is not None:
            self._refused.add(id(connection._con))
            await super().release(connection)
            raise wish.refusal
        # asyncpg's default for `release`.
        connection._holder._timeout = timeout
        return connection

    def _patience(self, request: Request) -> Optional[float]:
        """Seconds for this pool's own queue and for connecting."""
        if request.wait is None:
            return None
        is_free = self._queue is not None and not self._queue.empty()
        return max(_CONNECT_TIME, request.left) if is_free else request.left

    def _full(self, request: Request) -> errors.LeaseError:
        error: errors.LeaseError = _FAMILY.exhausted(
            f"connection pool exhausted: no connection of this process was free in {request.waited:.1f} s",
            sqlstate="53300",
            detail=f"The pool allows this process {self.get_max_size()} connections at a time.",
            hint="Release connections sooner, or raise the pool's max_size, or wait longer.",
            waited=request.waited)
        return error

    async def _get_new_connection(self) -> Connection:
        try:
            return await super()._get_new_connection()
        except (OSError, asyncpg.PostgresError) as error:
            # Of what PostgreSQL or the broker refuses at the login, asyncpg's own error is the one to expect.
            code = getattr(error, "sqlstate", None)
            if isinstance(error, asyncio.TimeoutError) or (
                    isinstance(error, asyncpg.PostgresError) and code not in _PASSING
                    and not isinstance(error, asyncpg.PostgresConnectionError)):
                raise
            raise _FAMILY.away(str(error)) from error

    async def _begin(self, connection: Connection) -> None:
        """asyncpg's `setup`. An exception here would close the connection."""
        wish = _wish.get()
        try:
            await connection.execute(wish.ask())
        except asyncpg.PostgresError as error:
            refusal = _typed(error, wish.request.waited)
            if error.sqlstate not in ONLY_NOW:
                raise refusal from None
            wish.refusal = refusal
            return
        if self._own_setup is not None:
            await self._own_setup(connection)

    async def _end(self, connection: Connection) -> None:
        """asyncpg's `reset`, after it has rolled back. The broker cleans what the session has left."""
        if id(connection) in self._refused:
            self._refused.discard(id(connection))
            return
        if self._own_reset is not None:
            await self._own_reset(connection)
        try:
            await connection.execute(_command.RETURN)
        except asyncpg.PostgresError as error:
            if error.sqlstate == NO_LEASE:
                return
            if error.sqlstate not in ENDED:
                raise
            log.warning("a lease had ended before it was given back: %s", error)


def create_pool(dsn: Optional[str] = None, *, min_size: int = 10, max_size: int = 10,
                max_queries: int = 50000, max_inactive_connection_lifetime: float = 300.0,
                setup: Optional[Callback] = None, init: Optional[Callback] = None,
                reset: Optional[Callback] = None, loop: Optional[asyncio.AbstractEventLoop] = None,
                connection_class: type[asyncpg.Connection] = asyncpg.Connection,
                record_class: type[asyncpg.Record] = asyncpg.Record, wait: Optional[float] = None,
                hold: Optional[float] = None, attempts: Optional[int] = None,
                delay: Optional[float] = None, factor: Optional[float] = None,
                **connect_kwargs: Any) -> Pool:
    """A pool, as asyncpg.create_pool makes it: awaited, or entered with `async with`.

    setup: called with each connection at the beginning of its lease; reset: at its end; init: once for
    each connection to the broker, without a lease. wait: seconds that `acquire` waits, for this pool's own
    connections and the broker's together (PGLEASE_LEASE_WAIT; without either the broker's
    query_wait_timeout decides). hold: the longest time that a lease may be kept. attempts, delay, factor:
    tries when the broker is away or its queue is full, within the deadline.
    """
    return Pool(
        dsn, min_size=min_size, max_size=max_size, max_queries=max_queries,
        max_inactive_connection_lifetime=max_inactive_connection_lifetime, setup=setup, init=init,
        reset=reset, loop=loop, connection_class=connection_class, record_class=record_class, wait=wait,
        hold=hold, attempts=attempts, delay=delay, factor=factor, **connect_kwargs)


def _typed(error: asyncpg.PostgresError, waited: Optional[float] = None) -> errors.LeaseError:
    if error.sqlstate is None or isinstance(error, asyncpg.ConnectionDoesNotExistError):
        away: errors.LeaseError = _FAMILY.away(str(error), waited)
        return away
    values = {"C": error.sqlstate, "M": getattr(error, "message", None) or str(error)}
    for name, text in (("D", error.detail), ("H", error.hint)):
        if text:
            values[name] = text
    typed: errors.LeaseError = _FAMILY.error(Fields(values), waited)
    return typed


def _reason(connection: Connection, error: Optional[BaseException]) -> Optional[errors.LeaseError]:
    """The typed error for a block that failed in its lease, if the lease was the reason."""
    if not isinstance(error, asyncpg.PostgresError) or isinstance(error, errors.LeaseError):
        return None
    if error.sqlstate in ENDED or isinstance(error, asyncpg.ConnectionDoesNotExistError):
        return _typed(error)
    return None
