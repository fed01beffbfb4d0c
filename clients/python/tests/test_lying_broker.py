# SPDX-License-Identifier: Apache-2.0
"""A broker that dies or lies at LEASE: what the real one cannot be made to do."""

import os
import shutil
import socket
import struct
import threading

import pytest

import pglease
from harness.postgres import folder
from pglease import psycopg2_pool, psycopg_pool


def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


def column(name):
    return name + b"\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)


def row(*values):
    return message(b"D", struct.pack("!h", len(values)) + b"".join(
        struct.pack("!i", len(one)) + one for one in values))


HEAD = message(b"T", struct.pack("!h", 4) + b"".join(
    column(name) for name in (b"lease_id", b"server_pid", b"kind", b"waited_us")))
END = message(b"C", b"LEASE\0") + message(b"Z", b"I")
GOOD = HEAD + row(b"1", b"2", b"relay", b"3") + END
DIRECT = HEAD + row(b"1", b"2", b"direct", b"3") + END
FATAL = message(b"E", b"SFATAL\0VFATAL\0C57P01\0Mgoing away\0\0")


class LyingBroker:
    """Logs everybody in, and answers the first query with `answer`, `descriptors` beside its first
    byte; then it closes the connection, or is silent."""

    def __init__(self, answer, close, descriptors=()):
        self.folder = folder("liar")
        self.answer, self.close_then, self.descriptors = answer, close, descriptors
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{self.folder}/.s.PGSQL.6432")
        self.listener.listen(8)
        self.links = []
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def dsn(self):
        return f"host={self.folder} port=6432 user=app dbname=app"

    def _run(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            self.links.append(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        try:
            link.recv(4096)
            told = {b"client_encoding": b"UTF8", b"DateStyle": b"ISO, MDY",
                    b"server_version": b"15.0", b"standard_conforming_strings": b"on"}
            link.sendall(message(b"R", struct.pack("!i", 0)) + b"".join(
                message(b"S", name + b"\0" + value + b"\0") for name, value in told.items())
                + message(b"K", struct.pack("!ii", 1, 2)) + message(b"Z", b"I"))
            if not link.recv(4096):
                return
            if self.answer:
                socket.send_fds(link, [self.answer], list(self.descriptors))
            if self.close_then:
                link.close()
            else:
                link.recv(4096)
        except OSError:
            pass

    def end(self):
        # A blocked accept does not notice a close; a shutdown it does.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for link in self.links:
            link.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def lie(monkeypatch):
    monkeypatch.setattr("pglease._request.ANSWER_GRACE", 0.2)
    made = []

    def make(*words, **more):
        made.append(LyingBroker(*words, **more))
        return made[-1]

    yield make
    for one in made:
        one.end()


def take_with_psycopg2(dsn):
    pool = psycopg2_pool.LeasePool(0, 1, dsn, wait=0.1, attempts=1)
    try:
        return pool.getconn()
    finally:
        assert pool._leasing.book.taken == (1 if pool._leasing.book.loans() else 0)


def take_with_psycopg(dsn):
    pool = psycopg_pool.ConnectionPool(dsn, min_size=0, max_size=1, timeout=0.1, attempts=1)
    try:
        return pool.getconn()
    finally:
        assert pool._leasing.book.taken == (1 if pool._leasing.book.loans() else 0)


@pytest.fixture(params=[take_with_psycopg2, take_with_psycopg])
def take(request):
    return request.param


@pytest.mark.parametrize("close", [True, False], ids=["closes", "is silent"])
@pytest.mark.parametrize("length", [0, 1, 4, 7, len(HEAD), len(HEAD) + 3, len(GOOD) - 6,
                                    len(GOOD) - 1])
def test_an_answer_that_ends_early(lie, take, length, close):
    with pytest.raises(pglease.BrokerAway):
        take(lie(GOOD[:length], close).dsn)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    END, HEAD + END, HEAD + row(b"x", b"2", b"relay", b"3") + END, message(b"Z", b"T"),
    HEAD + row(b"1", b"2") + END, FATAL, message(b"G", b"\0\0\0")])
def test_an_answer_that_is_none(lie, take, answer):
    with pytest.raises((pglease.BrokerAway, pglease.LeaseRefused)):
        take(lie(answer, True).dsn)


def test_the_last_words_are_told(lie, take):
    with pytest.raises(pglease.BrokerAway, match="going away"):
        take(lie(FATAL, True).dsn)


def test_direct_without_a_descriptor(lie):
    with pytest.raises(pglease.BrokerAway):
        take_with_psycopg2(lie(DIRECT, False).dsn)


def test_descriptors_that_nobody_asked_for_are_closed(lie):
    reading, writing = os.pipe()
    broker = lie(GOOD, False, descriptors=[writing] * 3)
    connection = take_with_psycopg2(broker.dsn)
    os.close(writing)
    # The last copy is gone when the pipe ends.
    assert os.read(reading, 1) == b""
    os.close(reading)
    with pytest.warns(ResourceWarning):
        del connection
