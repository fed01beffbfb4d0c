# SPDX-License-Identifier: Apache-2.0
"""pglease serve --replace: another broker takes the place of one that serves, and nobody is refused."""

import array
import os
import signal
import socket
import subprocess
import threading

import pytest

from harness import direct, wire
from harness.postgres import Watcher, free_port
from harness.waiting import eventually, holds_for, pause
from harness.writers import Writers

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def written(postgres, request):
    """The name of an empty table for writers, in database second."""
    name = "r_" + "".join(c if c.isalnum() else "_" for c in request.node.name.lower())[:50]
    postgres.sql(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (writer int, number int);"
                 f"GRANT ALL ON {name} TO app", dbname="second")
    yield name
    postgres.sql(f"DROP TABLE {name}", dbname="second")


class Most:
    """The most backends of database second that were ever there at once."""

    def __init__(self, postgres):
        self.watcher, self.is_over = Watcher(postgres, dbname="second"), threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        self.watcher.watch_until(self.is_over.is_set, 120)

    def end(self):
        self.is_over.set()
        self.thread.join()
        self.watcher.close()
        return self.watcher.most


def answers(broker):
    with broker.wire(database="second") as one:
        return one.value("SELECT 1") == "1"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_five_times_under_load(make_broker, postgres, written, mode):
    """Whoever stays is sent away between transactions, whoever comes is served; all connections together are never more
    than one broker may have."""
    postgres.gone(dbname="second")
    broker = make_broker({"pool_mode": mode, "drain_idle_clients": 0.5, "default_pool_size": 6}, tcp=True)
    most = Most(postgres)
    count = 8 if mode == "transaction" else 4
    named = {"database": "second"}
    writers = Writers(broker, count, written, **named).start()
    hasty = Writers(broker, 1, written, first=100, per_session=1, address=broker.tcp_address,
                    **named).start()
    writers.join_all(hasty, Writers(broker, 1, written, first=200, per_session=1, **named).start())
    for _ in range(5):
        before = [one.sent_away for one in writers.all[:count]]
        former = broker.replace()
        assert former.wait(30) == 0
        assert [one.sent_away for one in writers.all[:count]] == [n + 1 for n in before]
    writers.end()
    writers.check(postgres, "second")
    assert most.end() <= 6
    assert broker.log().count('"message":"replaced"') == 5


