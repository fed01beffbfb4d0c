# SPDX-License-Identifier: Apache-2.0
"""psycopg 3's connections, blocking and asyncio. libpq itself reads the answer to LEASE: the
descriptor is peeked at first."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Awaitable
from typing import Any, Callable, NamedTuple, Optional, TypeVar, Union

import psycopg
from psycopg import pq

from . import _command
from ._descriptors import Received
from ._link import Link
from ._outcome import NO_LEASE, Ending, Gone, Refused, ended_by_other
from ._request import ANSWER_GRACE, Grant, Request
from ._waits import Waits, seconds_until
from ._wire import Fields

AnyConnection = Union["psycopg.Connection[Any]", "psycopg.AsyncConnection[Any]"]
Callback = Callable[[Any], Any]
T = TypeVar("T")

_ANSWERS = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.FATAL_ERROR)
_DIAGNOSTICS = {
    "S": pq.DiagnosticField.SEVERITY, "C": pq.DiagnosticField.SQLSTATE,
    "M": pq.DiagnosticField.MESSAGE_PRIMARY, "D": pq.DiagnosticField.MESSAGE_DETAIL,
    "H": pq.DiagnosticField.MESSAGE_HINT}


async def settled(value: Union[T, Awaitable[T]]) -> T:
    """The value, of a blocking connection's method or of an asyncio one's."""
    if inspect.isawaitable(value):
        return await value
    return value


class Manners(NamedTuple):
    """What a user may change on a connection object, as it was when the connection was made."""

    autocommit: Any
    isolation_level: Any
    read_only: Any
    deferrable: Any
    row_factory: Any
    cursor_factory: Any
    prepare_threshold: Any

    @classmethod
    def of(cls, connection: AnyConnection) -> Manners:
        return cls(*(getattr(connection, name) for name in cls._fields))

    async def restore(self, connection: AnyConnection) -> None:
        """Never asks the server: psycopg keeps these to itself until the next BEGIN."""
        for name, value in zip(self._fields, self):
            if getattr(connection, name) == value:
                continue
            setter = getattr(connection, f"set_{name}", None)
            if setter is not None:
                await settled(setter(value))
            else:
                setattr(connection, name, value)


class PsycopgLink(Link[Any]):
    """See Link."""

    def __init__(self, connection: AnyConnection, waits: Waits,
                 reset: Optional[Callback]) -> None:
        super().__init__(connection, connection.pgconn.socket, waits)
        self.manners = Manners.of(connection)
        self.reset = reset
        # The statements that the relay's session has prepared, while a direct lease has its own.
        self._relay_statements: Any = None
        connection.__dict__["_pglease_link"] = self

    def number(self, connection: AnyConnection) -> int:
        try:
            return connection.pgconn.socket
        except psycopg.Error:
            return -1

    def told(self, connection: AnyConnection, name: str) -> Optional[str]:
        return connection.info.parameter_status(name)

    # LEASE.

    async def take(self, connection: AnyConnection, request: Request, direct: bool) -> Grant:
        if self.number(connection) < 0:
            raise Gone("the connection was closed while it was idle")
        self.to_broker(connection)
        self.is_parkable = False
        received = Received() if direct and self.channel is not None else None
        try:
            result = await self._ask(
                connection, request.command(received is not None), request.answer_due, received)
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise Refused(_fields(result))
            grant = _grant(result)
            if grant.kind != "direct":
                return grant
            if received is not None and self.receive_server(received, request):
                self._use_own_statements(connection)
                return grant
        finally:
            if received is not None:
                received.close()
        # A notice was there to be read, and the answer came between the look and the reading:
        # libpq has read the descriptor's bytes, and the kernel has closed it.
        await self._ask(connection, _command.RETURN, request.answer_due, None)
        return await self.take(connection, request, direct=False)

    async def _ask(self, connection: AnyConnection, text: str, due: Optional[float],
                   received: Optional[Received]) -> pq.abc.PGresult:
        """One simple query, read by libpq."""
        pgconn = connection.pgconn
        answer: Optional[pq.abc.PGresult] = None
        try:
            pgconn.send_query(text.encode())
            number = pgconn.socket
            while pgconn.flush():
                if not await self.waits.writable(number, seconds_until(due)):
                    raise Gone("the broker does not read")
            while True:
                if pgconn.is_busy():
                    if not await self.waits.readable(number, seconds_until(due)):
                        raise Gone("the broker does not answer")
                    if received is not None:
                        self._peek(received)
                    pgconn.consume_input()
                    continue
                result = pgconn.get_result()
                if result is None:
                    break
                if result.status not in _ANSWERS:
                    # In a COPY, say: libpq would give the same result again and again.
                    raise Gone(f"{result.status} is no answer to LEASE")
                answer = result
        except psycopg.Error as error:
            raise Gone(str(error), _fields(answer) if answer else None) from None
        if answer is None or pgconn.status == pq.ConnStatus.BAD:
            raise Gone("the broker closed the connection", _fields(answer) if answer else None)
        return answer

    def _peek(self, received: Received) -> None:
        assert self.channel is not None
        # libpq will meet the same, and say it.
        with contextlib.suppress(OSError):
            received.receive(self.channel.keeper, peek=True)

    def _use_own_statements(self, connection: AnyConnection) -> None:
        # What was prepared through the relay is not known there, and the other way round. The class
        # is psycopg's own business: where it looks different, nothing is prepared by itself.
        statements: Any = getattr(connection, "_prepared", None)
        try:
            fresh = type(statements)()
            fresh.prepare_threshold = statements.prepare_threshold
            fresh.prepared_max = statements.prepared_max
            connection._prepared = fresh
            self._relay_statements = statements
        except (AttributeError, TypeError):
            connection.prepare_threshold = None

    def to_broker(self, connection: AnyConnection) -> None:
        super().to_broker(connection)
        if self._relay_statements is not None:
            connection._prepared = self._relay_statements
            self._relay_statements = None

    # LEASE RETURN.

    async def put(self, connection: AnyConnection) -> Ending:
        connection._pool = None
        if connection.closed:
            return await self.lost() if connection.broken else Ending(False)
        try:
            await self._clean(connection)
        except Exception as failure:  # noqa: BLE001
            # What the reset callback raises means the same: the connection cannot be used again.
            cause = fields_of(failure) if isinstance(failure, psycopg.Error) else None
            return await self.lost() if connection.broken else Ending(False, cause)
        pgconn = connection.pgconn
        if (pgconn.transaction_status != pq.TransactionStatus.IDLE
                or pgconn.pipeline_status != pq.PipelineStatus.OFF):
            return Ending(False)
        try:
            await self.manners.restore(connection)
            if self.may_park():
                assert self.place is not None
                self.place.park()
                return Ending(True, parked=True)
            self.is_parkable = False
            self.to_broker(connection)
            due = time.monotonic() + ANSWER_GRACE
            result = await self._ask(connection, _command.RETURN, due, None)
        except Gone as gone:
            return Ending(False, gone.fields)
        if result.status == pq.ExecStatus.COMMAND_OK:
            return Ending(True, broker_lives=True)
        error = _fields(result)
        return Ending(error.code == NO_LEASE or ended_by_other(error), error, broker_lives=True)

    async def _clean(self, connection: AnyConnection) -> None:
        if connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            return
        if connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            await settled(connection.rollback())
        if self.reset is not None:
            await settled(self.reset(connection))

    async def close(self, connection: AnyConnection) -> None:
        connection._pool = None
        try:
            await settled(connection.close())
        except psycopg.Error:
            pass
        finally:
            self.drop()


# The classes of the connections.

@functools.lru_cache(maxsize=64)
def leasable(connection_class: Any) -> Any:
    """A subclass of the user's that ends its lease as soon as it is closed."""
    base: Any = connection_class

    class Blocking(base):  # type: ignore[misc]
        def close(self) -> None:
            pool = _returns_to(self)
            if pool is not None:
                pool.putconn(self)
            else:
                super().close()
                _end_lease(self)

    class Asyncio(base):  # type: ignore[misc]
        async def close(self) -> None:
            pool = _returns_to(self)
            if pool is not None:
                await pool.putconn(self)
            else:
                await super().close()
                _end_lease(self)

    made = Asyncio if issubclass(base, psycopg.AsyncConnection) else Blocking
    made.__name__ = connection_class.__name__
    made.__qualname__ = connection_class.__qualname__
    made.__module__ = connection_class.__module__
    return made


