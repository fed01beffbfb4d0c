# SPDX-License-Identifier: Apache-2.0
"""Very many raw clients in one thread, each of which logs in, asks and is answered: what pgbench cannot play."""

import selectors
import socket
import struct
import time

from figures import Cannot
from harness import wire
from harness.waiting import pause

STARTUP = {"user": "app", "database": "app"}


class Client:
    """One of them: what it waits for, and since when."""

    def __init__(self, group=None):
        self.group, self.socket, self.rest = group, None, b""
        self.since, self.error, self.at = 0.0, None, 0.0

    def connect(self, path, within=20.0):
        """Sends the login; waits where too many are in the queue before it."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        until = time.perf_counter() + within
        while True:
            try:
                self.socket.connect(path)
                break
            except BlockingIOError:
                if time.perf_counter() > until:
                    raise Cannot("the socket takes no more clients") from None
                pause(0.001)
        name = {"application_name": self.group} if self.group else {}
        self.send(wire.startup(STARTUP | name))

    def send(self, raw):
        self.since, self.error = time.perf_counter(), None
        self.socket.send(raw)

    def hear(self):
        """True when what it waits for has come. An error without a ReadyForQuery behind it is its end."""
        try:
            raw = self.socket.recv(65536)
        except BlockingIOError:
            return False
        if not raw:
            raise ConnectionError(self.error or "connection closed")
        raw, at, ready = self.rest + raw, 0, False
        while len(raw) - at >= 5:
            length = struct.unpack_from("!i", raw, at + 1)[0] + 1
            if len(raw) - at < length:
                break
            kind = raw[at]
            if kind == 69:
                fields = wire.Message("E", raw[at + 5 : at + length]).fields
                self.error = fields.get("M", "error")
            ready = ready or kind == 90
            at += length
        self.rest = raw[at:]
        return ready

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket, self.rest = None, b""


class Throng:
    """So many clients of one pooler; `groups` are their application_names, in turn."""

    def __init__(self, pooler, count, groups=(None,)):
        self.path = pooler.socket_path
        self.clients = [Client(groups[number % len(groups)]) for number in range(count)]
        self.selector = selectors.DefaultSelector()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.selector.close()
        for one in self.clients:
            one.close()

    def enter(self, within=15):
        """All log in at once. Seconds until each was in."""
        began = time.perf_counter()
        for one in self.clients:
            one.connect(self.path)
            self.selector.register(one.socket, selectors.EVENT_READ, one)
        return [at - began for at in self.answers(len(self.clients), within)]

    def ask(self, sql, within=15):
        """All ask at once. Seconds until each was answered."""
        began, raw = time.perf_counter(), wire.query(sql)
        for one in self.clients:
            one.send(raw)
        return [at - began for at in self.answers(len(self.clients), within)]

    def answers(self, count, within):
        """The moments of so many answers."""
        found, until = [], time.perf_counter() + within
        while len(found) < count:
            for one in self.heard(until):
                found.append(time.perf_counter())
                if one.error:
                    raise Cannot(one.error)
        return found

    def heard(self, until):
        """Those that have been answered, as soon as one has."""
        for key, _ in self.selector.select(max(0.0, until - time.perf_counter())):
            try:
                if key.data.hear():
                    yield key.data
            except OSError as error:
                raise Cannot(str(error)) from None
        if time.perf_counter() > until:
            raise Cannot("not answered in time")

    def repeat(self, sql, seconds):
        """Each asks again as soon as it is answered. Milliseconds of each answer, by group."""
        raw, found = wire.query(sql), {}
        until = time.perf_counter() + seconds
        for one in self.clients:
            one.send(raw)
        while time.perf_counter() < until:
            for key, _ in self.selector.select(0.1):
                one = key.data
                try:
                    ready = one.hear()
                except OSError as error:
                    raise Cannot(str(error)) from None
                if ready:
                    if one.error:
                        raise Cannot(one.error)
                    found.setdefault(one.group, []).append((time.perf_counter() - one.since) * 1000)
                    one.send(raw)
        return found


class Offered:
    """Clients that ask at fixed times, whether or not the answer before has come; those that lost their connection
    try to have another. `answered` are the moments at which an answer was due that came in time, and without an error."""

    EACH = 0.02  # seconds between two questions of a client
    LATE = 0.25  # an answer that takes longer is none

    def __init__(self, pooler, count):
        self.throng = Throng(pooler, count)
        self.answered, self.errors = [], 0

    def run(self, is_over):
        """Until then."""
        throng, raw = self.throng, wire.query("SELECT 1")
        throng.enter()
        began = time.perf_counter()
        due = {one: began + self.EACH * number / len(throng.clients)
               for number, one in enumerate(throng.clients)}
        waits = set()
        while not is_over():
            now = time.perf_counter()
            for one in throng.clients:
                if due[one] > now:
                    continue
                at = due[one]
                # What was due in the meantime is due no more: it was not answered.
                due[one] += self.EACH * max(1, int((now - at) / self.EACH))
                try:
                    if one.socket is None:
                        one.connect(throng.path, within=0)
                        throng.selector.register(one.socket, selectors.EVENT_READ, one)
                        waits.add(one)
                    elif one not in waits:
                        one.at = at
                        one.send(raw)
                        waits.add(one)
                except (OSError, Cannot):
                    self.lost(one, waits)
            for key, _ in throng.selector.select(0.002):
                one = key.data
                try:
                    if not one.hear():
                        continue
                except OSError:
                    self.lost(one, waits)
                    continue
                waits.discard(one)
                if one.error:
                    self.errors += 1
                elif one.at and time.perf_counter() - one.at < self.LATE:
                    self.answered.append(one.at)
                one.at = 0.0

    def lost(self, one, waits):
        self.errors += 1
        waits.discard(one)
        if one.socket:
            try:
                self.throng.selector.unregister(one.socket)
            except (KeyError, ValueError):
                pass
            one.close()
        one.at = 0.0

    def until_good(self, since, before, end, part=0.99, window=0.25, lasts=4):
        """Seconds from `since` to the first of so many windows in turn in which that part of what was answered `before`
        was answered; None where there is none."""
        usual = sum(before[0] <= at < before[1] for at in self.answered) / (before[1] - before[0])
        good, start = 0, since
        while start + window <= end:
            seen = sum(start <= at < start + window for at in self.answered)
            good = good + 1 if seen >= part * usual * window else 0
            if good == lasts:
                return start - (lasts - 1) * window - since
            start += window / 5 if not good else window
        return None
