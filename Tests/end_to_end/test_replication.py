# SPDX-License-Identifier: Apache-2.0
"""Replication connections: one walsender for each client, and every byte passes as it is."""

import os
import select
import signal
import socket
import struct
import subprocess
import sys

import psycopg2
import pytest
from psycopg2.extras import (LogicalReplicationConnection, PhysicalReplicationConnection,
                             StopReplication)

from harness import wire
from harness.encrypted import EncryptedWire
from harness.postgres import Postgres
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]

SETTINGS = {"wal_level": "logical", "max_wal_senders": "10", "max_replication_slots": "10",
            "wal_sender_timeout": "30s", "max_wal_size": "1GB"}


@pytest.fixture(scope="module")
def source():
    one = Postgres(SETTINGS, hba=["local replication all trust",
                                  "host replication secretive 127.0.0.1/32 scram-sha-256",
                                  "host replication all 127.0.0.1/32 trust"])
    for role in ("app", "secretive"):
        one.sql(f"ALTER ROLE {role} REPLICATION")
    one.sql("CREATE TABLE items (id int PRIMARY KEY, name text)", dbname="app", user="app")
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def keeper(source):
    """A slot keeps what a test has yet to read."""
    def slots():
        return source.sql("SELECT slot_name FROM pg_replication_slots WHERE NOT active")
    yield source
    for (name,) in slots():
        source.sql(f"SELECT pg_drop_replication_slot('{name}')")


@pytest.fixture
def broker(make_broker, source):
    one = make_broker({"default_pool_size": 1}, on=source, tcp=True)
    yield one
    # Nothing is left behind, neither here nor there.
    eventually(lambda: not walsenders(source), 10, lambda: walsenders(source))
    eventually(lambda: shown(one, "SERVERS") == [])


def walsenders(source):
    return source.sql("SELECT pid, state FROM pg_stat_activity WHERE backend_type = 'walsender'")


def shown(broker, what):
    return [row for row in broker.console(f"SHOW {what}") if row["replication"] != "none"]


def physical(broker, **more):
    return broker.wire(database="replication", replication="true", **more)


def logical(broker, **more):
    return broker.wire(replication="database", **more)


def table(seen):
    return dict(zip(next(one.columns for one in seen if one.kind == "T"), wire.rows_of(seen)[0]))


# The tools of PostgreSQL.

def environment(broker):
    return {**os.environ, "PGHOST": str(broker.dsn_host), "PGPORT": str(broker.dsn_port),
            "PGUSER": "app"}


def run(broker, source, tool, *words, within=120):
    return subprocess.run([str(source.bin / tool), *words], env=environment(broker), cwd="/tmp",
                          capture_output=True, text=True, timeout=within)


def test_pg_basebackup(broker, source, tmp_path):
    done = run(broker, source, "pg_basebackup", "-D", str(tmp_path / "copy"), "-c", "fast",
               "-X", "stream")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "PG_VERSION").exists()
    assert broker.logged("replication=yes") or broker.logged("client logged in")


def test_pg_receivewal_and_its_end(broker, source, tmp_path, keeper):
    made = run(broker, source, "pg_receivewal", "--create-slot", "-S", "received")
    assert made.returncode == 0, made.stderr
    one = subprocess.Popen(
        [str(source.bin / "pg_receivewal"), "-D", str(tmp_path), "-S", "received", "-n",
         "--synchronous"], env=environment(broker), stderr=subprocess.PIPE, cwd="/tmp")
    try:
        eventually(lambda: [row for row in shown(broker, "CLIENTS") if row["replication"] == "physical"])
        for _ in range(2):
            source.sql("INSERT INTO items SELECT 1 WHERE false", dbname="app")
            source.sql("SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 't', 'x')")
        eventually(lambda: len([name for name in os.listdir(tmp_path)
                                if not name.endswith(".partial")]) >= 1, 20)
    finally:
        one.send_signal(signal.SIGINT)
        assert one.wait(20) == 0, one.stderr.read()


def test_pg_recvlogical(broker, source, tmp_path, keeper):
    made = run(broker, source, "pg_recvlogical", "-d", "app", "-S", "decoded", "--create-slot",
               "-P", "test_decoding")
    assert made.returncode == 0, made.stderr
    source.sql("INSERT INTO items VALUES (1, 'one') ON CONFLICT DO NOTHING", dbname="app")
    (end,) = source.sql("SELECT pg_current_wal_insert_lsn()")[0]
    source.sql("SELECT pg_logical_emit_message(true, 't', 'x')")
    done = run(broker, source, "pg_recvlogical", "-d", "app", "-S", "decoded", "--start",
               "-f", str(tmp_path / "changes"), "--endpos", end)
    assert done.returncode == 0, done.stderr
    assert "table public.items: INSERT: id[integer]:1" in (tmp_path / "changes").read_text()


