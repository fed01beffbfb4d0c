# SPDX-License-Identifier: Apache-2.0
"""How the broker reaches PostgreSQL: TLS, several hosts, URIs, files with secrets."""

import socket
from pathlib import Path

import pytest

from harness import wire
from harness.faucet import Faucet
from harness.pooler import REPOSITORY
from harness.postgres import Postgres

pytestmark = pytest.mark.pglease_only


def encrypted(broker):
    with broker.wire() as one:
        return one.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"


def answers(broker):
    with broker.wire() as one:
        return one.value("SELECT 'reached'") == "reached"


def failure(broker):
    """The fields of the error at login, or else at the first query."""
    broker.errors_expected = True
    try:
        with broker.wire() as one:
            one.send(wire.query("SELECT 1"))
            return wire.error_of(one.until("EZ")).fields
    except wire.Refused as refused:
        return refused.fields


@pytest.fixture
def tls_broker(make_broker, tls_postgres):
    def make(settings, host="127.0.0.1", **more):
        words = {"host": host, "port": tls_postgres.port, "dbname": "app", **more}
        line = " ".join(f"{key}={value}" for key, value in words.items())
        return make_broker({"query_wait_timeout": 3, "startup_attempts": 1} | settings,
                           on=tls_postgres, databases={"app": line})
    return make


@pytest.mark.parametrize("mode", ["require", "prefer"])
def test_tls_is_used(tls_broker, mode):
    assert encrypted(tls_broker({"server_tls_sslmode": mode}))


@pytest.mark.parametrize("mode, host", [("verify-ca", "127.0.0.1"), ("verify-full", "localhost")])
def test_tls_with_a_verified_server(tls_broker, tls, mode, host):
    assert encrypted(tls_broker(
        {"server_tls_sslmode": mode, "server_tls_ca_file": tls.authority}, host))


def test_verify_full_refuses_a_wrong_name(tls_broker, tls):
    broker = tls_broker({"server_tls_sslmode": "verify-full",
                         "server_tls_ca_file": tls.authority}, "127.0.0.1")
    error = failure(broker)
    assert error["C"] == "08001" and "127.0.0.1" in str(error)


def test_verify_ca_refuses_an_unknown_authority(tls_broker, tls):
    broker = tls_broker({"server_tls_sslmode": "verify-ca",
                         "server_tls_ca_file": tls.certificate})
    assert failure(broker)["C"] == "08001"


def test_without_tls_the_servers_refusal_is_shown(tls_broker):
    error = failure(tls_broker({"server_tls_sslmode": "disable"}))
    assert error["C"] == "28000" and "pg_hba.conf" in str(error)


