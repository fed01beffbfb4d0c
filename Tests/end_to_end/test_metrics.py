# SPDX-License-Identifier: Apache-2.0
"""/metrics and /stats.json: every figure against what the console shows, and what makes each counter move."""

import os
import shutil
import subprocess
import threading
import time

import psycopg2
import pytest

from harness import direct, monitoring, parked, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

APP = {"database": "app", "user": "app"}


@pytest.fixture
def watched(make_broker):
    """Starts a broker that serves metrics; returns it and where."""
    def start(settings=None, **named):
        address = monitoring.address()
        broker = make_broker({"metrics_listen": address} | (settings or {}), **named)
        return broker, monitoring.Endpoint(address)
    return start


def hold(broker, **more):
    """A client whose transaction is open and rests."""
    conn = psycopg2.connect(broker.dsn(**more))
    conn.cursor().execute("SELECT 1")
    return conn


class Waiting(threading.Thread):
    """A client that asks while nothing is free, in a thread of its own."""

    def __init__(self, broker, **more):
        super().__init__(daemon=True)
        self.conn, self.error = psycopg2.connect(broker.dsn(**more)), None
        self.start()

    def run(self):
        try:
            self.conn.cursor().execute("SELECT 1")
        except psycopg2.Error as error:
            self.error = error


def moved(endpoint, name, by=1, **labels):
    """Waits until a counter stands at `by`; all brokers here are new."""
    return eventually(lambda: endpoint.metrics().get(name, **labels) == by, 20,
                      lambda: f"{name}{labels}: {endpoint.metrics()[name]}")


# Against SHOW.

POOL_COLUMNS = {
    "client_active_connections": "cl_active", "client_waiting_connections": "cl_waiting",
    "client_active_cancel_connections": "cl_active_cancel_req",
    "client_waiting_cancel_connections": "cl_waiting_cancel_req",
    "server_active_connections": "sv_active", "server_idle_connections": "sv_idle",
    "server_active_cancel_connections": "sv_active_cancel",
    "server_being_canceled_connections": "sv_being_canceled",
    "server_used_connections": "sv_used", "server_testing_connections": "sv_tested",
    "server_login_connections": "sv_login",
}
TOTAL_COLUMNS = {
    "queries_pooled": ("query_count", 1), "queries_duration_seconds": ("query_time", 1e-6),
    "received_bytes": ("bytes_received", 1), "sent_bytes": ("bytes_sent", 1),
    "client_wait_seconds": ("wait_time", 1e-6), "sql_transactions_pooled": ("xact_count", 1),
    "server_in_transaction_seconds": ("xact_time", 1e-6),
    "client_parses": ("client_parse_count", 1), "server_parses": ("server_parse_count", 1),
    "binds": ("bind_count", 1), "server_assignments": ("server_assignment_count", 1),
}
DATABASE_COLUMNS = {
    "pool_size": "pool_size", "reserve_pool": "reserve_pool_size",
    "max_connections": "max_connections", "current_connections": "current_connections",
    "paused": "paused", "disabled": "disabled",
}
LISTS = {
    "databases": "databases", "users": "users", "pools": "pools", "free_clients": "free_clients",
    "used_clients": "used_clients", "login_clients": "login_clients",
    "free_servers": "free_servers", "used_servers": "used_servers",
    "cached_dns_names": "dns_names", "cached_dns_zones": "dns_zones",
    "in_flight_dns_queries": "dns_queries",
}
GROUP_COLUMNS = {
    "clients": "clients", "leases": "leases", "waiters": "waiting", "min_leases": "min_leases",
    "max_leases": "max_leases", "max_pins": "max_pins", "pinned_leases": "pinned",
}
PINS = ("temporary_objects", "held_cursors", "advisory_locks", "settings", "seed", "libraries", "dblink",
        "channels", "statements")


def number(text):
    return None if text is None else float(text)


