# SPDX-License-Identifier: Apache-2.0
"""Defects that were found by reading: each test failed before its mend."""

import os
import signal
import subprocess
import sys

import pytest

from harness import wire
from harness.waiting import Stopwatch, eventually

pytestmark = pytest.mark.pglease_only

ONE_SERVER = {"default_pool_size": 1, "reserve_pool_size": 0}


def test_query_timeout_covers_a_query_that_was_sent_ahead(make_broker):
    broker = make_broker({"query_timeout": 1})
    with broker.wire(timeout=8) as one:
        one.send(wire.query("SELECT 1"), wire.query("SELECT pg_sleep(60)"))
        assert "E" not in wire.kinds(one.until_ready())
        assert "query_timeout" in str(wire.error_of(one.until_ready()).fields)


def test_transaction_timeout_covers_a_transaction_that_was_sent_ahead(make_broker):
    broker = make_broker({"transaction_timeout": 1, **ONE_SERVER})
    with broker.wire() as one, broker.wire(timeout=8) as other:
        one.send(wire.query("SELECT 1"), wire.query("BEGIN"))
        one.until_ready(2)
        assert other.value("SELECT 'freed'") == "freed"


def test_a_batch_without_its_sync_counts_as_a_transaction(make_broker):
    broker = make_broker({"idle_transaction_timeout": 1, **ONE_SERVER})
    with broker.wire() as one, broker.wire(timeout=8) as other:
        one.send(wire.parse("SELECT 1"), wire.bind(), wire.execute(), wire.flush())
        one.until("C")
        assert other.value("SELECT 'freed'") == "freed"


def test_client_idle_timeout_of_a_client_that_never_asks(make_broker):
    broker = make_broker({"client_idle_timeout": 1})
    with broker.wire() as first:
        first.query("SELECT 1")
        assert first.closed_by_peer(5)
    # The pool knows its parameters now: nothing else makes the broker look at this one.
    with broker.wire() as one:
        assert one.closed_by_peer(5)


def test_client_idle_timeout_after_a_long_lease(make_broker):
    broker = make_broker({"client_idle_timeout": 1})
    with broker.wire() as one:
        one.query("SELECT pg_sleep(3)")
        assert one.closed_by_peer(5)


def test_answers_that_nobody_reads_stop_the_reading_of_requests(make_broker):
    broker = make_broker()
    with broker.wire() as one:
        one.query("SELECT 1")
        before = broker.memory()
        flood = wire.sync() * 200_000
        one.socket.settimeout(1)
        sent = 0
        try:
            for _ in range(100):
                sent += one.socket.send(flood[sent % len(wire.sync()):])
        except TimeoutError:
            pass
        grown = broker.memory() - before
        assert grown < 16 << 20, f"{sent} bytes of Sync made it grow by {grown}"
        # It goes on where it stopped.
        one.socket.settimeout(20)
        whole = len(wire.sync())
        one.until_ready(sent // whole)
        if sent % whole:
            one.send(wire.sync()[sent % whole:])
            one.until_ready()
        assert one.value("SELECT 'goes on'") == "goes on"


def test_a_client_that_leaves_before_its_profile_is_refused_holds_nothing(make_broker):
    broker = make_broker(ONE_SERVER)
    with broker.wire() as other:
        other.query("SELECT 1")
        for _ in range(5):
            one = broker.wire(options="-c no.such=x -c work_mem=nonsense")
            one.send(wire.query("SELECT 1"))
            one.close()
            clock = Stopwatch()
            assert other.value("SELECT 'free'") == "free"
            assert clock.seconds < 3


def test_a_connect_query_that_hangs_is_given_up(make_broker, postgres):
    broker = make_broker(
        {"server_connect_timeout": 1, "query_wait_timeout": 4, "prewarm": 0},
        databases={"app": f"host={postgres.host} port={postgres.port} "
                          "connect_query='SELECT pg_sleep(60)'"})
    with broker.wire(timeout=10) as one:
        assert wire.error_of(one.query("SELECT 1")).code in ("08001", "53300")
    assert broker.logged("did not answer within")


def test_an_empty_secret_lets_nobody_in(make_broker):
    broker = make_broker({"auth_type": "scram-sha-256"}, userlist={"app": "", "other": "word"})
    with pytest.raises(wire.Refused):
        wire.Wire(broker.socket_path).start("app", "app", password="")
    with wire.Wire(broker.socket_path).start("other", "app", password="word"):
        pass


def test_reset_of_one_setting_keeps_the_others(make_broker):
    broker = make_broker(ONE_SERVER)
    with broker.wire() as one:
        one.query("SET TimeZone = 'Asia/Tokyo'")
        one.query("SET DateStyle = 'German'")
        one.query("RESET DateStyle")
        assert one.value("SHOW TimeZone") == "Asia/Tokyo"
        assert "ISO" in one.value("SHOW DateStyle")
        one.query("RESET ALL")
        assert one.value("SHOW TimeZone") != "Asia/Tokyo"


def test_a_lease_that_outlives_its_pools_end_is_followed_by_a_clear_end(make_broker):
    broker = make_broker()
    with broker.wire() as one:
        one.query("BEGIN")
        broker.databases = {"other": broker.server()}
        broker.write()
        broker.console("RELOAD")
        assert "E" not in wire.kinds(one.query("COMMIT"))
        try:
            one.send(wire.query("SELECT 1"))
            error = one.next()
        except (wire.Closed, ConnectionError):
            return
        assert error.kind == "E" and error.code == "57P01"
        assert one.closed_by_peer(5)


def test_a_template_keeps_nothing_for_groups_whose_clients_are_gone(make_broker):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0,
                          "query_wait_timeout": 2}, groups={"worker-*": "min_leases=1"})
    for number in range(5):
        with broker.wire(application_name=f"worker-{number}") as one:
            one.query("SELECT 1")
    with broker.wire() as one, broker.wire() as two:
        one.query("BEGIN")
        eventually(lambda: "E" not in wire.kinds(two.query("SELECT 1")), 3)


