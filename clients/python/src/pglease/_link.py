# SPDX-License-Identifier: Apache-2.0
"""One connection of a driver to the broker."""

from __future__ import annotations

import logging
import os
import time
import weakref
from abc import ABC, abstractmethod
from typing import Generic, Optional, TypeVar

from . import _command, _fork
from ._channel import Channel, nowhere
from ._descriptors import Received
from ._exchange import exchange, is_silent
from ._outcome import Ending, Gone, ended_by_other
from ._parking import Place
from ._request import ANSWER_GRACE, Grant, Request
from ._waits import Waits
from ._wire import Answer, Fields

log = logging.getLogger("pglease")

# Seconds between two looks at the broker's session of a link that parks again and again.
LOOK_EVERY = 1.0

C = TypeVar("C")


class Link(ABC, Generic[C]):
    """A driver's connection, and the broker's socket below it.

    `connection` is held only between leases: while one is lent its taker alone keeps it, so that a
    forgotten one is collected. Whoever has the link out of the book is the only one to use it.
    """

    # When this process last closed a session, of any pool.
    last_closed = float("-inf")

    def __init__(self, connection: C, number: int, waits: Waits) -> None:
        self.connection: Optional[C] = connection
        self.reference: weakref.ref[C] = weakref.ref(connection)
        self.waits = waits
        self.pid = os.getpid()
        self.channel = Channel.of(number)
        # Page and bell of this session, once it has some, and whether the present lease may be parked.
        self.place: Optional[Place] = None
        self.is_parkable = False
        # What was parked was taken, and the connection object is still as its last user left it.
        self.was_taken = False
        self.looked = time.monotonic()
        # How often it was put down in the book.
        self.puts = 0
        # What the broker granted, as whoever takes the lease back from where it is parked sees it.
        self.regrant: Optional[Grant] = None
        # The session's parameters must be learnt by the driver's own reading of the answer.
        self.must_learn = False
        _fork.register(self)

    # What each driver does in its own way.

    @abstractmethod
    def number(self, connection: C) -> int:
        """libpq's number of its socket, -1 once libpq has closed it."""

    @abstractmethod
    async def take(self, connection: C, request: Request, direct: bool) -> Grant:
        """LEASE. Raises Refused, Gone, Stale; after the last two the connection must be closed, as
        after any other exception."""

    @abstractmethod
    async def put(self, connection: C) -> Ending:
        """Cleans the connection and sends LEASE RETURN; never raises for what the other side did."""

    @abstractmethod
    async def close(self, connection: C) -> None:
        """Ends the session, and with it whatever lease it has. Never raises."""

    @abstractmethod
    def told(self, connection: C, name: str) -> Optional[str]:
        """What libpq was told of this parameter last."""

    # What all do alike.

    @property
    def inherited(self) -> bool:
        """True in a child of the process that opened it."""
        return self.pid != os.getpid()

    def looks_alive(self) -> bool:
        """False when an idle session has ended; what cannot be known is True."""
        return self.channel is None or is_silent(self.channel)

    # Parking.

    def receive_server(self, received: Received, request: Request) -> bool:
        """Puts what came with a direct lease where it belongs; False when nothing came."""
        numbers = received.take()
        if not numbers:
            return False
        assert self.channel is not None
        self.is_parkable = len(numbers) == 3
        try:
            if self.is_parkable and self.place is None:
                # It takes the bell's out of the list; the page's is not needed afterwards.
                self.place = Place(numbers)
        finally:
            # Further descriptors of the bell and the page that we have.
            for number in numbers[1:]:
                os.close(number)
            self.channel.to_server(numbers[0])
        if self.is_parkable and self.place is not None:
            self.place.has_said(request.thread, request.purpose)
        return True

    def may_park(self) -> bool:
        """Whether the lease, which is over for its holder, may lie parked. Now and then the broker's
        session is looked at: one that has ended is not to leave its connections with us."""
        place = self.place
        if not self.is_parkable or place is None or not place.may_park or self.must_learn:
            return False
        now = time.monotonic()
        if now - self.looked > LOOK_EVERY:
            self.looked = now
            return self.looks_alive()
        return True

    def take_parked(self, request: Request) -> bool:
        """Takes back what this link has parked. False when the broker has taken it, or PostgreSQL has ended it: the
        lease is over."""
        place = self.place
        # One that has ended is left where it lies: the broker finds that out there, and nobody has used it.
        if place is not None and (self.channel is None or self.channel.server_lives()):
            place.say(request.thread, request.purpose)
            if place.take():
                return True
        self.parked_is_gone()
        return False

    def parked_is_gone(self) -> None:
        """The broker has taken what lay parked: the next lease is another session."""
        self.is_parkable = False
        self.was_taken = True

    async def unpark(self, connection: C) -> bool:
        """Gives back what lies parked, if anything does. False: the connection is of no use any more."""
        if not self.is_parkable or self.place is None:
            return True
        self.is_parkable = False
        is_ours = self.place.take()
        self.park(connection)
        if not is_ours or self.channel is None:
            return True
        received, answer = Received(), Answer()
        try:
            due = time.monotonic() + ANSWER_GRACE
            await exchange(self.channel, _command.RETURN, self.waits, due, received, answer)
        except Gone:
            return False
        finally:
            received.close()
        return all(self.told(connection, name) == value
                   for name, value in answer.parameters.items())

    def to_broker(self, connection: C) -> None:
        """Back to the broker's socket, where libpq still has a number for one."""
        channel = self.channel
        if channel is not None and not channel.at_broker:
            if self.number(connection) == channel.number:
                channel.to_broker()
            else:
                channel.forget_number()

    def drop(self) -> None:
        """Closes what is ours of the session: its copy of the broker's socket, bell and page."""
        Link.last_closed = time.monotonic()
        if self.channel is not None:
            self.channel.close()
        if self.place is not None:
            self.place.close()
        self.is_parkable = False

    def park(self, connection: C) -> None:
        """The connection is idle from now on: whoever still has it cannot use it."""
        channel = self.channel
        if channel is not None and self.number(connection) == channel.number:
            channel.to_nowhere()

    async def lost(self) -> Ending:
        """What became of the lease of a connection that its driver has lost: the broker is asked
        over the socket that was kept aside."""
        if self.channel is None or self.channel.keeper.fileno() < 0:
            return Ending(False)
        received, answer = Received(), Answer()
        try:
            due = time.monotonic() + ANSWER_GRACE
            await exchange(self.channel, _command.RETURN, self.waits, due, received, answer)
        except Gone as gone:
            return Ending(False, gone.fields)
        finally:
            received.close()
        return Ending(False, answer.error if ended_by_other(answer.error) else None, True)

    def after_fork(self) -> None:
        """In the child: libpq's number leads nowhere, and the other copies are closed."""
        channel, connection = self.channel, self.reference()
        if connection is not None:
            number = self.number(connection)
            if number >= 0:
                os.dup2(nowhere(), number, inheritable=False)
        if channel is not None:
            channel.forget_number()
            channel.close()
        if self.place is not None:
            self.place.close()
            self.is_parkable = False


def tell_of_end(where: str, cause: Fields) -> None:
    """Writes down that a lease was over before its holder gave it back."""
    log.warning("the lease taken at %s had ended before it was given back: %s", where,
                cause.message)


def is_inherited(connection: object) -> bool:
    """True for a connection that a parent process opened with one of its pools."""
    link = getattr(connection, "__dict__", {}).get("_pglease_link")
    return isinstance(link, Link) and link.inherited
