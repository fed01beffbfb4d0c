# SPDX-License-Identifier: Apache-2.0
"""The answer to one simple query, as messages of PostgreSQL's protocol."""

from __future__ import annotations

import struct
from typing import Optional

_LONGEST = 1 << 20
# The messages before the row; notices are news each time.
_HEAD = (b"S", b"T")


class BadAnswer(Exception):
    """Bytes that are no answer to LEASE: the connection is of no use any more."""


class Fields:
    """An ErrorResponse or NoticeResponse by its one-letter field names."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    @classmethod
    def parse(cls, body: bytes) -> Fields:
        values = {}
        for part in body.split(b"\0"):
            if part:
                text = part.decode("utf-8", "replace")
                values[text[0]] = text[1:]
        return cls(values)

    @property
    def code(self) -> str:
        return self.values.get("C", "")

    @property
    def message(self) -> str:
        return self.values.get("M", "")

    @property
    def detail(self) -> Optional[str]:
        return self.values.get("D")

    @property
    def hint(self) -> Optional[str]:
        return self.values.get("H")

    @property
    def text(self) -> str:
        """As libpq writes it."""
        lines = [f"{self.values.get('S', 'NOTICE')}:  {self.message}\n"]
        if self.detail:
            lines.append(f"DETAIL:  {self.detail}\n")
        if self.hint:
            lines.append(f"HINT:  {self.hint}\n")
        return "".join(lines)


class Answer:
    """What came back so far; complete once `ready`.

    `known` is the `head` of an earlier answer (what came before the row) that the reader has dealt
    with: the broker repeats it byte for byte from lease to lease, so it is not read again.
    """

    def __init__(self, known: bytes = b"") -> None:
        self.notices: list[Fields] = []
        self.parameters: dict[str, str] = {}
        self.error: Optional[Fields] = None
        self.row: tuple[Optional[str], ...] = ()
        self.ready = False
        self.head = b""
        self._known = known
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes in, cut anywhere; returns those that come after the answer's end."""
        data = self._rest + data if self._rest else data
        self._rest = b""
        position = 0
        if self._known and data.startswith(self._known):
            self.head = self._known
            position = len(self._known)
        self._known = b""
        while not self.ready and len(data) - position >= 5:
            kind, length = data[position : position + 1], _length(data, position)
            end = position + 1 + length
            if end > len(data):
                break
            self._message(kind, data[position + 5 : end])
            if kind in _HEAD:
                self.head += data[position:end]
            position = end
        if self.ready:
            return data[position:]
        self._rest = data[position:]
        return b""

    def _message(self, kind: bytes, body: bytes) -> None:
        if kind == b"D":
            self.row = _row(body)
        elif kind == b"Z":
            if body != b"I":
                raise BadAnswer(f"the session is not idle: {body!r}")
            self.ready = True
        elif kind == b"S":
            name, value = body.split(b"\0")[:2]
            self.parameters[name.decode()] = value.decode("utf-8", "replace")
        elif kind == b"N":
            self.notices.append(Fields.parse(body))
        elif kind == b"E":
            self.error = Fields.parse(body)
        elif kind not in (b"T", b"C", b"A"):
            raise BadAnswer(f"message {kind!r} is no answer to LEASE")


def query(text: str) -> bytes:
    body = text.encode() + b"\0"
    return b"Q" + struct.pack("!i", len(body) + 4) + body


def _length(data: bytes, position: int) -> int:
    (length,) = struct.unpack_from("!i", data, position + 1)
    if not 4 <= length <= _LONGEST:
        raise BadAnswer(f"a message of {length} bytes")
    return int(length)


def _row(body: bytes) -> tuple[Optional[str], ...]:
    values: list[Optional[str]] = []
    try:
        (count,) = struct.unpack_from("!h", body)
        position = 2
        for _ in range(count):
            (length,) = struct.unpack_from("!i", body, position)
            position += 4
            if length < 0:
                values.append(None)
                continue
            values.append(body[position : position + length].decode("utf-8", "replace"))
            position += length
    except struct.error:
        raise BadAnswer("a row that ends early") from None
    return tuple(values)
