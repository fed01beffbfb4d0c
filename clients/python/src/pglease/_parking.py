"""Token and page of a lease that may be parked: docs/parked.md of pglease has the protocol."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Optional

SIZE = 4096
MAY_PARK = 1
ONE = (1).to_bytes(8, sys.byteorder)
_THREAD, _THREAD_END = 64, 128
_PURPOSE, _PURPOSE_END = 128, 384


class Place:
    """The two of one session with the broker, owned here.

    Whoever reads the token has what lies parked. The page's first byte says whether the broker would
    have it back at the end of this use.
    """

    __slots__ = ("token", "page", "_said")

    def __init__(self, token: int, memory: int) -> None:
        self.token = token
        self._said: tuple[str, str] = ("", "")
        try:
            self.page: Optional[mmap.mmap] = mmap.mmap(memory, SIZE)
        except BaseException:
            self.page = None
            self.close()
            raise
        finally:
            os.close(memory)

    @property
    def may_park(self) -> bool:
        return self.page is not None and self.page[0] == MAY_PARK

    def take(self) -> bool:
        """True when what was parked is ours again."""
        try:
            return len(os.read(self.token, 8)) == 8
        except (BlockingIOError, OSError):
            return False

    def park(self) -> None:
        os.write(self.token, ONE)

    def say(self, thread: str, purpose: str) -> None:
        """Who uses what is not parked: for the broker's eyes, when somebody waits for it."""
        if self._said == (thread, purpose) or self.page is None:
            return
        self._said = thread, purpose
        self.page[_THREAD:_THREAD_END] = _field(thread, _THREAD_END - _THREAD)
        self.page[_PURPOSE:_PURPOSE_END] = _field(purpose, _PURPOSE_END - _PURPOSE)

    def close(self) -> None:
        token, self.token = self.token, -1
        if token >= 0:
            os.close(token)
        page, self.page = self.page, None
        if page is not None:
            page.close()

    def __del__(self) -> None:
        if getattr(self, "token", -1) >= 0:
            self.close()


def _field(text: str, width: int) -> bytes:
    raw = text.encode("utf-8", "replace")
    if len(raw) >= width:
        # Not in the middle of a character.
        raw = raw[: width - 1].decode("utf-8", "ignore").encode()
    return raw.ljust(width, b"\0")
