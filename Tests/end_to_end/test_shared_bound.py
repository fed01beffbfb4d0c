# SPDX-License-Identifier: Apache-2.0
"""One bound over many brokers: `shared_bound`, `pglease share`, SHOW SHARES, and what they do when something fails."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import psycopg2
import pytest

from harness import postgres as database
from harness.pooler import pglease_binary
from harness.waiting import eventually, pause

pytestmark = pytest.mark.pglease_only

TOTAL = 12
SPARE = 2


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL of its own: its connections are counted."""
    server = database.Postgres(
        {"max_connections": 100}, hba=["host all asker,rotating 127.0.0.1/32 scram-sha-256"])
    server.sql("CREATE ROLE asker LOGIN PASSWORD 'asks' CONNECTION LIMIT 2")
    server.sql("CREATE ROLE rotating LOGIN PASSWORD 'first'")
    yield server
    server.destroy()


def share(server, *words, user="postgres", dbname="app", status=0):
    """`pglease share …` there; what it says."""
    done = subprocess.run(
        [pglease_binary(), "share", *words], capture_output=True, text=True, timeout=60,
        env=os.environ | {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": user,
                          "PGDATABASE": dbname})
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest.fixture
def bound(server):
    """The schema as it is made, but that a second is what five are else, and a bound in it."""
    server.sql("DROP SCHEMA IF EXISTS pglease CASCADE", dbname="app")
    script = share(server, "init", "--role", "app", "--print")
    assert script.count("5000") == 2
    server.sql(script.replace("5000", "1000"), dbname="app")
    share(server, "set", "orders", str(TOTAL))
    return "orders"


@pytest.fixture
def make_sharer(make_broker, server):
    def make(host=None, user="app", userlist=None, words="", **settings):
        settings = {"shared_bound": "orders", "default_pool_size": "10", **settings}
        line = f"host={host or server.host} port={server.port} dbname=app user={user} {words}"
        return make_broker(settings, on=server, databases={"app": line}, userlist=userlist)
    return make


