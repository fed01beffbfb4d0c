"""psycopg2's side of a pool: how it connects, and what its errors say."""

from __future__ import annotations

import math
import os
from typing import Any, Optional

import psycopg2
import psycopg2.extensions as ext
import psycopg2.pool

from ._leasing import Leasing
from ._outcome import Family
from ._policy import Policy
from ._psycopg2_link import Psycopg2Link, leasable
from ._request import Request
from ._waits import Blocking


class Psycopg2Leasing(Leasing[ext.connection]):
    """Connects as `psycopg2.connect(*arguments, **keywords)` does."""

    def __init__(self, size: int, policy: Policy, family: Family[Any], arguments: tuple[Any, ...],
                 keywords: dict[str, Any]) -> None:
        super().__init__(size, policy, family, Blocking())
        names = ("dsn", "connection_factory", "cursor_factory")
        if len(arguments) > len(names):
            raise TypeError("psycopg2.connect takes at most 3 positional arguments")
        self._keywords = dict(zip(names, arguments), **keywords)
        if self._keywords.get("async") or self._keywords.get("async_"):
            raise ValueError("an asynchronous connection cannot be leased")
        self._factory = self._keywords.pop("connection_factory", None) or ext.connection
        self._has_timeout = self._has_own_timeout()

    def _has_own_timeout(self) -> bool:
        words = {name: value for name, value in self._keywords.items() if name != "cursor_factory"}
        try:
            known = ext.parse_dsn(ext.make_dsn(**words))
        except psycopg2.Error:
            return True
        return "connect_timeout" in known or "PGCONNECT_TIMEOUT" in os.environ

    async def connect(self, request: Request) -> Psycopg2Link:
        keywords = self._keywords
        if request.wait is not None and not self._has_timeout:
            # In whole seconds, 2 at least: so libpq counts.
            keywords = dict(keywords, connect_timeout=max(2, math.ceil(request.left)))
        try:
            connection = psycopg2.connect(connection_factory=leasable(self._factory), **keywords)
        except psycopg2.OperationalError as error:
            raise self.family.unreached(str(error), request.waited) from error
        if not isinstance(connection, ext.connection):
            raise TypeError("connection_factory must make psycopg2 connections")
        return Psycopg2Link(connection, self.waits)

    def closed_error(self) -> Exception:
        return psycopg2.pool.PoolError("connection pool is closed")
