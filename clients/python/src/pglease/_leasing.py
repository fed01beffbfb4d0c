# SPDX-License-Identifier: Apache-2.0
"""How every pool takes a lease and gives it back."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Hashable
from typing import Any, Callable, Generic, Optional, TypeVar

from . import _fork, errors
from ._book import Book, Loan
from ._link import Link, log, tell_of_end
from ._outcome import LOCKED, NOT_KNOWN, ONLY_NOW, Ending, Family, Gone, Refused, Stale, ended_by_other
from ._parking import is_possible
from ._policy import Policy
from ._request import Grant, Request
from ._turn import Turn
from ._waits import Waits
from ._wire import Fields

C = TypeVar("C")
T = TypeVar("T")

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

# Seconds after which whoever waits for a turn looks whether there is one.
LOOK_AGAIN = 0.5


# Seconds in which the broker may not have seen yet that a session of ours was closed, and after which it is
# asked once more: what it calls a pool lock may be this thread's former lease.
_CLOSED_LATELY, _ONCE_MORE = 1.0, 0.05


class Leasing(ABC, Generic[C]):
    """The part of a pool that does not depend on the driver.

    A lease is a turn in this process (at most `size`, first come first served; at once for a thread
    that has one), a connection to the
    broker (an idle one, or a new one), and the broker's grant on it. The three are had one after the
    other within one deadline, and given up together.
    """

    def __init__(self, size: int, policy: Policy, family: Family[Any], waits: Waits) -> None:
        self.policy = policy
        self.family = family
        self.waits = waits
        self.book: Book[C] = Book(size)
        _fork.register(self)

    # What each driver does in its own way.

    @abstractmethod
    async def connect(self, request: Request) -> Link[C]:
        """A new connection to the broker. BrokerAway when there is none, LeaseRefused when it lets us
        not in (password, no such database, the socket's mode)."""

    @abstractmethod
    def closed_error(self) -> Exception:
        """What a closed pool answers."""

    # Taking.

    async def take(self, request: Request, key: Hashable) -> C:
        """A connection with a lease."""
        turn: Optional[Turn] = await self._turn(request)
        loan: Optional[Loan[C]] = None
        try:
            assert turn is not None
            link, connection, grant = await self._with_retries(request, self._attempt)
            loan = Loan(link, key, request, grant, turn)
            if not self.book.lend(connection, loan, _forgotten):
                raise self.closed_error()
            return connection
        except BaseException:
            turn = None
            if loan is None:
                self.book.look()
            else:
                self.book.take_back(loan)
                await loan.link.close(connection)
            raise

    async def _turn(self, request: Request) -> Turn:
        book = self.book
        ticket = self.waits.ticket()
        try:
            if not book.enter(ticket, request.thread):
                while not await self.waits.turn(ticket, min(request.left, LOOK_AGAIN)):
                    # Whoever was to wake this one may have been interrupted.
                    book.look()
                    if request.left == 0.0 and book.give_up(ticket):
                        raise self._full(request)
            if book.closed:
                raise self.closed_error()
            assert ticket.turn is not None
            return ticket.turn
        except BaseException:
            book.give_up(ticket)
            ticket.turn = None
            book.look()
            raise

    def _full(self, request: Request) -> errors.LeaseError:
        """The deadline passed in this process's own queue."""
        loans = self.book.loans()
        named = ", ".join(
            f'thread {loan.request.thread} "{loan.request.thread_name}" '
            f"for {time.monotonic() - loan.since:.1f} s (for {loan.request.purpose})"
            for loan in loans)
        error: errors.LeaseError = self.family.exhausted(
            "connection pool exhausted: no lease of this process "
            + ("is free, and the request was not to wait for one" if request.wait == 0
               else f"came back in {request.waited:.1f} s"), sqlstate="53300",
            detail=f"The pool allows this process {self.book.size} leases at a time. "
                   + (f"Held by: {named}." if named else "All are being taken."),
            hint="Give leases back sooner, or raise the pool's maximum, or wait longer.",
            waited=request.waited, holders=tuple(_holder(loan) for loan in loans))
        return error

    async def open_idle(self, request: Request) -> None:
        """One more connection to the broker, without a lease."""
        link = await self._with_retries(request, self.connect)
        assert link.connection is not None
        await self._keep(link, link.connection)

    async def _with_retries(self, request: Request,
                            step: Callable[[Request], Awaitable[T]]) -> T:
        delay = self.policy.delay
        attempt = 1
        while True:
            try:
                return await step(request)
            except errors.LeaseError as error:
                # The deadline is the caller's: what does not fit in is not tried.
                if (not error.retryable or attempt >= self.policy.attempts
                        or delay >= request.left):
                    raise
                log.info("no lease yet, attempt %d of %d: %s", attempt, self.policy.attempts,
                         first_line(str(error)))
            await self.waits.sleep(delay)
            if self.book.closed:
                raise self.closed_error()
            delay *= self.policy.factor
            attempt += 1

    async def _attempt(self, request: Request) -> tuple[Link[C], C, Grant]:
        request.parks = self.policy.park and is_possible()
        must_learn = was_locked = False
        while True:
            idle = self.book.take_parked()
            if idle is not None:
                link, connection = idle
                if request.hold is not None:
                    # Its limit is the broker's to keep: a parked one has none.
                    if not await link.unpark(connection):
                        await link.close(connection)
                        continue
                elif link.take_parked(request) and link.regrant is not None:
                    return link, connection, link.regrant
                # The broker has taken it: this link is as any idle one.
            else:
                idle = self.book.take_idle()
            fresh = idle is None
            if idle is None:
                link = await self.connect(request)
                assert link.connection is not None
                connection, link.connection = link.connection, None
                # Twice stale: let the driver read the answer itself, and do without direct.
                link.must_learn = must_learn
            else:
                link, connection = idle
            try:
                grant = await link.take(connection, request, self.policy.direct)
                link.regrant = grant._replace(waited=0.0)
                return link, connection, grant
            except Refused as refused:
                if refused.fields.code == NOT_KNOWN and request.parks:
                    # A broker from before there were parked leases.
                    self.policy = dataclasses.replace(self.policy, park=False)
                    request.parks = False
                    await self._keep(link, connection)
                    continue
                if refused.fields.code in ONLY_NOW:
                    await self._keep(link, connection)
                else:
                    await link.close(connection)
                if (refused.fields.code == LOCKED and not was_locked and request.left > 0
                        and time.monotonic() - Link.last_closed < _CLOSED_LATELY):
                    was_locked = True
                    await self.waits.sleep(min(_ONCE_MORE, request.left))
                    continue
                raise self.family.error(refused.fields, request.waited) from None
            except Stale:
                await link.close(connection)
                must_learn = fresh
            except Gone as gone:
                await link.close(connection)
                if fresh:
                    raise self._gone(gone, request) from None
                # The broker was restarted, say, since this one was used: another one, silently.
            except BaseException:
                await link.close(connection)
                raise

    def _gone(self, gone: Gone, request: Request) -> errors.LeaseError:
        away: errors.LeaseError = self.family.away(str(gone), request.waited)
        return away

    # Giving back.

    def loan_of(self, connection: C) -> Optional[Loan[C]]:
        return self.book.loan_of(connection)

    async def give(self, connection: C, close: bool = False,
                   expected: Optional[Loan[C]] = None) -> Optional[Ending]:
        """Ends the lease of a connection that is lent; None when it is not, or not any more."""
        loan = since = None
        puts = 0
        try:
            loan = self.book.loan_of(connection)
            if loan is None or (expected is not None and loan is not expected):
                return None
            since, puts = loan.since, loan.link.puts
            loan = self.book.settle(connection, loan)
            if loan is None:
                return None
            link = loan.link
            if close:
                ending = Ending(False)
            else:
                ending = await link.put(connection)
                _tell(loan, ending)
            if ending.parked or ending.keep:
                if not ending.parked:
                    link.park(connection)
                await self._put_away(link, connection, ending.parked)
            else:
                await link.close(connection)
            return ending
        except BaseException:
            # Once it is put down it is the book's, or another's already.
            if loan is not None and loan.link.puts == puts and loan.since == since:
                # The first steps may have been interrupted, when nothing was struck out yet.
                self.book.take_back(loan)
                if loan.link.place is not None:
                    loan.link.place.keep_out()
                await loan.link.close(connection)
            raise
        finally:
            if loan is not None and loan.since == since:
                loan.turn = None
                self.book.look()

    async def _put_away(self, link: Link[C], connection: C, parked: bool) -> None:
        put = self.book.put_parked if parked else self.book.put_idle
        if not put(link, connection):
            link.connection = connection
            await self.end(link)

    async def _keep(self, link: Link[C], connection: C) -> None:
        link.park(connection)
        await self._put_away(link, connection, parked=False)

    async def keep_if_alive(self, link: Link[C]) -> None:
        """Of an idle connection that was taken out of the book."""
        connection = link.connection
        if connection is not None and link.looks_alive() and await link.unpark(connection):
            await self._keep(link, connection)
        else:
            await self.end(link)

    async def end(self, link: Link[C]) -> None:
        """Closes an idle connection that was taken out of the book."""
        if link.connection is not None:
            await link.unpark(link.connection)
            await link.close(link.connection)

    def reason(self, ending: Optional[Ending], told: Optional[Fields], text: str,
               lost: bool) -> Optional[errors.LeaseError]:
        """The typed error for a block that failed in its lease, if the lease was the reason.

        told: the SQL error that was raised, if it was one; text: how the driver put it; lost: the
        driver has lost its connection."""
        error: Optional[errors.LeaseError] = None
        if told is not None and ended_by_other(told):
            error = self.family.error(told)
        elif lost and ending is not None and ended_by_other(ending.cause):
            assert ending.cause is not None
            error = self.family.error(ending.cause)
        elif lost and ending is not None and ending.broker_lives:
            error = self.family.server_lost(
                f"the server connection broke during the lease: {first_line(text)}",
                sqlstate="08006")
        elif lost:
            error = self.family.away(first_line(text))
        return error

    # The end, and forks.

    async def shut(self, lent: bool) -> None:
        """Closes the idle connections and lets all who wait go. The `lent` ones are closed as well,
        or when they are given back."""
        idle, loans = self.book.close()
        self.waits.wake()
        for link in idle:
            await self.end(link)
        for loan in loans if lent else ():
            connection = loan.reference() if loan.reference else None
            if connection is not None:
                await loan.link.close(connection)

    def after_fork(self) -> None:
        """In the child: nothing is held, nothing is idle, nobody waits."""
        # Whoever drops the parent's connections must not do so before their links have let go of them.
        for loan in self.book.ready:
            loan.link.connection = loan.connection
        fresh: Book[C] = Book(self.book.size)
        fresh.closed = self.book.closed
        self.book = fresh
        self.waits = type(self.waits)()


def let_go(error: BaseException) -> None:
    """Empties the frames of this package that an error left: whoever keeps the error does not keep a
    turn or a session with it."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            with contextlib.suppress(RuntimeError):
                # Raised for a frame that still runs.
                trace.tb_frame.clear()
        trace = trace.tb_next


def _holder(loan: Loan[Any]) -> errors.Holder:
    return errors.Holder(os.getpid(), loan.request.thread_name, time.monotonic() - loan.since, "",
                         loan.request.purpose)


def _tell(loan: Loan[Any], ending: Ending) -> None:
    """A return never raises for what ended the lease before: it is written down."""
    if ended_by_other(ending.cause):
        assert ending.cause is not None
        tell_of_end(loan.request.where, ending.cause)
    elif not ending.keep:
        log.info("the connection leased at %s is not kept%s", loan.request.where,
                 f": {ending.cause.message}" if ending.cause else "")


def _forgotten(loan: Loan[Any]) -> None:
    """The collector found a lent connection. The session ends, and the lease with it, when the link
    is collected as well: not here, because the connection may have its own end still to come."""
    if loan.link.inherited:
        return
    warnings.warn(
        f"a connection leased at {loan.request.where} was forgotten: it was collected without "
        "having been given back", ResourceWarning, stacklevel=2)


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