def test_psql(broker, source):
    done = run(broker, source, "psql", "replication=database dbname=app", "-Atc",
               "IDENTIFY_SYSTEM", "-c", "SELECT current_database()", "-c", "SHOW wal_level")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("|app") and lines[1:] == ["app", "logical"]


# Drivers.

def emit(source, megabytes):
    """So much WAL, in messages of logical decoding."""
    source.sql(f"SELECT count(pg_logical_emit_message(false, 'bulk', repeat('x', 1000000))) "
               f"FROM generate_series(1, {megabytes})", dbname="app")


def test_a_logical_stream_with_a_slow_reader(broker, source, keeper):
    one = psycopg2.connect(broker.dsn(), connection_factory=LogicalReplicationConnection)
    cursor = one.cursor()
    cursor.create_replication_slot("driven", output_plugin="test_decoding")
    cursor.start_replication("driven")
    emit(source, 60)
    # Nobody reads: what is on its way stays where it is.
    eventually(lambda: source.sql("SELECT wait_event FROM pg_stat_activity "
                                  "WHERE backend_type = 'walsender'") == [("WalSenderWriteData",)])
    assert broker.memory() < 200_000_000
    state = {"bytes": 0, "count": 0}

    def consume(change):
        state["bytes"] += len(change.payload)
        state["count"] += 1
        change.cursor.send_feedback(flush_lsn=change.data_start)
        if state["count"] == 60:
            raise StopReplication
    with pytest.raises(StopReplication):
        cursor.consume_stream(consume)
    assert state["bytes"] > 60_000_000
    one.close()


def test_a_physical_stream(broker, source, keeper):
    one = psycopg2.connect(broker.dsn(dbname="replication"),
                           connection_factory=PhysicalReplicationConnection)
    cursor = one.cursor()
    (start,) = source.sql("SELECT pg_current_wal_flush_lsn()")[0]
    cursor.start_replication(start_lsn=start)
    emit(source, 55)
    received = 0
    while received < 55_000_000:
        change = cursor.read_message()
        if change is None:
            select.select([one], [], [], 10)
        else:
            received += len(change.payload)
    (row,) = shown(broker, "SERVERS")
    assert row["replication"] == "physical" and row["state"] == "active"
    one.close()


# What is whose.

def test_outside_of_the_pool_and_alone(broker, source):
    """The pool has one connection, and it is in use all the time."""
    session = broker.wire()
    session.query("BEGIN")
    ones = [physical(broker), physical(broker), logical(broker)]
    identities = [table(one.query("IDENTIFY_SYSTEM")) for one in ones]
    assert len({row["systemid"] for row in identities}) == 1
    assert identities[0]["dbname"] is None and identities[2]["dbname"] == "app"
    # Real processes, each with its own.
    pids = {one.key[0] for one in ones}
    assert pids == {pid for pid, _ in walsenders(source)} and len(pids) == 3
    assert sorted(row["replication"] for row in shown(broker, "CLIENTS")) == [
        "logical", "physical", "physical"]
    assert {int(row["remote_pid"]) for row in shown(broker, "SERVERS")} == pids
    row = broker.pool()
    assert (row["sv_active"], row["cl_active"]) == ("2", "2")
    leases = [row["kind"] for row in broker.console("SHOW LEASES")]
    assert sorted(leases) == ["replication"] * 3 + ["transaction"]
    for one in ones:
        one.send(wire.terminate())
        assert one.closed_by_peer()
    session.close()


def test_the_server_speaks_for_itself(broker, source):
    """No statement of the broker's own comes between, and the extended protocol is the server's to refuse."""
    one = logical(broker, application_name="mine", options="-c work_mem=7MB")
    assert one.parameters["application_name"] == "mine"
    assert one.value("SHOW work_mem") == "7MB"
    one.query("SET work_mem = '9MB'")
    assert one.value("SHOW work_mem") == "9MB"
    one.send(wire.parse("SELECT 1"), wire.sync())
    seen = one.until("EZ")
    assert seen[-1].code == "08P01" and "extended query protocol" in seen[-1].fields["M"]
    one.close()