class Count(threading.Thread):
    """Looks at pg_stat_activity all the time: how many connections there are, with those that ask for a share."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.is_over, self.most, self.looks, self.asked = server, threading.Event(), 0, 0, 0
        self.start()

    def run(self):
        while not self.is_over.is_set():
            try:
                with self.server.connect("app") as one, one.cursor() as cursor:
                    while not self.is_over.is_set():
                        cursor.execute("""SELECT count(*), count(*) FILTER (WHERE usename = 'asker')
                            FROM pg_stat_activity WHERE usename IN ('app', 'asker', 'rotating')""")
                        all_of_them, asking = cursor.fetchone()
                        self.most, self.asked = max(self.most, all_of_them), max(self.asked, asking)
                        one.commit()
                        self.looks += 1
                        pause(0.02)
            except psycopg2.Error:
                pause(0.05)

    def stop(self):
        self.is_over.set()
        self.join()
        return self.most


class Flood:
    """Clients of one broker that run short transactions all the time, and come back after errors."""

    def __init__(self, broker, clients=8):
        self.broker, self.is_over, self.done = broker, threading.Event(), 0
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for one in self.threads:
            one.start()

    def run(self):
        while not self.is_over.is_set():
            try:
                one = psycopg2.connect(self.broker.dsn())
                one.autocommit = True
                cursor = one.cursor()
                while not self.is_over.is_set():
                    cursor.execute("SELECT pg_sleep(0.01)")
                    self.done += 1
                one.close()
            except psycopg2.Error:
                pause(0.05)

    def stop(self):
        self.is_over.set()
        for one in self.threads:
            one.join()


def row(broker):
    rows = broker.console("SHOW SHARES")
    assert len(rows) == 1
    return rows[0]


def used(broker):
    return int(row(broker)["used"] or 0)


def test_what_one_host_does_not_use_others_have_and_never_more_than_the_total(
        server, bound, make_sharer):
    first, second = make_sharer(), make_sharer()
    count = Count(server)
    floods = [Flood(first)]
    eventually(lambda: used(first) == 8, 20, lambda: row(first))
    floods.append(Flood(second))
    eventually(lambda: used(first) == used(second) == 5, 30, lambda: (row(first), row(second)))
    third = make_sharer()
    floods.append(Flood(third))
    eventually(lambda: sorted(used(one) for one in (first, second, third)) == [3, 3, 4], 30,
               lambda: [row(one) for one in (first, second, third)])
    shown = share(server, "show")
    assert f"orders: {TOTAL - SPARE} of {TOTAL} connections given to 3 hosts" in shown

    # One goes: what it had is there at once, and not when its row would have run out.
    floods.pop().stop()
    third.send_signal(signal.SIGTERM)
    assert third.wait() == 0
    eventually(lambda: used(first) + used(second) == TOTAL - SPARE, 20,
               lambda: (row(first), row(second)))

    # A larger total is in force without anybody being told.
    share(server, "set", "orders", str(TOTAL + 4))
    eventually(lambda: used(first) + used(second) == TOTAL + 2, 20, lambda: (row(first), row(second)))
    for one in floods:
        one.stop()
    most = count.stop()
    assert count.looks > 50
    assert most <= TOTAL + 4, most


def test_a_role_of_its_own_asks_and_postgresql_bounds_it(server, bound, make_sharer):
    share(server, "init", "--role", "asker")
    users = {"app": "", "other": "", "admin": "", "asker": "asks"}
    brokers = [make_sharer(host="127.0.0.1", userlist=users, shared_bound_user="asker") for _ in range(3)]
    for one in brokers:
        one.errors_expected = True
    count, floods = Count(server), [Flood(one) for one in brokers]
    eventually(lambda: all(used(one) >= 2 for one in brokers) and sum(map(used, brokers)) == TOTAL - SPARE, 30,
               lambda: [row(one) for one in brokers])

    # One is killed, and another takes its place. Its row stays for some time: the new one lives on what others give back.
    floods.pop().stop()
    brokers[2].kill()
    brokers[2].start()
    floods.append(Flood(brokers[2]))
    eventually(lambda: floods[2].done and used(brokers[2]) >= 1, 30, lambda: row(brokers[2]))
    for one in floods:
        one.stop()
    assert count.stop() <= TOTAL and count.asked <= SPARE

    # Somebody else takes both of its places: connections that are open serve on, and it is said why none is opened.
    others = [psycopg2.connect(host="127.0.0.1", port=server.port, user="asker", password="asks", dbname="app")
              for _ in range(SPARE)]
    eventually(lambda: "no room to ask" in (row(brokers[0])["error"] or ""), 30, lambda: row(brokers[0]))
    assert "too many connections for role" in row(brokers[0])["error"]
    assert "or see in pg_stat_activity who has them" in brokers[0].log()
    with psycopg2.connect(brokers[0].dsn()) as one, one.cursor() as cursor:
        cursor.execute("SELECT 1")
    for one in others:
        one.close()
    eventually(lambda: row(brokers[0])["error"] is None, 30, lambda: row(brokers[0]))


def test_a_password_that_is_read_asks_too(server, bound, make_sharer, tmp_path):
    share(server, "init", "--role", "rotating")
    path = tmp_path / "password"
    path.write_text("first\n")
    broker = make_sharer(host="127.0.0.1", user="rotating", words=f"password_file={path}", prewarm="0")
    broker.errors_expected = True
    with psycopg2.connect(broker.dsn()) as one, one.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("rotating",)
    server.sql("ALTER ROLE rotating PASSWORD 'second'")
    path.write_text("second\n")
    # The old one is refused once, and read anew.
    questions = int(row(broker)["questions"])
    eventually(lambda: int(row(broker)["questions"]) >= questions + 2 and row(broker)["state"] == "open", 30,
               lambda: row(broker))
    server.sql("ALTER ROLE rotating PASSWORD 'first'")


def test_the_fence_below_the_share(server, bound, make_sharer):
    broker = make_sharer(query_wait_timeout="30")
    broker.errors_expected = True
    server.sql("ALTER ROLE app CONNECTION LIMIT 4")
    try:
        flood = Flood(broker)
        eventually(lambda: "too many connections for role" in broker.log(), 20)
        done = flood.done
        questions = int(row(broker)["questions"])
        eventually(lambda: flood.done > done + 20 and int(row(broker)["questions"]) > questions + 1
                   and row(broker)["state"] == "open", 20, lambda: row(broker))
        events = broker.console("SHOW EVENTS")
        assert any("too many connections for role" in one["message"] for one in events)
        # It is PostgreSQL that has no room, and not the table that cannot be asked.
        assert "share_lost" not in {one["kind"] for one in events}
    finally:
        server.sql("ALTER ROLE app CONNECTION LIMIT -1")
    eventually(lambda: used(broker) == 8, 20, lambda: row(broker))
    flood.stop()


def test_postgresql_is_started_anew_under_it(server, bound, make_sharer):
    brokers = [make_sharer() for _ in range(2)]
    for one in brokers:
        one.errors_expected = True
    floods = [Flood(one) for one in brokers]
    eventually(lambda: [used(one) for one in brokers] == [5, 5], 30, lambda: [row(one) for one in brokers])
    count = Count(server)
    server.restart()
    done = [one.done for one in floods]
    eventually(lambda: all(now.done > before for now, before in zip(floods, done)), 30)
    eventually(lambda: [used(one) for one in brokers] == [5, 5], 30, lambda: [row(one) for one in brokers])
    for one in floods:
        one.stop()
    assert count.stop() <= TOTAL


def test_without_the_table_nothing_is_opened_and_it_is_said_why(server, make_sharer):
    server.sql("DROP SCHEMA IF EXISTS pglease CASCADE", dbname="app")
    broker = make_sharer(query_wait_timeout="1", prewarm="0")
    broker.errors_expected = True
    with psycopg2.connect(broker.dsn()) as one, one.cursor() as cursor:
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute("SELECT 1")
    assert 'shared_bound "orders" cannot be asked for' in refused.value.diag.message_primary
    assert "pglease share init" in refused.value.diag.message_hint
    assert row(broker)["state"] == "failing" and "pglease" in row(broker)["error"]
    assert broker.logged("the table of a shared bound cannot be asked")
    kinds = [event["kind"] for event in broker.console("SHOW EVENTS")]
    assert "share_lost" in kinds
    assert server.backends(user="app", state="idle") == []

    # The schema, but not the right to ask.
    share(server, "init")
    share(server, "set", "orders", str(TOTAL))
    eventually(lambda: "permission denied" in (row(broker)["error"] or ""), 30, lambda: row(broker))
    share(server, "init", "--role", "app")
    with psycopg2.connect(broker.dsn()) as one, one.cursor() as cursor:
        def works():
            try:
                cursor.execute("SELECT 1")
                return True
            except psycopg2.Error:
                one.rollback()
                return False
        eventually(works, 30, lambda: row(broker))
    assert row(broker)["state"] == "open"


def test_a_pools_reserve_has_places_of_the_share_too(server, bound, make_sharer):
    broker = make_sharer(default_pool_size="1", reserve_pool_size="2", reserve_pool_timeout="0.2")
    ones = [psycopg2.connect(broker.dsn()) for _ in range(3)]
    for one in ones:
        one.cursor().execute("SELECT 1")
    assert used(broker) == 3
    for one in ones:
        one.close()


def test_a_bound_that_nobody_has_set(server, bound, make_sharer):
    broker = make_sharer(shared_bound="unknown", query_wait_timeout="1", prewarm="0")
    broker.errors_expected = True
    with psycopg2.connect(broker.dsn()) as one, pytest.raises(psycopg2.Error):
        one.cursor().execute("SELECT 1")
    assert "pglease share set" in broker.log() and 'no shared bound "unknown"' in row(broker)["error"]


def test_the_command_line(server):
    server.sql("DROP SCHEMA IF EXISTS pglease CASCADE", dbname="app")
    assert "HINT: pglease share init" in share(server, "show", status=1)
    script = share(server, "init", "--role", 'a "role"', "--print")
    assert 'grant usage on schema pglease to "a ""role""";' in script
    assert server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'pglease'", dbname="app") == [(0,)]
    assert "HINT" in share(server, "init", user="app", dbname="postgres", status=1)
    share(server, "init")
    share(server, "init", "--role", "app", "--role", "asker")
    assert "no bound is set" in share(server, "show", status=1)
    assert "10 connections for all hosts together, 2 of them to ask with" in share(server, "set", "b", "10")
    assert "1 of them" in share(server, "set", "b", "20", "--spare", "1")
    assert "1 of them" in share(server, "set", "b", "30")
    # No total leaves nothing to share out.
    share(server, "set", "d", "20", "--spare", "15")
    assert "4 of them" in share(server, "set", "d", "5")
    shown = share(server, "show", "b")
    assert "b: 0 of 30 connections given to 0 hosts" in shown and "may ask: app, asker (CONNECTION LIMIT 2)" in shown
    assert 'there is no bound "c"' in share(server, "show", "c", status=1)
    for words in (("set", "b", "0"), ("set", "b", "5", "--spare", "5"), ("set", "", "5")):
        share(server, *words, status=64)
    assert 'database "nowhere" does not exist' in share(server, "show", dbname="nowhere", status=69)