def test_pgbench_that_reconnects_has_no_failed_transaction(make_broker, written, tool):
    broker = make_broker({"drain_idle_clients": 0.5, "default_pool_size": 4})
    script = broker.folder / "script.sql"
    script.write_text(f"BEGIN;\nINSERT INTO {written} VALUES (:client_id, 1);\nCOMMIT;\n")
    bench = subprocess.Popen(
        [tool("pgbench"), "-n", "-C", "-c", "6", "-j", "2", "-T", "4", "-f", str(script),
         "-h", str(broker.dsn_host), "-p", str(broker.dsn_port), "-U", "app", "second"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    formers = []
    while bench.poll() is None and len(formers) < 5:
        formers.append(broker.replace())
        assert formers[-1].wait(20) == 0
    out, errors = bench.communicate(timeout=60)
    assert bench.returncode == 0, errors
    assert not errors.replace("pgbench (", "").count("abort"), errors
    assert "number of failed transactions: 0" in out
    assert len(formers) >= 2


def test_everything_that_belongs_to_the_place_moves(make_broker, http_get):
    port = free_port()
    broker = make_broker({"metrics_listen": f"127.0.0.1:{port}", "drain_idle_clients": 0,
                          "pidfile": "broker.pid"}, start=False)
    broker.set(pidfile=broker.folder / "broker.pid")
    broker.start()
    old = broker.wire()
    old.query("BEGIN")
    former = broker.replace()
    assert f"MAINPID={broker.pid}" in broker.hear()
    assert (broker.folder / "broker.pid").read_text() == f"{broker.pid}\n"
    with open(f"{broker.socket_path}.lock") as lock:
        assert lock.read().strip() == str(broker.pid)
    assert http_get(port, "/readyz") == "ready"
    assert broker.console("SHOW CLIENTS") and old.value("SELECT 1") == "1"
    old.query("COMMIT")
    old.send(wire.message("X", b""))
    assert former.wait(10) == 0
    assert os.path.exists(broker.socket_path)
    assert (broker.folder / "broker.pid").read_text() == f"{broker.pid}\n"
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(10) == 0
    assert not os.path.exists(broker.socket_path)
    assert not (broker.folder / "broker.pid").exists()


@pytest.fixture
def http_get():
    def get(port, path):
        with socket.create_connection(("127.0.0.1", port), 10) as one:
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            seen = b""
            while more := one.recv(65536):
                seen += more
        return seen.decode().split("\r\n\r\n", 1)[1].strip()
    return get


def test_who_is_in_the_old_one(make_broker, postgres):
    """A transaction, a lease, a login that has begun, a cancel through the new one."""
    broker = make_broker({"drain_idle_clients": 3, "default_pool_size": 8})
    busy, slow = broker.wire(), broker.wire()
    taken = direct.connect(broker)
    end = taken.lease()
    begun = broker.raw()
    begun.send(wire.startup({"user": "app", "database": "app"})[:5])
    busy.query("BEGIN")
    slow.send(wire.query("SELECT pg_sleep(600)"))
    eventually(lambda: broker.active() >= 3)
    former = broker.replace()
    begun.send(wire.startup({"user": "app", "database": "app"})[5:])
    begun.finish_login("app")
    assert begun.value("SELECT 1") == "1"
    wire.cancel(broker.socket_path, slow.key)
    assert wire.error_of(slow.until_ready()).code == "57014"
    assert busy.value("SELECT 1") == "1"
    assert end.value("SELECT 1") == "1"
    former.send_signal(signal.SIGTERM)
    holds_for(lambda: former.poll() is None, 0.3)
    busy.query("COMMIT")
    taken.give_back()
    for one in (busy, slow, taken, begun):
        assert one.until("E")[-1].code == "57P01"
    assert former.wait(15) == 0
    # The cancel of nobody ends nothing, and is not answered either.
    wire.cancel(broker.socket_path, (slow.key[0], slow.key[1] ^ 1))
    assert answers(broker)


def test_one_of_one_connection(make_broker, postgres):
    """A pool of one: who waits in the new one has the place when the old one has given it up."""
    postgres.gone(dbname="second")
    broker = make_broker({"drain_idle_clients": 0, "default_pool_size": 1})
    old = broker.wire(database="second")
    old.query("BEGIN")
    most = Most(postgres)
    former = broker.replace()
    new = broker.wire(database="second")
    new.send(wire.query("SELECT 'mine'"))
    assert new.silent_for(0.3)
    old.query("COMMIT")
    old.send(wire.message("X", b""))
    assert wire.rows_of(new.until_ready()) == [["mine"]]
    assert former.wait(10) == 0
    assert most.end() == 1


@pytest.mark.parametrize("bound", ["max_db_connections", "max_server_connections"])
def test_a_bound_that_pools_share(make_broker, postgres, bound):
    """All of it is the old one's; each connection that it gives up is the new one's, in whatever pool."""
    postgres.gone(dbname="second")
    broker = make_broker({"drain_idle_clients": 0, bound: 2, "query_wait_notify": 0})
    old = [broker.wire("app", "second"), broker.wire("other", "second")]
    for one in old:
        one.query("BEGIN")
    most = Most(postgres)
    former = broker.replace()
    new = [broker.wire(user, "second") for user in ("app", "other")]
    for one in new:
        one.send(wire.query("SELECT 'mine'"))
    assert new[0].silent_for(0.3) and new[1].silent_for(0)
    old[0].query("COMMIT")
    old[0].send(wire.message("X", b""))
    eventually(lambda: not all(one.silent_for(0) for one in new))
    old[1].query("COMMIT")
    old[1].send(wire.message("X", b""))
    for one in new:
        assert wire.rows_of(one.until_ready()) == [["mine"]]
    assert former.wait(10) == 0
    assert most.end() <= 2


def test_two_in_a_row_while_the_first_has_clients(make_broker):
    broker = make_broker({"drain_idle_clients": 0})
    first = broker.wire()
    first.query("BEGIN")
    one = broker.replace()
    second = broker.wire()
    second.query("BEGIN")
    two = broker.replace()
    first.send(wire.query("SELECT pg_sleep(600)"))
    pause(0.2)
    wire.cancel(broker.socket_path, first.key)
    assert wire.error_of(first.until_ready()).code == "57014"
    second.close()
    holds_for(lambda: two.poll() is None, 0.3, "it stays while the one before it does")
    first.close()
    assert one.wait(10) == 0 and two.wait(10) == 0
    assert answers(broker)


# What goes wrong with the new one.


class Fake:
    """A new one that does as much as it is told to."""

    def __init__(self, broker):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(broker.socket_path)
        self.descriptors, self.text = [], b""

    def ask(self):
        self.socket.sendall(wire.startup(
            {"user": "x", "database": "x", "_pq_.pglease_replace": "1"}))

    def until(self, line):
        while line.encode() + b"\n" not in self.text:
            more, extras, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(64 * 4))
            assert more, self.text
            for _, _, raw in extras:
                self.descriptors += array.array("i", raw)
            self.text += more
        return self.text.decode()

    def close(self):
        for one in self.descriptors:
            os.close(one)
        self.socket.close()


STEPS = [
    lambda one: one.socket.sendall(b"\0\0"),
    lambda one: one.ask(),
    lambda one: (one.ask(), one.until("end")),
    lambda one: (one.ask(), one.until("lent")),
    lambda one: (one.ask(), one.until("end"), one.socket.sendall(b"nonsense\nserv")),
    lambda one: (one.ask(), one.until("end"), one.socket.sendall(b"x" * 100_000)),
]


def test_a_new_one_that_dies_changes_nothing(make_broker):
    broker = make_broker({"default_pool_size": 3, "min_pool_size": 2}, tcp=True)
    for step in STEPS:
        one = Fake(broker)
        step(one)
        assert answers(broker)
        one.close()
    eventually(lambda: len(broker.logged("a replacement failed")) == 5)
    assert {row["pool_size"] for row in broker.console("SHOW DATABASES")
            if row["name"] == "second"} <= {"3"}
    clients = [broker.wire(database="second") for _ in range(3)]
    for one in clients:
        one.query("BEGIN")
        assert one.value("SELECT 1") == "1"


def test_one_at_a_time(make_broker):
    broker = make_broker()
    one, two = Fake(broker), Fake(broker)
    one.ask()
    one.until("end")
    two.ask()
    assert two.socket.recv(4096).startswith(b"refused process%20")
    one.close()
    two.close()
    eventually(lambda: broker.logged("a replacement failed"))
    former = broker.replace()
    assert former.wait(15) == 0


def test_killed_at_any_moment(make_broker, postgres, written):
    """kill -9 of the new one at moments on its way: clients are served by the one or the other."""
    broker = make_broker({"drain_idle_clients": 0, "default_pool_size": 4})
    writers = Writers(broker, 3, written, database="second").start()
    first = broker.process
    for delay in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05):
        broker.arguments = ["--replace"]
        broker.launch()
        pause(delay)
        broker.process.kill()
        broker.process.wait()
        if first.poll() is not None or "\"message\":\"replaced\"" in broker.log():
            break
        broker.process = first
        assert answers(broker)
    broker.arguments = []
    if broker.process is not first:
        broker.replace()
    writers.end()
    writers.check(postgres, "second")


