# SPDX-License-Identifier: Apache-2.0
"""psycopg2.pool, leasing from a pglease broker.

The one change in a program that has a `psycopg2.pool`::

    from pglease import psycopg2_pool as pool      # was: from psycopg2 import pool

`ThreadedConnectionPool(minconn, maxconn, …)`, `getconn`, `putconn`, `closeall` and `PoolError` are as
before, but `getconn` waits instead of raising at once. What is new: `LeasePool.lease`, the keyword
arguments `wait`, `hold`, `direct`, `park`, `attempts`, `delay`, `factor`, and errors that name the
holders.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Hashable, Iterator
from typing import Any, Optional

import psycopg2
import psycopg2.extensions as ext
import psycopg2.pool

from . import _caller, errors
from ._book import Keyless
from ._keys import Claim, Keys
from ._leasing import let_go
from ._link import is_inherited
from ._outcome import Family
from ._policy import Policy
from ._psycopg2_leasing import Psycopg2Leasing
from ._psycopg2_link import fields_of
from ._request import Grant, Request
from ._waits import run

__all__ = [
    "BrokerAway", "LeaseExhausted", "LeasePool", "LeaseRefused", "LeaseRevoked", "PoolError",
    "PoolLock", "ServerLost", "ServerUnreachable", "SimpleConnectionPool", "ThreadedConnectionPool",
]

PoolError = psycopg2.pool.PoolError

_getframe, _get_ident, _monotonic = sys._getframe, threading.get_ident, time.monotonic

# Values of connection.closed; 2 is a connection that psycopg2 has lost.
_OPEN, _CLOSED_BY_USER = 0, 1


class _Psycopg2Error(errors.LeaseError, psycopg2.Error):
    """Fills in what psycopg2's errors have: pgcode and pgerror."""

    def __init__(self, message: str = "", **words: Any) -> None:
        super().__init__(message, **words)
        self.__setstate__(  # type: ignore[no-untyped-call]
            {"pgcode": self.sqlstate, "pgerror": str(self), "cursor": None})


class LeaseExhausted(_Psycopg2Error, errors.LeaseExhausted, PoolError):
    """No lease was free by the deadline; `holders` has them."""


class PoolLock(_Psycopg2Error, errors.PoolLock, PoolError):
    """Every holder of a lease also waits for one."""


class LeaseRevoked(_Psycopg2Error, errors.LeaseRevoked, psycopg2.OperationalError):
    """The broker took the lease back: a limit was reached."""


class ServerLost(_Psycopg2Error, errors.ServerLost, psycopg2.OperationalError):
    """PostgreSQL's connection broke during the lease."""


class ServerUnreachable(_Psycopg2Error, errors.ServerUnreachable, psycopg2.OperationalError):
    """The broker cannot reach PostgreSQL."""


class BrokerAway(_Psycopg2Error, errors.BrokerAway, psycopg2.OperationalError):
    """The broker cannot be reached."""


class LeaseRefused(_Psycopg2Error, errors.LeaseRefused, psycopg2.OperationalError):
    """Another refusal, with its own code."""


_FAMILY: Family[_Psycopg2Error] = Family(
    exhausted=LeaseExhausted, pool_lock=PoolLock, revoked=LeaseRevoked, server_lost=ServerLost,
    unreachable=ServerUnreachable, broker_away=BrokerAway, refused=LeaseRefused)