def test_every_figure_is_the_consoles(watched, postgres):
    """All that stands still while two clients hold and one waits; what is not compared is named."""
    broker, endpoint = watched(
        {"default_pool_size": 2, "reserve_pool_size": 0, "max_db_connections": 7,
         "max_user_connections": 9, "max_server_connections": 11, "lease_warn_after": "10ms",
         "query_wait_timeout": 60},
        groups={"batch": "match=batch-* max_leases=5 min_leases=1", "web": "weight=3"}, start=False)
    broker.databases = {"app": broker.server(), "second": broker.server(
        dbname="app", reserve_pool_size=2, pool_size=3, pool_mode="session")}
    broker.write()
    broker.start()
    with broker.wire(database="second") as other, hold(broker, application_name="web") as first, \
            hold(broker, application_name="batch-1"):
        other.query("SELECT 1")
        waiter = Waiting(broker, application_name="web")
        eventually(lambda: broker.waiting() == 1)
        # A session's lease is none that one is warned of.
        eventually(lambda: sorted((row["database"], row["warned"]) for row in broker.console(
            "SHOW LEASES")) == [("app", "yes"), ("app", "yes"), ("second", "no")])
        # Old enough that a figure of nothing shows.
        eventually(lambda: int(broker.console("SHOW WAITERS")[0]["waited_us"]) > 1_500_000)
        seen = {}

        def agrees():
            # The console's own row counts those who look at it.
            shown = {name: broker.console(f"SHOW {name}") for name in
                     ("POOLS", "DATABASES", "STATS_TOTALS", "LISTS", "GROUPS", "LEASES", "WAITERS",
                      "VERSION", "CONFIG")}
            seen["metrics"], seen["shown"] = endpoint.metrics(), shown
            return not differences(seen["metrics"], shown)

        eventually(agrees, 20, lambda: differences(seen["metrics"], seen["shown"]))
        assert unexplained(seen["metrics"]) == set()
        # The other connection is kept for the group batch.
        first.rollback()
        waiter.join(30)
        assert not waiter.is_alive() and waiter.error is None


def differences(metrics, shown):
    wrong = []

    def compare(expected, name, /, **labels):
        value = metrics.get(name, **labels)
        if value != pytest.approx(expected, rel=1e-9):
            wrong.append((name, labels, value, expected))

    for row in shown["POOLS"]:
        if row["database"] == "pgbouncer":
            continue
        labels = {name: row[name] for name in APP}
        for name, column in POOL_COLUMNS.items():
            compare(number(row[column]), f"pgbouncer_pools_{name}", **labels)
        pool_figures(row, shown, labels, compare, metrics, wrong)
    for row in shown["DATABASES"]:
        labels = {name: row[name] or "" for name in
                  ("name", "host", "port", "database", "force_user", "pool_mode")}
        if row["name"] != "pgbouncer":
            for name, column in DATABASE_COLUMNS.items():
                compare(number(row[column]), f"pgbouncer_databases_{name}", **labels)
    for row in shown["STATS_TOTALS"]:
        if row["database"] != "pgbouncer":
            for name, (column, scale) in TOTAL_COLUMNS.items():
                compare(number(row[column]) * scale, f"pgbouncer_stats_{name}_total",
                        database=row["database"])
    lists = {row["list"]: number(row["items"]) for row in shown["LISTS"]}
    for name, key in LISTS.items():
        # The console client that showed the list has left.
        gone = 1 if key == "used_clients" else 0
        compare(lists[key] - gone, f"pgbouncer_{name}")
    for row in shown["GROUPS"]:
        for name, column in GROUP_COLUMNS.items():
            compare(number(row[column]), f"pglease_group_{name}", group=row["group"])
    config = {row["key"]: row["value"] for row in shown["CONFIG"]}
    compare(float(config["max_client_conn"]), "pglease_clients_max")
    compare(float(config["max_client_conn"]), "pgbouncer_config_max_client_connections")
    compare(float(config["max_user_connections"]), "pgbouncer_config_max_user_connections")
    compare(float(config["max_server_connections"]), "pglease_servers_max")
    compare(lists["used_servers"], "pglease_servers")
    compare(lists["used_clients"] - 1, "pglease_clients")
    version = shown["VERSION"][0]["version"]
    compare(1, "pgbouncer_version_info", version=version)
    compare(1, "pglease_build_info", version=version.removeprefix("pglease "))
    return wrong


