# SPDX-License-Identifier: Apache-2.0
"""psycopg2's connections. They cannot speak asynchronously, so LEASE goes past libpq, on its idle
socket; where that cannot be (TCP, perhaps with TLS) it goes through libpq, and is never direct."""

from __future__ import annotations

import functools
from typing import Any, Callable, NamedTuple, Optional, Union

import psycopg2
import psycopg2.extensions as ext

from . import _command
from ._channel import Channel
from ._descriptors import Received
from ._exchange import exchange, tell
from ._link import Link, tell_of_end
from ._outcome import NO_LEASE, Ending, Gone, Refused, Stale, ended_by_other
from ._request import Grant, Request
from ._waits import Waits
from ._wire import Answer, Fields

Connection = ext.connection
Factory = Union[type, Callable[..., Connection]]

# What PostgreSQL reports unasked. Others that are told are compared when they are.
_REPORTED = (
    "client_encoding", "DateStyle", "TimeZone", "IntervalStyle", "standard_conforming_strings",
    "application_name", "default_transaction_read_only", "session_authorization", "is_superuser",
    "in_hot_standby", "search_path")


class Manners(NamedTuple):
    """What a user may change on a connection object, as it was when the connection was made."""

    autocommit: Any
    isolation_level: Any
    readonly: Any
    deferrable: Any
    encoding: str
    cursor_factory: Any

    @classmethod
    def of(cls, connection: Connection) -> Manners:
        return cls(connection.autocommit, connection.isolation_level, connection.readonly,
                   connection.deferrable, connection.encoding, connection.cursor_factory)

    def restore(self, connection: Connection) -> None:
        """Asks the server only where psycopg2 has told it something."""
        if connection.autocommit != self.autocommit:
            connection.autocommit = self.autocommit
        if connection.isolation_level != self.isolation_level:
            connection.isolation_level = self.isolation_level
        if connection.readonly != self.readonly:
            connection.readonly = self.readonly
        if connection.deferrable != self.deferrable:
            connection.deferrable = self.deferrable
        if connection.encoding != self.encoding:
            connection.set_client_encoding(self.encoding)
        connection.cursor_factory = self.cursor_factory


class Psycopg2Link(Link[Connection]):
    """See Link."""

    def __init__(self, connection: Connection, waits: Waits) -> None:
        super().__init__(connection, connection.fileno(), waits)
        self.manners = Manners.of(connection)
        self._view = _view(connection)
        # Heads of answers in which nothing was news, and nothing can be while the view is the same.
        self._known_lease = b""
        self._known_return = b""
        # Where the lease was taken whose LEASE RETURN was sent and has not been answered yet.
        self._returning: Optional[str] = None
        self._where = ""
        own = getattr(connection, "__dict__", None)
        if own is not None:
            own["_pglease_link"] = self

    def number(self, connection: Connection) -> int:
        try:
            return -1 if connection.closed else connection.fileno()
        except psycopg2.Error:
            return -1

    def told(self, connection: Connection, name: str) -> Optional[str]:
        return connection.get_parameter_status(name)

    # LEASE.

    async def take(self, connection: Connection, request: Request, direct: bool) -> Grant:
        channel = self.channel
        if self.number(connection) < 0:
            raise Gone("the connection was closed while it was idle")
        if channel is None or self.must_learn:
            self.to_broker(connection)
            return self._take_by_driver(connection, request)
        received, answer = Received(), Answer(self._known_lease)
        try:
            await self._ask(channel, request, direct, received, answer)
            for notice in answer.notices:
                connection.notices.append(notice.text)
            if self._is_news(connection, answer.parameters):
                raise Stale
            if answer.error is not None:
                raise Refused(answer.error)
            self._known_lease = answer.head
            grant = _grant(answer.row)
            if grant.kind == "direct":
                if not self.receive_server(received, request):
                    raise Gone("a direct lease without a descriptor")
            else:
                self.is_parkable = False
                channel.to_broker()
            self._where = request.where
            if self.was_taken:
                self._begin_anew(connection)
            return grant
        finally:
            received.close()

    def _begin_anew(self, connection: Connection) -> None:
        """The session is a new one, and so is what is kept of it on the connection object."""
        self.was_taken = False
        try:
            self.manners.restore(connection)
            _forget_messages(connection)
        except psycopg2.Error as error:
            raise Gone(str(error)) from None

    async def _ask(self, channel: Channel, request: Request, direct: bool, received: Received,
                   answer: Answer) -> None:
        """LEASE, and before its answer that of the LEASE RETURN before it."""
        text = request.command(direct)
        if self._returning is None:
            await exchange(channel, text, self.waits, request.answer_due, received, answer)
            return
        first = Answer(self._known_return)
        await exchange(channel, text, self.waits, request.answer_due, received, first, answer)
        if first.error is not None and first.error.code != NO_LEASE:
            if not ended_by_other(first.error):
                raise Gone("the last lease was not returned", first.error)
            tell_of_end(self._returning, first.error)
        if self._is_news(self.reference(), first.parameters):
            raise Gone("parameters that changed by themselves")
        self._known_return = first.head
        self._returning = None

    def _take_by_driver(self, connection: Connection, request: Request) -> Grant:
        try:
            grant = _grant(_execute(connection, request.command(direct=False)))
        except psycopg2.Error as error:
            if connection.closed:
                raise Gone(str(error)) from None
            raise Refused(fields_of(error)) from None
        # What libpq has learnt from the answer is what it goes back to.
        self._view = _view(connection)
        return grant

    def _is_news(self, connection: Optional[Connection], told: dict[str, str]) -> bool:
        return connection is None or any(
            connection.get_parameter_status(name) != value for name, value in told.items())

    # LEASE RETURN.

    async def put(self, connection: Connection) -> Ending:
        if connection.closed:
            return await self.lost()
        try:
            _roll_back(connection)
            if self.may_park() and _status(connection) == ext.TRANSACTION_STATUS_IDLE:
                assert self.place is not None
                self.place.park()
                return Ending(True, parked=True)
            self.is_parkable = False
            self.manners.restore(connection)
            _forget_messages(connection)
        except psycopg2.Error as error:
            return await self.lost() if connection.closed else Ending(False, fields_of(error))
        if _status(connection) != ext.TRANSACTION_STATUS_IDLE:
            return Ending(False)
        try:
            return self._return(connection)
        except Gone as gone:
            return Ending(False, gone.fields)

    def _return(self, connection: Connection) -> Ending:
        if self.channel is not None and not self.must_learn and not self._has_changed(connection):
            # Nobody waits for the answer: it is read with that of the next LEASE. The next who
            # waits at the broker is served a round trip earlier, and so is this one.
            # The pool parks the connection: no copy of a server's socket is left then.
            self.park(connection)
            tell(self.channel, _command.RETURN)
            self._returning = self._where
            return Ending(True)
        # libpq must read the answer: it tells what is in force from now on.
        self.to_broker(connection)
        error = _return_by_driver(connection)
        keep = error is None or error.code == NO_LEASE or ended_by_other(error)
        return Ending(keep and not self._has_changed(connection), error, broker_lives=True)

    def _has_changed(self, connection: Connection) -> bool:
        """True when libpq's idea of the session is not what it was before the lease."""
        return _view(connection) != self._view

    async def close(self, connection: Connection) -> None:
        try:
            # Past the user's own close, which may be one that gives back.
            ext.connection.close(connection)
        except psycopg2.Error:
            pass
        finally:
            self.drop()


