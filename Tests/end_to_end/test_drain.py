# SPDX-License-Identifier: Apache-2.0
"""drain_idle_clients: a broker that ends sends its clients away, each between two transactions."""

import re
import signal
import subprocess

import pytest

from harness import direct, wire
from harness.encrypted import SSL_REQUEST, EncryptedWire
from harness.waiting import Stopwatch, eventually, holds_for
from harness.writers import Writers

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def written(postgres, request):
    """The name of an empty table for writers."""
    name = "w_" + "".join(c if c.isalnum() else "_" for c in request.node.name.lower())[:50]
    postgres.sql(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (writer int, number int)",
                 dbname="app", user="app")
    yield name
    postgres.sql(f"DROP TABLE {name}", dbname="app", user="app")


def code_of(one):
    """SQLSTATE of what it is told unasked, and the end of its connection."""
    error = one.until("E")[-1]
    assert one.closed_by_peer()
    assert error.fields["S"] == "FATAL"
    return error.code


@pytest.mark.parametrize("mode", ["transaction", "session", "statement"])
def test_hot_clients_go_between_two_transactions(make_broker, postgres, written, mode, run_program):
    """All of them within the time, and what they were told is what is there."""
    broker = make_broker({"pool_mode": mode, "drain_idle_clients": 2, "shutdown_grace": 60,
                          "default_pool_size": 30})
    if mode == "statement":
        hot_statements(broker, postgres, written)
        return
    writers = Writers(broker, 30, written, returns=False).start()
    watch = Stopwatch()
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(30) == 0
    assert watch.seconds < 20
    writers.join()
    writers.check(postgres)
    assert all(one.sent_away == 1 for one in writers.all)


def hot_statements(broker, postgres, written):
    with broker.wire() as one:
        broker.send_signal(signal.SIGTERM)
        count = 0
        while True:
            try:
                one.send(wire.query(f"INSERT INTO {written} VALUES (1, {count + 1})"))
            except BrokenPipeError:
                # It has been told why, and that is still to be read.
                pass
            seen = one.until("ZE")
            if seen[-1].kind == "E":
                break
            count += 1
        assert seen[-1].code == "57P01"
        assert wire.kinds(seen) == "E", "a statement that ran is answered"
    assert broker.wait(30) == 0
    assert count > 0
    assert postgres.sql(f"SELECT count(*) FROM {written}", dbname="app")[0][0] == count


def test_a_hundred_clients_of_pgbench(make_broker, postgres, written, tool):
    """Each ends with its first statement: none in a transaction, and no acknowledged commit is lost."""
    broker = make_broker({"drain_idle_clients": 2, "shutdown_grace": 60, "default_pool_size": 10})
    script = broker.folder / "script.sql"
    script.write_text(f"BEGIN;\nINSERT INTO {written} VALUES (:client_id, 1);\nCOMMIT;\n")
    command = [tool("pgbench"), "-n", "-c", "100", "-j", "4", "-T", "60", "-f", str(script),
               "-h", str(broker.dsn_host), "-p", str(broker.dsn_port), "-U", "app", "app"]
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: postgres.sql(f"SELECT count(DISTINCT writer) FROM {written}",
                                    dbname="app")[0][0] == 100, 60, every=0.1)
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(30) == 0
    out, errors = bench.communicate(timeout=60)
    aborted = re.findall(r"client (\d+) (?:aborted in|script 0 aborted in) command (\d+)", errors)
    assert len(aborted) == 100 and {number for _, number in aborted} == {"0"}, errors[-3000:]
    assert errors.count("server shutting down") == 100, errors[-3000:]
    told = int(re.search(r"actually processed: (\d+)", out).group(1))
    assert postgres.sql(f"SELECT count(*) FROM {written}", dbname="app")[0][0] == told


def test_what_becomes_of_each(make_broker):
    broker = make_broker({"drain_idle_clients": 3, "shutdown_grace": 60, "default_pool_size": 8})
    idle = [broker.wire() for _ in range(6)]
    for one in idle:
        one.value("SELECT 1")
    listener = broker.wire()
    listener.query("LISTEN news")
    pinned, held = broker.wire(), broker.wire()
    pinned.query("CREATE TEMP TABLE mine (a int)")
    held.query("LEASE")
    busy = broker.wire()
    busy.query("BEGIN")
    taken = direct.connect(broker)
    end = taken.lease()
    assert taken.is_direct
    console = broker.wire("admin", "pglease")
    silent = broker.raw()
    watch = Stopwatch()
    broker.console("SHUTDOWN WAIT_FOR_CLIENTS")
    for one in idle + [listener]:
        assert code_of(one) == "57P01"
    assert watch.seconds < 6
    for one in (pinned, held, silent):
        assert code_of(one) == "57P01"
        assert watch.seconds > 2, "who holds something goes last"
    assert busy.value("SELECT 'goes on'") == "goes on"
    assert end.value("SELECT 'goes on'") == "goes on"
    assert console.query("SHOW VERSION")
    with pytest.raises(wire.Refused) as refused:
        broker.wire()
    assert refused.value.code == "57P01"
    seen = busy.query("COMMIT")
    assert wire.kinds(seen) == "CZ"
    assert code_of(busy) == "57P01"
    holds_for(lambda: broker.alive, 0.3)
    taken.give_back()
    assert code_of(taken) == "57P01"
    assert broker.wait(15) == 0
    assert code_of(console) == "57P01"