def pool_figures(row, shown, labels, compare, metrics, wrong):
    """What is told of a pool beyond pgbouncer's columns."""
    own = {name: [each for each in shown[name] if each["database"] == labels["database"]
                  and each["user"] == labels["user"]] for name in ("LEASES", "WAITERS")}
    database = next(each for each in shown["DATABASES"] if each["name"] == labels["database"])
    size = number(database["pool_size"])
    compare(size, "pglease_pool_size", **labels)
    compare(number(database["reserve_pool_size"]), "pglease_pool_reserve_size", **labels)
    compare(len(own["LEASES"]), "pglease_pool_leases", **labels)
    compare(len(own["LEASES"]) / size, "pglease_pool_utilization_ratio", **labels)
    compare(number(row["cl_waiting"]), "pglease_pool_waiters", **labels)
    compare(sum(each["warned"] == "yes" for each in own["LEASES"]), "pglease_pool_warned_leases",
            **labels)
    for reason in PINS:
        compare(sum(reason in (each["pin"] or "") for each in own["LEASES"]),
                "pglease_pool_pinned_leases", reason=reason, **labels)
    compare(number(row["parked"]), "pglease_pool_parked_leases", **labels)
    compare(1, "pglease_pool_up", **labels)
    compare(0, "pglease_pool_connect_failures_in_a_row", **labels)
    states = {"leased": row["sv_active"], "connecting": row["sv_login"], "closing": 0,
              "cancelling": row["sv_being_canceled"]}
    for state, count in states.items():
        compare(number(count), "pglease_pool_servers", state=state, **labels)
    idle = sum(metrics.get("pglease_pool_servers", state=state, **labels) or 0
               for state in ("idle", "validating", "resetting"))
    if idle != sum(number(row[name]) for name in ("sv_idle", "sv_used", "sv_tested")):
        wrong.append(("idle", idle, row))
    # Shown first, told a moment later; whole seconds in pgbouncer's.
    for name, ages, rounding in (
            ("pglease_pool_oldest_lease_seconds", [each["age_us"] for each in own["LEASES"]], 0),
            ("pglease_pool_oldest_waiter_seconds", [each["waited_us"] for each in own["WAITERS"]], 0),
            ("pgbouncer_pools_client_maxwait_seconds",
             [each["waited_us"] for each in own["WAITERS"]], 1)):
        oldest = max((int(age) / 1e6 for age in ages), default=0)
        told = metrics.get(name, **labels)
        if told is None or not oldest - 0.2 - rounding <= told <= oldest + 20:
            wrong.append((name, told, oldest))


COMPARED = (
    {f"pgbouncer_pools_{name}" for name in POOL_COLUMNS}
    | {"pgbouncer_pools_client_maxwait_seconds", "pgbouncer_version", "pglease_build"}
    | {f"pgbouncer_stats_{name}" for name in TOTAL_COLUMNS}
    | {f"pgbouncer_databases_{name}" for name in DATABASE_COLUMNS}
    | {f"pgbouncer_{name}" for name in LISTS} | {f"pglease_group_{name}" for name in GROUP_COLUMNS}
    | {"pgbouncer_config_max_client_connections", "pgbouncer_config_max_user_connections"}
    | {f"pglease_pool_{name}" for name in (
        "size", "reserve_size", "utilization_ratio", "leases", "waiters", "oldest_waiter_seconds",
        "oldest_lease_seconds", "warned_leases", "up", "connect_failures_in_a_row", "servers",
        "pinned_leases", "parked_leases")}
    | {"pglease_clients", "pglease_clients_max", "pglease_servers", "pglease_servers_max"})
# Of these the console has no column; other tests here drive them.
DRIVEN = {
    "pgbouncer_up", "pglease_replication_connections", "pglease_ready", "pglease_phase", "pglease_event_loop_lag_seconds",
    "pglease_lease_wait_seconds", "pglease_lease_hold_seconds", "pglease_server_connect_seconds",
    "pglease_query_seconds", "pglease_transaction_seconds", "pglease_group_wait_seconds",
    "pglease_group_hold_seconds", "pglease_revocations", "pglease_rejections", "pglease_refusals",
    "pglease_connect_failures", "pglease_servers_lost", "pglease_failovers",
    "pglease_pool_locks", "pglease_lease_pins",
    "pglease_active_pool_locks", "pglease_reserve_lent", "pglease_leak_warnings",
    "pglease_clients_accepted", "pglease_tls_clients_accepted", "pglease_login_failures", "pglease_protocol_errors",
    "pglease_server_connects", "pglease_retried_requests", "pglease_cancels",
    "pglease_explicit_leases", "pglease_direct_leases", "pglease_parkable_leases",
    "pglease_parked_reclaims", "process_cpu_seconds",
    "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds",
    "process_max_fds", "process_start_time_seconds",
}


