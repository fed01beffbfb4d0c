# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is in this process, and which connections are idle or lent."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar

from ._request import Grant, Request
from ._turn import Ticket, Turn

if TYPE_CHECKING:
    from ._link import Link

C = TypeVar("C")


class Watch(weakref.ref[Any]):
    """A weak reference to a lent connection that knows which one it was."""

    __slots__ = ("identity",)
    identity: int


class Keyless:
    """The key of a loan that was asked for without one."""

    __slots__ = ()


class Loan(Generic[C]):
    """One lease of this process: who took it where, over which link, what the broker said.

    It knows its connection weakly: one that its taker forgets is collected, and comes back so.
    """

    def __init__(self, link: Link[C], key: Hashable, request: Request, grant: Grant,
                 turn: Turn) -> None:
        self.link = link
        # None once the lease is over.
        self.turn: Optional[Turn] = turn
        self.key = key
        self.request = request
        self.grant = grant
        self.since = time.monotonic()
        self.is_keyed = type(key) is not Keyless
        # Held while it lies parked with its turn; its page; the look at its socket; until when the broker
        # need not be looked at.
        self.connection: Optional[C] = None
        self.page: Any = None
        self.poll: Any = None
        self.look_due = 0.0
        # Who asked last, where and for what: whoever takes it back from where it is parked compares.
        self.ident = 0
        self.purpose: Optional[str] = None
        self.code: Any = None
        self.instruction = 0
        self.caller: Any = None
        self.reference: Optional[Watch] = None
        # Calls the book when the connection is collected.
        self.bell: Optional[Watch] = None
        self.identity = 0

    def forget(self) -> None:
        """Stops watching the connection."""
        self.reference = self.bell = None