def test_clients_with_tls_read_why(make_broker, certificates):
    broker = make_broker({"drain_idle_clients": 1, "client_tls_sslmode": "require", "shutdown_grace": 60,
                          "client_tls_key_file": certificates.path("server.key"),
                          "client_tls_cert_file": certificates.path("server.crt")}, tcp=True)
    with EncryptedWire(broker.tcp_address).start("app", "app") as idle, \
            EncryptedWire(broker.tcp_address).start("app", "app") as busy:
        busy.query("BEGIN")
        broker.send_signal(signal.SIGTERM)
        assert code_of(idle) == "57P01"
        assert busy.value("SELECT 1") == "1"
        busy.query("COMMIT")
        assert code_of(busy) == "57P01"
        assert broker.wait(15) == 0


def test_a_waiter_is_served_first(make_broker, postgres, written):
    broker = make_broker({"drain_idle_clients": 20, "shutdown_grace": 60, "default_pool_size": 1})
    busy, waiter = broker.wire(), broker.wire()
    busy.query("BEGIN")
    waiter.send(wire.query(f"INSERT INTO {written} VALUES (1, 1)"))
    eventually(lambda: broker.waiting() == 1)
    broker.send_signal(signal.SIGTERM)
    broker.wait_told("STOPPING=1")
    busy.query("COMMIT")
    assert wire.kinds(waiter.until_ready()) == "CZ"
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(15) == 0
    assert postgres.sql(f"SELECT count(*) FROM {written}", dbname="app")[0][0] == 1


def test_reconnect_sends_sessions_away_that_keep_their_connection(make_broker):
    broker = make_broker({"pool_mode": "session", "drain_idle_clients": 1})
    with broker.wire() as idle, broker.wire() as busy:
        busy.query("BEGIN")
        broker.console("RECONNECT")
        error = idle.until("E")[-1]
        assert (error.code, error.fields["D"].split(",")[0]) == \
            ("57P01", "An administrator has ordered RECONNECT")
        assert busy.value("SELECT 1") == "1"
        busy.query("COMMIT")
        assert code_of(busy) == "57P01"
        broker.console("WAIT_CLOSE")
        with broker.wire() as again:
            assert again.value("SELECT 1") == "1"


def test_a_reload_changes_it_and_without_it_clients_stay(make_broker):
    broker = make_broker({"drain_idle_clients": 0, "shutdown_grace": 60})
    broker.set(drain_idle_clients=1)
    broker.console("RELOAD")
    with broker.wire() as one:
        one.value("SELECT 1")
        broker.console("SET drain_idle_clients = 0")
        broker.send_signal(signal.SIGTERM)
        broker.wait_told("STOPPING=1")
        holds_for(lambda: one.value("SELECT 1") == "1", 1.3)
        one.send(wire.message("X", b""))
        assert broker.wait(15) == 0


# As pgbouncer 1.26 does, with drain_idle_clients off.


@pytest.fixture
def as_pgbouncer(make_broker):
    return make_broker({"shutdown_grace": 0, "drain_idle_clients": 0}, section="pgbouncer", tcp=True)


def refused(broker, address=None):
    """The SQLSTATE and the words that a new client is refused with; the error of the network, if there is one."""
    try:
        wire.Wire(address or broker.socket_path).start("app", "app")
    except wire.Refused as refusal:
        return refusal.code, refusal.fields["M"]
    except OSError as error:
        return type(error)
    return None


@pytest.mark.parametrize("how", ["CLIENTS", "SERVERS"])
def test_shutdown_leaves_the_port_to_others(as_pgbouncer, how):
    broker = as_pgbouncer
    busy = broker.wire()
    busy.query("BEGIN")
    begun = wire.Wire(broker.tcp_address)
    # With tcp_defer_accept, as in pgbouncer, only one that has sent something has come.
    begun.send(SSL_REQUEST)
    assert begun.socket.recv(1) == b"N"
    broker.settle()
    broker.console(f"SHUTDOWN WAIT_FOR_{how}")
    assert refused(broker) == ("57P01", "pooler is shutting down")
    assert refused(broker, broker.tcp_address) is ConnectionRefusedError
    begun.start("app", "app")
    if how == "CLIENTS":
        assert begun.value("SELECT 1") == "1"
    else:
        begun.send(wire.query("SELECT 1"))
        assert code_of(begun) == "57P01", "who asks now gets no connection any more"
    assert busy.value("SELECT 1") == "1"
    busy.query("COMMIT")
    begun.close()
    busy.close()
    assert broker.wait(15) == 0
