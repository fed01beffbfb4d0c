# SPDX-License-Identifier: Apache-2.0
"""TLS between clients and the broker: who has it, who must have it, and what it is shown as."""

import asyncio
import ssl
import struct

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import wire
from harness.encrypted import SSL_REQUEST, EncryptedWire, trusting
from harness.postgres import has_tls
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]

PASSWORD = "right horse"
MODES = ["allow", "prefer", "require"]


@pytest.fixture
def encrypted(make_broker, certificates):
    """Starts a broker with TLS for clients."""
    def make(mode="require", settings=None, **named):
        files = {"client_tls_sslmode": mode, "client_tls_key_file": certificates.path("server.key"),
                 "client_tls_cert_file": certificates.path("server.crt")}
        return make_broker(files | (settings or {}), tcp=True, **named)
    return make


@pytest.fixture
def tls_broker(encrypted):
    return encrypted()


def dsn(broker, **more):
    words = {"host": "127.0.0.1", "port": broker.port, "user": "app", "dbname": "app",
             "sslmode": "require"} | more
    return " ".join(f"{key}='{value}'" for key, value in words.items())


def connect(broker, **named):
    return EncryptedWire(broker.tcp_address, **named)


def plain(broker):
    return wire.Wire(broker.tcp_address)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_asks_has_tls(encrypted, mode, run_program, tool):
    if not has_tls():
        pytest.skip("this build's psql has no TLS")
    broker = encrypted(mode)
    shown = run_program(tool("psql"), dsn(broker), "-Atc", "SELECT 40 + 2", "-c", "\\conninfo")
    assert shown.stdout.startswith("42\n")
    assert "TLSv1.3" in shown.stdout


@pytest.mark.parametrize("mode", ["disable", *MODES])
def test_a_client_without_tls(encrypted, mode):
    broker = encrypted(mode)
    if mode != "require":
        with plain(broker).start("app") as one:
            assert one.value("SELECT 1") == "1"
        return
    with pytest.raises(wire.Refused) as refused:
        plain(broker).start("app")
    assert refused.value.code == "28000"
    assert refused.value.fields["M"] == "SSL required"
    assert "sslmode=require" in refused.value.fields["H"]
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"


def test_without_the_setting_the_answer_is_no(make_broker):
    broker = make_broker(tcp=True)
    one = plain(broker)
    one.send(SSL_REQUEST)
    assert one.socket.recv(1) == b"N"
    with one.start("app"):
        assert one.value("SELECT 1") == "1"


def test_the_unix_socket_has_no_tls(tls_broker):
    one = tls_broker.raw()
    one.send(SSL_REQUEST)
    assert one.socket.recv(1) == b"N"
    with one.start("app"):
        assert one.value("SELECT 1") == "1"


def test_who_verifies_the_server_gets_in(tls_broker, certificates):
    authority = certificates.path("ca.crt")
    with psycopg2.connect(dsn(tls_broker, host="localhost", sslmode="verify-full",
                              sslrootcert=authority)) as one, one.cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        psycopg2.connect(dsn(tls_broker, sslmode="verify-full", sslrootcert=authority))


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_what_the_console_and_the_log_say(tls_broker, version):
    named = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[version]
    context = trusting(minimum_version=named, maximum_version=named)
    with connect(tls_broker, context=context).start("app") as one, tls_broker.wire("app"):
        cipher = one.socket.cipher()[0]
        expected = f"{version}/{cipher}"
        for command in ("SHOW CLIENTS", "SHOW SOCKETS"):
            rows = [row for row in tls_broker.console(command)
                    if row["type"] == "C" and row["user"] == "app"]
            texts = sorted(row["tls"] for row in rows)
            assert len(texts) == 2 and texts[0] == ""
            if version == "TLSv1.3":
                assert texts[1] == expected
            else:
                assert texts[1].startswith(expected + "/ECDH=")
    assert tls_broker.wait_logged("client logged in", expected)


def test_the_text_log_has_the_words_of_pgbouncer(encrypted):
    broker = encrypted(settings={"log_format": "text"})
    with connect(broker).start("app") as one:
        cipher = one.socket.cipher()[0]
    assert broker.wait_logged(f"login attempt: db=app user=app tls=TLSv1.3/{cipher} replication=no")
    with pytest.raises(ssl.SSLError):
        connect(broker, context=trusting(alpn=["h2"]))
    assert broker.wait_logged("TLS handshake error: handshake failed: ", "application protocol")


def test_the_console_over_tls(tls_broker):
    with connect(tls_broker).start("admin", "pglease") as one:
        assert one.rows("SHOW VERSION")


