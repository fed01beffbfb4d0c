# SPDX-License-Identifier: Apache-2.0
"""The first bytes of a connection: versions of the protocol, its options, encryption that is not there, cancel keys."""

import socket
import struct

import pytest

from harness import wire
from harness.encrypted import SSL_REQUEST, EncryptedWire
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]

GSS_REQUEST = struct.pack("!ii", 8, 80877104)
WHO = {"user": "app", "database": "app"}
V3 = 3 << 16


def login(one, version, **parameters):
    """What the client was told of versions, and its key; the session is ready."""
    one.send(wire.startup({**WHO, **parameters}, version))
    told = []
    while not told or told[-1].kind != "Z":
        told.append(one.read())
        assert told[-1].kind != "E", told[-1]
    one.key = next(each.body for each in told if each.kind == "K")
    return [each.body for each in told if each.kind == "v"], told


def negotiated(minor, *options):
    body = struct.pack("!ii", V3 | minor, len(options))
    return [body + b"".join(wire.text(option) for option in options)]


@pytest.mark.parametrize("version, parameters, told, key", [
    (V3, {}, [], 4), (V3 | 1, {}, [], 4), (V3 | 2, {}, [], 32),
    (V3 | 3, {}, negotiated(2), 32), (V3 | 9999, {}, negotiated(2), 32),
    (V3, {"_pq_.one": "1", "_pq_.two": ""}, negotiated(0, "_pq_.one", "_pq_.two"), 4),
    (V3 | 2, {"_pq_.one": "1"}, negotiated(2, "_pq_.one"), 32),
    (V3 | 9999, {"_pq_.test_protocol_negotiation": ""},
     negotiated(2, "_pq_.test_protocol_negotiation"), 32),
])
@pytest.mark.parametrize("database", ["app", "pglease"])
def test_versions_and_options(broker, version, parameters, told, key, database):
    user = "app" if database == "app" else "admin"
    with broker.raw() as one:
        seen, messages = login(one, version, user=user, database=database, **parameters)
        assert seen == told
        assert len(one.key) == 4 + key
        # What is to be negotiated comes first, as from PostgreSQL.
        assert messages[0].kind == ("v" if told else "R")
        assert one.query("SHOW VERSION" if database == "pglease" else "SELECT 1")[-1].kind == "Z"


@pytest.mark.parametrize("version", [1 << 16, 2 << 16, 4 << 16, 0x7fff << 16])
def test_other_major_versions(broker, version):
    with broker.raw() as one:
        one.send(wire.startup(WHO, version))
        assert one.next().code == "0A000"
        assert one.closed_by_peer()


@pytest.mark.parametrize("requests", [
    [GSS_REQUEST], [SSL_REQUEST], [GSS_REQUEST, SSL_REQUEST], [SSL_REQUEST, GSS_REQUEST],
    [GSS_REQUEST, GSS_REQUEST], [GSS_REQUEST, SSL_REQUEST, GSS_REQUEST, SSL_REQUEST]])
def test_encryption_that_is_not_offered(broker, requests):
    with broker.raw() as one:
        for request in requests:
            one.send(request)
            assert one.socket.recv(10) == b"N"
        assert login(one, V3)[0] == []


def test_gssapi_in_front_of_tls(make_broker, certificates):
    broker = make_broker({"client_tls_sslmode": "require", "client_tls_key_file":
                          certificates.path("server.key"), "client_tls_cert_file":
                          certificates.path("server.crt")}, tcp=True)

    class Asking(EncryptedWire):
        def send(self, *raw):
            if raw == (SSL_REQUEST,):
                super().send(GSS_REQUEST)
                assert self.socket.recv(1) == b"N"
            super().send(*raw)
    with Asking(broker.tcp_address) as one:
        assert one.start("app").value("SELECT 1") == "1"


def request_cancel(broker, process, secret):
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10)
        one.connect(broker.socket_path)
        one.sendall(struct.pack("!iii", 12 + len(secret), 80877102, process) + secret)
        answer = b""
        while more := one.recv(1000):
            answer += more
        return answer


@pytest.mark.parametrize("version", [V3, V3 | 2])
def test_cancel_keys(broker, postgres, version):
    with broker.raw() as one:
        login(one, version)
        (process,), secret = struct.unpack("!i", one.key[:4]), one.key[4:]
        one.send(wire.query("SELECT pg_sleep(60) /* of the keys */"))
        eventually(lambda: postgres.sql(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%of the keys%'"))
        # Whatever is not the whole key means nobody.
        for wrong in (secret[:-1] + bytes([secret[-1] ^ 1]), secret + b"\0", secret[:4] + b"x" * 28,
                      bytes([secret[0] ^ 1]) + secret[1:], secret + b"\0" * (256 - len(secret))):
            if wrong != secret:
                assert request_cancel(broker, process, wrong) == b""
        if len(secret) > 4:
            assert request_cancel(broker, process, secret[:4]) == b""
        assert one.silent_for(0.1)
        request_cancel(broker, process, secret)
        assert wire.error_of(one.until_ready()).code == "57014"


@pytest.mark.parametrize("secret", [b"", b"abc", b"x" * 257])
def test_keys_that_cannot_be(broker, secret):
    answer = request_cancel(broker, 1, secret)
    assert answer[:1] == b"E" and b"08P01" in answer