CHILD_GOES_ON = """
import os, socket, sys
sys.path.insert(0, sys.argv[2])
from harness import wire
one = wire.Wire(sys.argv[1]).start("app", "app")
if os.fork() == 0:
    # A daemon: whoever connected is gone, its child goes on.
    while os.getppid() != 1 and os.getppid() != int(sys.argv[3]):
        pass
    print(one.value("SELECT pg_sleep(4)") is not None, flush=True)
    one.query("BEGIN")
    os.read(0, 1)
    print(one.value("SELECT 'still here'"), flush=True)
    os._exit(0)
os._exit(0)
"""


def test_a_daemon_that_goes_on_with_its_parents_connection(make_broker):
    broker = make_broker()
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD_GOES_ON, broker.socket_path, os.path.dirname(__file__),
         str(os.getpid())], stdin=reader, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)
    os.close(reader)
    try:
        assert child.stdout.readline() == "True\n"
        # What it thinks about between two statements is its own affair.
        for _ in range(3):
            with broker.wire() as other:
                other.query("SELECT pg_sleep(1)")
        os.write(writer, b"x")
        assert child.stdout.readline() == "still here\n"
    finally:
        os.close(writer)
        child.stdout.close()
        child.wait(10)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a PID namespace")
def test_clients_of_another_pid_namespace_keep_their_leases(make_broker):
    """A sidecar in a container of its own sees its clients with process number 0."""
    broker = make_broker(start=False)
    plain = broker.command()
    broker.command = lambda: ["unshare", "--pid", "--fork", "--kill-child", *plain]

    def send_signal(which):
        inner = subprocess.run(["pgrep", "-P", str(broker.pid)], capture_output=True, text=True)
        os.kill(int(inner.stdout), which)

    broker.send_signal = send_signal
    broker.start()
    with broker.wire() as one:
        one.query("BEGIN")
        with broker.wire() as other:
            other.query("SELECT pg_sleep(4)")
        assert one.value("SELECT 'held'") == "held"
        one.query("COMMIT")
    send_signal(signal.SIGINT)
    broker.wait()


def test_databases_that_do_not_exist_are_forgotten(make_broker):
    broker = make_broker()
    for number in range(600):
        # A login waits a second at most for PostgreSQL's answer; behind that the first statement has it.
        with pytest.raises(wire.Refused) as refused, broker.wire(database=f"nowhere{number}") as one:
            one.value("SELECT 1")
        assert refused.value.code == "3D000"
    assert len(broker.console("SHOW POOLS")) < 300
    with broker.wire() as one:
        assert one.value("SELECT 'still serving'") == "still serving"
