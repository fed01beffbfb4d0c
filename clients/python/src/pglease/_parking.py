# SPDX-License-Identifier: Apache-2.0
"""Page and bell of a lease that may be parked: docs/parked.md of pglease has the protocol."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import sys
from typing import Optional

SIZE = 4096
# The broker's byte, and what it says; the client's.
WORD, MAY_PARK = 0, 1
TOKEN, OUT, IN = 32, 0, 1
_ONE = (1).to_bytes(8, sys.byteorder)
_THREAD, _THREAD_END = 64, 128
_PURPOSE, _PURPOSE_END = 128, 384

# membarrier(2), where this process is one of 64 bits.
_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_REGISTER_GLOBAL_EXPEDITED = 4


class Place:
    """The two of one session with the broker, owned here.

    Who puts the token in or out looks at the broker's word afterwards, as the broker, which writes its
    word, looks at the token afterwards. Between its two steps the broker has every processor that runs
    a registered process make its writes seen: so one of the two sees the other, and no lock is needed.
    """

    __slots__ = ("_said", "bell", "page")

    def __init__(self, numbers: list[int]) -> None:
        """numbers: the server's, the bell's and the page's descriptor. Each is closed by whoever has it
        in this moment, never by two: the bell's is taken out of the list."""
        self.bell = -1
        self.page: Optional[mmap.mmap] = None
        self._said: tuple[str, str] = ("", "")
        self.page = mmap.mmap(numbers[2], SIZE)
        self.bell = numbers.pop(1)

    @property
    def may_park(self) -> bool:
        return self.page is not None and self.page[WORD] == MAY_PARK

    def take(self) -> bool:
        """True when what was parked is ours again; False: the broker has it, or will have it."""
        page = self.page
        if page is None:
            return False
        page[TOKEN] = OUT
        if page[WORD] == MAY_PARK:
            return True
        self.let_lie()
        return False

    def keep_out(self) -> None:
        """Before the session is closed: the broker must not take for parked what the driver says goodbye to."""
        if self.page is not None:
            self.page[TOKEN] = OUT

    def let_lie(self) -> None:
        """Back again: the broker has said no, and may have seen the token out."""
        if self.page is not None:
            self.page[TOKEN] = IN
        self.ring()

    def park(self) -> None:
        page = self.page
        if page is not None:
            page[TOKEN] = IN
            if page[WORD] != MAY_PARK:
                self.ring()

    def ring(self) -> None:
        """The broker looks at the page."""
        # It is ringing already, or the session is closed.
        with contextlib.suppress(OSError):
            os.write(self.bell, _ONE)

    def say(self, thread: str, purpose: str) -> None:
        """Who uses the lease from now on: for the broker's eyes, when somebody waits for it. It reads that
        once, as soon as it finds the token out: so it is said before `take`."""
        if self._said == (thread, purpose) or self.page is None:
            return
        self._said = thread, purpose
        self.page[_THREAD:_THREAD_END] = _field(thread, _THREAD_END - _THREAD)
        self.page[_PURPOSE:_PURPOSE_END] = _field(purpose, _PURPOSE_END - _PURPOSE)

    def has_said(self, thread: str, purpose: str) -> None:
        """The broker has written it: LEASE had both."""
        self._said = thread, purpose

    def close(self) -> None:
        bell, self.bell = self.bell, -1
        if bell >= 0:
            os.close(bell)
        page, self.page = self.page, None
        if page is not None:
            page.close()

    def __del__(self) -> None:
        if getattr(self, "bell", -1) >= 0:
            self.close()


def _field(text: str, width: int) -> bytes:
    raw = text.encode("utf-8", "replace")
    if len(raw) >= width:
        # Not in the middle of a character.
        raw = raw[: width - 1].decode("utf-8", "ignore").encode()
    return raw.ljust(width, b"\0")


# Each process registers for itself.
_registered: dict[int, bool] = {}


def is_possible() -> bool:
    """Whether this process may park: the broker can have its writes seen."""
    process = os.getpid()
    known = _registered.get(process)
    if known is None:
        known = _registered[process] = _register()
    return known


def _register() -> bool:
    number = _MEMBARRIER.get(platform.machine())
    if not sys.platform.startswith("linux") or number is None or sys.maxsize <= 1 << 32:
        return False
    try:
        call = ctypes.CDLL(None).syscall
        return bool(call(number, _REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0)
    except (AttributeError, OSError):
        return False
