# SPDX-License-Identifier: Apache-2.0
"""A client whose answers are recorded: raw protocol, never blocking, with a deadline for everything."""

import select
import socket
import time
from collections import deque
from typing import NamedTuple

from harness import wire

from .program import ENDINGS, encode


class Record(NamedTuple):
    """A message of the backend, and the step that it answers.

    `kind` is the message's type, or EOF or HANG. ReadyForQuery carries the ParameterStatus values
    that were in force then.
    """

    step: int
    kind: str
    body: object


class Late(Exception):
    """An answer did not come before its deadline."""


class Session:
    """One connection. Log-in is its step -1."""

    def __init__(self, path, user, database, parameters=(), lane="", outside=None):
        self.lane, self.outside = lane, outside
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.setblocking(False)
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)
        self.unsent, self.buffer = b"", bytearray()
        self.records, self.notifications = [], []
        self.parameters, self.changed, self.shown = {}, False, ()
        self.key, self.status, self.step, self.ended = 0, "", -1, False
        # (operation's type, step) of what is not answered yet.
        self.expected = deque([("start", -1)])
        self.failed = False
        values = {"user": user, "database": database} | dict(parameters)
        self._write(wire.startup(values))

    def fileno(self):
        return self.socket.fileno()

    @property
    def idle(self):
        """Everything that was sent is answered."""
        return self.ended or not self.expected

    def send(self, step, number):
        """Sends a step without waiting for its answer."""
        self.step = number
        raw = []
        for operation in step.operations:
            kind = operation[0]
            if kind == "outside":
                self._write(b"".join(raw))
                raw = []
                self.outside(operation[1])
                continue
            raw.append(encode(operation, self.lane))
            if self.failed and kind != "S":
                continue
            if kind == "S":
                self.failed = False
            if kind in ENDINGS:
                self.expected.append((kind, number))
        self._write(b"".join(raw))

    def _write(self, raw):
        if self.ended:
            return
        self.unsent += raw
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent):]
        except BlockingIOError:
            pass
        except OSError:
            # The answer that explains it may still be there to be read.
            self.unsent = b""
        self.poll.modify(self.socket, select.POLLIN | (select.POLLOUT if self.unsent else 0))

    def pump(self, seconds):
        """Reads what comes within `seconds`; returns whether anything did."""
        if self.ended or not self.poll.poll(max(0, seconds * 1000)):
            return False
        return self.read()

    def read(self):
        if self.unsent:
            self._write(b"")
        try:
            more = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            more = b""
        if not more:
            self._end("EOF")
            return True
        self.buffer += more
        self._take()
        return True

    def _end(self, kind):
        self.ended = True
        at = self.expected[0][1] if self.expected else self.step
        self.records.append(Record(at, kind, b""))
        self.expected.clear()

    def wait(self, within):
        """Waits until everything is answered; Late if it is not in time."""
        deadline = time.monotonic() + within
        while not self.idle:
            if not self.pump(deadline - time.monotonic()) and time.monotonic() > deadline:
                raise Late
        return self

    def hang(self):
        """Notes that the answer is missing; nothing more is expected of this connection."""
        self._end("HANG")

    def _take(self):
        buffer, at, end = self.buffer, 0, len(self.buffer)
        while end - at >= 5:
            length = int.from_bytes(buffer[at + 1:at + 5], "big") + 1
            if end - at < length:
                break
            self._message(chr(buffer[at]), bytes(buffer[at + 5:at + length]))
            at += length
        del buffer[:at]

    def _message(self, kind, body):
        expected = self.expected
        at = expected[0][1] if expected else self.step
        if kind == "S":
            name, value = body.split(b"\0")[:2]
            self.parameters[name.decode()] = value.decode(errors="replace")
            self.changed = True
            return
        if kind == "A":
            pid = int.from_bytes(body[:4], "big")
            channel, payload = body[4:].split(b"\0")[:2]
            whose = "own" if pid == self.key else "other"
            self.notifications.append((whose, channel.decode(), payload.decode()))
            return
        if kind == "K":
            self.key = int.from_bytes(body[:4], "big")
            return
        if kind == "Z":
            self.status = chr(body[0])
            if self.changed:
                self.shown, self.changed = tuple(sorted(self.parameters.items())), False
            self.records.append(Record(at, "Z", (self.status, self.shown)))
            if expected:
                expected.popleft()
            return
        self.records.append(Record(at, kind, body))
        if not expected:
            return
        asked = expected[0][0]
        if kind == "E":
            if asked not in ("Q", "F", "start"):
                self._skip_to_sync()
        elif asked not in ("Q", "F", "S", "start") and kind in ENDINGS[asked]:
            expected.popleft()

    def _skip_to_sync(self):
        """After an error of the extended protocol nothing is answered up to the next Sync."""
        while self.expected and self.expected[0][0] != "S":
            self.expected.popleft()
        self.failed = not self.expected

    def finish(self, how):
        """Leaves: by Terminate, or abruptly."""
        if how == "terminate":
            self._write(wire.terminate())
        elif how == "half a message":
            self._write(wire.query("SELECT 1")[:7])
        self.socket.close()
        self.ended = True

    # For sessions of the tool's own.

    def ask(self, sql, within=20.0):
        """The rows of a simple query as lists of str; an error raises."""
        mark = len(self.records)
        self.expected.append(("Q", self.step))
        self._write(wire.query(sql))
        try:
            self.wait(within)
        except Late:
            raise Late(f"no answer within {within} s to {sql}") from None
        seen, self.records[mark:] = self.records[mark:], []
        for one in seen:
            if one.kind in ("E", "EOF"):
                raise wire.Refused(wire.Message("E", one.body)) if one.body else EOFError(sql)
        return [[None if value is None else value.decode() for value in
                 wire.Message("D", one.body).row] for one in seen if one.kind == "D"]
