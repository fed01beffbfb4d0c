# SPDX-License-Identifier: Apache-2.0
"""auth_type: each method with right, wrong, empty, huge and malformed secrets; who is unknown looks like who is wrong."""

import asyncio
import os
import pwd
import shutil
import struct
import subprocess

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import wire
from harness.postgres import as_user
from harness.secrets import scram_secret
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PASSWORD = "correct horse, ünïcode"
HASH = wire.md5_hash("app", PASSWORD)
STORED = {"plain": PASSWORD, "MD5": HASH, "SCRAM": scram_secret(PASSWORD)}
# Which secrets serve which method.
SERVES = {"scram-sha-256": {"plain", "SCRAM"}, "md5": set(STORED), "plain": set(STORED)}
CASES = [(method, stored) for method, some in SERVES.items() for stored in sorted(some)]


def line(postgres, **more):
    words = {"host": postgres.host, "port": postgres.port, "dbname": "app", "user": "app", **more}
    return " ".join(f"{key}={value}" for key, value in words.items())


@pytest.fixture
def start(make_broker, postgres):
    """A broker whose one database is reached as role `app`, whoever logs in."""
    def make(auth_type, userlist, settings=None, tcp=False, **named):
        return make_broker({"auth_type": auth_type} | (settings or {}), userlist=userlist, tcp=tcp,
                           databases={"app": line(postgres)}, **named)
    return make


def login(broker, password=None, user="app", database="app", address=None):
    return wire.Wire(address or broker.socket_path).start(user, database, password)


def refusal(broker, password, user="app", **named):
    with pytest.raises(wire.Refused) as refused:
        login(broker, password, user, **named)
    return refused.value.fields


@pytest.mark.parametrize("method, stored", CASES)
def test_the_right_password_is_let_in_and_no_other(start, method, stored):
    broker = start(method, {"app": STORED[stored], "admin": "x"})
    with login(broker, PASSWORD) as one:
        assert one.value("SELECT 1") == "1"
    for wrong in ("wrong", "", PASSWORD + "x", PASSWORD.upper(), HASH, "x" * 60_000, b"\xff\xfe"):
        error = refusal(broker, wrong)
        assert (error["C"], error["M"]) == ("28P01", 'password authentication failed for user "app"')
    assert PASSWORD not in broker.log()


@pytest.mark.parametrize("method, stored", CASES)
def test_each_driver_logs_in(start, method, stored):
    broker = start(method, {"app": STORED[stored]}, tcp=True)
    psycopg2.connect(broker.dsn(), password=PASSWORD).close()
    psycopg.connect(broker.dsn(), password=PASSWORD).close()

    async def by_asyncpg():
        one = await asyncpg.connect(host="127.0.0.1", port=broker.port, user="app",
                                    database="app", password=PASSWORD)
        await one.close()
    asyncio.run(by_asyncpg())
    psql = subprocess.run(
        ["psql", "-h", "127.0.0.1", "-p", str(broker.port), "-U", "app", "-Atc", "SELECT 7", "app"],
        env=os.environ | {"PGPASSWORD": PASSWORD}, capture_output=True, text=True, timeout=60)
    assert (psql.returncode, psql.stdout) == (0, "7\n"), psql.stderr


