# SPDX-License-Identifier: Apache-2.0
"""A message that is wrong ends its own session with 08P01 and touches nobody else."""

import os
import random
import struct
import socket

import pytest

from harness import wire
from harness.waiting import eventually, holds_for

pytestmark = pytest.mark.broker_only


def unharmed(broker):
    with broker.wire() as one:
        assert one.value("SELECT 'unharmed'") == "unharmed"


def answer_and_end(one):
    """The codes of the errors that come before the end of the session."""
    codes = []
    try:
        while True:
            seen = one.read()
            if seen.kind == "E":
                codes.append(seen.code)
    except (wire.Closed, ConnectionError):
        return codes


BAD_MESSAGES = {
    "an unknown kind": b"\x01" + struct.pack("!i", 4),
    "a kind of the backend": wire.message("Z", b"I"),
    "a length below four": b"Q" + struct.pack("!i", 3),
    "a length of zero": b"Q" + struct.pack("!i", 0),
    "a negative length": b"Q" + struct.pack("!i", -5),
    "the largest length": b"Q" + struct.pack("!i", 0x7FFFFFFF) + b"x",
    "a sync with a body": wire.message("S", b"more"),
    "a flush of two gigabytes": b"H" + struct.pack("!i", 0x7FFFFFF0),
    "a password when none is asked": wire.message("p", b"secret\0"),
}


@pytest.mark.pglease_only
@pytest.mark.parametrize("what", BAD_MESSAGES)
def test_ends_its_session_with_08P01(broker, what):
    with broker.wire() as one, broker.wire() as other:
        other.query("BEGIN")
        one.send(BAD_MESSAGES[what])
        one.socket.shutdown(socket.SHUT_WR)
        codes = answer_and_end(one)
        # The largest length is allowed: that message is merely cut short. PostgreSQL may be the first
        # to say no, to its length.
        is_cut = what == "the largest length" and codes in ([], ["08006"])
        assert codes == ["08P01"] or is_cut
        assert other.value("SELECT 1") == "1"
        other.query("COMMIT")
    unharmed(broker)


BAD_BODIES = {
    "a query without its end": wire.message("Q", b"SELECT 1"),
    "a parse without a name's end": wire.message("P", b"abc"),
    "a parse without types": wire.message("P", b"s\0SELECT 1\0"),
    "a parse with too many types": wire.message("P", b"s\0SELECT 1\0" + struct.pack("!h", 300)),
    "a bind without parts": wire.message("B", b"\0"),
    "a bind with a long value": wire.message(
        "B", b"\0\0" + struct.pack("!hhi", 0, 1, 100) + b"short" + struct.pack("!h", 0)),
    "a describe of nothing": wire.message("D", b""),
    "a describe of something else": wire.message("D", b"X\0"),
    "a close of something else": wire.message("C", b"X\0"),
    "an execute without a limit": wire.message("E", b"\0"),
    "an empty parse": wire.message("P", b""),
}


@pytest.mark.pglease_only
@pytest.mark.parametrize("what", BAD_BODIES)
def test_a_malformed_body_is_an_error_for_its_session_only(broker, what):
    """The broker, or PostgreSQL behind it, answers 08P01; the session may go on or end."""
    with broker.wire() as one, broker.wire() as other:
        one.send(BAD_BODIES[what], wire.sync())
        codes = []
        try:
            while True:
                seen = one.next()
                if seen.kind == "E":
                    codes.append(seen.code)
                if seen.kind == "Z":
                    break
        except wire.Closed:
            pass
        # PostgreSQL looks for the statement before it reads a Bind's values.
        allowed = {"08P01"} | ({"26000"} if what.startswith("a bind") else set())
        assert codes and set(codes) <= allowed, codes
        assert other.value("SELECT 1") == "1"
    unharmed(broker)


