# SPDX-License-Identifier: Apache-2.0
"""pglease doctor: one thing broken after the other, and what it says of it."""

import json
import os
import sys
from pathlib import Path

import pytest

from harness import postgres as database, wire
from harness.pooler import REPOSITORY, pglease_binary
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

SECRET = "right horse"


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL of its own, with few connections, passwords over TCP, and what asks for secrets and shares."""
    one = database.Postgres(
        {"max_connections": 40, "superuser_reserved_connections": 3},
        hba=["host all secretive,limited,asker 127.0.0.1/32 scram-sha-256"])
    one.sql(f"CREATE ROLE limited LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 4")
    one.sql(f"CREATE ROLE asker LOGIN SUPERUSER PASSWORD '{SECRET}'")
    yield one
    one.destroy()


class Doctor:
    """Runs it against a broker; what it found, by topic."""

    def __init__(self, run_program):
        self.run_program = run_program
        self.status, self.findings = None, []

    def __call__(self, broker, *words, before=(), **environment):
        kept = {key: value for key, value in os.environ.items()
                if not key.startswith(("PG", "DATABASE_URL"))}
        done = self.run_program(
            *before, pglease_binary(), "doctor", "--json", "--config", broker.config_path, *words,
            check=False, env=kept | environment)
        seen = json.loads(done.stdout)
        assert SECRET not in done.stdout + done.stderr
        self.findings = seen["findings"]
        worst = {0: "ok", 1: "warning", 2: "wrong"}
        assert seen["verdict"] == worst[done.returncode], done.stderr
        for finding in self.findings:
            assert (finding["do"] is None) == (finding["verdict"] == "ok"), finding
            assert "\n" not in finding["what"] + (finding["do"] or "")
        self.status = done.returncode
        return self

    def of(self, topic, verdict=None):
        return [f"{one['what']} -> {one['do']}" for one in self.findings
                if one["topic"] == topic and verdict in (None, one["verdict"])]

    def says(self, verdict, topic, *words):
        found = self.of(topic, verdict)
        assert any(all(word in text for word in words) for text in found), \
            f"no {verdict} of {topic} with {words} in\n" + "\n".join(map(str, self.findings))


@pytest.fixture
def doctor(run_program):
    return Doctor(run_program)


@pytest.fixture
def patient(make_broker, server):
    """A broker of that server: patient(settings, line, …)."""
    def make(settings=None, line="user=app", start=True, **named):
        words = f"host={server.host} port={server.port} dbname=app {line}"
        named.setdefault("databases", {"app": words})
        return make_broker({"auth_file": "", "auth_type": "peer", **(settings or {})}, on=server,
                           start=start, **named)
    return make


def tcp(server, user="secretive", password=None):
    return (f"host=127.0.0.1 port={server.port} dbname=app user={user}"
            + (f" password='{password}'" if password else ""))


def test_a_set_up_without_fault(doctor, patient, run_program):
    broker = patient()
    doctor(broker)
    assert doctor.status == 0, doctor.findings
    doctor.says("ok", "broker", "is ready", f"process {broker.pid}")
    doctor.says("ok", "version", "as this program")
    doctor.says("ok", "settings", "in force")
    doctor.says("ok", "server", "app/app", "PostgreSQL", "a primary", "without TLS")
    doctor.says("ok", "connections", "1 pool with 10 connections", "37 (max_connections 40 - 3")
    doctor.says("ok", "direct leases", "possible")
    doctor.says("ok", "clock", "agree")
    doctor.says("ok", "open files", "max_client_conn 500")
    doctor.says("ok", "waiters", "nobody")
    text = run_program(pglease_binary(), "doctor", "--config", broker.config_path).stdout
    assert text.splitlines()[-1].startswith("0 wrong, 0 warning, ") and "\x1b" not in text


def test_the_broker_is_down_and_its_socket_is_left(doctor, patient):
    broker = patient()
    broker.kill()
    doctor(broker)
    assert doctor.status == 2 and doctor.findings[0]["topic"] == "broker"
    assert doctor.findings[0]["verdict"] == "wrong" and "start it" in doctor.findings[0]["do"]
    doctor.says("wrong", "socket", "left by a broker that is gone")
    # The rest is looked at all the same.
    doctor.says("ok", "server", "app/app")
    os.unlink(broker.socket_path)
    doctor(broker)
    assert not doctor.of("socket", "wrong") and doctor.status == 2
    Path(broker.socket_path).write_text("")
    doctor(broker).says("wrong", "socket", "is no socket")
    os.unlink(broker.socket_path)


def test_a_wrong_configuration(doctor, patient):
    broker = patient()
    broker.set(pool_mode="sometimes", nonsense=1)
    doctor(broker)
    doctor.says("wrong", "configuration", "pool_mode")
    doctor.says("wrong", "configuration", "nonsense")
    # Where the broker is cannot be read any more, but can be said.
    doctor(broker, "--host", broker.socket_folder, "--port", str(broker.port))
    doctor.says("ok", "broker", "is ready")
    assert doctor.status == 2


def test_settings_that_are_not_in_force(doctor, patient):
    broker = patient()
    broker.set(default_pool_size=7, listen_backlog=99)
    doctor(broker)
    doctor.says("warning", "settings", "default_pool_size", "RELOAD")
    doctor.says("warning", "settings", "listen_backlog", "--replace")
    assert doctor.status == 1
    broker.console("RELOAD", user="postgres")
    doctor(broker)
    assert not any("default_pool_size" in text for text in doctor.of("settings", "warning"))


def test_rights_of_folder_socket_and_secrets(doctor, patient, tmp_path):
    secrets = tmp_path / "userlist.txt"
    secrets.write_text(f'"app" "{SECRET}"\n')
    secrets.chmod(0o644)
    broker = patient({"auth_file": secrets, "auth_type": "trust"})
    broker.socket_folder.chmod(0o750)
    os.chmod(broker.socket_path, 0o700)
    doctor(broker)
    doctor.says("warning", "socket", "cannot enter", "chmod 0755")
    doctor.says("warning", "socket", "mode 0700", "unix_socket_mode is 0777")
    doctor.says("warning", "socket", "auth_type is trust")
    doctor.says("warning", "files", str(secrets), "everybody can read it")
    broker.socket_folder.chmod(0o777)
    secrets.chmod(0o666)
    doctor(broker)
    doctor.says("wrong", "socket", "everybody can replace the socket")
    doctor.says("wrong", "files", "can be changed by everybody")
    broker.socket_folder.chmod(0o755)
    secrets.chmod(0o600)
    doctor(broker).says("ok", "files", "closed to others")
    secrets.unlink()
    doctor(broker).says("wrong", "configuration", "auth_file")


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's broker needs root")
def test_a_broker_of_another_user(doctor, patient, tmp_path):
    account = database.unprivileged_user()
    broker = patient(account=account)
    doctor(broker)
    doctor.says("ok", "user", account.pw_name)
    broker.config_path.chmod(0o600)
    os.chown(broker.config_path, 0, 0)
    doctor(broker).says("wrong", "files", "cannot be read by", "RELOAD")


def test_few_open_files(doctor, patient):
    broker = patient({"max_client_conn": 400}, open_files=128)
    doctor(broker).says("wrong", "open files", "may have 128", "need 442")


def test_servers_that_cannot_be_reached(doctor, patient, server):
    broker = patient({"default_pool_size": 9}, start=False, databases={
        "closed": "host=127.0.0.1 port=1 user=app", "nowhere": "host=nowhere.invalid user=app",
        "missing": f"host={server.host} port={server.port} dbname=missing user=app",
        "asked": tcp(server), "refused": tcp(server, password="not it"),
        "good": tcp(server, password=SECRET),
        "unread": f"{tcp(server)} password_file=/nowhere/at/all",
        "encrypted": f"{tcp(server, password=SECRET)} sslmode=require",
        "standby": f"{tcp(server, password=SECRET)} target_session_attrs=standby",
        "either": f"{tcp(server, password=SECRET)}".replace("127.0.0.1", "127.0.0.1,127.0.0.2"),
        "local": tcp(server, password=SECRET).replace("127.0.0.1", "localhost"),
        "anyone": f"host={server.host} port={server.port}"})
    doctor(broker)
    doctor.says("wrong", "server", "closed/app", "refused", "start PostgreSQL")
    doctor.says("wrong", "server", "nowhere.invalid has no address")
    doctor.says("wrong", "server", "missing/app", "3D000", "dbname")
    doctor.says("wrong", "server", "asked/secretive", "none is configured")
    doctor.says("wrong", "server", "refused/secretive", "28P01", "correct the password")
    doctor.says("ok", "server", "good/secretive", "a primary")
    doctor.says("wrong", "server", "unread/secretive", "password_file")
    doctor.says("wrong", "server", "encrypted/secretive", "server_tls_sslmode")
    doctor.says("wrong", "server", "standby/secretive", "target_session_attrs=standby")
    # One of two hosts is away; of a name's two addresses one is enough.
    doctor.says("ok", "server", "either/secretive", "127.0.0.1:")
    doctor.says("warning", "server", "either/secretive", "127.0.0.2:", "another host")
    assert not doctor.of("server", "warning")[1:]
    doctor.says("ok", "server", "local/secretive", "a primary")
    doctor.says("ok", "server", "anyone at", "no role is known")
    doctor.says("warning", "connections", "no room for a further role's pool")
    doctor(broker, "--role", "nobody_at_all")
    doctor.says("wrong", "server", "anyone/nobody_at_all", "28000")


def test_a_hash_is_no_password(doctor, patient, server, tmp_path):
    secrets = tmp_path / "userlist.txt"
    stored = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'secretive'")[0][0]
    secrets.write_text(f'"secretive" "{stored}"\n')
    secrets.chmod(0o600)
    broker = patient({"auth_file": secrets, "auth_type": "scram-sha-256"}, start=False,
                     databases={"app": tcp(server)})
    doctor(broker).says("ok", "server", "app/secretive", "was not tried")


def test_more_pools_than_connections(doctor, patient, server):
    broker = patient({"default_pool_size": 20, "reserve_pool_size": 0}, start=False, databases={
        "one": f"host={server.host} port={server.port} dbname=app user=app",
        "two": f"host={server.host} port={server.port} dbname=app user=other",
        "low": f"{tcp(server, 'limited', SECRET)} pool_size=5"})
    doctor(broker)
    doctor.says("wrong", "connections", "3 pools with 45 connections", "37", "37 or less")
    doctor.says("wrong", "connections", "role limited has CONNECTION LIMIT 4, its pools 5")
    broker.set(max_server_connections=30)
    doctor(broker).says("ok", "connections", "at most 30 by max_server_connections")
    doctor.says("wrong", "connections", "role limited")
    server.sql("ALTER DATABASE app CONNECTION LIMIT 25")
    try:
        doctor(broker).says("wrong", "connections", "database app has CONNECTION LIMIT 25")
    finally:
        server.sql("ALTER DATABASE app CONNECTION LIMIT -1")


def test_auth_query(doctor, patient, server, tmp_path):
    secrets = tmp_path / "userlist.txt"
    secrets.write_text(f'"asker" "{SECRET}"\n"secretive" "{SECRET}"\n')
    secrets.chmod(0o600)
    line = f"host=127.0.0.1 port={server.port} dbname=app"
    broker = patient({"auth_file": secrets, "auth_type": "scram-sha-256", "auth_user": "asker"},
                     start=False, databases={"app": line})
    doctor(broker).says("ok", "auth_query", "asker in app is answered")
    broker.set(auth_user="secretive")
    doctor(broker).says("wrong", "auth_query", "42501", "SECURITY DEFINER")
    broker.set(auth_user="asker", auth_query="SELECT $1::text, 'a', 'b'")
    doctor(broker).says("wrong", "auth_query", "not one row")
    broker.set(auth_query="SELEKT $1")
    doctor(broker).says("wrong", "auth_query", "42601")
    broker.set(auth_user="unlisted")
    doctor(broker).says("wrong", "auth_query", "unlisted in app cannot log in")


def test_shared_bounds(doctor, patient, server, run_program):
    def share(*words):
        run_program(pglease_binary(), "share", *words, env=os.environ | {
            "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres",
            "PGDATABASE": "app"})
    broker = patient({"shared_bound": "orders"}, start=False)
    doctor(broker).says("wrong", "shared bound", "share init --role app")
    share("init")
    try:
        doctor(broker).says("wrong", "shared bound", "42501")
        share("init", "--role", "app")
        doctor(broker).says("wrong", "shared bound", "is not in the table", "share set orders")
        share("set", "orders", "12")
        doctor(broker).says("ok", "shared bound", "12 connections for all hosts")
        server.sql("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA pglease FROM app, public",
                   dbname="app")
        doctor(broker).says("wrong", "shared bound", "may not ask")
    finally:
        server.sql("DROP SCHEMA pglease CASCADE", dbname="app")


def test_direct_leases(doctor, patient, run_program):
    broker = patient({"direct_lease": "off"}, start=False)
    doctor(broker).says("ok", "direct leases", "direct_lease is off")
    broker.set(direct_lease="same_uid", park_timeout=0)
    doctor(broker).says("ok", "direct leases", "park_timeout is 0")
    broker.set(park_timeout=10)
    filtered = [sys.executable, REPOSITORY / "Tests/end_to_end/harness/no_membarrier.py"]
    doctor(broker, before=filtered).says("warning", "direct leases", "membarrier is refused")
    broker.set(unix_socket_dir="none", listen_addr="127.0.0.1")
    doctor(broker).says("warning", "direct leases", "no Unix socket")


def test_tls_to_the_server_forbids_direct_leases(doctor, make_broker, tls_postgres):
    broker = make_broker({"auth_type": "peer", "auth_file": ""}, on=tls_postgres, start=False,
                         databases={"app": f"host=127.0.0.1 port={tls_postgres.port} user=app "
                                           "sslmode=require"})
    doctor(broker)
    doctor.says("ok", "server", "app/app", ", TLS")
    doctor.says("warning", "direct leases", "TLS are relayed")


def test_what_looks_stuck(doctor, patient):
    broker = patient({"default_pool_size": 1, "lease_warn_after": "0.05", "query_wait_timeout": 600})
    with broker.wire() as holder, broker.wire() as waiter:
        wire.rows_of(holder.query("LEASE FOR 'stuck'"))
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: doctor(broker).of("leases", "warning"))
        doctor.says("warning", "leases", "lease_warn_after", "stuck")
        eventually(lambda: doctor(broker).of("waiters", "warning"))
        doctor.says("warning", "waiters", "1 wait for a connection")
    broker.console("PAUSE", user="postgres")
    doctor(broker).says("wrong", "broker", "not ready", "paused")
    doctor.says("wrong", "broker", "RESUME")
    broker.console("RESUME", user="postgres")


def test_wrong_options_are_no_finding(run_program):
    for words in (["--timeout", "0"], ["--nonsense"]):
        done = run_program(pglease_binary(), "doctor", *words, check=False)
        assert done.returncode == 3, done.stderr
