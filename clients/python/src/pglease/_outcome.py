# SPDX-License-Identifier: Apache-2.0
"""How an exchange with the broker can end other than well, before a driver's error is made of it."""

from __future__ import annotations

from typing import Generic, NamedTuple, Optional, TypeVar

from . import errors
from ._reach import never_answered, refusal
from ._wire import Fields

E = TypeVar("E", bound=errors.LeaseError, covariant=True)

REVOKED, SERVER_LOST = "57P05", "08006"
# The lease is over by itself: no LEASE RETURN is owed.
ENDED = (REVOKED, SERVER_LOST)
NO_LEASE = "55000"
LOCKED = "40P01"
NOT_KNOWN = "42601"
# Refusals of this moment: the session is as good as before. After another it is in doubt.
ONLY_NOW = ("53300", LOCKED, "08001")


def ended_by_other(error: Optional[Fields]) -> bool:
    """True for the broker's words that a lease is over though its holder did not return it."""
    return error is not None and error.code in ENDED


class Refused(Exception):
    """The broker said no; the connection is as good as before."""

    def __init__(self, fields: Fields) -> None:
        super().__init__(fields.message)
        self.fields = fields


class Gone(Exception):
    """The broker's session ended, or makes no sense any more."""

    def __init__(self, text: str, fields: Optional[Fields] = None) -> None:
        super().__init__(fields.message if fields else text)
        self.fields = fields


class Stale(Exception):
    """The session's parameters are not what the driver believes they are."""


class Ending(NamedTuple):
    """How a lease ended. keep: the connection is clean and can serve the next one; cause: the
    broker's words when it was not the client who ended it."""

    keep: bool
    cause: Optional[Fields] = None
    # The broker's session lives: what the driver lost was the server's connection.
    broker_lives: bool = False
    # It lies parked: the lease goes on, and nobody uses it.
    parked: bool = False


class Family(Generic[E]):
    """The error classes of one driver's pool."""

    def __init__(self, *, exhausted: type[E], pool_lock: type[E], revoked: type[E],
                 server_lost: type[E], unreachable: type[E], broker_away: type[E],
                 refused: type[E]) -> None:
        self.exhausted = exhausted
        self.server_lost = server_lost
        self.broker_away = broker_away
        self.refused = refused
        self._by_code = {
            "53300": exhausted, LOCKED: pool_lock, REVOKED: revoked, SERVER_LOST: server_lost,
            "08001": unreachable,
        }

    def error(self, fields: Fields, waited: Optional[float] = None) -> E:
        """The typed error of an ErrorResponse."""
        kind = self._by_code.get(fields.code, self.refused)
        hint = fields.hint
        if fields.code == NOT_KNOWN:
            hint = "Is the pool's address that of a pglease broker? PostgreSQL knows no LEASE."
        return kind(fields.message, sqlstate=fields.code, detail=fields.detail, hint=hint,
                    waited=waited, holders=errors.holders_of(fields.detail))

    def unreached(self, text: str, waited: Optional[float] = None) -> E:
        """The typed error of a connect that failed with this text of libpq's."""
        if never_answered(text):
            return self.away(text.strip().partition("\n")[0], waited)
        said = refusal(text)
        kind = self.exhausted if said.is_full else self.refused
        return kind(f"the pglease broker refuses the connection: {said.message}",
                    sqlstate="53300" if said.is_full else None, detail=said.detail, hint=said.hint,
                    waited=waited)

    def away(self, reason: str, waited: Optional[float] = None) -> E:
        return self.broker_away(
            f"the pglease broker is away: {reason.strip()}", sqlstate="08006",
            hint="Is pglease running, and does the pool's host lead to its socket folder?",
            waited=waited)