def asked(broker, user):
    """What the broker asks first, and, where that is SCRAM, what it shows of the secret."""
    with broker.raw() as one:
        one.send(wire.startup({"user": user, "database": "app"}))
        (kind,) = struct.unpack_from("!i", one.next().body)
        if kind != 10:
            return kind, None, None
        first = b"n,,n=,r=nonce"
        one.send(wire.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        parts = dict(part.split("=", 1) for part in one.next().body[4:].decode().split(","))
        return kind, len(parts["s"]), parts["i"]


@pytest.mark.parametrize("method, stored", CASES)
def test_who_is_unknown_is_asked_and_refused_as_who_is_wrong(start, method, stored):
    broker = start(method, {"app": STORED[stored]}, tcp=True)
    for address in (broker.socket_path, broker.tcp_address):
        known, unknown = (refusal(broker, "wrong", user, address=address)
                          for user in ("app", "stranger"))
        assert {key: value.replace("stranger", "app") for key, value in unknown.items()} == known
    assert asked(broker, "app") == asked(broker, "stranger")
    # What it is shown stays the same, as it does for a user who is there.
    assert asked(broker, "stranger") == asked(broker, "stranger")


def test_unknown_users_take_after_the_listed_ones(start):
    """Iterations that are not the usual ones would tell who is listed."""
    secret = scram_secret(PASSWORD, 10_000, salt=b"salt of 24 bytes, longer")
    broker = start("scram-sha-256", {"app": secret, "admin": secret})
    assert asked(broker, "app") == asked(broker, "stranger") == (10, 32, "10000")


def test_an_md5_hash_cannot_be_proven_by_scram_and_looks_like_a_wrong_password(start):
    broker = start("scram-sha-256", {"app": HASH, "other": PASSWORD})
    assert refusal(broker, PASSWORD)["C"] == "28P01"
    assert broker.logged("MD5 hash", "auth_type = md5")
    assert asked(broker, "app")[0] == 10
    with login(broker, PASSWORD, "other") as one:
        assert one.value("SELECT 1") == "1"


@pytest.mark.parametrize("method", SERVES)
def test_an_empty_secret_is_nobodys_password(start, method):
    broker = start(method, {"app": "", "other": PASSWORD})
    for password in ("", "x"):
        assert refusal(broker, password)["C"] == "28P01"


@pytest.mark.parametrize("method", SERVES)
def test_a_password_is_bytes_and_may_be_65535_of_them(start, method):
    odd = bytes(range(1, 256)).replace(b"\n", b"").replace(b"\r", b"").replace(b'"', b"")
    longest = b"y" * 65_535
    broker = start(method, {}, settings={}, environment={})
    raw = b"".join(b'"%s" "%s"\n' % (name, secret) for name, secret in (
        (b"app", odd), (b"other", longest), (b"admin", b"x")))
    broker.userlist_path.write_bytes(raw)
    with wire.Wire(broker.socket_path).start("app", "pglease", "x") as console:
        console.query("RELOAD")
    for user, password in (("app", odd), ("other", longest)):
        with login(broker, password, user) as one:
            assert one.value("SELECT 1") == "1"
        assert refusal(broker, password[:-1], user)["C"] == "28P01"
        assert refusal(broker, password + b"y", user)["C"] in ("28P01", "08P01")


def test_a_broken_auth_file_keeps_the_old_one(start):
    broker = start("md5", {"app": PASSWORD})
    broker.errors_expected = True
    for text in (b'"app" "x', b'app x\n', b'"app" "SCRAM-SHA-256$1"\n', b'"\xff" "x"\n',
                 b'"app" "a\0b"\n', b'"app" "%s"\n' % (b"x" * 65_536)):
        broker.userlist_path.write_bytes(text)
        with broker.wire("app", "pglease") as console:
            error = wire.error_of(console.query("RELOAD"))
        assert "userlist.txt:1" in error.fields["M"] + error.fields.get("D", ""), error
        login(broker, PASSWORD).close()
    broker.userlist_path.unlink()
    with broker.wire("app", "pglease") as console:
        wire.error_of(console.query("RELOAD"))
    login(broker, PASSWORD).close()


# trust and any


def test_trust_lets_in_only_who_is_listed(start, make_broker, postgres):
    broker = start("trust", {"app": "", "other": "secret"})
    for user in ("app", "other"):
        login(broker, user=user).close()
    error = refusal(broker, None, "stranger")
    assert (error["C"], error["M"]) == ("28000", '"trust" authentication failed')
    assert "stranger" in error["D"] and "auth_file" in error["H"]
    free = make_broker({"auth_type": "trust", "auth_file": ""}, databases={"app": line(postgres)})
    login(free, user="stranger").close()


def test_any_lets_everybody_in_as_the_user_of_the_line(make_broker, postgres):
    broker = make_broker(
        {"auth_type": "any", "auth_file": ""}, section="pgbouncer",
        databases={"app": line(postgres), "free": f"host={postgres.host} port={postgres.port}"})
    with login(broker, user="stranger") as one:
        assert one.value("SELECT current_user") == "app"
    error = refusal(broker, None, "app", database="free")
    assert (error["C"], error["M"]) == ("28000", "bouncer config error")
    assert "free" in error["D"]
    assert broker.console("SHOW VERSION", user="stranger")


# Who asks on the Unix socket.

ASK = """
import sys
sys.path.insert(0, {here!r})
from harness import wire
for user in {users!r}:
    try:
        wire.Wire({address!r}).start(user, "app", "wrong")
        print("in")
    except wire.Refused as refused:
        print(refused.code, refused.fields["M"].replace(user, "X"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")
def test_peer_asks_an_unknown_role_for_a_password_as_it_does_a_known_one(start):
    broker = start("peer", {"app": PASSWORD})
    copy = broker.folder / "client"
    shutil.copytree(os.path.join(os.path.dirname(__file__), "harness"), copy / "harness")
    program = ASK.format(here=str(copy), address=broker.socket_path, users=["app", "stranger"])
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin")
    told = subprocess.run(
        [*as_user(pwd.getpwnam("nobody")), python, "-I", "-c", program], capture_output=True,
        text=True, timeout=60, check=True, cwd="/").stdout.splitlines()
    assert told == ['28P01 password authentication failed for user "X"'] * 2


# Holes that others had.


def challenged(broker, user="app"):
    one = broker.raw()
    one.send(wire.startup({"user": user, "database": "app"}))
    assert one.next().kind == "R"
    return one


def test_a_second_startup_packet_during_a_login_is_refused(start):
    broker = start("scram-sha-256", {"app": PASSWORD, "other": PASSWORD})
    for step in range(2):
        one = challenged(broker)
        if step:
            first = b"n,,n=,r=nonce"
            one.send(wire.message(
                "p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            assert one.next().kind == "R"
        one.send(wire.startup({"user": "other", "database": "app"}))
        assert one.next().code == "08P01"
        assert one.closed_by_peer()


def test_a_last_message_without_its_nonce_is_refused(start):
    broker = start("scram-sha-256", {"app": PASSWORD})
    for final in (b"", b"c=biws", b"c=biws,p=AAAA", b"c=biws,r=,p=AAAA", b"r=nonce", b",", b"c=biws,r="):
        one = challenged(broker)
        first = b"n,,n=,r=nonce"
        one.send(wire.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        assert one.next().kind == "R"
        one.send(wire.message("p", final))
        assert one.next().code == "08P01"
        one.close()
    login(broker, PASSWORD).close()


@pytest.mark.parametrize("options", ["-c=", "-c =x", "-c", "--=", "--", "-c=x", "-", "-c a", "=", "\\", "-c=-c="])
def test_odd_options_end_one_login_and_nothing_else(transaction_broker, options):
    one = transaction_broker.raw(timeout=10)
    one.send(wire.startup({"user": "app", "database": "app", "options": options}))
    assert one.until("EZ")[-1].kind in "EZ"
    one.close()
    with transaction_broker.wire() as other:
        assert other.value("SELECT 1") == "1"


@pytest.mark.parametrize("length", [0, 3, 7, 2**31 - 1, 2**31, 2**31 + 8, 2**32 - 1])
def test_impossible_lengths_are_refused_at_once(start, length):
    broker = start("md5", {"app": PASSWORD})
    with broker.raw() as one:
        one.send(struct.pack("!II", length, 196608))
        assert one.next().code == "08P01"
    for method in ("md5", "plain", "scram-sha-256"):
        broker.set(auth_type=method)
        with broker.wire("app", "pglease") as console:
            console.query("RELOAD")
        one = challenged(broker)
        one.send(b"p" + struct.pack("!I", length) + b"x")
        if length == 7:
            one.send(b"yz")
        assert one.next().code in ("08P01", "28P01")
        assert one.closed_by_peer()


@pytest.mark.parametrize("method", SERVES)
@pytest.mark.parametrize("body", [b"", b"\0", b"a\0b\0", b"a", b"\0\0", b"SCRAM-SHA-256\0", b"\xff" * 64 + b"\0"])
def test_password_messages_that_are_none(start, method, body):
    broker = start(method, {"app": PASSWORD})
    one = challenged(broker)
    one.send(wire.message("p", body))
    assert one.next().code in ("08P01", "28P01")
    assert one.closed_by_peer()
    login(broker, PASSWORD).close()


def test_one_of_stats_users_ends_no_client(start):
    broker = start("md5", {"app": PASSWORD, "watcher": "w"})
    with login(broker, PASSWORD) as victim, \
            wire.Wire(broker.socket_path).start("watcher", "pglease", "w") as console:
        number = [row["id"] for row in broker.console("SHOW CLIENTS", user="app")
                  if row["user"] == "app" and row["database"] == "app"][0]
        for command in (f"KILL_CLIENT {number}", "KILL", "RELOAD", "SET verbose = 1"):
            assert wire.error_of(console.query(command)).code in ("42501", "08P01"), command
        assert victim.value("SELECT 1") == "1"


def test_many_listed_passwords_do_not_hold_up_the_loop(start):
    """Their secrets are derived on a worker thread: thousands of rounds of hashing for each."""
    listed = {f"user{number}": f"secret {number}" for number in range(2000)} | {"app": PASSWORD}
    broker = start("scram-sha-256", listed)
    with login(broker, PASSWORD) as one:
        assert one.value("SELECT 1") == "1"
    assert refusal(broker, "wrong", "user77")["C"] == refusal(broker, "wrong", "nobody")["C"]
    with login(broker, "secret 1999", "user1999") as one:
        assert one.value("SELECT 1") == "1"


def test_who_goes_while_the_broker_works_for_it_is_forgotten(start):
    broker = start("plain", {"app": scram_secret(PASSWORD, 200_000)})
    for _ in range(8):
        one = challenged(broker)
        one.send(wire.message("p", b"wrong\0"))
        one.close()
    login(broker, PASSWORD).close()
    eventually(lambda: len(broker.console("SHOW CLIENTS", user="app")) == 1)


# cert


@pytest.fixture
def certified(make_broker, postgres, certificates):
    """A broker that asks clients over TCP for certificates."""
    for name in ("app", "stranger"):
        certificates.make(f"login-{name}", f"/CN={name}")

    def make(settings=None, **named):
        files = {"client_tls_sslmode": "verify-full",
                 "client_tls_key_file": certificates.path("server.key"),
                 "client_tls_cert_file": certificates.path("server.crt"),
                 "client_tls_ca_file": certificates.path("ca.crt"), "auth_type": "cert"}
        return make_broker(files | (settings or {}), tcp=True,
                           databases={"app": line(postgres)}, **named)
    return make


def connect_as(broker, certificates, name, user):
    files = {"sslcert": certificates.path(f"login-{name}.crt"),
             "sslkey": certificates.path(f"login-{name}.key")} if name else {}
    return psycopg2.connect(host="127.0.0.1", port=broker.port, user=user, dbname="app",
                            sslmode="require", **files)


def test_a_certificate_is_of_the_role_that_its_name_is(certified, certificates):
    broker = certified()
    with connect_as(broker, certificates, "app", "app") as one, one.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("app",)
    for name, user in (("stranger", "app"), ("app", "stranger")):
        with pytest.raises(psycopg2.OperationalError,
                           match=f'certificate authentication failed for user "{user}"'):
            connect_as(broker, certificates, name, user)
    with pytest.raises(psycopg2.OperationalError):
        connect_as(broker, certificates, None, "app")
    # The Unix socket has no certificates.
    assert refusal(broker, None)["C"] == "28000"


def test_a_map_lets_a_certificate_in_as_another_role(certified, certificates, tmp_path):
    rules, maps = tmp_path / "hba", tmp_path / "ident"
    rules.write_text("hostssl app all all cert map=people\nhostssl all all all reject\n")
    maps.write_text("people stranger app\n")
    broker = certified({"auth_type": "hba", "auth_hba_file": rules, "auth_ident_file": maps})
    connect_as(broker, certificates, "stranger", "app").close()
    with pytest.raises(psycopg2.OperationalError, match="certificate authentication failed"):
        connect_as(broker, certificates, "app", "app")


@pytest.mark.parametrize("settings", [
    {"client_tls_sslmode": "disable"}, {"client_tls_sslmode": "require", "client_tls_ca_file": ""}])
def test_cert_without_certificates_that_are_checked_is_a_mistake(certified, settings):
    broker = certified(settings, start=False)
    broker.launch()
    assert broker.wait() == 78
    assert "cert needs TLS for clients, and client_tls_ca_file" in broker.log()
