# SPDX-License-Identifier: Apache-2.0
"""Who holds a lease and who waits for one: uid, process, program, arguments, thread, what it did."""

import os
import subprocess
import sys
import textwrap

import psycopg2
import pytest

from harness import direct, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

HOLDER = textwrap.dedent("""
    import sys, psycopg2
    conn = psycopg2.connect(sys.argv[1])
    conn.cursor().execute("SELECT 1")
    print("holds", flush=True)
    sys.stdin.readline()
""")


@pytest.fixture
def broker(make_broker):
    return make_broker({"default_pool_size": 2, "reserve_pool_size": 0}, tcp=True)


@pytest.fixture
def program(tmp_path):
    """Starts a Python program of its own that holds a lease until it is told to go on."""
    script = tmp_path / "leaky_worker.py"
    script.write_text(HOLDER)
    started = []

    def start(dsn, *words):
        one = subprocess.Popen([sys.executable, str(script), dsn, *words], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(one)
        assert one.stdout.readline() == "holds\n"
        return one

    yield start
    for one in started:
        one.kill()
        one.wait()
        one.stdin.close()
        one.stdout.close()


def only(rows):
    row, = rows
    return row


def known(broker, command, name="arguments"):
    """The one row, once the process was looked at."""
    return eventually(lambda: next(
        (row for row in broker.console(command) if row[name] is not None), None))


def test_a_lease_names_its_process(broker, program):
    one = program(broker.dsn(application_name="leaky"), "--batch", "7")
    row = known(broker, "SHOW LEASES")
    assert (row["client_uid"], row["client_pid"]) == (str(os.getuid()), str(one.pid))
    assert row["program"] == os.path.basename(sys.executable).split("\0")[0] \
        or row["program"].startswith("python")
    assert "leaky_worker.py" in row["arguments"] or row["arguments"].endswith("…")
    assert (row["application_name"], row["thread"], row["addr"]) == ("leaky", None, "unix")
    one.stdin.write("go on\n")
    one.stdin.flush()
    eventually(lambda: broker.console("SHOW LEASES") == [])


def test_a_waiter_names_its_process(broker, program):
    program(broker.dsn(), "1")
    program(broker.dsn(), "2")
    with broker.wire(application_name="waiter") as waiter:
        waiter.send(wire.query("LEASE FOR 'its turn' THREAD '77'"))
        eventually(lambda: broker.waiting() == 1)
        row = known(broker, "SHOW WAITERS")
        assert (row["client_uid"], row["client_pid"]) == (str(os.getuid()), str(os.getpid()))
        assert (row["purpose"], row["thread"], row["addr"]) == ("its turn", "77", "unix")
        assert row["program"] and "pytest" in row["arguments"]


def test_secrets_in_arguments_are_not_shown(broker, program):
    program(broker.dsn(password="hunter2"), "--password", "hunter3", "PGPASSWORD=hunter4",
            "postgresql://app:hunter5@db/app", "-c", "SELECT 'hunter6'")
    row = known(broker, "SHOW LEASES")
    assert "leaky_worker" in row["arguments"] and "***" in row["arguments"]
    assert "hunter" not in str(broker.console("SHOW LEASES"))


def test_over_tcp_the_address_is_known_and_the_process_is_not(broker):
    with wire.Wire(broker.tcp_address).start("app", "app") as one:
        one.query("BEGIN")
        row = only(broker.console("SHOW LEASES"))
        assert row["addr"] == "127.0.0.1:%d" % one.socket.getsockname()[1]
        assert [row[name] for name in ("client_uid", "client_pid", "program", "arguments",
                                       "thread")] == [None] * 5


def test_transactions_and_bytes_of_a_lease(broker):
    with broker.wire() as one, broker.wire() as two:
        direct.lease(one, "THREAD 'main'")
        for _ in range(3):
            one.query("SELECT repeat('x', 1000)")
        one.query("BEGIN")
        one.query("SELECT 1")
        row = only(broker.console("SHOW LEASES"))
        assert (row["transactions"], row["thread"], row["kind"]) == ("3", "main", "explicit")
        assert int(row["bytes"]) > 3000
        assert row["state"] == "idle in transaction" and int(row["idle_us"]) >= 0
        two.query("BEGIN")
        counts = {row["kind"]: row["transactions"] for row in broker.console("SHOW LEASES")}
        assert counts == {"explicit": "3", "transaction": "0"}
        one.query("COMMIT")
        direct.give_back(one)
        direct.lease(one)
        fresh = next(r for r in broker.console("SHOW LEASES") if r["kind"] == "explicit")
        assert fresh["transactions"] == "0" and int(fresh["bytes"]) < 1000


def test_a_session_lease_counts_all_its_transactions(make_broker):
    broker = make_broker({"pool_mode": "session"})
    with broker.wire() as one:
        for _ in range(4):
            one.query("SELECT 1")
        row = only(broker.console("SHOW LEASES"))
        assert (row["kind"], row["transactions"]) == ("session", "4")


def test_what_a_direct_lease_does_is_not_known(broker):
    with direct.connect(broker, application_name="fast") as one:
        end = one.lease("FOR 'speed' THREAD '9'")
        end.query("SELECT 1")
        row = known(broker, "SHOW LEASES")
        assert (row["kind"], row["transactions"], row["bytes"]) == ("direct", None, None)
        assert (row["thread"], row["purpose"], row["client_pid"]) == \
            ("9", "speed", str(os.getpid()))
        one.give_back()


def test_groups_show_their_longest_wait(broker):
    holders = [broker.wire(application_name="busy") for _ in range(2)]
    for one in holders:
        one.query("BEGIN")
    with broker.wire(application_name="patient") as waiter:
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting() == 1)

        def waits():
            return {row["group"]: int(row["maxwait_us"]) for row in broker.console("SHOW GROUPS")}
        first = waits()
        assert first["busy"] == 0 and first["patient"] > 0
        assert waits()["patient"] > first["patient"]
    for one in holders:
        one.close()


