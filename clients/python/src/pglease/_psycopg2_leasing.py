# SPDX-License-Identifier: Apache-2.0
"""psycopg2's side of a pool: how it connects, and what its errors say."""

from __future__ import annotations

import math
import os
import threading
from types import FrameType
from typing import Any, Callable, NoReturn, Optional

import psycopg2
import psycopg2.extensions as ext
import psycopg2.pool

from ._leasing import Leasing
from ._link import LOOK_EVERY
from ._outcome import Family
from ._policy import Policy
from ._psycopg2_link import Psycopg2Link, leasable
from ._request import Request
from ._waits import Blocking, run

_IDLE = ext.TRANSACTION_STATUS_IDLE
_get_ident = threading.get_ident


def _rolled_back(connection: ext.connection) -> bool:
    if connection.closed:
        return False
    try:
        connection.rollback()
    except psycopg2.Error:
        return False
    return not connection.closed and connection.get_transaction_status() == _IDLE


class Psycopg2Leasing(Leasing[ext.connection]):
    """Connects as `psycopg2.connect(*arguments, **keywords)` does."""

    def __init__(self, size: int, policy: Policy, family: Family[Any], arguments: tuple[Any, ...],
                 keywords: dict[str, Any]) -> None:
        super().__init__(size, policy, family, Blocking())
        names = ("dsn", "connection_factory", "cursor_factory")
        if len(arguments) > len(names):
            raise TypeError("psycopg2.connect takes at most 3 positional arguments")
        self._keywords = dict(zip(names, arguments), **keywords)
        if self._keywords.get("async") or self._keywords.get("async_"):
            raise ValueError("an asynchronous connection cannot be leased")
        self._factory = self._keywords.pop("connection_factory", None) or ext.connection
        self.parks = policy.park and policy.hold is None
        self._has_timeout = self._has_own_timeout()

    def _has_own_timeout(self) -> bool:
        words = {name: value for name, value in self._keywords.items() if name != "cursor_factory"}
        try:
            known = ext.parse_dsn(ext.make_dsn(**words))
        except psycopg2.Error:
            return True
        return "connect_timeout" in known or "PGCONNECT_TIMEOUT" in os.environ

    async def connect(self, request: Request) -> Psycopg2Link:
        keywords = self._keywords
        if request.wait is not None and not self._has_timeout:
            # In whole seconds, 2 at least: so libpq counts.
            keywords = dict(keywords, connect_timeout=max(2, math.ceil(request.left)))
        try:
            connection = psycopg2.connect(connection_factory=leasable(self._factory), **keywords)
        except psycopg2.OperationalError as error:
            raise self.family.unreached(str(error), request.waited) from error
        if not isinstance(connection, ext.connection):
            raise TypeError("connection_factory must make psycopg2 connections")
        return Psycopg2Link(connection, self.waits)

    # The short way, of leases that go from use to use without a system call and without a lock:
    # `LeasePool.getconn` and `putconn` go it, and come here where something is to be done.

    def note_use(self, loan: Any, frame: Optional[FrameType], purpose: Optional[str],
                 wish: Callable[..., Request], wait: Optional[float]) -> None:
        """What was ready is used by another thread, at another place or for another purpose than last
        time; `wish` makes the request."""
        request = wish(wait, None, purpose)
        loan.request, loan.ident, loan.purpose = request, _get_ident(), purpose
        if frame is not None:
            loan.code, loan.instruction = frame.f_code, frame.f_lasti
            loan.caller = frame.f_back and frame.f_back.f_code
        loan.link.place.say(request.thread, request.purpose)

    def was_taken(self, loan: Any) -> None:
        """By the broker: the link is as any idle one, and the turn is asked for again."""
        link = loan.link
        try:
            loan.forget()
            link.place.let_lie()
            link.parked_is_gone()
            connection, loan.connection = loan.connection, None
            if not self.book.put_idle(link, connection):
                link.connection = connection
                run(self.end(link))
        finally:
            loan.turn = None
            self.book.look()

    def undo_take(self, loan: Any, connection: Optional[ext.connection]) -> None:
        """After an interrupted taking: the lease lies ready again."""
        self.book.lent.pop(loan.identity, None)
        self.lay_ready(loan, loan.connection or connection)

    def undo_put(self, loan: Any, since: float, connection: ext.connection) -> None:
        """After an interrupted giving back: ends the lease unless somebody else may have it. `since`
        is of the lease that was given back; lay_ready puts the connection down in its last step."""
        if loan.since == since and loan.connection is None and loan.turn is not None:
            self.book.take_back(loan)
            run(loan.link.close(connection))

    def closed_meanwhile(self, connection: ext.connection) -> NoReturn:
        """The pool was closed while a lease was taken."""
        run(self.give(connection, close=True))
        raise self.closed_error()

    def park(self, loan: Any, connection: ext.connection) -> bool:
        """Parks what was lent, if it may be; else nothing has happened. As a pool of the program's own
        does, it rolls back, and leaves everything else as it is."""
        link, book = loan.link, self.book
        lent: Any = book.lent
        if (not self.parks or loan.is_keyed or loan.reference() is not connection
                or len(book.out) > book.size or not link.may_park()):
            loan.look_due = 0.0
            return False
        loan.page, loan.grant = link.place.page, link.regrant or loan.grant
        loan.poll = link.channel.server_poll.poll
        # Until it is looked at again it goes the short way.
        loan.look_due = max(link.looked + LOOK_EVERY, loan.since)
        if connection.get_transaction_status() != _IDLE and not _rolled_back(connection):
            return False
        # Of two who give it back at the same time one goes on.
        if lent.pop(loan.identity, None) is not loan:
            return False
        self.lay_ready(loan, connection)
        return True

    def lay_ready(self, loan: Any, connection: Any) -> None:
        """Parks it with its turn. The loan holds the connection, and is in nobody's hands."""
        book: Any = self.book
        try:
            page = loan.page
            page[32] = 1  # TOKEN, IN
            if page[0] != 1:  # WORD, MAY_PARK
                loan.link.place.ring()
        except ValueError:
            # Its user closed the session; whoever takes it next finds that out.
            pass
        append = book.ready.append
        # No exception comes between these two: whoever finds a connection here finds the loan there.
        loan.connection = connection
        append(loan)
        if (book.queue or book.closed) and not book.settle_ready(loan):
            # Closed at this moment.
            try:
                link = loan.link
                loan.forget()
                link.connection, loan.connection = loan.connection, None
                run(self.end(link))
            finally:
                loan.turn = None
                book.look()

    def closed_error(self) -> Exception:
        return psycopg2.pool.PoolError("connection pool is closed")
