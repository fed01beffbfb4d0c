# SPDX-License-Identifier: Apache-2.0
"""Start, drain and end; the service manager; a PostgreSQL of the broker's own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess

import psycopg2
import pytest

from harness import wire
from harness.pooler import own_name, pglease_binary
from harness.postgres import folder, free_port
from harness.waiting import Stopwatch, eventually, holds_for

pytestmark = pytest.mark.pglease_only


def test_sigterm_serves_connected_clients_until_they_leave(make_broker):
    broker = make_broker({"shutdown_grace": 60})
    idle, busy = broker.wire(), broker.wire()
    busy.query("BEGIN")
    broker.send_signal(signal.SIGTERM)
    broker.wait_told("STOPPING=1")
    assert busy.query("COMMIT")[0].tag == "COMMIT"
    assert idle.value("SELECT 'a new transaction'") == "a new transaction"
    with pytest.raises((wire.Refused, OSError, wire.Closed)):
        broker.wire()
    busy.close()
    assert broker.alive
    idle.close()
    assert broker.wait(15) == 0


def test_a_drain_ends_with_its_grace(make_broker):
    broker = make_broker({"shutdown_grace": 1})
    one = broker.wire()
    watch = Stopwatch()
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(15) == 0
    assert 0.8 < watch.seconds < 5
    one.close()


def test_a_second_sigterm_ends_at_once(make_broker):
    broker = make_broker({"shutdown_grace": 60})
    one = broker.wire()
    one.query("BEGIN")
    broker.send_signal(signal.SIGTERM)
    broker.wait_told("STOPPING=1")
    holds_for(lambda: broker.alive, 0.3)
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(10) == 0
    one.close()


def test_without_clients_sigterm_ends_at_once(make_broker, postgres):
    broker = make_broker({"shutdown_grace": 60})
    broker.wire(database="second").value("SELECT 1")
    watch = Stopwatch()
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(10) == 0
    assert watch.seconds < 3
    postgres.gone(dbname="second")
    assert not os.path.exists(broker.socket_path)


def test_sigint_ends_as_well(make_broker):
    broker = make_broker()
    broker.send_signal(signal.SIGINT)
    assert broker.wait(10) == 0


def test_a_closed_stderr_is_no_harm(make_broker):
    broker = make_broker(start=False)
    read, write = os.pipe()
    broker.folder.chmod(0o755)
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith("PGLEASE_")}
    process = subprocess.Popen(broker.command(), stderr=write, stdout=write, env=environment)
    os.close(write)
    os.close(read)
    try:
        def answers():
            assert process.poll() is None
            try:
                with broker.wire() as one:
                    return one.value("SELECT 1") == "1"
            except OSError:
                return False
        eventually(answers)
    finally:
        process.kill()
        process.wait()


# The service manager.


def test_it_tells_the_service_manager_what_it_does(make_broker):
    broker = make_broker()
    broker.console("RELOAD")
    broker.wait_told("RELOADING=1")
    eventually(lambda: [line for line in broker.hear() if line in ("READY=1", "RELOADING=1")][-1] ==
               "READY=1")
    broker.send_signal(signal.SIGTERM)
    broker.wait_told("STOPPING=1")
    broker.wait(10)


def test_the_watchdog_is_fed(make_broker):
    broker = make_broker(environment={"WATCHDOG_USEC": "400000"})
    eventually(lambda: list(broker.hear()).count("WATCHDOG=1") >= 3)


def listening(path, port):
    one = socket.socket(socket.AF_UNIX)
    one.bind(f"{path}/.s.PGSQL.{port}")
    one.listen(64)
    return one


def test_sockets_of_systemd_are_adopted(make_broker, postgres):
    where, port = folder("sd"), free_port()
    unix = listening(where, port)
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    tcp.listen(64)
    broker = make_broker(start=False)
    program = (
        "import os,sys\n"
        f"os.dup2({unix.fileno()}, 103); os.dup2({tcp.fileno()}, 104)\n"
        "os.dup2(103, 3); os.dup2(104, 4)\n"
        "os.environ['LISTEN_FDS'] = '2'; os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n")
    serve = broker.command()
    broker.command = lambda: ["python3", "-c", program, *serve]
    broker.inherit = (unix.fileno(), tcp.fileno())
    try:
        broker.start()
        unix.close()
        address = tcp.getsockname()
        tcp.close()
        for one in (f"{where}/.s.PGSQL.{port}", address):
            with wire.Wire(one).start("app", "app") as client:
                assert client.value("SELECT 1") == "1"
        broker.stop()
        assert os.path.exists(f"{where}/.s.PGSQL.{port}"), "systemd's socket is not ours to remove"
    finally:
        shutil.rmtree(where, ignore_errors=True)


# A PostgreSQL of its own.


class Embedded:
    """`pglease serve --embedded` with its state in a folder of the test."""

    def __init__(self, make_broker):
        self.state = folder("state")
        self.state.chmod(0o755)
        self.make_broker = make_broker
        self.brokers = []

    def start(self):
        broker = self.make_broker(start=False)
        self.brokers.append(broker)
        broker.command = lambda: [
            pglease_binary(), "serve", "--embedded",
            "--set", f"unix_socket_dir={broker.socket_folder}",
            "--set", f"listen_port={broker.port}", "--set", "log_format=json"]
        broker.environment = {"PGLEASE_STATE_DIR": str(self.state)}
        return broker.start(60)

    def servers(self):
        """The postgres processes that work in our state folder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = open(f"/proc/{pid}/cmdline", "rb").read().decode(errors="replace")
            except OSError:
                continue
            program = os.path.basename(words.split("\0")[0])
            if str(self.state) in words and program == "postgres":
                found.append(int(pid))
        return found