def test_stats_users_see_owners(broker):
    with broker.wire() as one:
        one.query("BEGIN")
        for command in ("LEASES", "WAITERS", "GROUPS", "LOCKS", "EVENTS"):
            assert broker.console(f"SHOW {command}", "watcher") is not None


def test_the_error_of_a_waiter_names_program_purpose_and_thread(make_broker, program):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0,
                          "query_wait_timeout": "0.3"})
    program(broker.dsn())
    with broker.wire(application_name="named") as one:
        direct.lease(one, "FOR 'pendingJobs' THREAD '31'")
        with pytest.raises(psycopg2.errors.TooManyConnections) as caught:
            psycopg2.connect(broker.dsn()).cursor().execute("SELECT 1")
    said = str(caught.value)
    for words in ('"python', 'thread "31"', '"named"', 'for "pendingJobs"', "Held by"):
        assert words in said, said


def test_names_of_strangers_do_not_steer_the_terminal_of_who_waits(make_broker):
    broker = make_broker({"default_pool_size": 1, "query_wait_timeout": "0.3"})
    with broker.wire(application_name="red\x1b[31m\x07\nHINT:  lies") as one:
        direct.lease(one, "FOR 'a\x1b]0;b' THREAD '\x1b[2J'")
        with broker.wire() as waiter:
            detail = wire.error_of(waiter.query("SELECT 1")).fields["D"]
    limit, holders = detail.split("\n")
    for words in ('"red?[31m? HINT:  lies"', 'for "a?]0;b"', 'thread "?[2J"'):
        assert words in holders
    assert limit.isprintable() and holders.isprintable()


def shown_by_postgres(postgres, broker):
    """What pg_stat_activity calls the connections that are leased."""
    pids = [row["server_pid"] for row in broker.console("SHOW LEASES")]
    rows = postgres.sql("SELECT application_name FROM pg_stat_activity WHERE pid = ANY(%s::int[])",
                        ([int(pid) for pid in pids],))
    return [row[0] for row in rows]


def own_name():
    """What the kernel calls this process: the name of a client that gave none."""
    with open(f"/proc/{os.getpid()}/comm", encoding="ascii") as comm:
        return comm.read().strip()


@pytest.mark.parametrize("kind", ["relay", "explicit", "direct"])
@pytest.mark.parametrize("name", ["worker 7", None])
def test_pg_stat_activity_names_the_owner(broker, postgres, kind, name):
    """Twice, and after somebody else: the profile is known then, and another one is in force."""
    parameters = {"application_name": name} if name else {}
    expected = name or own_name()
    with direct.connect(broker, **parameters) as one, broker.wire(application_name="other") as two:
        for _ in range(3):
            two.query("SELECT 1")
            if kind == "relay":
                one.query("BEGIN")
                one.query("SELECT 1")
            elif kind == "explicit":
                direct.lease(one)
            else:
                assert one.lease().value("SHOW application_name") == expected
            assert shown_by_postgres(postgres, broker) == [expected]
            if kind == "relay":
                one.query("COMMIT")
            elif kind == "explicit":
                direct.give_back(one)
            else:
                one.give_back()
        assert one.value("SHOW application_name") == expected
        assert one.parameters["application_name"] == expected


def test_the_name_is_the_default_that_reset_goes_back_to(broker):
    with broker.wire() as one:
        one.query("SET application_name = 'for a while'")
        assert one.value("SHOW application_name") == "for a while"
        one.query("RESET application_name")
        assert one.value("SHOW application_name") == own_name()
        one.query("SET application_name = ''")
        assert one.value("SHOW application_name") == ""
        one.query("RESET ALL")
        assert one.value("SHOW application_name") == own_name()


def test_an_empty_name_is_a_name(broker):
    with broker.wire(application_name="") as one:
        assert one.value("SHOW application_name") == ""


def test_the_databases_own_name_stays(make_broker):
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server(dbname="app", application_name="of_the_database")}
    broker.write()
    broker.start()
    with broker.wire() as one:
        assert one.value("SHOW application_name") == "of_the_database"


def test_in_a_session_pool_who_gives_no_name_has_none(make_broker, postgres):
    """As on a connection of its own."""
    broker = make_broker({"pool_mode": "session"})
    with broker.wire() as one, broker.wire(application_name="named") as two:
        one.query("SELECT 1")
        two.query("SELECT 1")
        assert sorted(shown_by_postgres(postgres, broker)) == ["", "named"]


def test_a_direct_lease_leaves_its_profile_in_force_and_nothing_else(broker, postgres):
    """The next one of the same process finds it there, and pays no round trip for it."""
    def idle():
        return postgres.sql("SELECT application_name FROM pg_stat_activity "
                            "WHERE datname = 'app' AND pid = %s", (one.granted.server_pid,))

    with direct.connect(broker, application_name="steady",
                        options="-c statement_timeout=31s") as one:
        for round in range(3):
            end = one.lease()
            assert end.value("SHOW statement_timeout") == "31s"
            assert end.value("SHOW work_mem") == "4MB"
            end.query("SET work_mem = '9MB'")
            one.give_back()
            eventually(lambda: broker.console("SHOW SERVERS")[0]["state"] == "idle")
            # The first time the server has yet to accept the profile.
            assert round == 0 or idle() == [("steady",)]
    eventually(lambda: not broker.console("SHOW LEASES"))
    with broker.wire() as other:
        assert other.value("SHOW statement_timeout") == "0"
