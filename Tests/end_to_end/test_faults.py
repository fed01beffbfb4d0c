# SPDX-License-Identifier: Apache-2.0
"""Restarts, kills and hangs: what each client was told is what happened."""

import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading

import pytest

from harness import wire
from harness.faucet import Faucet
from harness.history import History
from harness.postgres import Postgres, folder, free_port
from harness.waiting import Stopwatch, eventually, holds_for

pytestmark = pytest.mark.broker_only


@pytest.fixture
def own_postgres():
    """A PostgreSQL that the test may ill-treat."""
    one = Postgres({"synchronous_commit": "on"})
    one.sql("CREATE TABLE history (id int PRIMARY KEY, name text)", dbname="app", user="app")
    yield one
    one.destroy()


def broker_on(make_broker, server, **settings):
    one = make_broker({"default_pool_size": 4, "reserve_pool_size": 0, "query_wait_timeout": 30,
                       "server_login_retry": 1, **settings}, on=server)
    one.errors_expected = True
    return one


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_restart_under_load_loses_and_invents_nothing(make_broker, own_postgres, how, mode):
    broker = broker_on(make_broker, own_postgres, pool_mode=mode,
                       default_pool_size=8 if mode == "session" else 4)
    with History(broker, "history") as history:
        for _ in range(2):
            before = history.acknowledged
            eventually(lambda: history.acknowledged > before + 100, 30)
            own_postgres.restart(how)
        before = history.acknowledged
        eventually(lambda: history.acknowledged > before + 100, 30, lambda: history.codes)
    history.check(own_postgres)
    if broker.program == "pglease":
        assert set(history.codes) <= {"08006", "57P01", "57P02", "57P03", "08001"}, history.codes


@pytest.mark.pglease_only
def test_clients_of_a_transaction_pool_stay_connected_through_a_restart(make_broker, own_postgres):
    broker = broker_on(make_broker, own_postgres)
    clients = [broker.wire() for _ in range(10)]
    for one in clients:
        one.query("SELECT 1")
    own_postgres.restart()
    for one in clients:
        assert one.value("SELECT 'still here'") == "still here"
        one.close()


@pytest.mark.pglease_only
def test_waiters_are_kept_through_an_outage_within_their_deadline(make_broker, own_postgres):
    broker = broker_on(make_broker, own_postgres)
    clients = [broker.wire() for _ in range(10)]
    own_postgres.stop()
    for one in clients:
        one.send(wire.query("SELECT 'after the outage'"))
    holds_for(lambda: all(one.silent_for(0) for one in clients), 0.3)
    own_postgres.start()
    for one in clients:
        assert wire.rows_of(one.until_ready()) == [["after the outage"]]
        one.close()


def test_terminated_backends_under_load(make_broker, own_postgres):
    broker = broker_on(make_broker, own_postgres)
    random_ = random.Random(1)
    with History(broker, "history") as history:
        for _ in range(20):
            before = history.acknowledged
            eventually(lambda: history.acknowledged > before + 20, 30, lambda: history.codes)
            pids = [row[0] for row in own_postgres.backends(dbname="app")]
            if pids:
                own_postgres.terminate(random_.choice(pids))
    history.check(own_postgres)
    assert len(own_postgres.backends(dbname="app")) <= 4


def test_a_backend_killed_with_9_under_load(make_broker, own_postgres):
    """PostgreSQL ends every session and recovers."""
    broker = broker_on(make_broker, own_postgres)
    with History(broker, "history") as history:
        eventually(lambda: history.acknowledged > 100, 30)
        pid = own_postgres.backends(dbname="app")[0][0]
        os.kill(pid, signal.SIGKILL)
        before = history.acknowledged
        eventually(lambda: history.acknowledged > before + 100, 40, lambda: history.codes)
    history.check(own_postgres)


def die_with_a_query_unread(listener, last_words):
    """Plays a backend: logs one client in, then says something and goes, its query unread."""
    one, _ = listener.accept()
    (length,) = struct.unpack("!i", one.recv(4, socket.MSG_WAITALL))
    one.recv(length - 4, socket.MSG_WAITALL)
    hello = [("R", struct.pack("!i", 0)), ("S", b"server_version\x0015.0\0"),
             ("S", b"client_encoding\0UTF8\0"), ("S", b"standard_conforming_strings\0on\0"),
             ("K", struct.pack("!ii", 4711, 1)), ("Z", b"I")]
    one.sendall(b"".join(wire.message(kind, body) for kind, body in hello))
    one.recv(1, socket.MSG_PEEK)
    one.sendall(last_words)
    one.close()
    listener.close()