def test_direct_tls_names_its_protocol(tls_broker):
    with connect(tls_broker, direct=True).start("app") as one:
        assert one.socket.selected_alpn_protocol() == "postgresql"
        assert one.value("SELECT 1") == "1"


def test_direct_tls_without_a_protocol_is_refused(tls_broker):
    with pytest.raises(wire.Refused) as refused:
        connect(tls_broker, direct=True, context=trusting()).start("app")
    assert refused.value.code == "08P01"
    assert "ALPN" in refused.value.fields["M"]


@pytest.mark.parametrize("direct", [False, True])
def test_another_protocol_is_refused(tls_broker, direct):
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(tls_broker, direct=direct, context=trusting(alpn=["h2"]))


def test_alpn_behind_an_ssl_request(tls_broker):
    with connect(tls_broker, context=trusting(alpn=["postgresql"])).start("app") as one:
        assert one.socket.selected_alpn_protocol() == "postgresql"


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_direct_tls_where_there_is_none(encrypted, mode):
    """Over the Unix socket, and with TLS switched off, it is no startup packet."""
    broker = encrypted(mode)
    address = broker.tcp_address if mode == "disable" else broker.socket_path
    with pytest.raises((ssl.SSLError, ConnectionError)):
        EncryptedWire(address, direct=True)
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"


def test_a_second_ssl_request_is_refused(tls_broker):
    one = connect(tls_broker)
    one.send(SSL_REQUEST)
    error = one.next()
    assert error.code == "08P01"
    assert one.closed_by_peer()


@pytest.mark.parametrize("over_tls", [True, False])
def test_cancel(tls_broker, over_tls):
    """libpq before 17 sends its CancelRequests without TLS, also where logins need it."""
    with connect(tls_broker).start("app") as one:
        one.send(wire.query("SELECT pg_sleep(60) AS over_client_tls"))
        eventually(lambda: tls_broker.postgres.sql(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS over_client_tls%' "
            "AND state = 'active' AND pid <> pg_backend_pid()"))
        canceller = connect(tls_broker) if over_tls else plain(tls_broker)
        canceller.send(struct.pack("!iiiI", 16, 80877102, *one.key))
        assert canceller.closed_by_peer()
        assert wire.error_of(one.until_ready()).code == "57014"


def test_cancel_by_libpq_itself(tls_broker):
    with psycopg.connect(dsn(tls_broker), autocommit=True) as one:
        task = one.cursor()

        async def run():
            other = asyncio.to_thread(task.execute, "SELECT pg_sleep(60) AS by_libpq_itself")
            waiting = asyncio.ensure_future(other)
            await asyncio.to_thread(eventually, lambda: tls_broker.postgres.sql(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS by_libpq_itself%' "
                "AND state = 'active' AND pid <> pg_backend_pid()"))
            await asyncio.to_thread(one.cancel_safe)
            with pytest.raises(psycopg.errors.QueryCanceled):
                await waiting

        asyncio.run(run())


# Channel binding.


@pytest.fixture
def bound(encrypted):
    return encrypted(settings={"auth_type": "scram-sha-256"},
                     userlist={"app": PASSWORD, "admin": PASSWORD})


@pytest.mark.parametrize("driver", [psycopg2, psycopg])
@pytest.mark.parametrize("binding", ["require", "prefer", "disable"])
def test_channel_binding_by_libpq(bound, driver, binding):
    with driver.connect(dsn(bound, password=PASSWORD, channel_binding=binding)) as one, \
            one.cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(driver.OperationalError):
        driver.connect(dsn(bound, password="wrong", channel_binding=binding))


def test_channel_binding_is_not_offered_without_tls(encrypted):
    broker = encrypted("prefer", {"auth_type": "scram-sha-256"}, userlist={"app": PASSWORD})
    for address in (broker.tcp_address, broker.socket_path):
        with wire.Wire(address) as one:
            one.send(wire.startup({"user": "app", "database": "app"}))
            assert one.next().body[4:] == b"SCRAM-SHA-256\0\0"
    with connect(broker) as one:
        one.send(wire.startup({"user": "app", "database": "app"}))
        assert one.next().body[4:] == b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"


@pytest.mark.parametrize("mechanism, flag, code", [
    ("SCRAM-SHA-256", "y", "28000"), ("SCRAM-SHA-256", "p=tls-server-end-point", "0A000"),
    ("SCRAM-SHA-256-PLUS", "n", "08P01"), ("SCRAM-SHA-256-PLUS", "y", "08P01"),
    ("SCRAM-SHA-256-PLUS", "p=tls-unique", "0A000"), ("SCRAM-SHA-1", "n", "08P01")])
