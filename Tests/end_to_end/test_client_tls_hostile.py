# SPDX-License-Identifier: Apache-2.0
"""TLS clients that stall, lie, flood or vanish: they harm themselves only."""

import os
import select
import socket
import ssl
import struct
import subprocess

import pytest

from harness import wire
from harness.encrypted import SSL_REQUEST, EncryptedWire, Memory, trusting
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]


@pytest.fixture
def encrypted(make_broker, certificates):
    def make(settings=None, **named):
        files = {"client_tls_sslmode": "require",
                 "client_tls_key_file": certificates.path("server.key"),
                 "client_tls_cert_file": certificates.path("server.crt")}
        return make_broker(files | (settings or {}), tcp=True, **named)
    return make


@pytest.fixture
def tls_broker(encrypted):
    return encrypted()


def connect(broker, **named):
    return EncryptedWire(broker.tcp_address, **named)


def asked(broker, timeout=20.0):
    """A socket that has been promised TLS."""
    one = wire.Wire(broker.tcp_address, timeout)
    one.send(SSL_REQUEST)
    assert one.socket.recv(1) == b"S"
    return one


def client_hello():
    made = ssl.MemoryBIO()
    session = trusting().wrap_bio(ssl.MemoryBIO(), made, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return made.read()


def unharmed(broker):
    with connect(broker).start("app") as one:
        assert one.value("SELECT 1") == "1"


def alone(broker, files):
    """Nothing of the others is left open."""
    eventually(lambda: broker.open_files_now() <= files, 10,
               lambda: f"{broker.open_files_now()} files, {files} expected")


def test_handshakes_that_stall_end_by_the_login_deadline(encrypted):
    broker = encrypted({"client_login_timeout": 4})
    hello = client_hello()
    stalled = []
    for raw in (b"", hello[:1], hello[:60], hello):
        for direct in (False, True):
            one = wire.Wire(broker.tcp_address) if direct else asked(broker)
            one.send(raw)
            stalled.append(one)
    unharmed(broker)
    for one in stalled:
        assert one.closed_by_peer(within=20)
    unharmed(broker)


def test_a_hello_that_comes_in_bytes(tls_broker):
    one = Memory(asked(tls_broker).socket)
    hello = client_hello()
    with pytest.raises(ssl.SSLWantReadError):
        one.session.do_handshake()
    hello = one.made.read()
    for at in range(len(hello)):
        one.socket.sendall(hello[at : at + 1])
    one.shake_hands()
    one.socket.sendall(one.records(wire.startup({"user": "app", "database": "app"})))
    answer = b""
    while not answer:
        one.received.write(one.socket.recv(65536))
        try:
            answer = one.session.read(65536)
        except ssl.SSLWantReadError:
            continue
    assert answer[:1] == b"R"


@pytest.mark.parametrize("raw", [
    b"\0" * 4096, os.urandom(4096), wire.startup({"user": "app", "database": "app"}),
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 65535,
    b"\x16\x03\x01\0\0" * 1000, b"\x17\x03\x03\0\x10" + b"x" * 16, b"\x15\x03\x03\0\x02\x02\x28",
], ids=["zeroes", "noise", "a startup packet", "HTTP", "a huge record", "empty records", "data",
        "an alert"])
def test_what_is_not_a_handshake_is_refused(tls_broker, raw):
    one = asked(tls_broker)
    one.send(raw)
    assert one.closed_by_peer()
    assert tls_broker.wait_logged("TLS handshake failed")
    unharmed(tls_broker)


@pytest.mark.parametrize("way", ["close", "reset", "half"])
@pytest.mark.parametrize("after", ["the answer", "half a hello", "a hello"])
def test_a_client_that_leaves_in_its_handshake(tls_broker, way, after):
    unharmed(tls_broker)
    files = tls_broker.open_files_now()
    hello = client_hello()
    for _ in range(20):
        one = asked(tls_broker)
        one.send({"the answer": b"", "half a hello": hello[:60], "a hello": hello}[after])
        if way == "half":
            one.socket.shutdown(socket.SHUT_WR)
            assert one.closed_by_peer()
        (one.reset if way == "reset" else one.close)()
    alone(tls_broker, files)
    unharmed(tls_broker)


@pytest.mark.parametrize("way", ["without goodbye", "reset", "goodbye of TLS", "Terminate"])
def test_a_client_that_leaves(tls_broker, way):
    unharmed(tls_broker)
    files = tls_broker.open_files_now()
    one = connect(tls_broker).start("app")
    if way == "reset":
        one.reset()
    elif way == "goodbye of TLS":
        with pytest.raises((ssl.SSLError, OSError)):
            one.socket.settimeout(5)
            one.socket.unwrap()
            one.socket.recv(1)
            raise OSError("closed")
    else:
        if way == "Terminate":
            one.send(wire.terminate())
        one.close()
    alone(tls_broker, files)


def test_what_was_sent_before_a_goodbye_is_done(tls_broker, postgres, table):
    """As over a plain socket whose writing side is closed."""
    one = Memory(asked(tls_broker).socket)
    one.shake_hands()
    raw = one.records(wire.startup({"user": "app", "database": "app"}))
    raw += one.records(wire.query(f"INSERT INTO {table} VALUES (1, 'x')"))
    with pytest.raises(ssl.SSLWantReadError):
        one.session.unwrap()
    one.socket.sendall(raw + one.made.read())
    one.socket.shutdown(socket.SHUT_WR)
    eventually(lambda: postgres.sql(f"SELECT count(*) FROM {table}", dbname="app") == [(1,)])


def test_the_broker_says_goodbye(tls_broker):
    """A client can tell the end from somebody in between who cuts the line."""
    one = connect(tls_broker).start("app")
    one.send(wire.terminate())
    assert one.socket.recv(1) == b""


def test_a_record_that_was_changed_ends_the_session(tls_broker):
    one = Memory(asked(tls_broker).socket)
    one.shake_hands()
    good = one.records(wire.startup({"user": "app", "database": "app"}))
    bad = bytearray(one.records(wire.query("SELECT 1")))
    bad[-1] ^= 1
    one.socket.sendall(good + bytes(bad))
    one.socket.settimeout(10)
    while one.socket.recv(65536):
        pass
    unharmed(tls_broker)


def flood(one, raw, times):
    """Sends for as long as the other side takes it, then reads; True when it closes."""
    one.settimeout(20)
    try:
        for _ in range(times):
            one.sendall(raw)
        while one.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("wants_answer", [False, True])
def test_a_flood_of_key_updates_ends_its_sender(tls_broker, wants_answer):
    one = Memory(asked(tls_broker).socket)
    one.shake_hands()
    one.socket.sendall(one.key_update(False))
    one.socket.sendall(one.records(wire.startup({"user": "app", "database": "app"})))
    while b"Z" not in one.received_messages():
        pass
    updates = b"".join(one.key_update(wants_answer) for _ in range(5000))
    assert flood(one.socket, updates, 20)
    assert tls_broker.wait_logged("client left", "messages that are not data")
    unharmed(tls_broker)


def test_a_key_update_now_and_then_is_none_of_a_flood(tls_broker):
    one = Memory(asked(tls_broker).socket)
    one.shake_hands()
    one.socket.sendall(one.records(wire.startup({"user": "app", "database": "app"})))
    while b"Z" not in one.received_messages():
        pass
    for number in range(50):
        one.socket.sendall(one.key_update(True) + one.records(wire.query(f"SELECT {number}")))
        while b"Z" not in (seen := one.received_messages()):
            assert b"E" not in seen


def test_renegotiation_is_refused(tls_broker):
    """openssl asks for it by R; other clients do not notice."""
    host, port = tls_broker.tcp_address
    program = subprocess.Popen(
        ["openssl", "s_client", "-starttls", "postgres", "-tls1_2", "-connect", f"{host}:{port}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen = b""
    while b"Verify return code" not in seen:
        seen += os.read(program.stdout.fileno(), 65536)
    program.stdin.write(b"R\n")
    program.stdin.flush()
    unharmed(tls_broker)
    output = program.communicate(timeout=20)[0]
    assert b"RENEGOTIATING" in output
    assert b"no renegotiation" in output
    unharmed(tls_broker)


def test_small_records_do_not_hold_the_others_up(tls_broker):
    """One byte in each record: all of it is taken, turn by turn."""
    one = Memory(asked(tls_broker).socket)
    one.shake_hands()
    one.socket.sendall(one.records(wire.startup({"user": "app", "database": "app"})))
    while b"Z" not in one.received_messages():
        pass
    query = wire.query("SELECT 'x" + "y" * 20000 + "'")
    one.socket.sendall(b"".join(one.records(query[at : at + 1]) for at in range(len(query))))
    unharmed(tls_broker)
    while b"Z" not in (seen := one.received_messages()):
        assert b"E" not in seen


def test_a_client_that_does_not_read_is_waited_for(tls_broker):
    """What it has asked for stays in PostgreSQL, not in the broker."""
    unharmed(tls_broker)
    before = tls_broker.memory()
    one = connect(tls_broker).start("app")
    one.send(wire.query("SELECT i, repeat('x', 1000) FROM generate_series(1, 100000) i"))
    eventually(lambda: select.select([one.socket], [], [], 0)[0])
    for _ in range(20):
        unharmed(tls_broker)
    assert tls_broker.memory() - before < 30 << 20
    rows = [each for each in one.until_ready() if each.kind == "D"]
    assert [int(row.row[0]) for row in rows] == list(range(1, 100001))
    assert one.value("SELECT 1") == "1"


# A window of a few kB costs 40 ms for each drop, one of 64 kB nothing.
@pytest.mark.parametrize("room, rows", [(4096, 150), (32768, 3000)])
def test_a_client_that_reads_in_drops(tls_broker, room, rows):
    one = connect(tls_broker)
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    one.start("app")
    one.send(wire.query(
        f"SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, {rows}) i"))
    whole = bytearray()
    while b"Z\0\0\0\x05I" not in whole[-6:]:
        whole += one.socket.recv(777)
    one.buffer = bytes(whole)
    told = [each for each in one.until_ready() if each.kind == "D"]
    assert [int(row.row[0]) for row in told] == list(range(1, rows + 1))


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_data_behind_a_full_buffer_is_not_forgotten(encrypted, mode, postgres, table):
    """More than the broker reads at once waits inside TLS, of which no event tells, while its server
    is busy or takes nothing."""
    broker = encrypted({"pool_mode": mode, "default_pool_size": 1})
    with connect(broker).start("app") as one, wire.Wire(postgres.socket_path).start("app") as other:
        other.query(f"BEGIN; LOCK TABLE {table}")
        statements = 300
        text = "z" * 3000
        one.send(wire.query("BEGIN"), wire.query(f"INSERT INTO {table} VALUES (0, 'first')"),
                 *(wire.query(f"INSERT INTO {table} VALUES ({number}, '{text}')")
                   for number in range(1, statements)), wire.query("COMMIT"))
        eventually(lambda: postgres.sql(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
            f"'INSERT INTO {table}%'"))
        other.query("COMMIT")
        one.until_ready(statements + 2)
        assert one.value(f"SELECT count(*) FROM {table}") == str(statements)


def test_many_clients_at_once(tls_broker):
    several = [connect(tls_broker).start("app") for _ in range(60)]
    for number, one in enumerate(several):
        one.send(wire.query(f"SELECT {number}"))
    for number, one in enumerate(several):
        assert wire.rows_of(one.until_ready()) == [[str(number)]]
        one.close()


def test_an_idle_client_is_small(tls_broker):
    """Its buffers are given back."""
    keep = [connect(tls_broker).start("app") for _ in range(10)]
    before = tls_broker.memory()
    keep += [connect(tls_broker).start("app") for _ in range(200)]
    for one in keep:
        assert one.value("SELECT 1") == "1"
    each = (tls_broker.memory() - before) / 200
    assert each < 40_000
    for one in keep:
        one.close()


def test_an_end_is_told_over_tls(tls_broker):
    with connect(tls_broker).start("app") as one:
        tls_broker.console("KILL app")
        error = one.next()
        assert error.kind == "E"
        assert one.closed_by_peer()
    tls_broker.console("RESUME app")


def test_the_answer_to_ssl_request_is_not_owed_many_times(tls_broker):
    """A second request instead of a hello is no hello."""
    one = asked(tls_broker)
    one.send(SSL_REQUEST, struct.pack("!ii", 8, 80877104))
    assert one.closed_by_peer()
    unharmed(tls_broker)
