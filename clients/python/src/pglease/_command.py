# SPDX-License-Identifier: Apache-2.0
"""The text of LEASE and LEASE RETURN."""

from __future__ import annotations

import math
from typing import Optional

RETURN = "LEASE RETURN"
_PURPOSE_LIMIT = 128
_THREAD_LIMIT = 64


def lease(*, direct: bool, park: bool = False, wait: Optional[float], hold: Optional[float],
          purpose: Optional[str], thread: Optional[str]) -> str:
    """`LEASE …`. Durations are in seconds; None leaves an option out."""
    words = ["LEASE"]
    if direct:
        words.append("DIRECT PARK" if park else "DIRECT")
    if wait is not None:
        words.append(f"WAIT '{_milliseconds(wait)}ms'")
    if hold is not None:
        words.append(f"HOLD '{_milliseconds(hold)}ms'")
    if purpose:
        words.append(f"FOR {_quoted(purpose, _PURPOSE_LIMIT)}")
    if thread:
        words.append(f"THREAD {_quoted(thread, _THREAD_LIMIT)}")
    return " ".join(words)


def _milliseconds(seconds: float) -> int:
    """Rounded up: a deadline that is a little in the future is not one that has passed."""
    return max(0, math.ceil(seconds * 1000))


def _quoted(text: str, limit: int) -> str:
    clean = text[:limit]
    if not clean.isascii() or "\0" in clean:
        # A NUL would end the message, a lone surrogate has no UTF-8: neither is worth an error.
        clean = clean.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    return "'" + clean.replace("'", "''") + "'"
