# SPDX-License-Identifier: Apache-2.0
"""File descriptors that come along with bytes on a Unix socket."""

from __future__ import annotations

import array
import os
import socket
from typing import Any

_WIDTH = array.array("i").itemsize
# Room for one too many: the surplus is seen, and closed, instead of being cut off by the kernel.
_SPACE = socket.CMSG_SPACE(4 * _WIDTH)
_SIZE = 65536
# As plain numbers: the enumeration's own are slow to combine. Where there is no MSG_CMSG_CLOEXEC
# there is no direct lease either.
_CLOEXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
_PEEK = _CLOEXEC | int(socket.MSG_PEEK)
_RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)


class Received:
    """The descriptors that an answer carried, owned until somebody takes them."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def receive(self, channel: socket.socket, peek: bool = False) -> bytes:
        """recvmsg(2). With `peek` the bytes stay, and the descriptors are further duplicates."""
        data, ancillary, _, _ = channel.recvmsg(_SIZE, _SPACE, _PEEK if peek else _CLOEXEC)
        if ancillary:
            found = _numbers(ancillary)
            if found:
                self.close()
                self._numbers = found
        return data

    def take(self) -> list[int]:
        """The descriptors, which are the caller's now."""
        numbers, self._numbers = self._numbers, []
        return numbers

    def close(self) -> None:
        for number in self.take():
            os.close(number)


def _numbers(ancillary: list[tuple[int, int, Any]]) -> list[int]:
    numbers: list[int] = []
    for level, kind, raw in ancillary:
        if (level, kind) == _RIGHTS:
            found = array.array("i")
            found.frombytes(raw[: len(raw) - len(raw) % _WIDTH])
            numbers.extend(found)
    return numbers
