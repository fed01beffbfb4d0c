# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a lease, for every driver.

A pool raises classes that are one of these and one of its driver's: with psycopg2 `LeaseExhausted`
is also a `psycopg2.pool.PoolError`, with psycopg 3 a `psycopg_pool.PoolTimeout`. So
`except pglease.LeaseExhausted` works for both, and old code catches what it always caught.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

__all__ = [
    "BrokerAway", "Holder", "LeaseError", "LeaseExhausted", "LeaseRefused", "LeaseRevoked",
    "PoolLock", "ServerLost", "ServerUnreachable",
]


class Holder(NamedTuple):
    """One who holds a lease, as an exhaustion error names it."""

    pid: Optional[int]  # None for a client over TCP
    program: str  # its application_name, or its thread's name in this process; may be empty
    seconds: float
    activity: str
    purpose: Optional[str]
    thread: Optional[str] = None  # as it was said with the lease


class LeaseError(Exception):
    """A lease could not be had, or ended before it was given back.

    sqlstate: the code, when the broker (or PostgreSQL) gave one; detail and hint: its further words;
    waited: seconds that the request waited; holders: who has the leases, as far as known.
    """

    #: Asking again later may help.
    retryable = False

    def __init__(self, message: str = "", *, sqlstate: Optional[str] = None,
                 detail: Optional[str] = None, hint: Optional[str] = None,
                 waited: Optional[float] = None, holders: tuple[Holder, ...] = ()) -> None:
        text = message
        if detail:
            text += f"\nDETAIL:  {detail}"
        if hint:
            text += f"\nHINT:  {hint}"
        super().__init__(text)
        self.sqlstate = sqlstate
        self.detail = detail
        self.hint = hint
        self.waited = waited
        self.holders = holders

    def __reduce__(self) -> tuple[Any, ...]:
        # The text is whole already; the rest is put back as it is.
        return _rebuild, (type(self), str(self), dict(self.__dict__))


def _rebuild(kind: type[LeaseError], text: str, state: dict[str, Any]) -> LeaseError:
    error = kind(text)
    error.__dict__.update(state)
    return error


class LeaseExhausted(LeaseError):
    """No lease was free by the deadline, or the queue is full (53300)."""

    retryable = True


class PoolLock(LeaseError):
    """Every lease is held by one who also waits for another: waiting would never end (40P01)."""


class LeaseRevoked(LeaseError):
    """The broker took the lease back: HOLD, lease_timeout or an operator ended it (57P05)."""


class ServerLost(LeaseError):
    """The server connection broke during the lease (08006)."""


class ServerUnreachable(LeaseError):
    """The broker runs but cannot reach PostgreSQL (08001)."""


class BrokerAway(LeaseError):
    """The broker cannot be reached, or ended while it was asked."""

    retryable = True


class LeaseRefused(LeaseError):
    """Any other refusal, with the server's or the broker's own code."""


# The grammar is documented in docs/error-details.md.
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_HOLDER = re.compile(
    rf"(?:pid ([0-9]+)|client [0-9]+(?:\.[0-9]+)?)(?: {_QUOTED})? for ([0-9]+\.[0-9]) s "
    rf"\(([^,)]*)(?:, thread {_QUOTED})?(?:, for {_QUOTED})?\)")
_HEADING = "Held by: "
_MORE = re.compile(r"(?:, and [0-9]+ more)?\.")


def holders_of(detail: Optional[str]) -> tuple[Holder, ...]:
    """The holders that the DETAIL of an exhaustion error names: in its last line. What does not keep
    to the grammar names none."""
    line = (detail or "").rpartition("\n")[2]
    if not line.startswith(_HEADING):
        return ()
    found: list[Holder] = []
    offset = len(_HEADING)
    while one := _HOLDER.match(line, offset):
        pid, program, seconds, activity, thread, purpose = one.groups()
        found.append(Holder(
            int(pid) if pid else None, _plain(program) or "", float(seconds), activity,
            _plain(purpose), _plain(thread)))
        offset = one.end()
        if _MORE.fullmatch(line, offset):
            return tuple(found)
        if not line.startswith(", ", offset):
            break
        offset += 2
    return ()


def _plain(quoted: Optional[str]) -> Optional[str]:
    return None if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
