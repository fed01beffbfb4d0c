"""psycopg2's side of a pool: how it connects, and what its errors say."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from typing import Any, Callable, Optional

import psycopg2
import psycopg2.extensions as ext
import psycopg2.pool

from ._leasing import Leasing
from ._link import LOOK_EVERY
from ._outcome import Family
from ._parking import IN, MAY_PARK, TOKEN, WORD
from ._policy import Policy
from ._psycopg2_link import Psycopg2Link, leasable
from ._request import Request
from ._waits import Blocking, run

_IDLE = ext.TRANSACTION_STATUS_IDLE
# As they are here: what looks them up in their modules each time costs as much as they do.
_get_ident, _getframe, _monotonic = threading.get_ident, sys._getframe, time.monotonic


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

    # The short way, of leases that go from use to use: what the general one does in steps, in one. It
    # makes no system call and takes no lock; `LeasePool.getconn` begins it.

    def use_again(self, loan: Any, purpose: Optional[str],
                  wish: Callable[..., Request], wait: Optional[float]) -> ext.connection:
        """The connection of a lease that was ready, and whose token is out. `wish` makes the request
        where it is another thread, place or purpose than that of the use before."""
        if purpose is not None:
            is_same = loan.purpose == purpose and loan.ident == _get_ident()
        else:
            frame = _getframe(2)
            is_same = (loan.code is frame.f_code and loan.instruction == frame.f_lasti
                       and loan.purpose is None and loan.ident == _get_ident()
                       and loan.caller is (frame.f_back and frame.f_back.f_code))
        if not is_same:
            try:
                request = wish(wait, None, purpose)
            except BaseException:
                self._lay_ready(loan)
                raise
            self._note(loan, request, purpose, _getframe(2))
        loan.since = _monotonic()
        connection: ext.connection = loan.connection
        book = self.book
        book.lent[loan.identity] = loan
        loan.connection = None
        if book.closed:
            run(self.give(connection, close=True))
            raise self.closed_error()
        return connection

    def was_taken(self, loan: Any) -> None:
        """By the broker: the link is as any idle one, and the turn is asked for again."""
        link = loan.link
        link.connection, loan.connection, loan.reference = loan.connection, None, None
        link.place.let_lie()
        link.parked_is_gone()
        if not self.book.put_idle(link):
            run(self.end(link))
        self.book.leave()

    @staticmethod
    def _note(loan: Any, request: Request, purpose: Optional[str], frame: Any) -> None:
        loan.request, loan.ident, loan.purpose = request, _get_ident(), purpose
        loan.code, loan.instruction = frame.f_code, frame.f_lasti
        loan.caller = frame.f_back and frame.f_back.f_code
        loan.place.say(request.thread, request.purpose)

    def park(self, connection: ext.connection) -> bool:
        """Parks what was lent, if it may be; else nothing has happened. As a pool of the program's own
        does, it rolls back, and leaves everything else as it is."""
        book: Any = self.book
        loan = book.lent.get(id(connection))
        if (loan is None or not loan.is_quick or loan.since > loan.look_due
                or loan.reference() is not connection or book.turns > book.size):
            return loan is not None and self._begin_parking(loan, connection)
        if connection.get_transaction_status() != _IDLE and not _rolled_back(connection):
            return False
        # Of two who give it back at the same time one goes on.
        if book.lent.pop(loan.identity, None) is not loan:
            return False
        loan.connection = connection
        self._lay_ready(loan)
        return True

    def _lay_ready(self, loan: Any) -> None:
        book = self.book
        page = loan.place.page
        try:
            page[TOKEN] = IN
            if page[WORD] != MAY_PARK:
                loan.place.ring()
        except (TypeError, ValueError):
            # Its user closed the session; whoever takes it next finds that out.
            pass
        book.ready.append(loan)
        if (book.queue or book.closed) and not book.settle_ready(loan):
            # Closed at this moment.
            link = loan.link
            link.connection, loan.connection, loan.reference = loan.connection, None, None
            run(self.end(link))
            book.leave()

    def _begin_parking(self, loan: Any, connection: ext.connection) -> bool:
        """The general look at a lease, after which it may go from use to use for a while; True if it was
        parked."""
        link, book = loan.link, self.book
        loan.is_quick = False
        if (not self.parks or loan.is_keyed or loan.reference() is not connection
                or book.turns > book.size or not link.may_park()):
            return False
        loan.place, loan.grant, loan.is_quick = link.place, link.regrant or loan.grant, True
        loan.look_due = max(link.looked + LOOK_EVERY, loan.since)
        return self.park(connection)

    def closed_error(self) -> Exception:
        return psycopg2.pool.PoolError("connection pool is closed")