@pytest.mark.parametrize("fault, status", [("listen", 73), ("metrics", 73), ("password", 69),
                                           ("setting", 78)])
def test_a_new_one_that_fails(make_broker, fault, status):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        broker = make_broker({"drain_idle_clients": 1, "startup_attempts": 1})
        idle = broker.wire()
        first = broker.process
        kept = dict(broker.settings), dict(broker.databases)
        if fault == "listen":
            broker.set(listen_addr="192.0.2.7")
        elif fault == "metrics":
            broker.set(metrics_listen=f"127.0.0.1:{port}")
        elif fault == "setting":
            broker.set(default_pool_size="many")
        else:
            broker.databases["app"] = broker.server(user="nobody_there", dbname="app")
            broker.write()
        broker.arguments = ["--replace"]
        broker.launch()
        assert broker.wait(30) == status, broker.log_tail()
        broker.process, broker.arguments = first, []
        broker.errors_expected = True
        assert idle.value("SELECT 1") == "1"
        assert answers(broker)
        assert os.path.exists(broker.socket_path) and os.path.exists(f"{broker.socket_path}.lock")
        broker.settings, broker.databases = kept
        broker.write()
        former = broker.replace()
        assert former.wait(15) == 0


def test_where_nobody_is_it_starts(make_broker):
    broker = make_broker(start=False, arguments=["--replace"])
    broker.start()
    assert answers(broker)
    broker.kill()
    broker.start()
    assert answers(broker), "what a killed one left behind is no one to ask"