def unexplained(metrics):
    """Families that no test here knows, or that are not there."""
    return set(metrics.families) ^ (COMPARED | DRIVEN)


def test_the_process_as_the_system_sees_it(watched):
    broker, endpoint = watched({}, open_files=1234)
    metrics = endpoint.metrics()
    assert metrics.get("process_resident_memory_bytes") == pytest.approx(broker.memory(), rel=0.1)
    with open(f"/proc/{broker.pid}/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    assert metrics.get("process_virtual_memory_bytes") == pytest.approx(
        pages * os.sysconf("SC_PAGESIZE"), rel=0.1)
    # The connection of the scrape itself is one more.
    assert abs(metrics.get("process_open_fds") - broker.open_files_now()) <= 2
    assert metrics.get("process_max_fds") == 1234
    assert abs(metrics.get("process_start_time_seconds") - time.time()) < 120
    before = metrics.get("process_cpu_seconds_total")
    eventually(lambda: endpoint.metrics().get("process_cpu_seconds_total") > before, 30)
    assert 0 <= metrics.get("pglease_event_loop_lag_seconds") < 60


# Histograms.

def test_histograms_count_what_happened(watched):
    broker, endpoint = watched({"default_pool_size": 1})
    conn = psycopg2.connect(broker.dsn(application_name="worker"))
    conn.autocommit = True
    for _ in range(20):
        conn.cursor().execute("SELECT 1")
    conn.cursor().execute("SELECT pg_sleep(0.3)")
    # What an unknown function has left is found out behind its answer: its lease lasts until then.
    metrics = eventually(lambda: (found := endpoint.metrics()).histogram(
        "pglease_lease_hold_seconds", **APP)[1] == 21 and found, 10)
    total = broker.console("SHOW STATS_TOTALS")[0]
    for name, count in (("lease_wait", total["server_assignment_count"]),
                        ("lease_hold", total["server_assignment_count"]),
                        ("query", total["query_count"]), ("transaction", total["xact_count"]),
                        ("server_connect", 1)):
        buckets, counted, added = metrics.histogram(f"pglease_{name}_seconds", **APP)
        assert counted == int(count), name
        counts = [value for _, value in buckets]
        assert counts == sorted(counts) and counts[-1] == counted, name
        assert [bound for bound, _ in buckets[:3]] == [5e-05, 0.0001, 0.0002]
        assert buckets[-2][0] == 104.8576 and buckets[-1][0] == float("inf") and len(buckets) == 23
        if name in ("query", "lease_hold", "transaction"):
            # One of them slept.
            assert dict(buckets)[0.2048] <= counted - 1 and added >= 0.3, name
    assert metrics.histogram("pglease_query_seconds", **APP)[2] == pytest.approx(
        int(total["query_time"]) / 1e6, abs=1e-4)
    for name in ("wait", "hold"):
        counted = metrics.histogram(f"pglease_group_{name}_seconds", group="worker")[1]
        assert counted == int(total["server_assignment_count"])


