# SPDX-License-Identifier: Apache-2.0
"""The broker's HTTP as such: probes, bad and slow clients, where it listens, and that nobody is held up."""

import json
import os
import socket
import stat
import subprocess
import threading

import psycopg2
import pytest

from harness import monitoring, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def watched(make_broker):
    def start(settings=None, **named):
        address = monitoring.address()
        broker = make_broker({"metrics_listen": address} | (settings or {}), **named)
        return broker, monitoring.Endpoint(address)
    return start


def told(one):
    """What a socket still says, to its end."""
    said = b""
    try:
        while more := one.recv(65536):
            said += more
    except ConnectionResetError:
        pass
    return said


# Routes.

def test_routes(watched):
    broker, endpoint = watched()
    page = endpoint.get("/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert endpoint.get("/healthz").text == "ok\n"
    assert endpoint.get("/readyz").text == "ready\n"
    assert endpoint.get("/stats.json?since=1").status == 200
    for path in ("/nothing", "/metrics/", "/../etc/passwd", "//", "/%2e%2e/", "/" + "x" * 5000):
        assert endpoint.get(path).status == 404, path
    for answer in (page, endpoint.get("/healthz"), endpoint.get("/nothing")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host, status", [
    ("127.0.0.1:1", 200), ("localhost", 200), ("LOCALHOST:9127", 200), ("[::1]:9127", 200),
    ("pglease.localhost:9127", 200), ("10.1.2.3", 200), ("", 200), ("evil.example:9127", 403),
    ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("1x", 403),
])
def test_a_web_page_from_elsewhere_cannot_read_it(watched, host, status):
    """Its name may point to this machine meanwhile; the browser still calls us by it."""
    _, endpoint = watched()
    for path in ("/stats.json", "/metrics", "/"):
        assert endpoint.get(path, headers={"Host": host}).status == status


def test_all_addresses_have_any_name(make_broker):
    address = monitoring.address()
    make_broker({"metrics_listen": address.replace("127.0.0.1", "*")})
    assert monitoring.Endpoint(address).get("/healthz", headers={"Host": "pglease.svc"}).status == 200


def test_head_is_get_without_a_body(watched):
    _, endpoint = watched()
    for path in ("/", "/metrics", "/healthz", "/stats.json", "/nothing"):
        head, got = endpoint.get(path, method="HEAD"), endpoint.get(path)
        assert head.status == got.status and head.body == b"" and got.body
        assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROBNICATE"])
def test_other_methods_are_refused(watched, method):
    _, endpoint = watched()
    answer = endpoint.get("/metrics", method=method, body=b"x" * 100_000)
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


def test_stats_json_is_what_the_console_shows(watched):
    broker, endpoint = watched({"default_pool_size": 1, "query_wait_timeout": 60,
                                "max_server_connections": 7})
    hostile = '<script>alert("x")</script>\x7f\u202e\u00e4'
    with broker.wire(application_name=hostile) as holder, \
            broker.wire(application_name="second") as waiter:
        holder.query("BEGIN")
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting() == 1)
        document = endpoint.stats()
        assert document["phase"] == "running" and document["ready"] is True
        assert document["pid"] == broker.pid
        assert document["clients"] == {"connected": 2, "max": 500}
        assert document["servers"] == {"connected": 1, "max": 7}
        assert document["now"] > document["started"] > 1.7e9
        ages = {"age_us", "waited_us", "idle_us", "deadline_us", "maxwait", "maxwait_us"}
        for name in ("leases", "waiters", "groups", "locks", "events"):
            shown = broker.console(f"SHOW {name.upper()}")
            # Looking at it makes no events.
            assert [comparable(row, ages) for row in document[name]] \
                == [comparable(row, ages) for row in shown], name
        shown, = [row for row in broker.console("SHOW POOLS") if row["database"] != "pgbouncer"]
        pool, = document["pools"]
        added = ("pool_size", "reserve_pool_size", "sv_total", "paused", "disabled")
        assert [pool.pop(name) for name in added] == [1, 0, 1, False, False]
        assert comparable(pool, ages) == comparable(shown, ages)
        assert document["leases"][0]["application_name"] == hostile
        assert document["leases"][0]["purpose"] is None
        assert isinstance(document["leases"][0]["age_us"], int)
        holder.query("ROLLBACK")