# The class of the connections.

@functools.lru_cache(maxsize=64)
def leasable(factory: Factory) -> Factory:
    """A subclass of the user's connection class that ends its lease as soon as it is closed. One of
    a factory that is no class ends it when it is put back or collected."""
    if not (isinstance(factory, type) and issubclass(factory, ext.connection)):
        return factory
    base: Any = factory

    class Leasable(base):  # type: ignore[misc]
        def close(self) -> None:
            link: Optional[Psycopg2Link] = self.__dict__.get("_pglease_link")
            if link is None:
                super().close()
            elif not link.inherited:
                super().close()
                link.drop()

        def cancel(self) -> None:
            link: Optional[Psycopg2Link] = self.__dict__.get("_pglease_link")
            if link is not None and link.inherited:
                raise psycopg2.InterfaceError("this connection is the parent process's")
            super().cancel()

    Leasable.__name__ = factory.__name__
    Leasable.__qualname__ = factory.__qualname__
    return Leasable


# psycopg2 in small steps.

def _view(connection: Connection) -> list[Optional[str]]:
    """What libpq believes of the session."""
    told = connection.get_parameter_status
    return [told(name) for name in _REPORTED]


def _status(connection: Connection) -> int:
    return connection.get_transaction_status()


def _roll_back(connection: Connection) -> None:
    connection.rollback()
    if _status(connection) != ext.TRANSACTION_STATUS_IDLE:
        # A BEGIN that psycopg2 does not know of, sent in autocommit.
        _execute(connection, "ROLLBACK")


def _forget_messages(connection: Connection) -> None:
    """The next lease does not see what this one was told."""
    connection.notices = []
    connection.notifies = []


def _execute(connection: Connection, command: str) -> tuple[Any, ...]:
    """One statement outside psycopg2's transactions; its first row, if it has any."""
    before = connection.autocommit
    if not before and _status(connection) == ext.TRANSACTION_STATUS_IDLE:
        connection.autocommit = True
    try:
        # Past a cursor class of the user's, which may do anything.
        with ext.connection.cursor(connection, cursor_factory=ext.cursor) as cursor:
            cursor.execute(command)
            row = cursor.fetchone() if cursor.description else None
        return row or ()
    finally:
        if not connection.closed and connection.autocommit != before:
            connection.autocommit = before


def _return_by_driver(connection: Connection) -> Optional[Fields]:
    try:
        _execute(connection, _command.RETURN)
        return None
    except psycopg2.Error as error:
        if connection.closed:
            raise Gone(str(error)) from None
        return fields_of(error)


def _grant(row: tuple[Any, ...]) -> Grant:
    try:
        lease_id, server_pid, kind, waited_us = row
        return Grant(int(lease_id), int(server_pid), str(kind), int(waited_us) / 1_000_000)
    except (TypeError, ValueError):
        raise Gone(f"an answer to LEASE that is none: {row!r}") from None


def fields_of(error: psycopg2.Error) -> Fields:
    """An SQL error as the broker's fields."""
    values = {"C": error.pgcode or "", "M": error.diag.message_primary or str(error)}
    for name, text in (("D", error.diag.message_detail), ("H", error.diag.message_hint)):
        if text:
            values[name] = text
    return Fields(values)