class Book(Generic[C]):
    """Turns are given first in, first out, and at most `size` are out at a time; beyond that, only to
    a thread that holds a lease already. If it queued here, behind those who wait for what it
    holds, none of them would go on; in the broker's queue a pool lock is noticed.

    The lock is held for a few instructions at a time, never while anything waits, connects or
    speaks. The garbage collector may find a forgotten connection at any instruction, also at one
    under this lock: it therefore only notes it, and whoever can take the lock does the rest.

    An exception may be raised at any instruction as well. What an interrupted function had in its
    hands ends with its frame: turns (see Turn), tickets, and links with their sessions. What is noted
    here is changed by single calls into C, in an order in which each may be the last one. Only waking
    somebody can be missed: who waits looks again now and then (`look`).
    """

    def __init__(self, size: int) -> None:
        self.lock = threading.Lock()
        self.size = size
        # One reference for each turn that exists: out, or kept with what is ready.
        self.out: set[weakref.ref[Turn]] = set()
        self.closed = False
        self.queue: deque[weakref.ref[Any]] = deque()
        self._idle: list[Link[C]] = []
        # Idle, too, with a lease that is parked.
        self.parked: list[Link[C]] = []
        # Parked with its turn: whoever pops one has both, without the lock.
        self.ready: list[Loan[C]] = []
        self.lent: dict[int, Loan[C]] = {}
        self._keys: dict[Hashable, Loan[C]] = {}
        self._forgotten: deque[Watch] = deque()

    # Turns.

    @property
    def taken(self) -> int:
        """Turns that somebody has."""
        return max(0, len(self.out) - len(self.ready))

    def _new_turn(self) -> Turn:
        turn = Turn()
        # Both ends are calls into C: no exception can come between a turn's end and its being counted.
        self.out.add(weakref.ref(turn, self.out.discard))
        return turn

    def _free_turn(self) -> Optional[Turn]:
        """A turn for whoever asks, if there is one: free, or kept with what is parked."""
        if len(self.out) < self.size:
            return self._new_turn()
        return self._part()

    def _part(self) -> Optional[Turn]:
        """The lease that is ready longest is only parked from now on, and its turn the caller's."""
        try:
            loan = self.ready.pop(0)
        except IndexError:
            return None
        link = loan.link
        loan.forget()
        append = self.parked.append
        link.connection, loan.connection = loan.connection, None
        append(link)
        return loan.turn

    def enter(self, ticket: Ticket, thread: Optional[str] = None) -> bool:
        """True when the turn is had at once; otherwise the ticket is in the queue."""
        with self.lock:
            self._pass_over()
            if not self.queue:
                ticket.turn = self._free_turn()
            if ticket.turn is None and (self.closed or self._holds_a_lease(thread)):
                ticket.turn = self._new_turn()
            if ticket.turn is None:
                self.queue.append(weakref.ref(ticket))
                # Whoever made one ready in this moment may not have seen the queue.
                self._admit()
        self._reap()
        return ticket.turn is not None

    def _holds_a_lease(self, thread: Optional[str]) -> bool:
        return thread is not None and any(
            loan.request.thread == thread for loan in self.lent.values())

    def give_up(self, ticket: Ticket) -> bool:
        """Leaves the queue. False: the turn came in the meantime, and may be used."""
        with self.lock, contextlib.suppress(ValueError):
            self.queue.remove(weakref.ref(ticket))
        self._reap()
        return ticket.turn is None

    def look(self) -> None:
        """After a turn has ended, or when one may have: whoever waits gets it."""
        with self.lock:
            self._admit()
        self._reap()

    def _pass_over(self) -> None:
        """Takes tickets from the head of the queue that were dropped or granted."""
        while self.queue:
            ticket = self.queue[0]()
            if ticket is not None:
                if ticket.turn is None:
                    return
                ticket.grant()
            self.queue.popleft()

    def _admit(self) -> None:
        self._pass_over()
        while self.queue:
            turn = self._free_turn()
            if turn is None:
                if not self.closed:
                    return
                turn = self._new_turn()
            ticket = self.queue[0]()
            if ticket is not None:
                # First of all it is the waiter's; then come leaving the queue and waking.
                ticket.turn = turn
                if not ticket.grant():
                    ticket.turn = None
            self.queue.popleft()
            ticket = turn = None
            self._pass_over()

    def resize(self, size: int) -> None:
        with self.lock:
            self.size = size
            while len(self.out) > size and self._part():
                pass
            self._admit()
        self._reap()

    @property
    def waiting(self) -> int:
        return sum(ticket() is not None for ticket in tuple(self.queue))

    # Idle connections.

    # A link and its connection refer to each other while they are idle, and only then: what is
    # interrupted in somebody's hands is collected at once.

    def take_idle(self) -> Optional[tuple[Link[C], C]]:
        """The one that was used last, if any."""
        with self.lock:
            idle = self._taken_from(self._idle)
        self._reap()
        return idle

    def _taken_from(self, links: list[Link[C]]) -> Optional[tuple[Link[C], C]]:
        if not links:
            return None
        link = links[-1]
        try:
            links.pop()
        except BaseException:
            link.connection = None
            raise
        connection, link.connection = link.connection, None
        assert connection is not None
        return link, connection

    def put_idle(self, link: Link[C], connection: C) -> bool:
        """False when the pool is closed: the caller closes the connection."""
        return self._put(self._idle, link, connection)

    def _put(self, links: list[Link[C]], link: Link[C], connection: C) -> bool:
        with self.lock:
            kept = not self.closed
            if kept:
                append = links.append
                link.puts += 1
                link.connection = connection
                append(link)
        self._reap()
        return kept

    def take_parked(self) -> Optional[tuple[Link[C], C]]:
        """The one that was parked last, if any, for somebody who has a turn."""
        with self.lock:
            if not self.parked and self._part():
                # Its turn was the second one.
                self._admit()
            return self._taken_from(self.parked)

    def put_parked(self, link: Link[C], connection: C) -> bool:
        """False when the pool is closed."""
        return self._put(self.parked, link, connection)

    def take_all_idle(self) -> list[Link[C]]:
        with self.lock:
            idle = self._empty()
        self._reap()
        return idle

    def _empty(self) -> list[Link[C]]:
        while self._part():
            self._admit()
        # Emptied in place: `_put` may be about to add to them.
        idle = self.parked + self._idle
        self.parked.clear()
        self._idle.clear()
        return idle

    @property
    def idle(self) -> int:
        return len(self._idle) + len(self.parked) + len(self.ready)

    def settle_ready(self, loan: Loan[C]) -> bool:
        """After a lease was made ready while others wait, or while the pool is closed. False: it was
        closed, and turn and lease are still the caller's."""
        with self.lock:
            settled = True
            if not self.closed:
                self._admit()
            else:
                try:
                    self.ready.remove(loan)
                    settled = False
                except ValueError:
                    # Whoever closed the pool has it, or a thread that has just taken it.
                    pass
        self._reap()
        return settled

    # Loans.

    def lend(self, connection: C, loan: Loan[C], forgotten: Callable[[Loan[C]], None]) -> bool:
        """Writes a lease down; False when the pool was closed in the meantime. If the connection is
        collected first, `forgotten` is called (from any thread, at any instruction) and then the
        turn is over."""
        identity = loan.identity = id(connection)
        # Two: a call into C, which nothing can interrupt, has it noted; then come the waiters.
        loan.reference = Watch(connection, self._forgotten.append)
        loan.reference.identity = identity

        def collected(bell: Any) -> None:
            lost = self.lent.get(identity)
            lost = lost if lost is not None and lost.bell is bell else None
            self._forgotten.append(bell)
            if not self.lock.locked():
                self._reap()
            # Last: it warns, and a program may have made warnings errors.
            if lost is not None:
                forgotten(lost)

        loan.bell = Watch(connection, collected)
        loan.bell.identity = identity
        with self.lock:
            lent = not self.closed
            if lent:
                self.lent[identity] = loan
                if type(loan.key) is not Keyless:
                    self._keys[loan.key] = loan
            else:
                loan.forget()
        self._reap()
        return lent

    def take_back(self, loan: Loan[C]) -> None:
        """Strikes out a loan whose taker never got it; its turn is over."""
        with self.lock:
            self._strike(loan)
            loan.forget()
            loan.turn = None
            self._admit()
        self._reap()

    def loan_of(self, connection: C) -> Optional[Loan[C]]:
        loan = self.lent.get(id(connection))
        if loan is None or loan.reference is None or loan.reference() is not connection:
            return None
        return loan

    def loan_with(self, key: Hashable) -> Optional[Loan[C]]:
        return self._keys.get(key)

    def settle(self, connection: C, expected: Optional[Loan[C]] = None) -> Optional[Loan[C]]:
        """Strikes the lease out: of two who give back the same connection, one gets the loan, and
        nobody gets another than the `expected`. The turn is the loan's until it is dropped."""
        with self.lock:
            loan = self.loan_of(connection)
            if loan is not None and expected is not None and loan is not expected:
                loan = None
            if loan is not None:
                self._strike(loan)
                loan.forget()
        self._reap()
        return loan

    def _strike(self, loan: Loan[C]) -> None:
        if self._keys.get(loan.key) is loan:
            del self._keys[loan.key]
        # A collected connection's id may be another one's by now.
        if self.lent.get(loan.identity) is loan:
            del self.lent[loan.identity]

    def loans(self) -> list[Loan[C]]:
        with self.lock:
            loans = list(self.lent.values())
        self._reap()
        return loans

    def _reap(self) -> None:
        # The collector adds to the list and looks whether the lock is held; who holds the lock looks
        # at the list afterwards: so nothing stays on it, and nobody waits for a lock of its own.
        while self._forgotten:
            with self.lock:
                # Each is taken off the list when all is done: what was interrupted is done again.
                while self._forgotten:
                    watch = self._forgotten[0]
                    loan = self.lent.get(watch.identity)
                    if loan is not None and (watch is loan.reference or watch is loan.bell):
                        loan.turn = None
                        self._strike(loan)
                        loan.forget()
                    self._forgotten.popleft()
                loan = None
                self._admit()

    # The end.

    def close(self) -> tuple[list[Link[C]], list[Loan[C]]]:
        """No more turns: who waits is let go. Returns the idle connections and the loans."""
        with self.lock:
            self.closed = True
            idle = self._empty()
            lent = list(self.lent.values())
            self._admit()
        self._reap()
        return idle, lent
