# SPDX-License-Identifier: Apache-2.0
"""Secrets that are no passwords go on to the server: SCRAM keys that clients have shown, and MD5 hashes."""

import signal

import pytest

from harness import postgres as database
from harness import wire
from harness.scram_server import ScramServer
from harness.secrets import scram_secret, stored_secret
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PASSWORD = "pass wörd"


def make_server(tls=None):
    kind = "hostssl" if tls else "host"
    one = database.Postgres(tls=tls, hba=[
        "local all postgres trust", "host all postgres 127.0.0.1/32 trust",
        f"{kind} all hashed 127.0.0.1/32 md5", f"{kind} all cleartext 127.0.0.1/32 password",
        f"{kind} all all 127.0.0.1/32 scram-sha-256", "local all all scram-sha-256",
        "host all all 127.0.0.1/32 reject"])
    for sql in (f"ALTER ROLE app PASSWORD '{PASSWORD}'", f"ALTER ROLE other PASSWORD '{PASSWORD}'",
                f"CREATE ROLE cleartext LOGIN PASSWORD '{PASSWORD}'",
                f"SET password_encryption = md5; CREATE ROLE hashed LOGIN PASSWORD '{PASSWORD}'"):
        one.sql(sql)
    return one


@pytest.fixture(scope="module")
def plain_server():
    one = make_server()
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def tls_server(tls):
    one = make_server(tls)
    yield one
    one.destroy()


WAYS = ["TCP", "Unix socket", "TLS", "TLS verified"]


@pytest.fixture(params=WAYS)
def way(request, tls):
    """A server, and a line of [databases] that leads to it."""
    server = request.getfixturevalue(
        "tls_server" if request.param.startswith("TLS") else "plain_server")
    words = {"TCP": "host=127.0.0.1 sslmode=disable", "Unix socket": f"host={server.host}",
             "TLS": "host=127.0.0.1 sslmode=require",
             "TLS verified": f"host=localhost sslmode=verify-full sslrootcert={tls.authority}"}
    return server, f"{words[request.param]} port={server.port} dbname=app"


@pytest.fixture
def start(make_broker):
    def make(server, line, roles=("app",), settings=None, databases=None, **named):
        return make_broker(
            {"auth_type": "md5", "server_tls_sslmode": "prefer"} | (settings or {}), on=server,
            userlist={role: stored_secret(server, role) for role in roles},
            databases=databases or {"app": line}, **named)
    return make


def login(broker, user="app", password=PASSWORD, database="app"):
    return wire.Wire(broker.socket_path).start(user, database, password)


def admin(broker, sql, user="app"):
    with wire.Wire(broker.socket_path).start(user, "pglease", PASSWORD) as one:
        wire.rows_of(one.query(sql))


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_the_clients_keys_log_in_on_the_server_also_again(start, way, mode):
    server, line = way
    broker = start(server, line, settings={"pool_mode": mode, "admin_users": "app"})
    with login(broker) as one:
        assert one.value("SELECT current_user") == "app"
    before = {row[0] for row in server.backends("app", "app")}
    admin(broker, "RECONNECT")
    with login(broker) as one:
        assert one.value("SELECT current_user") == "app"
        assert not before & {row[0] for row in server.backends("app", "app")}
    server.terminate(*[row[0] for row in server.backends("app", "app")])
    server.gone("app", "app")
    with login(broker) as one:
        assert one.value("SELECT current_user") == "app"
    # A cancel finds its way, too.
    with login(broker) as one:
        one.send(wire.query("SELECT pg_sleep(60)"))
        eventually(lambda: server.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' "
                                      "AND usename = 'app'"))
        wire.cancel(broker.socket_path, one.key)
        assert wire.error_of(one.until_ready()).code == "57014"


def test_they_outlive_a_reload_as_long_as_the_secret_does(start, plain_server):
    broker = start(plain_server, f"host={plain_server.host} port={plain_server.port} dbname=app",
                   settings={"admin_users": "app"})
    login(broker).close()
    admin(broker, "RELOAD")
    admin(broker, "RECONNECT")
    with login(broker) as one:
        assert one.value("SELECT current_user") == "app"


def test_a_forced_users_keys_come_with_its_own_login(start, plain_server):
    broker = start(
        plain_server, None, roles=("app", "other"),
        databases={"app": f"host={plain_server.host} port={plain_server.port} dbname=app user=app"})
    broker.errors_expected = True
    with pytest.raises(wire.Refused) as refused:
        with login(broker, "other") as one:
            one.value("SELECT 1")
    assert refused.value.code == "28P01"
    assert "once a client has logged in with it" in refused.value.fields["D"]
    for user in ("app", "other"):
        with login(broker, user) as one:
            assert one.value("SELECT current_user") == "app"