BAD_STARTUPS = {
    "an http request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tls hello": bytes.fromhex("16030100c8010000c40303") + b"\x05" * 200,
    "a length below eight": struct.pack("!ii", 7, 196608),
    "a huge length": struct.pack("!ii", 0x7FFFFFFF, 196608),
    "a negative length": struct.pack("!ii", -1, 196608),
    "an old protocol": struct.pack("!ii", 8 + 1, 131072) + b"\0",
    "a future protocol": struct.pack("!ii", 8 + 1, 4 << 16) + b"\0",
    "no parameters": struct.pack("!ii", 9, 196608) + b"\0",
    "no end": struct.pack("!ii", 8 + 9, 196608) + b"user\0app\0",
    "a name without a value": struct.pack("!ii", 8 + 6, 196608) + b"user\0\0",
    "a value without an end": struct.pack("!ii", 8 + 9, 196608) + b"user\0appx",
    "only a database": wire.startup({"database": "app"}),
    "bytes after the end": struct.pack("!ii", 8 + 14, 196608) + b"user\0app\0\0more",
    "an empty user": wire.startup({"user": "", "database": "app"}),
    "a startup of ten thousand bytes": wire.startup({"user": "app", "database": "app",
                                                      "application_name": "x" * 70000}),
}


@pytest.mark.parametrize("what", BAD_STARTUPS)
def test_a_bad_startup_is_refused(transaction_broker, what):
    one = transaction_broker.raw()
    try:
        one.send(BAD_STARTUPS[what])
        one.socket.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    raw = b""
    one.socket.settimeout(10)
    try:
        while more := one.socket.recv(65536):
            raw += more
    except ConnectionError:
        pass
    if transaction_broker.program == "pglease" and raw:
        assert raw[:1] == b"E", raw[:60]
        if what != "an old protocol":  # whose clients read another form of errors
            codes = wire.Message("E", raw[5:]).fields
            assert codes["C"] in ("08P01", "28000", "0A000", "53300"), codes
    careless = what in ("no end", "bytes after the end")
    lenient = transaction_broker.program == "pgbouncer" and careless
    assert lenient or b"R\0\0\0\x08\0\0\0\0" not in raw, "it was let in"
    one.close()
    unharmed(transaction_broker)


def test_ssl_and_gss_requests_are_declined_and_the_login_goes_on(transaction_broker):
    one = transaction_broker.raw()
    for code in (80877104, 80877103):
        one.send(struct.pack("!ii", 8, code))
        assert one.socket.recv(1) == b"N"
    one.send(wire.startup({"user": "app", "database": "app"}))
    one.finish_login("app")
    assert one.value("SELECT 1") == "1"
    one.close()


@pytest.mark.pglease_only
def test_bytes_behind_an_ssl_request_are_refused(transaction_broker):
    """CVE-2021-23222: nothing that was sent before the answer may be taken for what follows."""
    one = transaction_broker.raw()
    one.send(struct.pack("!ii", 8, 80877103),
             wire.startup({"user": "app", "database": "app"}), wire.query("SELECT 1"))
    one.socket.settimeout(5)
    raw = b""
    try:
        while more := one.socket.recv(65536):
            raw += more
    except (ConnectionError, TimeoutError):
        pass
    assert b"R\0\0\0\x08\0\0\0\0" not in raw
    unharmed(transaction_broker)


def test_a_query_before_the_login_ends_is_not_run(make_broker, postgres, table):
    broker = make_broker({"auth_type": "scram-sha-256"}, userlist={"app": "right", "admin": "x"})
    one = broker.raw()
    one.send(wire.startup({"user": "app", "database": "app"}),
             wire.query(f"INSERT INTO {table} VALUES (1, 'x')"))
    codes = answer_and_end(one)
    assert codes or broker.program == "pgbouncer"
    assert postgres.sql(f"SELECT count(*) FROM {table}", dbname="app") == [(0,)]


def test_a_startup_cut_at_each_byte_leaves_nothing(transaction_broker):
    raw = wire.startup({"user": "app", "database": "app"})
    for length in range(len(raw)):
        one = transaction_broker.raw()
        one.send(raw[:length])
        one.close()
    unharmed(transaction_broker)