def _returns_to(connection: AnyConnection) -> Any:
    """The pool to which a close gives back, if it has `close_returns` and lent the connection."""
    pool: Any = getattr(connection, "_pool", None)
    return pool if pool is not None and pool.close_returns and pool.owns(connection) else None


def _end_lease(connection: AnyConnection) -> None:
    link: Optional[PsycopgLink] = connection.__dict__.get("_pglease_link")
    if link is not None:
        link.drop()


# Results.

def _fields(result: pq.abc.PGresult) -> Fields:
    values = {}
    for name, which in _DIAGNOSTICS.items():
        raw = result.error_field(which)
        if raw is not None:
            values[name] = raw.decode("utf-8", "replace")
    return Fields(values)


def _grant(result: pq.abc.PGresult) -> Grant:
    try:
        values = [(result.get_value(0, column) or b"").decode() for column in range(4)]
        return Grant(int(values[0]), int(values[1]), values[2], int(values[3]) / 1_000_000)
    except (ValueError, IndexError):
        raise Gone("an answer to LEASE that is none") from None


def fields_of(error: psycopg.Error) -> Fields:
    """An SQL error as the broker's fields."""
    values = {"C": error.sqlstate or "", "M": error.diag.message_primary or str(error)}
    for name, text in (("D", error.diag.message_detail), ("H", error.diag.message_hint)):
        if text:
            values[name] = text
    return Fields(values)
