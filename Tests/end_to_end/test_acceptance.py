# SPDX-License-Identifier: Apache-2.0
"""What the broker's first user tried by hand and must not lose again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import psycopg2
import pytest

from harness import wire
from harness.pooler import REPOSITORY, pglease_binary
from harness.waiting import eventually

from test_life_cycle import embedded  # noqa: F401  (a fixture)


def test_embedded_broker_ends_and_says_so_when_its_postgres_is_killed(embedded):  # noqa: F811
    broker = embedded.start()
    broker.errors_expected = True
    postmaster = min(embedded.servers())
    os.kill(postmaster, signal.SIGKILL)
    assert broker.wait(20) == 69
    assert "the private PostgreSQL ended with signal 9" in broker.log_path.read_text()


@pytest.mark.parametrize("command", ["serve", "check-config", "ping", "version", None])
def test_help_fits_80_columns(command):
    words = [pglease_binary(), "help"] + ([command] if command else [])
    text = subprocess.run(words, capture_output=True, text=True, check=True,
                          env=os.environ | {"COLUMNS": "80"}).stdout
    assert [line for line in text.split("\n") if len(line) > 80] == []


def told(connection, sql):
    with pytest.raises(psycopg2.Error) as caught:
        connection.cursor().execute(sql)
    return caught.value.pgcode, str(caught.value)


# psycopg2 asks with PQexec, which reads on to ReadyForQuery and forgets the error that a lost
# connection follows: without a ReadyForQuery behind it, the reason never reaches its user.

def test_psycopg2_sees_why_its_startup_options_are_refused(make_broker, connect):
    connection = connect(make_broker(), options="-c no_such_setting=1")
    code, text = told(connection, "SELECT 1")
    assert (code, "no_such_setting" in text) == ("42704", True), text


def test_psycopg2_sees_that_the_broker_shut_down_while_it_waited(make_broker, connect):
    broker = make_broker({"default_pool_size": 1, "shutdown_grace": 1})
    holder, waiter = connect(broker, autocommit=False), connect(broker)
    holder.cursor().execute("SELECT 1")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(told(waiter, "SELECT 1")))
    thread.start()
    admin = connect(broker, user="admin", dbname="pglease")

    def waits():
        cursor = admin.cursor()
        cursor.execute("SHOW WAITERS")
        return cursor.fetchall()

    eventually(waits, 10)
    admin.close()
    broker.send_signal(signal.SIGTERM)
    thread.join(20)
    assert seen and seen[0][0] == "57P01", seen


def test_psycopg2_sees_that_its_lease_was_revoked(make_broker, connect):
    broker = make_broker({"lease_timeout": "300ms"})
    connection = connect(broker, autocommit=False)
    code, text = told(connection, "SELECT pg_sleep(20)")
    assert (code, "lease_timeout" in text) == ("57P05", True), text


def test_a_socket_whose_folder_is_missing_is_status_73(make_broker):
    broker = make_broker({"unix_socket_dir": "/nonexistent/folder"}, start=False)
    done = subprocess.run(broker.command(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 73
    assert "another broker" not in done.stderr


def test_a_socket_that_is_in_use_is_status_73(make_broker):
    broker = make_broker()
    done = subprocess.run(broker.command(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 73
    assert "another process listens" in done.stderr


# pg_dump sets search_path and row_security once, before its transaction begins: in a transaction
# pool that is another lease's business by the time the transaction runs.

@pytest.fixture
def secured(postgres):
    postgres.sql("""
        CREATE TABLE secured (id int, owner text);
        INSERT INTO secured VALUES (1, 'app'), (2, 'other');
        ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON secured USING (owner = current_user);
        GRANT SELECT ON secured TO other""", dbname="app", user="app")
    yield "secured"
    postgres.sql("DROP TABLE secured", dbname="app", user="app")


def dump(tool, host, port, *words, user="app", options=""):
    # The schema is named: pg_dump looks names up after a RESET of search_path, which goes back to what
    # PGOPTIONS say, on a connection of its own as through the broker.
    done = subprocess.run(
        [tool("pg_dump"), "-h", str(host), "-p", str(port), "-U", user, "-t", "public.secured", *words,
         "app"], capture_output=True, text=True, timeout=60,
        env=os.environ | {"PGOPTIONS": options})
    return done.returncode, re.sub(r"restrict \w+", "restrict", done.stdout), done.stderr


def test_pg_dump_through_a_session_pool_is_that_of_a_direct_connection(
        session_broker, postgres, secured, tool):
    through = dump(tool, session_broker.socket_folder, session_broker.port)
    assert through == dump(tool, postgres.host, postgres.port)


def test_pg_dump_through_a_transaction_pool_with_its_settings_as_options(
        transaction_broker, postgres, secured, tool):
    options = "-c search_path= -c row_security=off"
    through = dump(tool, transaction_broker.socket_folder, transaction_broker.port,
                   options=options)
    assert through == dump(tool, postgres.host, postgres.port, options=options)
    code, text, error = dump(tool, transaction_broker.socket_folder, transaction_broker.port,
                             user="other", options=options)
    assert code == 1 and "row-level security" in error


def test_pg_dump_through_a_transaction_pool_leaves_no_row_out_silently(
        transaction_broker, secured, tool):
    code, text, error = dump(tool, transaction_broker.socket_folder, transaction_broker.port,
                             user="other")
    assert code == 1 and "row-level security" in error


# scripts/pglease-acceptance on somebody's deployment: one file that reads, and says what it leaves out.


@pytest.fixture
def acceptance(tmp_path):
    """A copy in a folder of its own, where there is no source tree."""
    program = shutil.copy(REPOSITORY / "scripts/pglease-acceptance", tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(broker, *words):
        done = subprocess.run(
            [sys.executable, "-I", program, "--host", str(broker.socket_folder), "--port",
             str(broker.port), "--user", "app", "--dbname", "app", *words],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout.splitlines()

    return run


def test_acceptance_on_a_deployment_reads_and_tells_what_it_leaves_out(
        make_broker, tmp_path, acceptance):
    broker = make_broker({"default_pool_size": 3}, groups={"pipeline-*": "max_leases=9"})
    with broker.wire(application_name="pipeline-1") as one:
        one.query("SELECT 1")
        code, lines = acceptance(broker, "--console-user", "admin", "--json", tmp_path / "figures.json")
    assert code == 0, lines
    assert lines[0] == "PASS  exhaustion recovery (SHOW EVENTS): exhausted 0"
    assert lines[1] == "LEFT OUT  exhaustion recovery (logs): no --log was given"
    assert lines[2].startswith("PASS  exhaustion recovery (9 readers at once)")
    assert "of 3" in lines[2] and "errors 0" in lines[2]
    assert lines[3].startswith("PASS  connections of each pipeline (SHOW GROUPS): pipelines 1")
    assert "connections of each pipeline (pg_stat_activity)" in lines[4]
    assert lines[5].startswith("LEFT OUT  jobs processed (queue_backfill_data): ")
    assert lines[6].endswith("left out")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [key for key in figures if "left out" in figures[key]]


def test_acceptance_where_nobody_answers_fails(make_broker, acceptance):
    code, lines = acceptance(make_broker(start=False))
    assert code == 1
    assert any(line.startswith("FAIL  exhaustion recovery (30 readers at once)") for line in lines)
    assert any("server connections, leases back" in line for line in lines)


def test_acceptance_finds_what_the_incident_was(make_broker, postgres, tmp_path, acceptance):
    """Exhaustion in events and logs, a pipeline with ten connections, a job that failed and one that stands."""
    broker = make_broker({"default_pool_size": 12, "query_wait_timeout": "0.1"})
    log = tmp_path / "worker.log"
    log.write_text("ERROR psycopg2.pool.PoolError: connection pool exhausted\n")
    postgres.sql("CREATE TABLE queue_backfill_data (status text, count_record bigint);"
                 "INSERT INTO queue_backfill_data VALUES ('COMPLETED', 10), ('FAILED', 0), ('PENDING', 0);"
                 "GRANT SELECT ON queue_backfill_data TO app", dbname="app")
    held = [broker.wire(application_name="pipeline-7") for _ in range(12)]
    try:
        for one in held:
            one.query("BEGIN; SELECT 1")
        with broker.wire() as late:
            assert wire.error_of(late.query("SELECT 1")).code == "53300"
        for one in held[10:]:
            one.query("COMMIT")
        code, lines = acceptance(broker, "--console-user", "admin", "--log", log, "--watch", "1")
    finally:
        for one in held:
            one.close()
        postgres.sql("DROP TABLE queue_backfill_data", dbname="app")
    assert code == 1
    failed = [line for line in lines if line.startswith("FAIL")]
    assert failed[0] == "FAIL  exhaustion recovery (SHOW EVENTS): exhausted 1"
    assert failed[1].endswith("worker.log): lines that say exhausted 1")
    assert "FAIL  connections of each pipeline (SHOW GROUPS): pipelines 1, most of one 10" in failed
    assert "FAIL  jobs processed (queue_backfill_data): completed 1, failed 1, pending 1" in failed
    assert "      open jobs stood still for 1 s" in lines
