# SPDX-License-Identifier: Apache-2.0
"""Who is let in: peer, trust, SCRAM with userlist.txt."""

import asyncio
import hashlib
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import wire
from harness.postgres import as_user
from harness.secrets import scram_secret

pytestmark = pytest.mark.broker_only

PASSWORD = "correct horse, ünïcode"


@pytest.fixture(params=["plain", "SCRAM"])
def scram_broker(make_broker, postgres, request):
    secret = PASSWORD if request.param == "plain" else scram_secret(PASSWORD)
    return make_broker({"auth_type": "scram-sha-256"}, userlist={"app": secret, "admin": secret},
                       databases={"app": f"host={postgres.host} port={postgres.port} dbname=app "
                                         "user=app"})


def login(broker, user="app", password=None, database="app", address=None):
    return wire.Wire(address or broker.socket_path).start(user, database, password)


def test_the_right_password_is_let_in(scram_broker):
    with login(scram_broker, password=PASSWORD) as one:
        assert one.value("SELECT 1") == "1"


@pytest.mark.parametrize("password", ["wrong", "", PASSWORD + "x", PASSWORD.upper()])
def test_a_wrong_password_is_refused(scram_broker, password):
    with pytest.raises((wire.Refused, wire.Closed)) as refused:
        login(scram_broker, password=password)
    if scram_broker.program == "pglease":
        assert refused.value.code == "28P01"
        assert PASSWORD not in scram_broker.log()


def test_an_unknown_user_looks_like_a_wrong_password(scram_broker):
    messages = []
    for user in ("app", "stranger"):
        with pytest.raises((wire.Refused, wire.Closed)) as refused:
            login(scram_broker, user, "wrong")
        if scram_broker.program == "pglease":
            messages.append((refused.value.code, refused.value.fields["M"].replace(user, "X")))
    assert len(set(messages)) <= 1


def test_each_driver_logs_in_with_scram(scram_broker):
    psycopg2.connect(scram_broker.dsn(), password=PASSWORD).close()
    psycopg.connect(scram_broker.dsn(), password=PASSWORD).close()

    async def by_asyncpg():
        one = await asyncpg.connect(
            host=str(scram_broker.dsn_host), port=scram_broker.dsn_port, user="app",
            database="app", password=PASSWORD)
        await one.close()
    asyncio.run(by_asyncpg())


@pytest.mark.pglease_only
def test_a_scram_message_that_is_no_scram_is_refused(scram_broker):
    for answer in (b"", b"SCRAM-SHA-256\0", b"SCRAM-SHA-256\0\xff\xff\xff\xff",
                   b"SCRAM-SHA-256\0\0\0\0\5n,,n=", b"MD5\0\0\0\0\0", b"x" * 5000):
        one = scram_broker.raw()
        one.send(wire.startup({"user": "app", "database": "app"}))
        assert one.next().kind == "R"
        one.send(wire.message("p", answer))
        seen = one.next()
        assert seen.kind == "E" and seen.code in ("08P01", "28P01", "28000"), seen
        one.close()


def test_trust_lets_in_whoever_is_listed(make_broker):
    broker = make_broker({"auth_type": "trust"})
    with login(broker) as one:
        assert one.value("SELECT current_user") == "app"


@pytest.mark.pglease_only
def test_the_userlist_is_read_again_on_reload(make_broker, postgres):
    broker = make_broker({"auth_type": "scram-sha-256"}, userlist={"app": "first", "admin": "x"},
                         databases={"app": broker_line(postgres)})
    login(broker, password="first").close()
    broker.userlist["app"] = "second"
    broker.write_userlist()
    with wire.Wire(broker.socket_path).start("admin", "pglease", "x") as one:
        one.query("RELOAD")
    login(broker, password="second").close()
    with pytest.raises(wire.Refused):
        login(broker, password="first")


def broker_line(postgres):
    return f"host={postgres.host} port={postgres.port} dbname=app user=app"