EXAMPLE = Path(__file__).resolve().parents[2] / "config/kubernetes-shared-bound.yaml"


def test_the_kubernetes_example(server, tmp_path):
    """Its variables are settings, its secrets lead to the table, and its grace period is long enough."""
    text = EXAMPLE.read_text()
    variables = dict(re.findall(r'{ name: (PGLEASE_\w+), value: "?([^" }]+)"? }', text))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    url = f"postgresql://app:change-me@127.0.0.1:{server.port}/app"
    (secrets / "url").write_text(url + "\n")
    (secrets / "users").write_text(re.search(r'^    ("pglease_ask" .*)$', text, re.M).group(1) + "\n")
    variables = {key: value.replace("/secrets/database", str(secrets)) for key, value in variables.items()}
    done = subprocess.run([pglease_binary(), "check-config"], capture_output=True, text=True, timeout=30,
                          env={"PATH": os.environ["PATH"], **variables})
    assert done.returncode == 0, done.stdout + done.stderr
    seconds = {key: int(value.removesuffix("s")) for key, value in variables.items() if value.endswith("s")
               and value[:-1].isdigit()}
    grace = int(re.search(r"^      terminationGracePeriodSeconds: (\d+)$", text, re.M).group(1))
    assert grace > seconds["PGLEASE_DRAIN_IDLE_CLIENTS"] + seconds["PGLEASE_SHUTDOWN_GRACE"] + 3

    # What the DBA and the Job run.
    server.sql("DROP SCHEMA IF EXISTS pglease CASCADE", dbname="app")
    for statement in re.findall(r"^#   ((?:CREATE|GRANT) .*;)$", text, re.M):
        server.sql(statement.replace("…", "change-me-too"), dbname="app")
    commands = re.findall(r"^              pglease (share .*)$", text, re.M)
    assert len(commands) == 3
    shown = [share(server, *command.split()[1:]) for command in commands][-1]
    assert "workers: 0 of 200" in shown and "pglease_ask (CONNECTION LIMIT 10)" in shown
