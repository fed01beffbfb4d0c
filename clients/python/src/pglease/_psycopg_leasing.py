# SPDX-License-Identifier: Apache-2.0
"""psycopg 3's side of a pool: how it connects, and what happens around each lease."""

from __future__ import annotations

import math
import os
from typing import Any, Callable, Optional, Union

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from ._book import Keyless
from ._leasing import Leasing
from ._link import log
from ._outcome import Family
from ._policy import Policy
from ._psycopg_link import AnyConnection, Callback, PsycopgLink, leasable, settled
from ._request import Request
from ._waits import Waits
from .errors import LeaseError

Conninfo = Union[str, Callable[[], Any]]
Keywords = Union[dict[str, Any], Callable[[], Any], None]


class PsycopgLeasing(Leasing[Any]):
    """Connects as `connection_class.connect(conninfo, **keywords)` does."""

    def __init__(self, size: int, policy: Policy, family: Family[Any], waits: Waits, *,
                 connection_class: Any, conninfo: Conninfo, keywords: Keywords,
                 configure: Optional[Callback], check: Optional[Callback],
                 reset: Optional[Callback], closed_error: Callable[[], Exception]) -> None:
        super().__init__(size, policy, family, waits)
        self._connection_class: Any = leasable(connection_class)
        self._conninfo, self._keywords = conninfo, keywords
        self._configure, self._check, self._reset = configure, check, reset
        self._closed_error = closed_error
        self.opened = 0

    def closed_error(self) -> Exception:
        return self._closed_error()

    async def connect(self, request: Request) -> PsycopgLink:
        conninfo = await _given(self._conninfo)
        keywords = dict(await _given(self._keywords) or {})
        if request.wait is not None and not _has_timeout(conninfo, keywords):
            keywords["connect_timeout"] = max(2, math.ceil(request.left))
        try:
            connection = await settled(self._connection_class.connect(conninfo, **keywords))
        except psycopg.OperationalError as error:
            raise self.family.unreached(str(error), request.waited) from error
        # So that neither `with connection` nor the end of the program treats it as a lone one.
        connection._pool = None
        self.opened += 1
        return PsycopgLink(connection, self.waits, self._reset)

    async def take_ready(self, request: Request) -> Any:
        """A lease on a connection that was configured and checked."""
        while True:
            connection = await self.take(request, Keyless())
            try:
                if not self._is_prepared(connection):
                    await self._prepare(connection)
                if await self._passes(connection):
                    return connection
            except BaseException:
                await self.give(connection, close=True)
                raise
            await self.give(connection, close=True)
            if request.left == 0.0:
                error: LeaseError = self.family.exhausted(
                    "no connection passed the pool's check by the deadline", sqlstate="53300",
                    waited=request.waited)
                raise error
            await self.waits.sleep(min(self.policy.delay, request.left))

    def _is_prepared(self, connection: AnyConnection) -> bool:
        """True for a session that goes on from where it was parked: as one of the program's own pool."""
        loan = self.loan_of(connection)
        return loan is not None and loan.grant is loan.link.regrant

    async def _prepare(self, connection: AnyConnection) -> None:
        if self._configure is None:
            return
        await settled(self._configure(connection))
        status = connection.pgconn.transaction_status
        if status != pq.TransactionStatus.IDLE:
            raise psycopg.ProgrammingError(
                f"connection left in status {pq.TransactionStatus(status).name} by configure "
                f"function {self._configure}: discarded")

    async def _passes(self, connection: AnyConnection) -> bool:
        if self._check is None:
            return True
        try:
            await settled(self._check(connection))
            return True
        except Exception as error:  # noqa: BLE001 (the user's callback)
            log.info("connection failed check: %s", error)
            return False


async def _given(value: Any) -> Any:
    """psycopg_pool takes functions, too, for what may change from connection to connection."""
    return await settled(value()) if callable(value) else value


def _has_timeout(conninfo: str, keywords: dict[str, Any]) -> bool:
    if "connect_timeout" in keywords or "PGCONNECT_TIMEOUT" in os.environ:
        return True
    try:
        return "connect_timeout" in conninfo_to_dict(conninfo)
    except psycopg.Error:
        return True
