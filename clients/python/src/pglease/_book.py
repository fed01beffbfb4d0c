"""Whose turn it is in this process, and which connections are idle or lent."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Generic, Hashable, Optional, Protocol, TypeVar

from ._request import Grant, Request

if TYPE_CHECKING:
    from ._link import Link

C = TypeVar("C")


class Ticket(Protocol):
    """A place in the queue."""

    def grant(self) -> bool:
        """The turn has come, or the pool was closed. Called under the book's lock: must not wait.
        False when nobody waits with this ticket any more."""


class Keyless:
    """The key of a loan that was asked for without one."""

    __slots__ = ()


class Loan(Generic[C]):
    """One lease of this process: who took it where, over which link, what the broker said.

    It knows its connection weakly: one that its taker forgets is collected, and comes back so.
    """

    def __init__(self, link: Link[C], key: Hashable, request: Request, grant: Grant) -> None:
        self.link = link
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
        self.reference: Optional[weakref.ref[C]] = None
        self.identity = 0


class Book(Generic[C]):
    """Turns are given first in, first out, and at most `size` are out at a time; beyond that, only to
    a thread that holds a lease already. If it queued here, behind those who wait for what it
    holds, none of them would go on; in the broker's queue a pool lock is noticed.

    The lock is held for a few instructions at a time, never while anything waits, connects or
    speaks. The garbage collector may find a forgotten connection at any instruction, also at one
    under this lock: `forget` therefore only notes it, and whoever can take the lock does the rest.
    """

    def __init__(self, size: int) -> None:
        self.lock = threading.Lock()
        self.size = size
        # Turns that are out, or kept with what is ready.
        self.turns = 0
        self.closed = False
        self.queue: deque[Ticket] = deque()
        self._idle: list[Link[C]] = []
        # Idle, too, with a lease that is parked.
        self.parked: list[Link[C]] = []
        # Parked with its turn: whoever pops one has both, without the lock.
        self.ready: list[Loan[C]] = []
        self.lent: dict[int, Loan[C]] = {}
        self._keys: dict[Hashable, Loan[C]] = {}
        self._forgotten: deque[Loan[C]] = deque()

    # Turns.

    @property
    def taken(self) -> int:
        """Turns that somebody has."""
        return self.turns - len(self.ready)

    def _has_turn(self) -> bool:
        """A turn for whoever asks, if there is one: free, or kept with what is parked."""
        if self.turns < self.size:
            self.turns += 1
            return True
        return self._part()

    def _part(self) -> bool:
        """The lease that is ready longest is only parked from now on, and its turn the caller's."""
        try:
            loan = self.ready.pop(0)
        except IndexError:
            return False
        link = loan.link
        link.connection, loan.connection, loan.reference = loan.connection, None, None
        self.parked.append(link)
        return True

    def enter(self, ticket: Ticket, thread: Optional[str] = None) -> bool:
        """True when the turn is had at once; otherwise the ticket is in the queue."""
        with self.lock:
            entered = not self.queue and self._has_turn()
            if not entered and (self.closed or self._holds_a_lease(thread)):
                self.turns += 1
                entered = True
            if not entered:
                self.queue.append(ticket)
                # Whoever made one ready in this moment may not have seen the queue.
                self.admit()
        self._reap()
        return entered

    def _holds_a_lease(self, thread: Optional[str]) -> bool:
        return thread is not None and any(
            loan.request.thread == thread for loan in self.lent.values())

    def give_up(self, ticket: Ticket) -> bool:
        """Leaves the queue. False: the turn came in the meantime, and must be used or left."""
        with self.lock:
            try:
                self.queue.remove(ticket)
                left = True
            except ValueError:
                left = False
        self._reap()
        return left

    def leave(self) -> None:
        """A turn is over."""
        with self.lock:
            self._pass_on()
        self._reap()

    def _pass_on(self) -> None:
        self.turns -= 1
        self.admit()

    def admit(self) -> None:
        while self.queue:
            if not self._has_turn():
                if not self.closed:
                    return
                self.turns += 1
            if not self.queue.popleft().grant():
                self.turns -= 1

    def resize(self, size: int) -> None:
        with self.lock:
            self.size = size
            while self.turns > size and self._part():
                self.turns -= 1
            self.admit()
        self._reap()

    @property
    def waiting(self) -> int:
        return len(self.queue)

    # Idle connections.

    def take_idle(self) -> Optional[Link[C]]:
        """The one that was used last, if any."""
        with self.lock:
            idle = self._idle.pop() if self._idle else None
        self._reap()
        return idle

    def put_idle(self, link: Link[C]) -> bool:
        """False when the pool is closed: the caller closes the connection."""
        with self.lock:
            kept = not self.closed
            if kept:
                self._idle.append(link)
        self._reap()
        return kept

    def take_parked(self) -> Optional[Link[C]]:
        """The one that was parked last, if any, for somebody who has a turn."""
        with self.lock:
            if not self.parked and self._part():
                # Its turn is the second one.
                self._pass_on()
            return self.parked.pop() if self.parked else None

    def put_parked(self, link: Link[C]) -> bool:
        """False when the pool is closed."""
        with self.lock:
            kept = not self.closed
            if kept:
                self.parked.append(link)
        self._reap()
        return kept

    def take_all_idle(self) -> list[Link[C]]:
        with self.lock:
            idle = self._empty()
        self._reap()
        return idle

    def _empty(self) -> list[Link[C]]:
        while self._part():
            self._pass_on()
        idle, self._idle, self.parked = self.parked + self._idle, [], []
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
                self.admit()
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
        identity = id(connection)

        def collected(_: weakref.ref[C]) -> None:
            self._forgotten.append(loan)
            self._reap()
            # Last: it warns, and a program may have made warnings errors.
            forgotten(loan)

        loan.identity = identity
        loan.reference = weakref.ref(connection, collected)
        with self.lock:
            lent = not self.closed
            if lent:
                self.lent[identity] = loan
                if type(loan.key) is not Keyless:
                    self._keys[loan.key] = loan
            else:
                loan.reference = None
        self._reap()
        return lent

    def loan_of(self, connection: C) -> Optional[Loan[C]]:
        loan = self.lent.get(id(connection))
        if loan is None or loan.reference is None or loan.reference() is not connection:
            return None
        return loan

    def loan_with(self, key: Hashable) -> Optional[Loan[C]]:
        return self._keys.get(key)

    def settle(self, connection: C, expected: Optional[Loan[C]] = None) -> Optional[Loan[C]]:
        """Strikes the lease out: of two who give back the same connection, one gets the loan, and
        nobody gets another than the `expected`. The turn is still the caller's, who must `leave`."""
        with self.lock:
            loan = self.loan_of(connection)
            if loan is not None and expected is not None and loan is not expected:
                loan = None
            if loan is not None:
                self._strike(loan)
                loan.reference = None
        self._reap()
        return loan

    def _strike(self, loan: Loan[C]) -> None:
        # A collected connection's id may be another one's by now.
        if self.lent.get(loan.identity) is loan:
            del self.lent[loan.identity]
        if self._keys.get(loan.key) is loan:
            del self._keys[loan.key]

    def loans(self) -> list[Loan[C]]:
        with self.lock:
            loans = list(self.lent.values())
        self._reap()
        return loans

    def _reap(self) -> None:
        # Who adds to the list tries the lock; who holds the lock looks at the list afterwards: so
        # nothing stays on it, and nobody waits for a lock that its own thread holds.
        while self._forgotten and self.lock.acquire(blocking=False):
            try:
                while self._forgotten:
                    loan = self._forgotten.popleft()
                    loan.reference = None
                    self._strike(loan)
                    self._pass_on()
            finally:
                self.lock.release()

    # The end.

    def close(self) -> tuple[list[Link[C]], list[Loan[C]]]:
        """No more turns: who waits is let go. Returns the idle connections and the loans."""
        with self.lock:
            self.closed = True
            idle = self._empty()
            lent = list(self.lent.values())
            self.admit()
        self._reap()
        return idle, lent