@pytest.mark.pglease_only
def test_an_md5_secret_is_refused_with_a_clear_error(make_broker, postgres):
    secret = "md5" + hashlib.md5(b"passwordapp").hexdigest()
    broker = make_broker({"auth_type": "scram-sha-256"}, userlist={"app": secret, "admin": "x"},
                         databases={"app": broker_line(postgres)})
    with pytest.raises(wire.Refused) as refused:
        login(broker, password="password")
    assert refused.value.code in ("28P01", "28000")
    assert broker.logged("md5")


ASK = """
import sys
sys.path.insert(0, {here!r})
from harness import wire
try:
    one = wire.Wire({address!r}).start({user!r}, "app")
    print("in", one.value("SELECT current_user"))
except AssertionError as error:
    print("asked", error)
except wire.Refused as refused:
    print("refused", refused.code, refused.fields.get("H"))
"""


def ask_as(account, broker, user):
    # The other user may not be able to read this repository.
    copy = broker.folder / "client"
    shutil.copytree(Path(__file__).parent / "harness", copy / "harness", dirs_exist_ok=True)
    program = ASK.format(here=str(copy), address=broker.socket_path, user=user)
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin")
    return subprocess.run(
        [*as_user(pwd.getpwnam(account)), python, "-I", "-c", program], capture_output=True,
        text=True, timeout=30, check=True, cwd="/").stdout.split()


@pytest.fixture
def peer_broker(make_broker, postgres):
    def make(settings=None, **named):
        base = {"auth_type": "peer", "auth_file": ""}
        return make_broker(base | (settings or {}), **named)
    return make


@pytest.mark.pglease_only
def test_peer_lets_the_brokers_own_user_in_as_anybody(peer_broker):
    broker = peer_broker()
    for user in ("app", "other"):
        with broker.wire(user) as one:
            assert one.value("SELECT current_user") == user


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")


@needs_root
@pytest.mark.pglease_only
def test_peer_refuses_another_users_role(peer_broker):
    broker = peer_broker()
    refused = " ".join(ask_as("nobody", broker, "app"))
    assert refused.startswith("refused 28000")
    assert "peer_map = nobody:app" in refused


@needs_root
@pytest.mark.pglease_only
def test_peer_lets_a_user_in_as_the_role_of_the_same_name(peer_broker, postgres):
    postgres.sql("DROP ROLE IF EXISTS nobody; CREATE ROLE nobody LOGIN")
    assert ask_as("nobody", peer_broker(), "nobody") == ["in", "nobody"]


@needs_root
@pytest.mark.pglease_only
@pytest.mark.parametrize("user", ["nobody", pwd.getpwnam("nobody").pw_uid])
def test_peer_map_maps_users_to_roles(peer_broker, user):
    broker = peer_broker({"peer_map": f"{user}:app"})
    assert ask_as("nobody", broker, "app") == ["in", "app"]
    assert ask_as("nobody", broker, "other")[0] == "refused"


@pytest.mark.pglease_only
def test_peer_over_tcp_asks_for_the_password_in_the_auth_file(make_broker, postgres):
    broker = make_broker({"auth_type": "peer"}, tcp=True, userlist={"app": PASSWORD})
    with login(broker, password=PASSWORD, address=broker.tcp_address) as one:
        assert one.value("SELECT 1") == "1"
    with pytest.raises(wire.Refused) as refused:
        login(broker, password="wrong", address=broker.tcp_address)
    assert refused.value.code == "28P01"


@pytest.mark.pglease_only
def test_the_unix_socket_has_its_mode(make_broker):
    broker = make_broker({"unix_socket_mode": "0750"})
    assert os.stat(broker.socket_path).st_mode & 0o777 == 0o750


def test_tcp_listens_where_it_is_told(make_broker):
    broker = make_broker(tcp=True)
    with login(broker, address=broker.tcp_address) as one:
        assert one.value("SELECT 1") == "1"


def test_tcp_is_closed_unless_it_is_asked_for(make_broker):
    broker = make_broker()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(broker.tcp_address, 2)