def comparable(row, without):
    """A row of either form: keys and texts, but for what grows."""
    return {key: None if value is None else str(value) for key, value in row.items()
            if key not in without}


def test_long_queues_are_cut(watched):
    """A thousand waiters are listed, the others counted: the loop is not held up by who looks."""
    broker, endpoint = watched({"default_pool_size": 1, "max_client_conn": 1100,
                                "query_wait_timeout": 120})
    with broker.wire() as holder:
        holder.query("BEGIN")
        waiters = [broker.wire() for _ in range(1005)]
        for one in waiters:
            one.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting() == 1005, 60)
        document = eventually(lambda: (found := endpoint.stats())["waiters"] and found)
        assert [row["place"] for row in document["waiters"]] == list(range(1, 1001))
        assert document["not_listed"] == {"leases": 0, "waiters": 5}
        assert len(broker.console("SHOW WAITERS")) == 1005
        for one in waiters:
            one.close()


def test_history_is_a_ring_of_samples(watched):
    broker, endpoint = watched({"default_pool_size": 2})
    with broker.wire() as one:
        one.query("BEGIN")
        # The first sample may be of the moment in which the connection was being opened.
        leased = {"app/app": {"leased": 1, "waiting": 0, "total": 1, "size": 2}}
        history = eventually(lambda: (found := endpoint.stats()["history"])
                             and found["samples"] and found["samples"][-1]["pools"] == leased
                             and found, 30)
        assert history["period"] == 5
        times = [sample["time"] for sample in history["samples"]]
        assert times == sorted(times) and len(times) <= 120


# Probes.

def test_readiness_follows_the_broker(watched):
    broker, endpoint = watched()
    broker.console("PAUSE")
    eventually(lambda: endpoint.get("/readyz").text.startswith("paused"))
    answer = endpoint.get("/readyz")
    assert answer.status == 503 and "RESUME" in answer.text and answer.text.count("\n") == 1
    assert endpoint.get("/healthz").status == 200
    eventually(lambda: endpoint.metrics().get("pglease_phase", phase="paused") == 1)
    eventually(lambda: endpoint.metrics().get("pglease_ready") == 0)
    broker.console("RESUME")
    eventually(lambda: endpoint.get("/readyz").status == 200)
    with broker.wire():
        broker.send_signal(15)
        eventually(lambda: endpoint.get("/readyz").text.startswith("draining"))
        assert endpoint.get("/readyz").status == 503 and endpoint.get("/healthz").status == 200
        # /metrics is written at most every 0.2 s.
        eventually(lambda: endpoint.metrics().get("pglease_phase", phase="draining") == 1)
    assert broker.wait() == 0


def test_at_the_start_it_says_how_many_databases_failed(make_broker):
    address = monitoring.address()
    broker = make_broker({"metrics_listen": address, "startup_attempts": 1000, "startup_delay": "0.05",
                          "startup_max_delay": "0.05"}, start=False)
    broker.errors_expected = True
    broker.databases = {"absent": broker.server(user="app", dbname="absent"),
                        "dead": f"host={broker.folder} user=app dbname=app"}
    broker.write()
    broker.launch()
    endpoint = monitoring.Endpoint(address)

    def said():
        try:
            return endpoint.get("/readyz").text
        except ConnectionRefusedError:
            return ""

    eventually(lambda: "1 of 2 databases could not be reached" in said(), 30,
               what=lambda: said())