def test_keys_shown_anywhere_serve_all_pools_of_the_role(start, plain_server):
    line = f"host={plain_server.host} port={plain_server.port}"
    broker = start(plain_server, None, settings={"admin_users": "app"},
                   databases={"app": f"{line} dbname=app", "post": f"{line} dbname=postgres"})
    # The console's login shows them as well.
    admin(broker, "SHOW VERSION")
    for name in ("app", "post"):
        with login(broker, database=name) as one:
            assert one.value("SELECT current_user") == "app"


def test_a_secret_that_is_not_the_servers_is_told_from_a_wrong_password(start, plain_server):
    broker = start(plain_server, f"host={plain_server.host} port={plain_server.port} dbname=app")
    broker.errors_expected = True
    broker.userlist["app"] = scram_secret(PASSWORD)
    broker.write_userlist()
    broker.send_signal(signal.SIGHUP)
    broker.wait_logged("configuration reloaded")
    with pytest.raises(wire.Refused) as refused:
        with login(broker) as one:
            one.value("SELECT 1")
    fields = refused.value.fields
    assert fields["C"] == "28P01" and "another SCRAM secret" in fields["M"], fields
    assert "pg_authid" in fields["H"]
    # Once the secret is the server's, so are the keys.
    broker.userlist["app"] = stored_secret(plain_server, "app")
    broker.write_userlist()
    broker.send_signal(signal.SIGHUP)
    eventually(lambda: len(broker.logged("configuration reloaded")) == 2)
    with login(broker) as one:
        assert one.value("SELECT current_user") == "app"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_an_md5_hash_goes_on_to_a_server_that_asks_for_md5(start, way, mode):
    server, line = way
    if "/" in line.split()[0]:
        pytest.skip("the Unix socket asks for SCRAM")
    broker = start(server, line, roles=("hashed",), settings={"pool_mode": mode})
    for _ in range(2):
        with login(broker, "hashed") as one:
            assert one.value("SELECT current_user") == "hashed"


def test_a_hash_does_not_serve_a_server_that_wants_the_password(start, plain_server):
    line = f"host=127.0.0.1 port={plain_server.port} dbname=app"
    broker = start(plain_server, line, roles=("cleartext",))
    broker.errors_expected = True
    with pytest.raises(wire.Refused) as refused:
        with login(broker, "cleartext") as one:
            one.value("SELECT 1")
    assert refused.value.code == "28P01" and "PostgreSQL asks for a password" in refused.value.fields["D"]


def test_a_password_that_was_typed_serves_where_the_secret_does_not(start, plain_server):
    line = f"host=127.0.0.1 port={plain_server.port} dbname=app"
    broker = start(plain_server, line, roles=("cleartext",), settings={"auth_type": "plain"})
    with login(broker, "cleartext") as one:
        assert one.value("SELECT current_user") == "cleartext"


def test_a_server_that_does_not_know_the_secret_gets_nothing(make_broker, postgres):
    """It challenges with another salt: the proof is not made at all."""
    secret = scram_secret(PASSWORD)
    server = ScramServer(4096)
    try:
        broker = make_broker(
            {"auth_type": "scram-sha-256", "prewarm": 0, "query_wait_timeout": 10},
            userlist={"app": secret},
            databases={"app": f"host=127.0.0.1 port={server.port} sslmode=disable"})
        broker.errors_expected = True
        with pytest.raises(wire.Refused) as refused:
            with login(broker) as one:
                one.value("SELECT 1")
        assert "another SCRAM secret" in refused.value.fields["M"]
    finally:
        server.close()


def test_bytes_that_are_no_text_are_a_password_of_the_server_too(make_broker, postgres):
    odd = b"\xff\xfe\x80 bytes"
    server = database.Postgres(hba=["local all postgres trust", "host all postgres 127.0.0.1/32 trust",
                                    "host all all 127.0.0.1/32 scram-sha-256"])
    try:
        server.sql(f"ALTER ROLE app PASSWORD '{scram_secret(odd)}'")
        broker = make_broker(
            {"auth_type": "scram-sha-256"}, on=server, userlist={}, start=False,
            databases={"app": f"host=127.0.0.1 port={server.port}"})
        broker.userlist_path.write_bytes(b'"app" "' + odd + b'"\n')
        broker.start()
        with login(broker, password=odd) as one:
            assert one.value("SELECT current_user") == "app"
    finally:
        server.destroy()
