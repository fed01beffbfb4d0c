"""A broker connection's socket, kept beside the driver's number for it."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Optional


class Channel:
    """The broker's side of one driver connection.

    libpq knows its socket by a number. `keeper` is a second number for the same broker socket, for
    as long as the connection lives. In a direct lease libpq's number stands for the server's socket
    instead (dup2); the keeper is then the only way to the broker, and what puts it back.

    Owned here: the keeper. libpq's number is libpq's: it is changed only while libpq holds it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.direct = False
        self.pid = os.getpid()
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

    def to_server(self, descriptor: int) -> None:
        """Puts the server's socket in libpq's place; takes `descriptor` over."""
        try:
            os.dup2(descriptor, self.number, inheritable=False)
            self.direct = True
        finally:
            os.close(descriptor)

    def to_broker(self) -> None:
        """Puts the broker's socket back; the server's is closed by that."""
        if self.direct:
            os.dup2(self.keeper.fileno(), self.number, inheritable=False)
            self.direct = False

    def forget_server(self) -> None:
        """libpq closed its number: it is another's, or nobody's, by now."""
        self.direct = False

    def close(self) -> None:
        """The broker sees the end of the session once libpq's number is closed as well."""
        self.keeper.close()

    def __del__(self) -> None:
        keeper = getattr(self, "keeper", None)
        if keeper is not None:
            keeper.close()