def test_not_ready_while_no_server_answers_and_ready_again(make_broker, postgres):
    """Down at the start, then reachable: through a socket folder that comes to be."""
    address = monitoring.address()
    broker = make_broker({"metrics_listen": address, "startup_attempts": 1000, "startup_delay": "0.05",
                          "startup_max_delay": "0.05", "server_login_retry": "0.2"}, start=False)
    way = broker.folder / "way"
    # The other one loses its connection, too, but nobody tries it.
    broker.databases = {name: f"host={way} port={postgres.port} user=app dbname={name}"
                        for name in ("app", "second")}
    broker.write()
    broker.launch()
    endpoint = monitoring.Endpoint(address)

    def ready():
        try:
            return endpoint.get("/readyz")
        except ConnectionRefusedError:
            return None

    answer = eventually(ready, 30)
    assert answer.status == 503 and answer.text.startswith("starting")
    assert endpoint.stats()["phase"] == "starting" and endpoint.get("/healthz").status == 200
    way.symlink_to(postgres.host)
    broker.wait_told("READY=1")
    eventually(lambda: endpoint.get("/readyz").status == 200, 30)
    with broker.wire(database="second") as one:
        one.query("SELECT 1")
    way.unlink()
    postgres.terminate(*(row[0] for row in postgres.backends(user="app")))
    with broker.wire() as one:
        one.send(wire.query("SELECT 1"))
        answer = eventually(lambda: (found := endpoint.get("/readyz")).status == 503 and found, 30)
        assert answer.text.startswith("every server is down: app/app (and 1 more)") and answer.text.count("\n") == 1
        eventually(
            lambda: endpoint.metrics().get("pglease_pool_up", database="app", user="app") == 0)
        way.symlink_to(postgres.host)
        eventually(lambda: endpoint.get("/readyz").status == 200, 30)


def test_a_name_that_does_not_exist_is_no_outage(watched):
    broker, endpoint = watched()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(broker.dsn(dbname="nowhere")).cursor().execute("SELECT 1")
    assert endpoint.get("/readyz").status == 200


# Bad clients.

@pytest.mark.parametrize("words", [
    b"\r\n\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n", b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"Q\x00\x00\x00\x0dSELECT 1\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /" + b"%00" * 3000 + b" HTTP/1.1\r\n\r\n",
])
def test_what_is_no_request_ends_its_connection_only(watched, words):
    broker, endpoint = watched()
    one = endpoint.raw()
    one.sendall(words)
    one.shutdown(socket.SHUT_WR)
    told(one)
    one.close()
    assert endpoint.get("/healthz").status == 200 and broker.alive


@pytest.mark.parametrize("words", [
    b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
], ids=["header", "headers", "line"])
def test_huge_headers_are_refused(watched, words):
    broker, endpoint = watched()
    before = broker.memory()
    one = endpoint.raw()
    try:
        one.sendall(words)
    except (BrokenPipeError, ConnectionResetError):
        pass
    said = told(one)
    assert said == b"" or said.split()[1] in (b"413", b"414", b"431"), said[:200]
    one.close()
    assert endpoint.get("/healthz").status == 200
    assert broker.memory() - before < 4_000_000


