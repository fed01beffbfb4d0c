# SPDX-License-Identifier: Apache-2.0
"""What the blocking and the asyncio pool for psycopg 3 have in common: options and figures."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any, Callable, Optional

import psycopg

from . import _caller
from ._book import Loan
from ._outcome import Ending
from ._policy import Policy
from ._psycopg_errors import FAMILY, PoolClosed, TooManyRequests
from ._psycopg_leasing import PsycopgLeasing
from ._psycopg_link import fields_of
from ._request import Grant, Request
from ._waits import Waits

_numbers = itertools.count(1)


class PoolBase:
    """psycopg_pool's constructor. Without effect here, because they are about server connections,
    which are the broker's: max_lifetime, max_idle, reconnect_timeout, reconnect_failed,
    num_workers."""

    def __init__(self, waits: Waits, *, conninfo: Any, connection_class: type[Any], kwargs: Any,
                 min_size: int, max_size: Optional[int], open: Optional[bool],
                 configure: Any, check: Any, reset: Any, name: Optional[str],
                 close_returns: bool, timeout: Optional[float], max_waiting: int,
                 hold: Optional[float], direct: Optional[bool], attempts: Optional[int],
                 delay: Optional[float], factor: Optional[float],
                 park: Optional[bool]) -> None:
        self._min_size, self._max_size = _checked(min_size, max_size)
        policy = Policy.make(wait=timeout, hold=hold, direct=direct, attempts=attempts,
                             delay=delay, factor=factor, default_wait=30.0,
                             park=park)
        self.name = name or f"pool-{next(_numbers)}"
        self.conninfo = conninfo
        self.kwargs = kwargs
        self.connection_class = connection_class
        self.timeout = policy.wait
        self.max_waiting = max_waiting
        self.close_returns = close_returns
        self._open = open is None or open
        self._stats: Counter[str] = Counter()
        self._leasing = PsycopgLeasing(
            self._max_size, policy, FAMILY, waits, connection_class=connection_class,
            conninfo=conninfo, keywords=kwargs, configure=configure, check=check, reset=reset,
            closed_error=self._closed_error)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r} at 0x{id(self):x}>"

    @property
    def min_size(self) -> int:
        return self._min_size

    @property
    def max_size(self) -> int:
        return self._max_size

    @property
    def closed(self) -> bool:
        return not self._open or self._leasing.book.closed

    def owns(self, conn: Any) -> bool:
        """True while the connection is leased from this pool."""
        return self._leasing.loan_of(conn) is not None

    def lease_of(self, conn: Any) -> Optional[Grant]:
        """What the broker granted for a connection that is lent: lease_id, server_pid, kind
        ('direct' or 'relay'), waited (seconds). None for any other connection."""
        loan = self._leasing.loan_of(conn)
        return loan.grant if loan else None

    def _resize(self, min_size: int, max_size: Optional[int]) -> None:
        self._min_size, self._max_size = _checked(min_size, max_size)
        self._leasing.book.resize(self._max_size)

    def get_stats(self) -> dict[str, int]:
        """psycopg_pool's figures, of this process."""
        book = self._leasing.book
        return dict(self._stats) | {
            "pool_min": self._min_size, "pool_max": self._max_size,
            "pool_size": book.idle + book.taken, "pool_available": book.idle,
            "requests_waiting": book.waiting, "connections_num": self._leasing.opened}

    def pop_stats(self) -> dict[str, int]:
        """The figures; those that are counted begin at 0 again."""
        stats = self.get_stats()
        self._stats = Counter()
        self._leasing.opened = 0
        return stats

    # For the two pools.

    def _opened(self) -> None:
        if self._leasing.book.closed:
            raise PoolClosed("pool has already been opened/closed and cannot be reused")
        self._open = True

    def _closed_error(self) -> Exception:
        return PoolClosed(f"the pool {self.name!r} is already closed")

    def _check_open(self) -> None:
        if self._leasing.book.closed:
            raise self._closed_error()
        if not self._open:
            raise PoolClosed(f"the pool {self.name!r} is not open yet")

    def _opening(self, timeout: float) -> Request:
        """For connections without a lease."""
        self._check_open()
        return Request(wait=timeout, hold=None, purpose=None, where="", thread="")

    def _request(self, timeout: Optional[float], hold: Optional[float],
                 purpose: Optional[str], thread: Callable[[], str]) -> Request:
        """Counts and checks one wish for a connection."""
        self._stats["requests_num"] += 1
        self._check_open()
        book = self._leasing.book
        if book.taken >= book.size:
            if self.max_waiting and book.waiting >= self.max_waiting:
                self._stats["requests_errors"] += 1
                raise TooManyRequests(
                    f"the pool {self.name!r} has already {book.waiting} requests waiting")
            self._stats["requests_queued"] += 1
        policy = self._leasing.policy
        return Request(
            wait=policy.wait if timeout is None else max(0.0, timeout),
            hold=policy.hold if hold is None else hold, purpose=purpose, where=_caller.place(),
            thread=thread())

    def _taken(self, conn: Any, request: Request) -> None:
        self._stats["requests_wait_ms"] += int(request.waited * 1000)
        # `with conn` commits and rolls back, but does not close what belongs to a pool.
        conn._pool = self

    def _failed(self) -> None:
        self._stats["requests_errors"] += 1

    def _given(self, loan: Optional[Loan[Any]], ending: Optional[Ending]) -> None:
        if loan is not None and ending is not None:
            self._stats["usage_ms"] += int((time.monotonic() - loan.since) * 1000)
            if not ending.keep:
                self._stats["returns_bad"] += 1

    def _foreign(self, conn: Any) -> ValueError:
        return ValueError(f"can't return connection to pool {self.name!r}, it is not leased from "
                          f"it: {conn}")

    def _reason(self, ending: Optional[Ending], error: psycopg.Error,
                lost: bool) -> Optional[BaseException]:
        # The error may be another connection's: if the lease ended, its return was told so as well.
        ours = ending is not None and (ending.cause is not None or not ending.keep)
        return self._leasing.reason(ending, fields_of(error) if ours else None, str(error), lost)


def _checked(min_size: int, max_size: Optional[int]) -> tuple[int, int]:
    if max_size is None:
        max_size = min_size
    if min_size < 0:
        raise ValueError("min_size cannot be negative")
    if max_size < min_size:
        raise ValueError("max_size must be greater or equal than min_size")
    if max_size == 0:
        raise ValueError("if min_size is 0 max_size must be greater than 0")
    return min_size, max_size