@pytest.fixture
def embedded(make_broker):
    one = Embedded(make_broker)
    yield one
    for broker in one.brokers:
        broker.stop()
    for pid in one.servers():
        os.kill(pid, signal.SIGQUIT)
    eventually(lambda: not one.servers(), 20)
    shutil.rmtree(one.state, ignore_errors=True)


def test_embedded_serves_the_one_who_started_it(embedded, run_program, tool):
    broker = embedded.start()
    done = run_program(tool("psql"), "-h", broker.socket_folder, "-p", broker.port, "-XAt",
                       "postgres", "-c", "SELECT current_user")
    assert done.stdout.strip() == own_name()


def test_embedded_finds_its_data_again(embedded):
    broker = embedded.start()
    open_one = lambda: psycopg2.connect(host=broker.socket_folder, port=broker.port,
                                        dbname="postgres")
    with open_one() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    connection.close()
    broker.stop()
    eventually(lambda: not embedded.servers(), 20)
    broker = embedded.start()
    with open_one() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM kept")
        assert cursor.fetchone() == (42,)
    connection.close()


def test_embedded_postgres_ends_with_the_broker_even_on_kill(embedded):
    broker = embedded.start()
    assert embedded.servers()
    broker.kill()
    eventually(lambda: not embedded.servers(), 30)
    broker.destroy()
    again = embedded.start()
    with psycopg2.connect(host=again.socket_folder, port=again.port, dbname="postgres") as one:
        with one.cursor() as cursor:
            cursor.execute("SELECT 1")
    one.close()


def test_embedded_is_not_run_twice_on_the_same_state(embedded):
    first = embedded.start()
    with pytest.raises(AssertionError):
        embedded.start()
    with psycopg2.connect(host=first.socket_folder, port=first.port, dbname="postgres") as one:
        with one.cursor() as cursor:
            cursor.execute("SELECT 1")
    one.close()


def test_embedded_postgres_does_not_run_as_root(embedded):
    embedded.start()
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in embedded.servers()}
    assert owners and 0 not in owners


def test_embedded_listens_on_no_network(embedded):
    broker = embedded.start()
    with psycopg2.connect(host=broker.socket_folder, port=broker.port, dbname="postgres") as one:
        with one.cursor() as cursor:
            cursor.execute("SHOW listen_addresses")
            assert cursor.fetchone() == ("",)
    one.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")
def test_embedded_serves_nobody_else(embedded):
    broker = embedded.start()
    account = pwd.getpwnam("nobody")
    done = subprocess.run(
        ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
         "psql", "-h", str(broker.socket_folder), "-p", str(broker.port), "-U", own_name(),
         "-w", "postgres", "-c", "SELECT 1"], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