def test_slow_clients_cost_only_themselves(watched):
    """Sixty that send half a request and nothing more: scrapes, probes and clients go on; then they are
    closed, though one of them sends a byte now and then."""
    broker, endpoint = watched()
    slow = [endpoint.raw() for _ in range(60)]
    for index, one in enumerate(slow):
        one.sendall([b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"][index % 3])
    with broker.wire() as client:
        for _ in range(20):
            client.query("SELECT 1")
            assert endpoint.get("/healthz").status == 200
    dripping = endpoint.raw()
    dripping.sendall(b"GET /healthz HTTP/1.1\r\n")

    def is_closed():
        try:
            dripping.sendall(b"X")
            return False
        except OSError:
            return True
    eventually(is_closed, 60, every=0.2)
    for one in slow:
        one.settimeout(60)
        assert b"200 OK" not in told(one)
        one.close()
    # Only the loop's own and this one are left.
    eventually(lambda: endpoint.metrics().get("process_open_fds") < 40, 30)


def test_who_does_not_read_is_closed(make_broker):
    """The answer is larger than what a Unix socket holds."""
    broker = make_broker({"max_client_conn": 400}, start=False)
    endpoint = monitoring.Endpoint(f"{broker.folder}/metrics.sock")
    broker.set(metrics_listen=endpoint.address)
    broker.start()
    clients = [broker.wire(application_name=f"{index:03}" + "x" * 60) for index in range(190)]
    lazy = []
    for _ in range(10):
        one = endpoint.raw()
        one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        lazy.append(one)
    with broker.wire() as client:
        for _ in range(20):
            client.query("SELECT 1")
            assert endpoint.get("/healthz").status == 200
    before = endpoint.metrics().get("process_open_fds")
    eventually(lambda: endpoint.metrics().get("process_open_fds") <= before - 10, 90, every=0.5)
    for one in lazy + clients:
        one.close()


def test_clients_that_leave_in_the_middle(watched):
    broker, endpoint = watched()
    for _ in range(300):
        one = endpoint.raw()
        one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        one.close()
    assert endpoint.get("/healthz").status == 200
    eventually(lambda: endpoint.metrics().get("process_open_fds") < 40, 30)


def test_no_descriptor_left(watched):
    """The broker's clients have them all: whoever comes for figures is turned away, and the loop does not
    turn in vain."""
    broker, endpoint = watched({"max_client_conn": 500}, open_files=64)
    broker.errors_expected = True
    clients = []
    try:
        while len(clients) < 100:
            clients.append(broker.raw(timeout=5))
    except OSError:
        pass
    eventually(lambda: broker.open_files_now() >= 63, 20)
    with pytest.raises(OSError):
        monitoring.Endpoint(endpoint.address, timeout=5).get("/healthz")
    ticks = sum(processor_ticks(broker))
    eventually(lambda: len(broker.logged("accepting a connection of metrics_listen failed")) >= 1, 10)
    for one in clients:
        one.close()
    eventually(lambda: is_healthy(endpoint), 30)
    # A second of processor time in all: it did not spin.
    assert sum(processor_ticks(broker)) - ticks < os.sysconf("SC_CLK_TCK")


def is_healthy(endpoint):
    try:
        return endpoint.get("/healthz").status == 200
    except OSError:
        return False


def processor_ticks(broker):
    with open(f"/proc/{broker.pid}/stat", encoding="ascii") as file:
        return [int(word) for word in file.read().rpartition(")")[2].split()[11:13]]


# Many scrapes while clients work.

def test_a_storm_of_scrapes_under_load(watched):
    broker, endpoint = watched({"default_pool_size": 4})
    done, errors = threading.Event(), []
    counts = {"scrapes": 0, "queries": 0}

    def scrape():
        while not done.is_set():
            try:
                path = "/metrics" if counts["scrapes"] % 2 else "/stats.json"
                answer = endpoint.get(path)
                assert answer.status == 200 and int(answer.headers["content-length"]) == len(answer.body)
                counts["scrapes"] += 1
            except Exception as error:  # noqa: BLE001 - told by the test
                errors.append(error)
                return

    def work():
        try:
            with broker.wire() as one:
                while not done.is_set():
                    one.query("SELECT 1")
                    counts["queries"] += 1
        except Exception as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    threads = [threading.Thread(target=each, daemon=True) for each in [scrape] * 6 + [work] * 6]
    for one in threads:
        one.start()
    eventually(lambda: errors or (counts["scrapes"] > 500 and counts["queries"] > 500), 120)
    done.set()
    for one in threads:
        one.join(30)
    assert not errors
    metrics = eventually(lambda: (found := endpoint.metrics()).get(
        "pgbouncer_stats_queries_pooled_total", database="app") >= 500 and found)
    assert metrics.get("pglease_event_loop_lag_seconds") < 5


# Where it listens.

def test_unix_socket(make_broker, run_program):
    broker = make_broker(start=False)
    # In a folder that the broker makes.
    path = f"{broker.folder}/made/metrics.sock"
    # Whoever may use the broker may read its figures.
    broker.set(metrics_listen=path, unix_socket_mode="0770")
    broker.start()
    assert stat.S_ISSOCK(os.stat(path).st_mode) and os.stat(path).st_mode & 0o777 == 0o770
    done = run_program("curl", "-sS", "--fail", "--unix-socket", path, "http://localhost/stats.json")
    assert json.loads(done.stdout)["pid"] == broker.pid
    assert monitoring.Endpoint(path).metrics().get("pglease_ready") == 1
    broker.stop()
    assert not os.path.exists(path)


def test_a_stale_socket_file_is_taken_over_and_a_living_one_is_not(make_broker):
    first = make_broker(start=False)
    path = f"{first.folder}/metrics.sock"
    first.set(metrics_listen=path)
    first.start()
    second = make_broker({"metrics_listen": path}, start=False)
    second.errors_expected = True
    second.launch()
    assert second.wait() == 73
    assert "metrics_listen" in second.log_tail() and "another process listens" in second.log_tail()
    first.kill()
    first.process = None
    assert os.path.exists(path)
    second.start()
    assert monitoring.Endpoint(path).get("/healthz").status == 200


def test_a_taken_port_is_named_and_ends_the_start(make_broker):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        broker = make_broker({"metrics_listen": f"127.0.0.1:{taken.getsockname()[1]}"}, start=False)
        broker.errors_expected = True
        broker.launch()
        assert broker.wait() == 73
        assert "metrics_listen" in broker.log_tail() and "stop it" in broker.log_tail()


def test_reload_moves_it_switches_it_off_and_on(make_broker):
    broker = make_broker()
    first, second = (monitoring.Endpoint(monitoring.address()) for _ in range(2))
    broker.set(metrics_listen=first.address)
    broker.console("RELOAD")
    assert first.get("/healthz").status == 200
    broker.set(metrics_listen=second.address)
    broker.console("RELOAD")
    assert second.get("/healthz").status == 200
    with pytest.raises(ConnectionRefusedError):
        first.get("/healthz")
    # The same port of all addresses, which contains the old place.
    broker.set(metrics_listen=f"*:{second.address.split(':')[1]}")
    broker.console("RELOAD")
    assert second.get("/healthz").status == 200
    assert broker.logged("everybody who reaches")
    broker.console(f"SET metrics_listen = '{first.address}'")
    assert first.get("/healthz").status == 200
    broker.set(metrics_listen="")
    broker.console("RELOAD")
    with pytest.raises(ConnectionRefusedError):
        first.get("/healthz")


def test_a_reload_that_cannot_listen_leaves_all_as_it_was(watched):
    broker, endpoint = watched()
    broker.errors_expected = True
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        broker.set(metrics_listen=place, default_pool_size=3)
        with pytest.raises(wire.Refused) as refused:
            broker.console("RELOAD")
        line = next(number for number, text in enumerate(broker.config_path.read_text().splitlines(), 1)
                    if text.startswith("metrics_listen"))
        assert f":{line}: metrics_listen" in str(refused.value)
        with pytest.raises(wire.Refused):
            broker.console(f"SET metrics_listen = '{place}'")
    # The same port of an address that is not ours: the old place had to be left to try it.
    broker.set(metrics_listen=f"192.0.2.1:{endpoint.address.split(':')[1]}")
    with pytest.raises(wire.Refused):
        broker.console("RELOAD")
    assert endpoint.get("/healthz").status == 200
    sizes = {row["key"]: row["value"] for row in broker.console("SHOW CONFIG")}
    assert sizes["default_pool_size"] == "10" and sizes["metrics_listen"] == endpoint.address


@pytest.mark.parametrize("value, words", [
    ("9127", "has no port"), ("localhost", "has no port"), ("localhost:0", "has no port"),
    ("localhost:99999", "has no port"), (":9127", "names no host"), ("::1:9127", "names no host"),
    ("a b:9127", "names no host"), ("http://localhost:9127", "names no host"),
    ("/", "not the path"), ("/" + "x" * 200, "not the path"), ("metrics.sock", "has no port"),
])
def test_nonsense_is_refused_by_file_and_line(make_broker, run_program, value, words):
    from harness.pooler import pglease_binary
    broker = make_broker({"metrics_listen": value}, start=False)
    done = run_program(pglease_binary(), "check-config", "--config", broker.config_path, check=False)
    assert done.returncode == 78
    line = next(text for text in (done.stderr + done.stdout).splitlines() if "metrics_listen" in text)
    assert f"{broker.config_path}:" in line and words in line


def test_the_environment_and_ipv6(make_broker):
    port = monitoring.address().split(":")[1]
    broker = make_broker(environment={"PGLEASE_METRICS_LISTEN": f"[::1]:{port}"})
    assert monitoring.Endpoint(f"[::1]:{port}").get("/healthz").status == 200
    row = next(row for row in broker.console("SHOW CONFIG") if row["key"] == "metrics_listen")
    assert row["value"] == f"[::1]:{port}" and row["changeable"] == "yes"


def test_off_by_default(make_broker):
    broker = make_broker()
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout
    assert f"pid={broker.pid}," not in listening