@pytest.mark.pglease_only
@pytest.mark.parametrize("last_words", [
    b"", wire.message("N", b"SWARNING\0VWARNING\0C57P02\0Mgoing\0\0")], ids=["silent", "warning"])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_backend_that_dies_with_a_query_unread_is_noticed(make_broker, mode, last_words):
    """Its Unix socket is reset, not just closed, with the last words still to be read."""
    where, port = folder("fake"), free_port()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{where}/.s.PGSQL.{port}")
    listener.listen(1)
    backend = threading.Thread(target=die_with_a_query_unread, args=(listener, last_words))
    backend.start()
    broker = make_broker(
        {"pool_mode": mode, "query_wait_timeout": 2, "default_pool_size": 1,
         "reserve_pool_size": 0, "prewarm": 0},
        databases={"app": f"host={where} port={port} dbname=app"})
    broker.errors_expected = True
    try:
        with broker.wire(timeout=10) as one:
            one.send(wire.query("SELECT 'never read'"))
            if mode == "session" and last_words:
                # A session ends as on a direct connection: with the server's own words, and no others.
                assert one.closed_by_peer() and b"C57P02" in one.buffer and b"08006" not in one.buffer
            else:
                assert one.until("EZ")[-1].code in ("08006", "08001", "53300")
    finally:
        backend.join(10)
        shutil.rmtree(where, ignore_errors=True)


def test_cut_connections_under_load(make_broker, own_postgres):
    faucet = Faucet(own_postgres.socket_path)
    try:
        broker = broker_on(make_broker, own_postgres)
        broker.databases = {"*": f"host=127.0.0.1 port={faucet.port}"}
        broker.stop()
        broker.write()
        broker.start()
        with History(broker, "history") as history:
            for _ in range(15):
                before = history.acknowledged
                eventually(lambda: history.acknowledged > before + 30, 30, lambda: history.codes)
                faucet.cut()
        history.check(own_postgres)
    finally:
        faucet.close()


CLIENT = """
import sys
sys.path.insert(0, {here!r})
from harness import wire
one = wire.Wire({address!r}).start("app", "app")
step = {step}
table = {table!r}
if step >= 1: one.query("BEGIN")
if step >= 2: one.query("INSERT INTO " + table + " VALUES (1, 'x')")
if step == 3: one.send(wire.query("SELECT 1")[:5])
if step == 4: one.send(wire.parse("SELECT 1", "s"), wire.bind((), "s"))
if step == 5: one.send(wire.query("SELECT pg_sleep(60)"))
if step == 6:
    one.send(wire.query("COPY " + table + " FROM STDIN"))
    one.next()
    one.send(wire.copy_data(b"2\\tx\\n"))
if step == 7: one.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 100)"))
rows = "SELECT repeat('x', 1000000) FROM generate_series(1, 100)"
if step == 8: one.send(wire.query("COPY (" + rows + ") TO STDOUT"))
print("there", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("step", range(9))
def test_a_client_killed_with_9_gives_its_lease_back(make_broker, postgres, table, step):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    here = os.path.dirname(__file__)
    program = CLIENT.format(here=here, address=broker.socket_path, step=step, table=table)
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"there\n"
    child.kill()
    child.wait()
    watch = Stopwatch()
    with broker.wire() as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"
    if broker.program == "pglease":
        assert watch.seconds < 5
        eventually(lambda: not postgres.backends(dbname="app", state="active"))
    else:
        postgres.terminate(*(row[0] for row in postgres.backends(dbname="app")))
    child.stdin.close()
    child.stdout.close()


@pytest.mark.pglease_only
def test_a_dead_parent_whose_forked_child_holds_the_socket(make_broker):
    """EOF never comes; the broker watches the process and takes the lease back."""
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    program = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from harness import wire
one = wire.Wire({broker.socket_path!r}).start("app", "app")
one.query("BEGIN")
if os.fork() == 0:
    os.setsid()
    os.read(0, 1)
    os._exit(0)
print("there", flush=True)
os.read(0, 1)
"""
    gate, hold = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", program], stdin=gate, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"there\n"
        child.kill()
        child.wait()
        with broker.wire() as other:
            assert other.value("SELECT 'free again'") == "free again"
    finally:
        os.close(hold)
        os.close(gate)
        child.stdout.close()


@pytest.mark.pglease_only
def test_a_hanging_backend_costs_its_client_only(make_broker, postgres):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0, "query_wait_timeout": 2})
    with broker.wire() as stuck, broker.wire() as other:
        stuck.query("BEGIN")
        pid = int(stuck.value("SELECT pg_backend_pid()"))
        os.kill(pid, signal.SIGSTOP)
        try:
            stuck.send(wire.query("SELECT 1"))
            for _ in range(20):
                assert other.value("SELECT 2") == "2"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert wire.rows_of(stuck.until_ready()) == [["1"]]