def test_a_walsender_is_not_used_again(broker, source):
    first = physical(broker)
    pid = first.key[0]
    first.send(wire.terminate())
    eventually(lambda: pid not in [one for one, _ in walsenders(source)])
    second = physical(broker)
    assert second.key[0] != pid
    second.close()


def test_refusals_are_the_servers(broker, source):
    with pytest.raises(wire.Refused) as refused:
        broker.wire("other", replication="database")
    assert refused.value.code in ("42501", "28000")
    with pytest.raises(wire.Refused) as refused:
        logical(broker, options="-c nonsense=1")
    assert refused.value.code == "42704"
    with pytest.raises(wire.Refused) as refused:
        broker.wire(replication="perhaps")
    assert refused.value.code == "22023"
    # Nobody else suffers.
    logical(broker).close()


def test_the_shared_bound(make_broker, source):
    broker = make_broker({"max_db_connections": 2, "query_wait_timeout": 1}, on=source)
    ones = [logical(broker), logical(broker)]
    with pytest.raises(wire.Refused) as refused:
        logical(broker)
    assert refused.value.code == "53300" and refused.value.fields["M"] == "query_wait_timeout"
    ones.pop().send(wire.terminate())
    one = eventually(lambda: attempt(broker))
    # Idle connections of the database make room.
    ones += [one]
    for each in ones:
        each.close()
    session = broker.wire()
    assert session.value("SELECT 1") == "1"
    held = [logical(broker), logical(broker)]
    for each in held + [session]:
        each.close()


def attempt(broker):
    try:
        return logical(broker)
    except wire.Refused:
        return None


# Ends.

def streaming(broker, source):
    one = physical(broker)
    (start,) = source.sql("SELECT pg_current_wal_flush_lsn()")[0]
    one.send(wire.query(f"START_REPLICATION {start}"))
    assert one.until("W")
    eventually(lambda: (one.key[0],) in source.sql(
        "SELECT pid FROM pg_stat_replication WHERE state = 'streaming'"))
    return one


def test_a_killed_client_frees_its_walsender(broker, source):
    script = ("import psycopg2, select, sys\n"
              "from psycopg2.extras import PhysicalReplicationConnection as P\n"
              "one = psycopg2.connect(sys.argv[1], connection_factory=P)\n"
              "cursor = one.cursor()\n"
              "cursor.start_replication(start_lsn=sys.argv[2])\n"
              "select.select([], [], [])\n")
    (start,) = source.sql("SELECT pg_current_wal_flush_lsn()")[0]
    child = subprocess.Popen([sys.executable, "-c", script, broker.dsn(dbname="replication"), start])
    eventually(lambda: source.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))
    child.kill()
    child.wait()
    eventually(lambda: not walsenders(source), 5)


def test_copy_ends_and_begins_again(broker, source):
    one = streaming(broker, source)
    one.send(wire.copy_done())
    seen = one.until_ready()
    assert [each.kind for each in seen if each.kind != "d"][0] == "c"
    assert table(one.query("IDENTIFY_SYSTEM"))["dbname"] is None
    one.close()


def test_cancel(broker, source):
    one = logical(broker)
    one.send(wire.query("SELECT pg_sleep(60)"))
    eventually(lambda: (one.key[0], "active") in walsenders(source))
    wire.cancel(broker.socket_path, one.key)
    assert wire.error_of(one.until_ready()).code == "57014"
    # Somebody else's secret does nothing.
    one.send(wire.query("SELECT pg_sleep(0.3)"))
    wire.cancel(broker.socket_path, (one.key[0], one.key[1] ^ 1))
    assert wire.kinds(one.until_ready()) == "TDCZ"
    one.close()


def test_a_vanished_client_of_a_command_that_waits(broker, source):
    one = logical(broker)
    one.send(wire.query("SELECT pg_sleep(60)"))
    eventually(lambda: (one.key[0], "active") in walsenders(source))
    one.close()
    eventually(lambda: not walsenders(source), 5)


def test_the_servers_own_end(broker, source):
    one = logical(broker)
    broker.errors_expected = True
    source.terminate(one.key[0])
    error = one.next()
    assert (error.kind, error.code) == ("E", "57P01")
    assert one.closed_by_peer()