def test_a_client_certificate_is_shown_to_the_server(tls_broker, tls):
    settings = {"server_tls_sslmode": "require", "server_tls_cert_file": tls.client_certificate,
                "server_tls_key_file": tls.client_key}
    with tls_broker(settings).wire("other", "app") as one:
        assert one.value("SELECT current_user") == "other"
        assert one.value("SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == \
            "/CN=other"


@pytest.mark.parametrize("protocols, version", [
    ("tlsv1.2", "TLSv1.2"), ("tlsv1.3", "TLSv1.3"), ("secure", "TLSv1.3")])
def test_server_tls_protocols(tls_broker, protocols, version):
    broker = tls_broker({"server_tls_sslmode": "require", "server_tls_protocols": protocols})
    with broker.wire() as one:
        assert one.value("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == version


@pytest.mark.parametrize("protocol, cipher", [
    ("tlsv1.2", "ECDHE-RSA-AES128-GCM-SHA256"), ("tlsv1.3", "TLS_CHACHA20_POLY1305_SHA256")])
def test_a_file_of_openssl_chooses_the_ciphers(make_broker, tls_postgres, tmp_path, protocol, cipher):
    """As docs/tls.md has it: libpq has no setting for them."""
    document = (REPOSITORY / "docs/tls.md").read_text()
    text = document[document.index("openssl_conf = init"):]
    text = text[:text.index("```")]
    file = tmp_path / "openssl.cnf"
    file.write_text(text.replace("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"))
    broker = make_broker(
        {"server_tls_sslmode": "require", "server_tls_protocols": protocol}, on=tls_postgres,
        databases={"app": f"host=127.0.0.1 port={tls_postgres.port}"},
        environment={"OPENSSL_CONF": str(file)})
    with broker.wire() as one:
        assert one.value("SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == cipher


def test_other_settings_of_server_tls_replace_connections(tls_broker, tls, tmp_path):
    """One that was opened before may be less secure than what is asked for now."""
    authority = tmp_path / "ca.crt"
    authority.write_text(Path(tls.authority).read_text())
    broker = tls_broker({"server_tls_sslmode": "require", "server_tls_ca_file": authority})

    def backend():
        with broker.wire("app") as one:
            return one.value("SELECT pg_backend_pid()"), one.value(
                "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

    first, _ = backend()
    broker.console("RELOAD")
    assert backend()[0] == first
    broker.set(server_tls_protocols="tlsv1.2")
    broker.console("RELOAD")
    second, version = backend()
    assert second != first and version == "TLSv1.2"
    authority.write_text(Path(tls.authority).read_text() * 2)
    broker.console("RELOAD")
    third, _ = backend()
    assert third not in (first, second)
    authority.unlink()
    broker.errors_expected = True
    with pytest.raises(wire.Refused):
        broker.console("RELOAD")
    assert backend()[0] == third


def test_sslmode_of_a_database_entry(tls_broker):
    assert encrypted(tls_broker({"server_tls_sslmode": "disable"}, sslmode="require"))


def test_large_values_and_copy_over_tls(tls_broker):
    broker = tls_broker({"server_tls_sslmode": "require"})
    with broker.wire(timeout=60) as one:
        value = "0123456789" * 500000
        assert one.value(f"SELECT '{value}'") == value
        one.send(wire.query("COPY (SELECT repeat('y', 1000) FROM generate_series(1, 20000)) "
                            "TO STDOUT"))
        seen = one.until_ready()
        assert sum(m.kind == "d" for m in seen) == 20000


def test_pipelines_over_tls(tls_broker):
    broker = tls_broker({"server_tls_sslmode": "require"})
    with broker.wire() as one:
        one.send(*(wire.parse(f"SELECT {n}") + wire.bind() + wire.execute() + wire.sync()
                   for n in range(500)))
        rows = wire.rows_of(one.until_ready(500))
        assert [int(row[0]) for row in rows] == list(range(500))


def test_cancel_over_tls(tls_broker, tls_postgres):
    from harness.waiting import eventually
    broker = tls_broker({"server_tls_sslmode": "require"})
    with broker.wire() as one:
        one.send(wire.query("SELECT pg_sleep(60) AS over_tls"))
        eventually(lambda: tls_postgres.sql(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS over_tls%' "
            "AND state = 'active' AND application_name <> 'harness'"))
        wire.cancel(broker.socket_path, one.key)
        assert wire.error_of(one.until_ready()).code == "57014"


def test_a_cut_tls_connection_is_replaced(make_broker, tls_postgres):
    faucet = Faucet(("127.0.0.1", tls_postgres.port))
    try:
        broker = make_broker({"server_tls_sslmode": "require"}, on=tls_postgres,
                             databases={"app": f"host=127.0.0.1 port={faucet.port} dbname=app"})
        assert encrypted(broker)
        faucet.cut()
        assert encrypted(broker)
    finally:
        faucet.close()


def test_the_first_host_that_answers_is_used(make_broker, postgres):
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    dead = closed.getsockname()[1]
    closed.close()
    broker = make_broker(databases={
        "app": f"host=127.0.0.1,127.0.0.1 port={dead},{postgres.port} dbname=app"})
    assert answers(broker)


def test_target_session_attrs_finds_the_writable_server(make_broker, postgres):
    readonly = Postgres({"default_transaction_read_only": "off"})
    try:
        readonly.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        readonly.sql("SELECT pg_reload_conf()")
        broker = make_broker(databases={
            "app": f"host=127.0.0.1,127.0.0.1 port={readonly.port},{postgres.port} "
                   "dbname=app target_session_attrs=read-write",
            "replica": f"host=127.0.0.1,127.0.0.1 port={postgres.port},{readonly.port} "
                       "dbname=app target_session_attrs=read-only"})
        with broker.wire() as one:
            assert one.value("SHOW port") == str(postgres.port)
        with broker.wire(database="replica") as one:
            assert one.value("SHOW port") == str(readonly.port)
    finally:
        readonly.destroy()


def test_a_uri_as_the_value_of_a_database(make_broker, postgres):
    broker = make_broker(databases={
        "app": f"postgresql://app@127.0.0.1:{postgres.port}/app?sslmode=disable"})
    assert answers(broker)


def test_a_service_file_and_a_passfile(make_broker, postgres, tmp_path):
    service, passfile = tmp_path / "services", tmp_path / "passwords"
    service.write_text(f"[there]\nhost=127.0.0.1\nport={postgres.port}\ndbname=app\n")
    passfile.write_text("*:*:*:secretive:right horse\n")
    passfile.chmod(0o600)
    broker = make_broker(databases={"app": f"service=there user=secretive passfile={passfile}"},
                         environment={"PGSERVICEFILE": str(service)})
    with broker.wire() as one:
        assert one.value("SELECT current_user") == "secretive"


def test_a_forced_user_with_a_scram_password(make_broker, postgres):
    broker = make_broker(databases={
        "app": f"host=127.0.0.1 port={postgres.port} dbname=app user=secretive "
               "password='right horse'"})
    with broker.wire() as one:
        assert one.value("SELECT current_user") == "secretive"


def test_a_password_from_the_userlist(make_broker, postgres):
    broker = make_broker(
        userlist={"secretive": "right horse", "admin": ""},
        databases={"app": f"host=127.0.0.1 port={postgres.port} dbname=app"})
    with broker.wire("secretive") as one:
        assert one.value("SELECT current_user") == "secretive"


def test_a_host_name_is_resolved(make_broker, postgres):
    assert answers(make_broker(
        databases={"app": f"host=localhost port={postgres.port} dbname=app"}))


def test_an_unknown_host_name_is_an_error_within_the_deadline(make_broker):
    broker = make_broker({"query_wait_timeout": 2, "startup_attempts": 1},
                         databases={"app": "host=no-such-host.invalid port=5432 dbname=app"})
    error = failure(broker)
    assert error["C"] == "08001" and "no-such-host.invalid" in str(error)


def test_connect_query_runs_on_each_new_connection(make_broker, postgres):
    broker = make_broker(databases={
        "app": f"host={postgres.host} port={postgres.port} dbname=app "
               "connect_query='SET work_mem = ''5MB'''"})
    with broker.wire() as one:
        assert one.value("SHOW work_mem") == "5MB"


def test_a_failing_connect_query_is_the_clients_error(make_broker, postgres):
    broker = make_broker({"query_wait_timeout": 2, "startup_attempts": 1}, databases={
        "app": f"host={postgres.host} port={postgres.port} dbname=app "
               "connect_query='SELECT no_such_function()'"})
    error = failure(broker)
    assert "no_such_function" in str(error)


def test_why_a_server_refuses_our_certificate_is_told(tls_broker, run_program, tmp_path):
    """Its alert comes when TLS is set up already, and only once."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    run_program("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                "-subj", "/CN=other", "-keyout", key, "-out", certificate)
    key.chmod(0o600)
    broker = tls_broker({"server_tls_sslmode": "require", "server_tls_key_file": key,
                         "server_tls_cert_file": certificate, "query_wait_timeout": 1})
    error = failure(broker)
    assert error["C"] == "08001" and error["M"].endswith("alert unknown ca"), error