def test_waiting_is_measured_to_the_grant(watched):
    broker, endpoint = watched({"default_pool_size": 1})
    first = hold(broker, application_name="holder")
    waiter = Waiting(broker, application_name="waiter")
    eventually(lambda: broker.waiting() == 1)
    before = endpoint.metrics().histogram("pglease_group_wait_seconds", group="waiter")[1]
    eventually(lambda: int(broker.console("SHOW WAITERS")[0]["waited_us"]) > 300_000)
    first.rollback()
    waiter.join(30)
    # /metrics is written at most every 0.2 s.
    buckets, counted, added = eventually(
        lambda: (found := endpoint.metrics().histogram(
            "pglease_group_wait_seconds", group="waiter"))[1] > before and found)
    assert counted - dict(buckets)[0.2048] == 1 and added >= 0.3
    # The group is gone, what it counted stays.
    waiter.conn.close()
    eventually(lambda: not any(row["group"] == "waiter" for row in broker.console("SHOW GROUPS")))
    eventually(lambda: endpoint.metrics().get("pglease_group_clients", group="waiter") is None)
    eventually(lambda: endpoint.metrics().histogram(
        "pglease_group_hold_seconds", group="waiter")[1] == counted)


def test_parked_leases_are_none_in_use(watched):
    broker, endpoint = watched({"default_pool_size": 1, "reserve_pool_size": 0})
    with parked.connect(broker) as one:
        one.park_lease()
        eventually(lambda: endpoint.metrics().get("pglease_pool_leases", **APP) == 1)
        assert endpoint.metrics().get("pglease_parkable_leases_total") == 1
        one.park()
        eventually(lambda: endpoint.metrics().get("pglease_pool_parked_leases", **APP) == 1)
        metrics = endpoint.metrics()
        assert metrics.get("pglease_pool_leases", **APP) == 0
        assert metrics.get("pglease_pool_utilization_ratio", **APP) == 0
        row = broker.pool()
        assert (row["sv_active"], row["parked"]) == ("0", "1")
        assert sum(int(group["parked"]) for group in broker.console("SHOW GROUPS")) == 1
        with direct.connect(broker) as other:
            assert other.value("SELECT 1") == "1"
        eventually(lambda: endpoint.metrics().get(
            "pglease_parked_reclaims_total", cause="waiter") == 1)


def test_direct_leases_are_held_but_their_queries_are_not_seen(watched):
    broker, endpoint = watched({})
    with direct.connect(broker) as one:
        end = one.lease("FOR 'metrics'")
        for _ in range(5):
            end.query("SELECT 1")
        one.give_back()
    moved(endpoint, "pglease_direct_leases_total")
    moved(endpoint, "pglease_explicit_leases_total")
    metrics = endpoint.metrics()
    assert metrics.histogram("pglease_lease_hold_seconds", **APP)[1] >= 1
    assert metrics.histogram("pglease_query_seconds", **APP)[1] < 5


# Counters, each by what makes it move.

def test_waiters_that_are_turned_away(watched):
    broker, endpoint = watched({"default_pool_size": 1, "query_wait_timeout": "100ms",
                                "max_waiting": 1})
    with hold(broker):
        waiter = Waiting(broker)
        waiter.join(30)
        assert waiter.error.pgcode == "53300"
        moved(endpoint, "pglease_rejections_total", cause="deadline")
        broker.set(query_wait_timeout=60)
        broker.console("RELOAD")
        second = Waiting(broker)
        eventually(lambda: broker.waiting() == 1)
        Waiting(broker).join(30)
        moved(endpoint, "pglease_rejections_total", cause="queue_full")
    second.join(30)


def test_leases_that_are_taken_away(watched):
    broker, endpoint = watched({"default_pool_size": 3, "idle_transaction_timeout": "100ms",
                                "lease_warn_after": "10ms"})
    with pytest.raises(psycopg2.Error), hold(broker) as first:
        moved(endpoint, "pglease_revocations_total", limit="idle_transaction_timeout")
        moved(endpoint, "pglease_leak_warnings_total")
        first.cursor().execute("SELECT 1")
    broker.set(idle_transaction_timeout=0)
    broker.console("RELOAD")
    with pytest.raises(psycopg2.Error), hold(broker) as second:
        lease = broker.console("SHOW LEASES")[0]["lease_id"]
        broker.console(f"KILL LEASE {lease}")
        moved(endpoint, "pglease_revocations_total", limit="kill_lease")
        second.cursor().execute("SELECT 1")