def test_operators(broker, source):
    one, other = streaming(broker, source), logical(broker)
    (lease,) = [row["lease_id"] for row in broker.console("SHOW LEASES")
                if int(row["server_pid"]) == other.key[0]]
    broker.console(f"KILL LEASE {lease}")
    assert other.next().code == "57P01"
    assert other.closed_by_peer()
    (client,) = [row["id"] for row in shown(broker, "CLIENTS")]
    broker.console(f"KILL_CLIENT {client}")
    assert one.until("E")[-1].code == "57P01"
    assert one.closed_by_peer()
    eventually(lambda: not walsenders(source))
    broker.console("DISABLE app")
    with pytest.raises(wire.Refused):
        logical(broker)
    broker.console("ENABLE app")
    # What is there goes on under RECONNECT, and PAUSE waits for it.
    one = logical(broker)
    broker.console("RECONNECT app")
    assert one.value("SELECT 1") == "1"
    console = broker.wire("admin", "pglease")
    console.send(wire.query("PAUSE app"))
    assert console.silent_for(0.2)
    one.close()
    assert console.until_ready()
    broker.console("RESUME app")
    console.close()


def test_a_restart_of_the_server(make_broker, source):
    broker = make_broker(on=source)
    broker.errors_expected = True
    one = streaming(broker, source)
    seen = []
    source.stop(signal.SIGQUIT)
    with pytest.raises(wire.Closed):
        while True:
            seen.append(one.read())
    # A walsender ends without a word then, and none is added.
    assert {each.kind for each in seen} <= {"d"}
    source.start()
    again = eventually(lambda: attempt(broker), 20)
    again.close()


def test_reload_and_shutdown(make_broker, source):
    broker = make_broker({"shutdown_grace": 1}, on=source)
    one = streaming(broker, source)
    broker.set(default_pool_size=3)
    broker.console("RELOAD")
    source.sql("SELECT pg_logical_emit_message(true, 't', 'x')")
    assert one.until("d")
    broker.errors_expected = True
    broker.send_signal(signal.SIGTERM)
    assert one.until("E")[-1].code == "57P01"
    assert broker.wait() == 0
    eventually(lambda: not walsenders(source))


# Who may come in.

def test_tls_and_a_password(make_broker, source, certificates):
    broker = make_broker(
        {"client_tls_sslmode": "require", "client_tls_key_file": certificates.path("server.key"),
         "client_tls_cert_file": certificates.path("server.crt"), "auth_type": "scram-sha-256"},
        databases={"app": f"host=127.0.0.1 port={source.port}"},
        userlist={"secretive": "right horse"}, on=source, tcp=True)
    one = EncryptedWire(broker.tcp_address)
    one.start("secretive", "app", password="right horse", replication="database")
    assert table(one.query("IDENTIFY_SYSTEM"))["dbname"] == "app"
    emit(source, 5)
    # The one line is where a client of no database goes.
    other = EncryptedWire(broker.tcp_address)
    other.start("secretive", "replication", password="right horse", replication="yes")
    (start,) = source.sql("SELECT pg_current_wal_flush_lsn()")[0]
    other.send(wire.query(f"START_REPLICATION {start}"))
    other.until("W")
    emit(source, 20)
    received = 0
    while received < 20_000_000:
        received += len(other.until("d")[-1].body)
    one.close()
    other.close()


def test_rules(make_broker, source, tmp_path):
    rules = tmp_path / "hba"
    rules.write_text("local replication app trust\nlocal app other trust\n")
    broker = make_broker({"auth_type": "hba", "auth_hba_file": rules}, on=source)
    physical(broker).close()
    with pytest.raises(wire.Refused) as refused:
        broker.wire("other", "replication", replication="true")
    assert refused.value.code == "28000"
    # The word is for physical replication: a logical connection is one to its database.
    with pytest.raises(wire.Refused) as refused:
        logical(broker)
    assert refused.value.code == "28000"


def test_two_servers_and_no_database(make_broker, source, postgres):
    broker = make_broker(
        databases={"app": f"host={source.host} port={source.port}",
                   "second": f"host={postgres.host} port={postgres.port}"}, on=source)
    with pytest.raises(wire.Refused) as refused:
        physical(broker)
    assert refused.value.code == "3D000"
    assert "replication" in refused.value.fields["H"]
    broker.wire(replication="true").close()


def test_half_a_message_and_nonsense(broker, source):
    one = logical(broker)
    one.send(b"Q\0\0\0\x40half a query")
    one.close()
    two = logical(broker)
    two.send(b"Q\0\0\0\x01nonsense")
    assert two.closed_by_peer()
    three = logical(broker)
    three.send(b"Q")
    three.send(struct.pack("!i", 4 + 9), b"SELECT 1\0")
    assert three.until_ready()
    three.socket.shutdown(socket.SHUT_WR)
    three.close()