def test_flags_that_do_not_tell_the_truth(bound, mechanism, flag, code):
    one = connect(bound)
    one.send(wire.startup({"user": "app", "database": "app"}))
    one.next()
    first = f"{flag},,n=,r=0123456789abcdef".encode()
    one.send(wire.message("p", wire.text(mechanism) + struct.pack("!i", len(first)) + first))
    assert one.next().code == code
    assert one.closed_by_peer()


def test_a_proof_for_another_channel_is_refused(bound):
    """Somebody in between, with a certificate of their own, passes the password's proof on."""
    with connect(bound).start("app", password=PASSWORD, end_point=True) as one:
        assert one.value("SELECT 1") == "1"
    with pytest.raises(wire.Refused) as refused:
        connect(bound).start("app", password=PASSWORD, end_point=b"x" * 32)
    assert refused.value.code == "28000"
    assert "channel binding" in refused.value.fields["M"]


@pytest.mark.parametrize("key", [("ed25519",), ("ec", "-pkeyopt", "ec_paramgen_curve:P-384")])
def test_channel_binding_with_other_kinds_of_keys(encrypted, certificates, key):
    """The hash is that of the signature; where that has none, nothing is offered."""
    certificates.run("req", "-x509", "-newkey", *key, "-nodes", "-sha384", "-days", "2",
                     "-subj", "/CN=localhost", "-keyout", "kind.key", "-out", "kind.crt")
    certificates.own("kind.key")
    broker = encrypted(settings={
        "auth_type": "scram-sha-256", "client_tls_key_file": certificates.path("kind.key"),
        "client_tls_cert_file": certificates.path("kind.crt")}, userlist={"app": PASSWORD})
    binding = "prefer" if key == ("ed25519",) else "require"
    with psycopg2.connect(dsn(broker, password=PASSWORD, channel_binding=binding)):
        pass


# Certificates of clients.


@pytest.mark.parametrize("mode", [*MODES, "verify-ca", "verify-full"])
def test_certificates_of_clients(encrypted, certificates, mode):
    broker = encrypted(mode, {"client_tls_ca_file": certificates.path("ca.crt")})
    pair = certificates.make("client", "/CN=app")
    with connect(broker, context=trusting(certificate=pair)).start("app") as one:
        assert one.value("SELECT 1") == "1"
    if mode.startswith("verify"):
        with pytest.raises((ssl.SSLError, wire.Closed), match="(?i)certificate.required"):
            connect(broker).start("app")
        with pytest.raises(wire.Refused, match="SSL required"):
            plain(broker).start("app")
    else:
        with connect(broker).start("app"):
            pass
    certificates.authority("stranger")
    for bad, word in [(certificates.make("late", "/CN=app", days=-1), "expired"),
                      (certificates.make("strange", "/CN=app", by="stranger"), "unknown.ca")]:
        with pytest.raises((ssl.SSLError, wire.Closed), match=f"(?i){word}"):
            connect(broker, context=trusting(certificate=bad)).start("app")
    assert len(broker.wait_logged("TLS handshake failed", "certificate is refused")) == 2


def test_without_an_authority_nobody_is_asked_for_a_certificate(tls_broker, certificates):
    certificates.authority("stranger")
    pair = certificates.make("strange", "/CN=app", by="stranger")
    with connect(tls_broker, context=trusting(certificate=pair)).start("app"):
        pass


# Drivers that bring their own TLS.


@pytest.mark.parametrize("direct", [False, True])
def test_asyncpg(tls_broker, certificates, direct):
    context = trusting(alpn=["postgresql"], authority=certificates.path("ca.crt"))

    async def run():
        one = await asyncpg.connect(
            host="localhost", port=tls_broker.port, user="app", database="app", ssl=context,
            direct_tls=direct)
        assert await one.fetchval("SELECT $1::int + 1", 41) == 42
        rows = await one.fetch("SELECT i, repeat('x', 5000) AS t FROM generate_series(1, 2000) i")
        assert [row["i"] for row in rows] == list(range(1, 2001))
        assert all(len(row["t"]) == 5000 for row in rows)
        with pytest.raises(asyncio.TimeoutError):
            await one.execute("SELECT pg_sleep(60)", timeout=0.2)
        assert await one.fetchval("SELECT 1") == 1
        await one.close()

    asyncio.run(run())


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_psycopg3(tls_broker, negotiation):
    with psycopg.connect(dsn(tls_broker, sslnegotiation=negotiation), autocommit=True) as one:
        with one.pipeline():
            cursors = [one.execute("SELECT %s::int", (number,)) for number in range(200)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(200))