def test_a_session_cut_at_each_byte_leaves_nothing(broker, postgres):
    raw = wire.query("BEGIN") + wire.parse("SELECT $1::int", "s") + \
        wire.bind([1], "s") + wire.execute() + wire.sync() + wire.query("COMMIT")
    for length in range(0, len(raw), 3):
        one = broker.wire()
        one.send(raw[:length])
        one.close()
    unharmed(broker)
    eventually(lambda: not postgres.backends(state="idle in transaction"))


def test_noise_from_many_clients_does_no_harm(broker):
    seed = int(os.environ.get("PGLEASE_E2E_SEED", "20240607"))
    random_ = random.Random(seed)
    kinds = b"QPBEDSHCFdcfXpZ\x00\xff"
    for turn in range(150):
        one = broker.wire() if turn % 3 else broker.raw()
        raw = b""
        for _ in range(random_.randrange(1, 12)):
            body = random_.randbytes(random_.randrange(0, 60))
            length = len(body) + 4 if random_.random() < 0.8 else random_.randrange(-9, 1 << 31)
            length = max(-(1 << 31), min(length, (1 << 31) - 1))
            raw += bytes([random_.choice(kinds)]) + struct.pack("!i", length) + body
        try:
            one.send(raw)
            one.socket.shutdown(socket.SHUT_WR)
            one.socket.settimeout(0.3)
            while one.socket.recv(65536):
                pass
        except OSError:
            pass
        one.close()
        if turn % 30 == 0:
            unharmed(broker)
    unharmed(broker)
    assert broker.alive, f"seed {seed}"


@pytest.mark.pglease_only
def test_a_message_above_max_packet_size_is_refused(make_broker):
    broker = make_broker({"max_packet_size": 100000})
    with broker.wire() as one:
        assert one.value(f"SELECT length('{'x' * 90000}')") == "90000"
        one.send(wire.query(f"SELECT length('{'x' * 200000}')"))
        assert answer_and_end(one) == ["08P01"]
    unharmed(broker)


@pytest.mark.pglease_only
def test_a_slow_login_is_cut_off(make_broker):
    broker = make_broker({"client_login_timeout": 1})
    silent, half = broker.raw(), broker.raw()
    half.send(wire.startup({"user": "app", "database": "app"})[:10])
    for one in (silent, half):
        assert one.closed_by_peer(8)
    unharmed(broker)


@pytest.mark.pglease_only
def test_a_login_byte_by_byte_does_not_push_its_deadline(make_broker):
    broker = make_broker({"client_login_timeout": 1})
    one = broker.raw()
    raw = wire.startup({"user": "app", "database": "app"})
    position = 0

    def closed():
        nonlocal position
        try:
            if position < len(raw) - 1:
                one.send(raw[position:position + 1])
                position += 1
            one.socket.settimeout(0.2)
            return not one.socket.recv(1) or True
        except TimeoutError:
            return False
        except OSError:
            return True
    eventually(closed, 8)


@pytest.mark.pglease_only
def test_a_client_that_never_reads_is_cut_off(make_broker, postgres):
    broker = make_broker({"client_write_timeout": 1, "default_pool_size": 1,
                          "reserve_pool_size": 0})
    deaf = broker.wire()
    deaf.send(wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 2000)"))
    with broker.wire() as other:
        assert other.value("SELECT 'after it'") == "after it"
    eventually(lambda: not any("repeat" in (row[0] or "") for row in postgres.sql(
        "SELECT query FROM pg_stat_activity WHERE state = 'active' "
        "AND application_name <> 'harness'")))
    deaf.close()


@pytest.mark.pglease_only
def test_a_client_that_reads_slowly_but_does_read_is_kept(make_broker):
    broker = make_broker({"client_write_timeout": 2})
    one = broker.wire(timeout=60)
    one.send(wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 300)"))
    left = 30_000_000

    def piece():
        nonlocal left
        left -= len(one.socket.recv(700_000))
        return left <= 0
    eventually(piece, 60, every=0.05)
    one.close()
    assert not broker.logged("client_write_timeout", "closing")


def test_an_unread_socket_of_one_client_holds_up_no_other(broker):
    deaf = broker.wire()
    deaf.send(wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 2000)"))
    with broker.wire() as other:
        holds_for(lambda: other.value("SELECT 1") == "1", 0.5)
    deaf.close()