def test_clients_that_are_not_let_in(watched):
    broker, endpoint = watched(
        {"max_db_client_connections": 1, "auth_type": "scram-sha-256"},
        userlist={"app": "right", "admin": ""}, tcp=True)
    endpoint_before = endpoint.metrics().get("pglease_clients_accepted_total")
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(broker.dsn(password="wrong"))
    moved(endpoint, "pglease_refusals_total", cause="authentication")
    moved(endpoint, "pglease_login_failures_total")
    with psycopg2.connect(broker.dsn(password="right")):
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(broker.dsn(password="right"))
        moved(endpoint, "pglease_refusals_total", cause="too_many_clients")
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(broker.dsn(user="nobody", password="x"))
    moved(endpoint, "pglease_refusals_total", by=2, cause="authentication")
    assert endpoint.metrics().get("pglease_clients_accepted_total") == endpoint_before + 4


def test_messages_that_no_client_sends(watched):
    broker, endpoint = watched({})
    broker.errors_expected = True
    with broker.wire() as one:
        one.send(b"\x01\x00\x00\x00\x04")
        moved(endpoint, "pglease_protocol_errors_total")


def test_servers_that_fail_and_die(watched, postgres):
    """Nobody listens on the second database's port."""
    broker, endpoint = watched({"server_login_retry": 1, "query_wait_timeout": "300ms",
                                "prewarm": 0}, start=False)
    broker.databases = {"app": broker.server(),
                        "gone": f"host={broker.folder} port=1 dbname=app user=app"}
    broker.write()
    broker.start()
    with broker.wire() as one:
        one.query("SELECT 1")
        moved(endpoint, "pglease_server_connects_total")
        postgres.terminate(int(broker.console("SHOW SERVERS")[0]["remote_pid"]))
        moved(endpoint, "pglease_servers_lost_total", cause="idle")
        one.query("BEGIN")
        postgres.terminate(int(broker.console("SHOW SERVERS")[0]["remote_pid"]))
        moved(endpoint, "pglease_servers_lost_total", cause="in_lease")
    with pytest.raises(psycopg2.Error):
        psycopg2.connect(broker.dsn(dbname="gone")).cursor().execute("SELECT 1")
    eventually(lambda: endpoint.metrics().get(
        "pglease_connect_failures_total", cause="unreachable") >= 1)
    eventually(lambda: endpoint.metrics().get(
        "pglease_rejections_total", cause="deadline") + endpoint.metrics().get(
        "pglease_rejections_total", cause="connect_failed") >= 1)
    metrics = endpoint.metrics()
    assert metrics.get("pglease_pool_up", database="gone", user="app") == 0
    assert metrics.get("pglease_pool_up", **APP) == 1
    assert metrics.get("pglease_pool_connect_failures_in_a_row", database="gone", user="app") >= 1


def test_requests_sent_again_and_cancelled(watched, postgres):
    broker, endpoint = watched({})
    conn = psycopg2.connect(broker.dsn())
    worker = threading.Thread(target=lambda: sleep_on(conn), daemon=True)
    worker.start()
    eventually(lambda: postgres.backends("app", state="active"), 20)
    conn.cancel()
    worker.join(30)
    moved(endpoint, "pglease_cancels_total")


def sleep_on(conn):
    with pytest.raises(psycopg2.Error):
        conn.cursor().execute("SELECT pg_sleep(600)")


def test_a_pool_lock_and_what_relieves_it(watched):
    broker, endpoint = watched({"default_pool_size": 1, "reserve_pool_size": 1,
                                "query_wait_timeout": 60})
    with direct.connect(broker) as outer, direct.connect(broker) as inner:
        outer.query("LEASE FOR 'outer' THREAD 'one'")
        # The same thread wants another: the reserve is lent to it.
        inner.query("LEASE FOR 'inner' THREAD 'one'")
        moved(endpoint, "pglease_pool_locks_total", grade="certain")
        moved(endpoint, "pglease_reserve_lent_total")
        with direct.connect(broker) as third:
            third.send(wire.query("LEASE FOR 'third' THREAD 'one'"))
            moved(endpoint, "pglease_rejections_total", cause="pool_lock")
            eventually(
                lambda: endpoint.metrics().get("pglease_pool_utilization_ratio", **APP) == 2)