class LeasePool:
    """A `psycopg2.pool.ThreadedConnectionPool` whose connections lease from the broker.

    `minconn` connections to the broker are opened at once, at most `maxconn` leases are out at a
    time; who wants one more waits its turn. A thread that holds one already goes past `maxconn`: it
    waits for the broker alone, which bounds them all. The rest of the arguments are `psycopg2.connect`'s, with
    the broker's address. Keyword arguments of its own, all optional, in seconds where it is a time:

    wait: how long getconn waits, for this pool's own turn and the broker's together (PGLEASE_LEASE_WAIT;
    without either the broker's query_wait_timeout decides). 0: an answer at once.
    hold: the longest time that a lease may be kept.
    direct: False turns direct leases off (PGLEASE_DIRECT=off).
    park: False has every lease asked for at the broker, with a clean session (PGLEASE_PARK=off). Else a
    connection that is put back may lie parked here until somebody else waits for it.
    attempts, delay, factor: when the broker is away or its queue is full, getconn tries 3 times,
    after 0.5 s and 1 s, within its deadline (PGLEASE_LEASE_ATTEMPTS, _DELAY, _FACTOR).

    Every lease begins as a new connection does, on the server and on the connection object; or, where
    the lease was parked in between, as the last one of this process left both, rolled back: as in a pool
    of the program's own. Threads may share a pool. A forked child has a pool of its own
    by itself: what the parent holds is neither used nor counted there.
    """

    def __init__(self, minconn: int, maxconn: int, *args: Any, wait: Optional[float] = None,
                 hold: Optional[float] = None, direct: Optional[bool] = None,
                 attempts: Optional[int] = None, delay: Optional[float] = None,
                 factor: Optional[float] = None, park: Optional[bool] = None,
                 **kwargs: Any) -> None:
        self.minconn = int(minconn)
        self.maxconn = int(maxconn)
        policy = Policy.make(wait=wait, hold=hold, direct=direct, attempts=attempts, delay=delay,
                             factor=factor, park=park, default_park=True)
        self._leasing = Psycopg2Leasing(self.maxconn, policy, _FAMILY, args, kwargs)
        self._keys = Keys()
        try:
            for _ in range(self.minconn):
                run(self._leasing.open_idle(self._request(None, None, None)))
        except BaseException:
            run(self._leasing.shut(lent=True))
            raise

    @property
    def closed(self) -> bool:
        return self._leasing.book.closed

    def getconn(self, key: Hashable = None, wait: Optional[float] = None,
                hold: Optional[float] = None, purpose: Optional[str] = None) -> ext.connection:
        """A connection with a lease. The same `key` gives the same connection until it is put back.

        Waits until the deadline, then raises LeaseExhausted (a PoolError, with `holders`). PoolLock
        (a PoolError too): waiting would never end. BrokerAway, ServerUnreachable (OperationalErrors).
        purpose: what the broker's console and errors show; by default the caller's file and line.
        """
        leasing = self._leasing
        book: Any = leasing.book
        if key is None and hold is None and not book.queue:
            # One that was parked: what `take` does in steps. Written out, with bare numbers, because what
            # is looked up here is felt between two short statements.
            try:
                loan = book.ready.pop()
            except IndexError:
                pass
            else:
                conn: Optional[ext.connection] = None
                try:
                    try:
                        is_ours = not loan.poll(0) or loan.link.channel.server_lives()
                        if is_ours:
                            # Whose it is, is said before it is taken.
                            if purpose is None:
                                # The dearest of all this, by far.
                                frame = _getframe(1)
                                if not (loan.code is frame.f_code
                                        and loan.instruction == frame.f_lasti
                                        and loan.purpose is None and loan.ident == _get_ident()
                                        and loan.caller is (frame.f_back and frame.f_back.f_code)):
                                    leasing.note_use(loan, frame, None, self._request, wait)
                            elif loan.purpose != purpose or loan.ident != _get_ident():
                                leasing.note_use(loan, None, purpose, self._request, wait)
                            page = loan.page
                            page[32] = 0  # TOKEN, OUT
                            is_ours = page[0] == 1  # WORD, MAY_PARK
                    except ValueError:
                        # Its user closed the session while it lay there.
                        is_ours = False
                    if is_ours:
                        loan.since = _monotonic()
                        conn = loan.connection
                        loan.connection = None
                        book.lent[loan.identity] = loan
                        if not book.closed:
                            return conn
                except BaseException:
                    leasing.undo_take(loan, conn)
                    raise
                if conn is not None:
                    leasing.closed_meanwhile(conn)
                leasing.was_taken(loan)
        if book.closed:
            raise PoolError("connection pool is closed")
        try:
            if key is not None:
                return self._keyed(key, self._request(wait, hold, purpose))
            return self._take(Keyless(), self._request(wait, hold, purpose))
        except BaseException as error:
            let_go(error)
            raise

    def putconn(self, conn: Any = None, key: Hashable = None, close: bool = False) -> None:
        """Gives a lease back. An open transaction is rolled back; a good connection is kept.

        Never raises for what ended the lease before (it is logged). A connection that is not lent,
        or not from this pool, is a PoolError.
        """
        leasing = self._leasing
        book: Any = leasing.book
        loan: Any = None
        since = 0.0
        try:
            loan = book.lent.get(id(conn))
            if loan is not None and key is None and not close:
                # As in getconn: what `park` does in steps.
                if ((since := loan.since) <= loan.look_due and loan.reference() is conn
                        and conn.get_transaction_status() == 0 and len(book.out) <= book.size):
                    if book.lent.pop(loan.identity, None) is loan:
                        leasing.lay_ready(loan, conn)
                        return
                elif leasing.park(loan, conn):
                    return
            self._put(conn, key, close)
        except PoolError:
            raise
        except BaseException as error:
            loan = loan or leasing.loan_of(conn)
            if loan is not None and conn is not None:
                leasing.undo_put(loan, since or loan.since, conn)
            loan = None
            let_go(error)
            raise

    def _put(self, conn: Any, key: Hashable, close: bool) -> None:
        """The way that is always there."""
        if self.closed:
            raise PoolError("connection pool is closed")
        if conn is None and key is not None:
            conn = self._with_key(key)
        loan = self._leasing.loan_of(conn)
        if loan is None or (key is not None and loan.key != key):
            if is_inherited(conn):
                return
            raise PoolError("trying to put unkeyed connection")
        if run(self._leasing.give(conn, close)) is None:
            raise PoolError("trying to put unkeyed connection")

    def closeall(self) -> None:
        """Closes every connection, also those in use, and refuses whoever waits."""
        if self.closed:
            raise PoolError("connection pool is closed")
        run(self._leasing.shut(lent=True))

    @contextlib.contextmanager
    def lease(self, purpose: Optional[str] = None, *, wait: Optional[float] = None,
              hold: Optional[float] = None) -> Iterator[ext.connection]:
        """A lease for a block: commits at its end, rolls back when it raises, always gives back.

        When the block fails because the lease ended, LeaseRevoked, ServerLost or BrokerAway is raised
        from the driver's error.
        """
        # The place of the block, not of this line.
        conn = self.getconn(wait=wait, hold=hold, purpose=purpose or _caller.place())
        loan = None
        try:
            loan = self._leasing.loan_of(conn)
            yield conn
            # A block that gave the connection back or closed it itself, or that a forked child
            # leaves, has nothing to commit.
            if self._leasing.loan_of(conn) is loan and conn.closed != _CLOSED_BY_USER:
                conn.commit()
        except psycopg2.Error as error:
            lost = conn.closed not in (_OPEN, _CLOSED_BY_USER)
            ours = error.cursor is None or error.cursor.connection is conn
            ending = run(self._leasing.give(conn, expected=loan))
            reason = self._leasing.reason(
                ending, fields_of(error) if ours else None, str(error), lost)
            if reason is None:
                raise
            raise reason from error
        except BaseException:
            run(self._leasing.give(conn, expected=loan))
            raise
        else:
            since = loan.since if loan is not None else 0.0
            try:
                if loan is None or loan is not self._leasing.loan_of(conn) or (
                        not self._leasing.park(loan, conn)):
                    run(self._leasing.give(conn, expected=loan))
            except BaseException:
                if loan is not None:
                    self._leasing.undo_put(loan, since, conn)
                raise

    def lease_of(self, conn: Any) -> Optional[Grant]:
        """What the broker granted for a connection that is lent: lease_id, server_pid, kind
        ('direct' or 'relay'), waited (seconds). None for any other connection."""
        loan = self._leasing.loan_of(conn)
        return loan.grant if loan else None

    def _request(self, wait: Optional[float], hold: Optional[float],
                 purpose: Optional[str]) -> Request:
        policy = self._leasing.policy
        return Request(
            wait=policy.wait if wait is None else wait, hold=policy.hold if hold is None else hold,
            purpose=purpose, where=_caller.place(), thread=_caller.thread())

    def _take(self, key: Hashable, request: Request) -> ext.connection:
        return run(self._leasing.take(request, key))

    def _keyed(self, key: Hashable, request: Request) -> ext.connection:
        claim = Claim()
        try:
            mine = self._keys.claim(claim, key, request.left)
            conn = self._with_key(key)
            if conn is not None:
                return conn
            if not mine:
                raise LeaseExhausted(f"another thread still waits for the connection with the key "
                                     f"{key!r}", sqlstate="53300", waited=request.waited)
            return self._take(key, request)
        finally:
            self._keys.end(claim, key)

    def _with_key(self, key: Hashable) -> Optional[ext.connection]:
        loan = self._leasing.book.loan_with(key)
        return loan.reference() if loan and loan.reference else None


ThreadedConnectionPool = LeasePool
SimpleConnectionPool = LeasePool