@pytest.mark.pglease_only
def test_an_abstract_socket(make_broker, postgres):
    name = f"@pglease-e2e-{os.getpid()}"
    broker = make_broker({"unix_socket_dir": name})
    address = f"\0{name[1:]}/.s.PGSQL.{broker.port}"
    with login(broker, address=address) as one:
        assert one.value("SELECT 1") == "1"
    connection = psycopg2.connect(host=name, port=broker.port, user="app", dbname="app")
    connection.close()


@pytest.mark.pglease_only
def test_a_client_of_a_group_that_may_not_enter_the_socket(make_broker):
    import grp
    group = grp.getgrgid(os.getegid()).gr_name
    broker = make_broker({"unix_socket_group": group, "unix_socket_mode": "0770"})
    assert os.stat(broker.socket_path).st_gid == os.getegid()


# What is stored, and what else is typed for it.
ODD_PASSWORDS = {
    "a soft hyphen": ("soft\u00adhyphen", "softhyphen"),
    "a space that does not break": ("no\u00a0break", "no break"),
    "an ordinal": ("1\u00aa", "1a"),
    "decomposed": ("u\u0308ber", "\u00fcber"),
    "composed": ("\u00e9t\u00e9", "e\u0301te\u0301"),
    "two marks in the wrong order": ("q\u0307\u0323", "q\u0323\u0307"),
    "a ligature": ("\ufb01sh", "fish"),
    "full width": ("\uff21\uff22\u3000\uff11", "AB 1"),
    "Korean": ("\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    "Hebrew": ("\u05d0\u05d1", "\u05d0\u05d1\u00ad"),
    "Hebrew and a digit behind it": ("\u05d0\u05d11\u00ad", "\u05d0\u05d11"),
    "both directions": ("\u0627\u00aa\u0628", "\u0627a\u0628"),
    "an Arabic ligature": ("\ufdfa", "\u0635\u0644\u0649"),
    "a soft hyphen only": ("\u00ad", "\u00ad\u00ad"),
    "a joiner of no width": ("a\u200db", "ab"),
    "a space of no width": ("a\u200bb", "a b"),
    "a control character": ("\u00aa\x07", "a\x07"),
    "a private character": ("\u00aa\ue000", "a\ue000"),
    "a replacement character": ("\u00aa\ufffd", "a\ufffd"),
    "unknown to Unicode 3.2": ("\u00aa\U0001f600", "a\U0001f600"),
    "a mathematical digit": ("\U0001d7d8\u00b2", "02"),
    "plain": ("plain ~ words", "plain\u00a0~\u00a0words"),
}


@pytest.fixture(scope="module")
def odd_roles(postgres):
    """PostgreSQL's role `secretive` with one password after the other."""
    def use(password):
        postgres.sql("ALTER ROLE secretive PASSWORD %s", (password,))
    yield use
    use("right horse")


def test_odd_passwords_are_prepared_as_postgresql_does_it(make_broker, postgres, odd_roles):
    users = {f"user{number}": stored for number, (stored, _) in enumerate(ODD_PASSWORDS.values())}
    broker = make_broker({"auth_type": "scram-sha-256"}, userlist=users,
                         databases={"app": broker_line(postgres)})

    def is_let_in(password, **words):
        try:
            psycopg2.connect(password=password, **words).close()
            return True
        except psycopg2.OperationalError as error:
            assert "password authentication failed" in str(error), error
            return False

    right, seen = {}, {}
    for user, (name, (stored, other)) in zip(users, ODD_PASSWORDS.items()):
        odd_roles(stored)
        for typed in (stored, other, stored + "x"):
            right[name, typed] = is_let_in(
                typed, host="127.0.0.1", port=postgres.port, user="secretive", dbname="app")
            seen[name, typed] = is_let_in(
                typed, host=str(broker.dsn_host), port=broker.dsn_port, user=user, dbname="app")
    assert seen == right
    assert sum(right.values()) > 2 * len(right) // 5