def test_a_lock_that_lasts(watched):
    """Held in transactions by a process that waits, nothing in reserve: suspected, and shown."""
    broker, endpoint = watched({"default_pool_size": 1, "reserve_pool_size": 0,
                                "query_wait_timeout": 60})
    with hold(broker) as first:
        waiter = Waiting(broker)
        eventually(lambda: endpoint.metrics().get("pglease_active_pool_locks", grade="suspected")
                   == len({row["lock_id"] for row in broker.console("SHOW LOCKS")}) == 1, 20)
        first.rollback()
    waiter.join(30)
    eventually(lambda: endpoint.metrics().get(
        "pglease_active_pool_locks", grade="suspected") == 0)


# Form.

def test_both_formats_say_the_same(watched):
    broker, endpoint = watched({})
    with broker.wire(application_name='a "quoted\\one"\nof two lines'):
        one, other = endpoint.metrics(), endpoint.plain_metrics()
    assert set(one.samples) == set(other.samples)
    group = next(dict(labels)["group"] for labels in one["pglease_group_clients"])
    assert group == 'a "quoted\\one"\nof two lines'


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_has_nothing_to_say(watched):
    broker, endpoint = watched({})
    with hold(broker):
        text = endpoint.get("/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_how_many_series_there_are_does_not_depend_on_how_many_names_come(watched):
    """Groups beyond 100 share one name; a group of the configuration has always its own."""
    broker, endpoint = watched({"max_client_conn": 1000}, groups={"kept": "weight=2"})
    clients = [broker.wire(application_name=f"worker-{index:03}") for index in range(130)]
    for one in clients:
        one.query("SELECT 1")
    late = broker.wire(application_name="kept")
    late.query("SELECT 1")
    metrics = eventually(lambda: (found := endpoint.metrics()) and found.get(
        "pglease_group_clients", group="kept") == 1 and found, 20)
    groups = {dict(labels)["group"] for labels in metrics["pglease_group_clients"]}
    assert len(groups) == 102 and {"other", "kept", "worker-000"} <= groups
    assert metrics.get("pglease_group_clients", group="other") == 30
    assert metrics.histogram("pglease_group_hold_seconds", group="other")[1] >= 30
    for one in clients + [late]:
        one.close()


def test_pools_beyond_a_bound_are_one(watched, postgres):
    """A database behind "*" for each name that is asked for."""
    broker, endpoint = watched({"max_client_conn": 2000, "prewarm": 0, "max_server_connections": 5},
                               start=False)
    broker.databases = {"*": f"{broker.server()} dbname=app"}
    broker.write()
    broker.start()
    for index in range(69):
        with broker.wire(database=f"name{index:03}") as one:
            one.query("SELECT 1")
    metrics = endpoint.metrics()
    assert len(metrics["pglease_pool_up"]) == 65
    assert metrics.histogram("pglease_query_seconds", database="other", user="other")[1] == 5
    assert len(metrics["pgbouncer_pools_server_idle_connections"]) == 65
    assert len(metrics["pgbouncer_stats_queries_pooled_total"]) == 65
    assert sum(metrics["pgbouncer_stats_queries_pooled_total"].values()) >= 69


def test_pins_by_reason(watched):
    broker, endpoint = watched({"default_pool_size": 3, "query_wait_timeout": "200ms"})
    with broker.wire() as first, broker.wire() as second, broker.wire() as third:
        first.query("CREATE TEMP TABLE kept (x int)")
        second.query("SELECT pg_advisory_lock(1)")
        eventually(lambda: broker.pool()["pinned"] == "2", 10)
        assert third.query("SELECT pg_advisory_lock(2)")[0].code == "53300"
        metrics = endpoint.metrics()
        for reason in PINS:
            count = reason in ("temporary_objects", "advisory_locks")
            assert metrics.get("pglease_pool_pinned_leases", reason=reason, **APP) == count
            assert metrics.get("pglease_lease_pins_total", reason=reason) == count
        assert metrics.get("pglease_rejections_total", cause="pin_places") == 1
    eventually(lambda: endpoint.metrics().get(
        "pglease_pool_pinned_leases", reason="advisory_locks", **APP) == 0, 10)
    assert endpoint.metrics().get("pglease_lease_pins_total", reason="advisory_locks") == 1
    broker.errors_expected = True