@pytest.mark.pglease_only
def test_startup_attempts_are_made_before_giving_up(make_broker, postgres):
    faucet = Faucet(postgres.socket_path)
    try:
        faucet.refuse()
        broker = make_broker(
            {"startup_attempts": 3, "startup_delay": 0.2, "startup_max_delay": 0.3,
             "min_pool_size": 1},
            databases={"app": f"host=127.0.0.1 port={faucet.port} dbname=app user=app"},
            start=False)
        broker.errors_expected = True
        broker.launch()
        assert broker.wait(20) == 69
        assert len(broker.logged("attempt")) >= 3
    finally:
        faucet.close()


@pytest.mark.pglease_only
def test_the_pauses_between_startup_attempts_grow_to_their_maximum(make_broker, postgres):
    faucet = Faucet(postgres.socket_path)
    try:
        faucet.answer("57P03", "the database system is starting up")
        broker = make_broker(
            {"startup_attempts": 4, "startup_delay": 0.1, "startup_factor": 3,
             "startup_max_delay": 0.4, "min_pool_size": 1},
            databases={"app": f"host=127.0.0.1 port={faucet.port} dbname=app user=app"},
            start=False)
        broker.errors_expected = True
        broker.launch()
        assert broker.wait(20) == 69
        moments = faucet.accepted_at
        pauses = [later - earlier for earlier, later in zip(moments, moments[1:])]
        assert len(moments) == 4, pauses
        assert all(pause >= least for pause, least in zip(pauses, (0.09, 0.29, 0.39))), pauses
        assert pauses[2] < 0.8, pauses
    finally:
        faucet.close()


@pytest.mark.pglease_only
def test_a_server_that_comes_up_during_the_startup_attempts(make_broker, postgres):
    faucet = Faucet(postgres.socket_path)
    try:
        faucet.refuse()
        broker = make_broker(
            {"startup_attempts": 20, "startup_delay": 0.2, "startup_max_delay": 0.3,
             "min_pool_size": 1},
            databases={"app": f"host=127.0.0.1 port={faucet.port} dbname=app user=app"},
            start=False)
        broker.launch()
        broker.wait_logged("attempt")
        faucet.flow()
        broker.wait_told("READY=1")
        with broker.wire() as one:
            assert one.value("SELECT 1") == "1"
    finally:
        faucet.close()


@pytest.mark.pglease_only
def test_one_warning_for_an_outage_not_one_for_each_retry(make_broker, postgres):
    faucet = Faucet(postgres.socket_path)
    try:
        broker = make_broker(
            {"server_login_retry": 0.3, "query_wait_timeout": 30},
            databases={"app": f"host=127.0.0.1 port={faucet.port} dbname=app user=app"})
        broker.errors_expected = True
        with broker.wire() as one:
            one.query("SELECT 1")
            faucet.answer("57P03", "the database system is starting up")
            one.send(wire.query("SELECT 1"))
            base = faucet.accepted
            eventually(lambda: faucet.accepted >= base + 8, 20)
            loud = [r for r in broker.records() if r.get("level") in ("warning", "error")]
            assert len(loud) <= 3, loud
            faucet.flow()
            assert wire.rows_of(one.until_ready()) == [["1"]]
    finally:
        faucet.close()


@pytest.mark.pglease_only
def test_retries_back_off(make_broker, postgres):
    faucet = Faucet(postgres.socket_path)
    try:
        broker = make_broker(
            {"server_login_retry_min": 0.2, "server_login_retry": 2, "query_wait_timeout": 30},
            databases={"app": f"host=127.0.0.1 port={faucet.port} dbname=app user=app"})
        broker.errors_expected = True
        faucet.answer("57P03", "the database system is starting up")
        clients = [broker.wire() for _ in range(20)]
        for one in clients:
            one.send(wire.query("SELECT 1"))
        base = faucet.accepted
        holds_for(lambda: faucet.accepted - base < 30, 3)
        for one in clients:
            one.close()
    finally:
        faucet.close()


def test_a_storm_of_logins_is_served(make_broker):
    """Processes that connect, ask once and leave: hundreds a second."""
    broker = make_broker({"default_pool_size": 4})
    failures = []

    def work():
        try:
            for _ in range(40):
                with broker.wire(timeout=30) as one:
                    assert one.value("SELECT 1") == "1"
                    one.send(wire.terminate())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert failures == []
    if broker.program == "pglease":
        eventually(lambda: len(broker.console("SHOW CLIENTS")) <= 1)
