# SPDX-License-Identifier: Apache-2.0
"""psycopg_pool, leasing from a pglease broker.

The one change in a program that has a `psycopg_pool`::

    from pglease.psycopg_pool import ConnectionPool    # was: from psycopg_pool import ConnectionPool

What is new: `purpose` and `hold` for each lease, `hold`, `direct`, `attempts`, `delay`, `factor` for
the pool, and errors that name the holders. A lease is a new session: `configure` is called at the
beginning of each, on the server's session that the lease has got.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Optional, cast

import psycopg

from . import _caller
from ._leasing import let_go
from ._link import is_inherited
from ._psycopg_base import PoolBase
from ._psycopg_errors import (
    BrokerAway,
    LeaseExhausted,
    LeaseRefused,
    LeaseRevoked,
    PoolClosed,
    PoolLock,
    PoolTimeout,
    ServerLost,
    ServerUnreachable,
    TooManyRequests,
)
from ._psycopg_leasing import Conninfo, Keywords
from ._psycopg_link import Callback
from ._waits import Asyncio, Blocking, run

__all__ = [
    "AsyncConnectionPool", "BrokerAway", "ConnectionPool", "LeaseExhausted", "LeaseRefused",
    "LeaseRevoked", "PoolClosed", "PoolLock", "PoolTimeout", "ServerLost", "ServerUnreachable",
    "TooManyRequests",
]

if TYPE_CHECKING:
    from psycopg.rows import TupleRow
    from typing_extensions import TypeVar

    # With no connection_class given, the pool's connections are psycopg's own.
    CT = TypeVar("CT", bound="psycopg.Connection[Any]", default="psycopg.Connection[TupleRow]")
    ACT = TypeVar("ACT", bound="psycopg.AsyncConnection[Any]",
                  default="psycopg.AsyncConnection[TupleRow]")
else:
    from typing import TypeVar

    CT, ACT = TypeVar("CT"), TypeVar("ACT")


class ConnectionPool(PoolBase, Generic[CT]):
    """psycopg_pool.ConnectionPool, whose connections lease from the broker.

    `max_size` leases are out at a time; `timeout` is the deadline of a request, for this pool's turn
    and the broker's together (default 30 s, or PGLEASE_LEASE_WAIT). Connections to the broker are
    opened when they are needed; `wait` opens `min_size` of them.

    configure, check: called with each connection at the beginning of its lease; reset: at its end.
    """

    def __init__(self, conninfo: Conninfo = "", *,
                 connection_class: type[CT] = cast("type[CT]", psycopg.Connection),
                 kwargs: Keywords = None, min_size: int = 4, max_size: Optional[int] = None,
                 open: Optional[bool] = None, configure: Optional[Callback] = None,
                 check: Optional[Callback] = None, reset: Optional[Callback] = None,
                 name: Optional[str] = None, close_returns: bool = False,
                 timeout: Optional[float] = None, max_waiting: int = 0,
                 max_lifetime: float = 3600.0, max_idle: float = 600.0,
                 reconnect_timeout: float = 300.0, reconnect_failed: Any = None,
                 num_workers: int = 3, hold: Optional[float] = None,
                 direct: Optional[bool] = None, attempts: Optional[int] = None,
                 delay: Optional[float] = None, factor: Optional[float] = None,
                 park: Optional[bool] = None) -> None:
        super().__init__(
            Blocking(), conninfo=conninfo, connection_class=connection_class, kwargs=kwargs,
            min_size=min_size, max_size=max_size, open=open, configure=configure, check=check,
            reset=reset, name=name, close_returns=close_returns, timeout=timeout,
            max_waiting=max_waiting, hold=hold, direct=direct, attempts=attempts, delay=delay,
            factor=factor, park=park)

    def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        self._opened()
        if wait:
            self.wait(timeout)

    def wait(self, timeout: float = 30.0) -> None:
        """Until `min_size` connections to the broker are open; PoolTimeout when they are not."""
        request = self._opening(timeout)
        while self._leasing.book.idle + self._leasing.book.taken < self._min_size:
            run(self._leasing.open_idle(request))

    def close(self, timeout: float = 5.0) -> None:
        """Closes the idle connections, the others when they are given back; who waits gets
        PoolClosed."""
        if not self.closed:
            run(self._leasing.shut(lent=False))

    def __enter__(self) -> ConnectionPool[CT]:
        self.open()
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    @contextlib.contextmanager
    def connection(self, timeout: Optional[float] = None, *, purpose: Optional[str] = None,
                   hold: Optional[float] = None) -> Iterator[CT]:
        """A lease for a block: commits at its end, rolls back when it raises, always gives back.

        When the block fails because the lease ended, LeaseRevoked, ServerLost or BrokerAway is
        raised from the driver's error.
        """
        conn = self.getconn(timeout, purpose=purpose, hold=hold)
        loan = None
        try:
            loan = self._leasing.loan_of(conn)
            yield conn
            # A block that gave the connection back or closed it itself, or that a forked child
            # leaves, has nothing to commit.
            if self._leasing.loan_of(conn) is loan and (conn.broken or not conn.closed):
                conn.commit()
        except psycopg.Error as error:
            lost = conn.broken
            ending = run(self._leasing.give(conn, expected=loan))
            self._given(loan, ending)
            reason = self._reason(ending, error, lost)
            if reason is None:
                raise
            raise reason from error
        except BaseException:
            self._given(loan, run(self._leasing.give(conn, expected=loan)))
            raise
        else:
            try:
                self._given(loan, run(self._leasing.give(conn, expected=loan)))
            except BaseException:
                run(self._leasing.give(conn, close=True, expected=loan))
                raise

    def getconn(self, timeout: Optional[float] = None, *, purpose: Optional[str] = None,
                hold: Optional[float] = None) -> CT:
        """A connection with a lease, to be given back with `putconn`.

        Waits until the deadline, then raises LeaseExhausted (a PoolTimeout, with `holders`).
        """
        request = self._request(timeout, hold, purpose, _caller.thread)
        conn = None
        try:
            conn = run(self._leasing.take_ready(request))
            self._taken(conn, request)
            return cast(CT, conn)
        except BaseException as error:
            self._failed()
            if conn is not None:
                run(self._leasing.give(conn, close=True))
            let_go(error)
            raise

    def putconn(self, conn: CT) -> None:
        """Gives a lease back. An open transaction is rolled back; a good connection is kept."""
        loan = None
        try:
            loan = self._leasing.loan_of(conn)
            ending = run(self._leasing.give(conn, expected=loan)) if loan else None
            if loan is not None and ending is not None:
                self._given(loan, ending)
                return
        except BaseException as error:
            run(self._leasing.give(conn, close=True, expected=loan))
            let_go(error)
            raise
        if not is_inherited(conn):
            raise self._foreign(conn)

    def check(self) -> None:
        """Closes the idle connections whose session has ended."""
        for link in self._leasing.book.take_all_idle():
            run(self._leasing.keep_if_alive(link))

    def drain(self) -> None:
        """Closes the idle connections: the next leases use new ones."""
        for link in self._leasing.book.take_all_idle():
            run(self._leasing.end(link))

    def resize(self, min_size: int, max_size: Optional[int] = None) -> None:
        """Changes how many leases this process may have at a time."""
        self._resize(min_size, max_size)

    @staticmethod
    def check_connection(conn: CT) -> None:
        """For `check=`: asks the server a question that costs it next to nothing."""
        if conn.autocommit:
            conn.execute("")
        else:
            conn.autocommit = True
            try:
                conn.execute("")
            finally:
                conn.autocommit = False


class AsyncConnectionPool(PoolBase, Generic[ACT]):
    """psycopg_pool.AsyncConnectionPool, whose connections lease from the broker; see ConnectionPool.

    A task that is cancelled while it waits leaves the queue, here and at the broker.
    """

    def __init__(self, conninfo: Conninfo = "", *,
                 connection_class: type[ACT] = cast("type[ACT]", psycopg.AsyncConnection),
                 kwargs: Keywords = None, min_size: int = 4, max_size: Optional[int] = None,
                 open: Optional[bool] = None, configure: Optional[Callback] = None,
                 check: Optional[Callback] = None, reset: Optional[Callback] = None,
                 name: Optional[str] = None, close_returns: bool = False,
                 timeout: Optional[float] = None, max_waiting: int = 0,
                 max_lifetime: float = 3600.0, max_idle: float = 600.0,
                 reconnect_timeout: float = 300.0, reconnect_failed: Any = None,
                 num_workers: int = 3, hold: Optional[float] = None,
                 direct: Optional[bool] = None, attempts: Optional[int] = None,
                 delay: Optional[float] = None, factor: Optional[float] = None,
                 park: Optional[bool] = None) -> None:
        super().__init__(
            Asyncio(), conninfo=conninfo, connection_class=connection_class, kwargs=kwargs,
            min_size=min_size, max_size=max_size, open=open, configure=configure, check=check,
            reset=reset, name=name, close_returns=close_returns, timeout=timeout,
            max_waiting=max_waiting, hold=hold, direct=direct, attempts=attempts, delay=delay,
            factor=factor, park=park)

    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        self._opened()
        if wait:
            await self.wait(timeout)

    async def wait(self, timeout: float = 30.0) -> None:
        """Until `min_size` connections to the broker are open; PoolTimeout when they are not."""
        request = self._opening(timeout)
        while self._leasing.book.idle + self._leasing.book.taken < self._min_size:
            await self._leasing.open_idle(request)

    async def close(self, timeout: float = 5.0) -> None:
        """Closes the idle connections, the others when they are given back; who waits gets
        PoolClosed."""
        if not self.closed:
            await self._leasing.shut(lent=False)

    async def __aenter__(self) -> AsyncConnectionPool[ACT]:
        await self.open()
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.close()

    @contextlib.asynccontextmanager
    async def connection(self, timeout: Optional[float] = None, *, purpose: Optional[str] = None,
                         hold: Optional[float] = None) -> AsyncIterator[ACT]:
        """A lease for a block: commits at its end, rolls back when it raises, always gives back."""
        conn = await self.getconn(timeout, purpose=purpose, hold=hold)
        loan = None
        try:
            loan = self._leasing.loan_of(conn)
            yield conn
            if self._leasing.loan_of(conn) is loan and (conn.broken or not conn.closed):
                await conn.commit()
        except psycopg.Error as error:
            lost = conn.broken
            ending = await self._leasing.give(conn, expected=loan)
            self._given(loan, ending)
            reason = self._reason(ending, error, lost)
            if reason is None:
                raise
            raise reason from error
        except BaseException:
            self._given(loan, await self._leasing.give(conn, expected=loan))
            raise
        else:
            try:
                self._given(loan, await self._leasing.give(conn, expected=loan))
            except BaseException:
                await self._leasing.give(conn, close=True, expected=loan)
                raise

    async def getconn(self, timeout: Optional[float] = None, *, purpose: Optional[str] = None,
                      hold: Optional[float] = None) -> ACT:
        """A connection with a lease, to be given back with `putconn`."""
        request = self._request(timeout, hold, purpose, _caller.task)
        conn = None
        try:
            conn = await self._leasing.take_ready(request)
            self._taken(conn, request)
            return cast(ACT, conn)
        except BaseException as error:
            self._failed()
            if conn is not None:
                await self._leasing.give(conn, close=True)
            let_go(error)
            raise

    async def putconn(self, conn: ACT) -> None:
        """Gives a lease back. An open transaction is rolled back; a good connection is kept."""
        loan = None
        try:
            loan = self._leasing.loan_of(conn)
            ending = await self._leasing.give(conn, expected=loan) if loan else None
            if loan is not None and ending is not None:
                self._given(loan, ending)
                return
        except BaseException as error:
            await self._leasing.give(conn, close=True, expected=loan)
            let_go(error)
            raise
        if not is_inherited(conn):
            raise self._foreign(conn)

    async def check(self) -> None:
        """Closes the idle connections whose session has ended."""
        for link in self._leasing.book.take_all_idle():
            await self._leasing.keep_if_alive(link)

    async def drain(self) -> None:
        """Closes the idle connections: the next leases use new ones."""
        for link in self._leasing.book.take_all_idle():
            await self._leasing.end(link)

    async def resize(self, min_size: int, max_size: Optional[int] = None) -> None:
        """Changes how many leases this process may have at a time."""
        self._resize(min_size, max_size)

    @staticmethod
    async def check_connection(conn: ACT) -> None:
        """For `check=`: asks the server a question that costs it next to nothing."""
        if conn.autocommit:
            await conn.execute("")
        else:
            await conn.set_autocommit(True)
            try:
                await conn.execute("")
            finally:
                await conn.set_autocommit(False)
