# SPDX-License-Identifier: Apache-2.0
"""A broker connection's socket, kept beside the driver's number for it."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from typing import Optional

_BROKER, _SERVER, _NOWHERE = range(3)
# As plain numbers: the enumeration's own are slow to combine.
LOOK = int(socket.MSG_PEEK) | int(socket.MSG_DONTWAIT)


class Channel:
    """The broker's side of one driver connection.

    libpq knows its socket by a number. `keeper` is a second number for the same broker socket, for
    as long as the connection lives. libpq's number stands for the broker's socket, in a direct lease
    for the server's (dup2), and between leases for one that leads nowhere: who goes on using a
    connection that he gave back gets an error, and reads nobody else's bytes.

    Owned here: the keeper. libpq's number is libpq's: it is changed only while libpq holds it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._place = _BROKER
        self._poll: Optional[select.poll] = None
        self.keeper = socket.socket(fileno=fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3))

    @classmethod
    def of(cls, number: int) -> Optional[Channel]:
        """None when the socket is not a Unix socket: no descriptor comes over it, and there may be
        TLS on it, so that only libpq can speak."""
        channel = cls(number)
        if channel.keeper.family == socket.AF_UNIX:
            return channel
        channel.close()
        return None

    @property
    def at_broker(self) -> bool:
        return self._place == _BROKER

    def to_server(self, descriptor: int) -> None:
        """Puts the server's socket in libpq's place; takes `descriptor` over."""
        try:
            self._put(descriptor, _SERVER)
        finally:
            os.close(descriptor)

    @property
    def server_poll(self) -> select.poll:
        """Of libpq's number: whether there is anything to read."""
        poll = self._poll
        if poll is None:
            poll = self._poll = select.poll()
            poll.register(self.number, select.POLLIN)
        return poll

    def server_lives(self) -> bool:
        """Whether the server's socket, in libpq's place and idle, has neither ended nor said that it does: one system
        call. What a server may say without being asked (a notice, a notification, a setting) ends nothing."""
        said = self.server_poll.poll(0)
        return not said or (said[0][1] == select.POLLIN and self._first_word() not in (b"", b"E"))

    def _first_word(self) -> bytes:
        """The kind of the first message that nobody has read yet; nothing at the end."""
        with socket.socket(fileno=os.dup(self.number)) as server:
            try:
                return server.recv(1, LOOK)
            except OSError:
                return b""

    def to_nowhere(self) -> None:
        """Puts a dead socket in libpq's place; a server's socket is closed by that."""
        if self._place != _NOWHERE:
            self._put(nowhere(), _NOWHERE)

    def to_broker(self) -> None:
        """Puts the broker's socket back; a server's is closed by that."""
        if self._place != _BROKER:
            self._put(self.keeper.fileno(), _BROKER)

    def forget_number(self) -> None:
        """libpq closed its number: it is another's, or nobody's, by now."""
        self._place = _BROKER

    def _put(self, descriptor: int, place: int) -> None:
        os.dup2(descriptor, self.number, inheritable=False)
        self._place = place

    def close(self) -> None:
        """The broker sees the end of the session, unless libpq's number still stands for it."""
        self.keeper.close()

    def __del__(self) -> None:
        keeper = getattr(self, "keeper", None)
        if keeper is not None:
            keeper.close()


# Made when it is first needed: a program that becomes a daemon closes what it has before.
_dead: dict[str, socket.socket] = {}


def nowhere() -> int:
    """A socket whose other end is closed: nothing can be sent, and reading finds the end."""
    dead = _dead.get("socket")
    if dead is None:
        made, other = socket.socketpair()
        other.close()
        # Of two threads that make one, both get the first.
        dead = _dead.setdefault("socket", made)
    return dead.fileno()