def test_others_are_not_asked_to_go(make_broker, postgres, run_program):
    broker = make_broker(start=False, arguments=["--replace"])
    broker.set(unix_socket_dir=postgres.host, listen_port=postgres.port)
    broker.launch()
    assert broker.wait(20) == 73
    assert "no pglease that can be replaced" in broker.log()
    with make_broker(tcp=True).raw() as one:
        one.send(wire.startup({"user": "x", "_pq_.pglease_replace": "2"}))
        assert one.socket.recv(100).startswith(b"pglease 1 ")
    tcp = make_broker(tcp=True)
    with wire.Wire(tcp.tcp_address) as one:
        one.send(wire.startup({"user": "x", "_pq_.pglease_replace": "1"}))
        assert one.until("E")[-1].code == "28000"
    broker.set(unix_socket_dir="none", listen_addr="127.0.0.1", listen_port=free_port())
    broker.launch()
    assert broker.wait(20) == 78


def test_sockets_of_the_service_manager(make_broker, postgres):
    broker = make_broker(start=False)
    one = socket.socket(socket.AF_UNIX)
    one.bind(broker.socket_path)
    one.listen(100)
    broker.inherit = (one.fileno(),)
    program = broker.folder / "launch"
    program.write_text(
        "import os, sys\n"
        f"os.dup2({one.fileno()}, 3)\n"
        "os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n")
    command = broker.command()
    broker.command = lambda: ["python3", str(program), *command]
    broker.start()
    assert answers(broker)
    del broker.command
    one.close()
    broker.inherit = ()
    former = broker.replace()
    assert former.wait(15) == 0
    assert answers(broker)
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(15) == 0
    assert os.path.exists(broker.socket_path), "the file is the manager's"


def test_as_systemd_reloads(make_broker):
    """ExecReload=pglease serve --replace --detach: it ends when the new one is ready, which is the main process and feeds
    the watchdog; the old one says nothing any more."""
    broker = make_broker({"drain_idle_clients": 0},
                         environment={"WATCHDOG_USEC": "300000", "SOME": "thing"})
    client = broker.wire()
    client.query("BEGIN")
    first = broker.process
    program = ("import os, sys; os.environ.update(WATCHDOG_PID=str(os.getpid()));"
               "os.execv(sys.argv[1], sys.argv[1:])")
    path = f"{broker.folder}/notify"
    broker.hear()
    broker.told = []
    with broker.log_path.open("ab") as log:
        done = subprocess.Popen(
            ["python3", "-c", program, *broker.command(), "--replace", "--detach"],
            stdout=log, stderr=log, env=os.environ | {"NOTIFY_SOCKET": path} | broker.environment)
        # A manager that does not read loses what it is told.
        eventually(lambda: broker.hear() and done.poll() is not None, 30)
    assert done.returncode == 0, broker.log_tail()
    broker.wait_told("MAINPID=")
    told = [line for line in broker.hear() if line.startswith("MAINPID=")]
    main = int(told[-1].partition("=")[2])
    try:
        assert main != first.pid
        client.query("COMMIT")
        client.send(wire.message("X", b""))
        assert first.wait(10) == 0
        broker.told = []
        eventually(lambda: broker.hear().count("WATCHDOG=1") >= 3)
        assert not [line for line in broker.told if line.startswith("STOPPING")]
        assert "broker.pid" not in os.listdir(broker.folder)
        assert answers(broker)
    finally:
        os.kill(main, signal.SIGQUIT)
        eventually(lambda: not os.path.exists(broker.socket_path))
    broker.process = None


def test_sockets_of_figures_are_the_managers_too(make_broker, http_get):
    with socket.socket() as figures:
        figures.bind(("127.0.0.1", 0))
        figures.listen(10)
        port = figures.getsockname()[1]
        broker = make_broker({"metrics_listen": f"127.0.0.1:{port}"}, start=False)
        program = ("import os, sys\n"
                   f"os.dup2({figures.fileno()}, 103); os.dup2(103, 3)\n"
                   "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1',"
                   " LISTEN_FDNAMES='metrics')\n"
                   "os.execv(sys.argv[1], sys.argv[1:])\n")
        command = broker.command()
        broker.command = lambda: ["python3", "-c", program, *command]
        broker.inherit = (figures.fileno(),)
        broker.start()
    assert http_get(port, "/readyz") == "ready"
    assert answers(broker), "no socket for clients was handed over: it listens where it is told to"
    broker.inherit = ()
    del broker.command
    former = broker.replace()
    assert former.wait(15) == 0
    assert http_get(port, "/readyz") == "ready"
