# SPDX-License-Identifier: Apache-2.0
"""Passwords for the server that are read when they are needed: password_command, password_file, password_ttl."""

import os
import stat

import pytest

from harness import wire
from harness.postgres import Postgres
from harness.waiting import Stopwatch, eventually

pytestmark = pytest.mark.pglease_only


@pytest.fixture(scope="module")
def server():
    one = Postgres(hba=["host all rotating,other 127.0.0.1/32 scram-sha-256"])
    one.sql("CREATE ROLE rotating LOGIN PASSWORD 'first'")
    one.sql("ALTER ROLE other PASSWORD 'first'")
    yield one
    one.destroy()


@pytest.fixture
def rotate(server, tmp_path):
    """Gives the role a new password, and says so in the file (or not)."""
    path = tmp_path / "password"

    def to(password, on_server=True, in_file=True):
        if on_server:
            server.sql(f"ALTER ROLE rotating PASSWORD '{password}'")
        if in_file:
            fresh = tmp_path / "fresh"
            fresh.write_text(password + "\n")
            fresh.rename(path)

    to.path = path
    to("first")
    return to


def line(server, words="", user="rotating"):
    return f"host=127.0.0.1 port={server.port} dbname=app user={user} {words}"


def log_in(broker, database="app"):
    """On a new connection: the role that answers."""
    broker.console(f"RECONNECT {database}")
    with broker.wire(database=database) as one:
        return one.value("SELECT current_user")


def refused(broker, database="app"):
    broker.console(f"RECONNECT {database}")
    try:
        with broker.wire(database=database) as one:
            return wire.error_of(one.query("SELECT 1"))
    except wire.Refused as refusal:
        # The first login of a pool that nobody can use is answered so.
        return refusal.error


def script(folder, text, name="token"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_password_that_rotates_is_read_again(make_broker, server, rotate):
    """It is good for an hour, and was changed meanwhile: the server refuses it once, and nobody notices."""
    broker = make_broker(databases={"app": line(server, f"password_file={rotate.path}")},
                         settings={"password_ttl": "1h"})
    assert log_in(broker) == "rotating"
    rotate("second horse")
    assert log_in(broker) == "rotating"
    assert server.log().count('password authentication failed for user "rotating"') == 1
    for password in ("first", "second horse"):
        assert password not in broker.log()


def test_one_that_is_wrong_twice_is_an_error_and_the_next_one_is_found(make_broker, server, rotate):
    broker = make_broker(databases={"app": line(server, f"password_file={rotate.path}")},
                         settings={"query_wait_timeout": 3, "password_ttl": "1h"})
    assert log_in(broker) == "rotating"
    rotate("third horse", in_file=False)
    before = server.log().count("password authentication failed")
    assert refused(broker).code == "28P01"
    # What was read again is the same: the server is not asked a second time.
    assert server.log().count("password authentication failed") == before + 1
    rotate("third horse")
    eventually(lambda: log_in(broker) == "rotating" if refused_no_more(broker) else False)


def refused_no_more(broker):
    with broker.wire() as one:
        return one.query("SELECT 1")[0].kind == "T"


def test_a_command_is_told_for_whom_and_asked_when_the_time_is_over(
        make_broker, server, rotate, tmp_path):
    asked = tmp_path / "asked"
    token = script(tmp_path, f'echo "$PGUSER $PGHOST $PGPORT $PGDATABASE" >> {asked}\n'
                             f"cat {rotate.path}")
    broker = make_broker({"password_command": str(token), "password_ttl": "1h"},
                         databases={"app": line(server), "each": line(server, "password_ttl=0")})
    for _ in range(3):
        assert log_in(broker) == "rotating"
    assert asked.read_text().splitlines() == [f"rotating 127.0.0.1 {server.port} app"]
    for _ in range(3):
        assert log_in(broker, "each") == "rotating"
    assert len(asked.read_text().splitlines()) == 4


def test_the_roles_own_line_comes_before_the_databases_and_that_before_the_general_one(
        make_broker, server, rotate, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    broker = make_broker(
        {"password_file": str(wrong), "prewarm": 0}, users={"rotating": f"password_file={rotate.path}"},
        databases={"app": line(server, f"password_file={wrong}"),
                   "theirs": line(server, f"password_file={rotate.path}", user="other"),
                   "said": line(server, "password=first", user="other"),
                   "general": line(server, user="other")})
    assert log_in(broker) == "rotating"
    assert log_in(broker, "theirs") == log_in(broker, "said") == "other"
    assert refused(broker, "general").code == "28P01"


@pytest.mark.parametrize("text, reason", [
    ("echo hidden horse; exit 3", "ended with status 3"),
    ("kill -9 $$", "was ended by signal 9"),
    ("true", "gave an empty line"),
    ("yes", "printed more than 65536 bytes"),
    ("printf 'a\\0b\\n'", "gave a NUL byte"),
])
def test_a_command_that_fails_says_how(make_broker, server, text, reason):
    broker = make_broker({
        "query_wait_timeout": 1, "prewarm": 0,
        "password_command": f"echo 'no token today, password=hidden' >&2; {text}"},
        databases={"app": line(server)})
    error = refused(broker)
    assert error.code == "28P01" and f"password_command {reason}" in error.fields["M"], error
    assert "no token today" not in str(error.fields)
    assert broker.logged("gave no password", "no token today")
    assert "hidden" not in broker.log()


def test_a_file_that_is_not_there_is_named(make_broker, server, tmp_path):
    broker = make_broker({"query_wait_timeout": 1, "prewarm": 0},
                         databases={"app": line(server, f"password_file={tmp_path}/none")})
    error = refused(broker)
    assert error.code == "28P01" and f"password_file {tmp_path}/none: No such file" in \
        error.fields["M"]


def test_a_command_that_hangs_holds_up_nobody_else(make_broker, server, tmp_path):
    """The loop goes on, and what the command has started ends with it."""
    pids = tmp_path / "pids"
    token = script(tmp_path, f"echo $$ >> {pids}\nsleep 1000 & echo $! >> {pids}\nwait")
    broker = make_broker({"query_wait_timeout": 2, "prewarm": 0}, databases={
        "app": line(server, f"password_command={token}"),
        "second": f"host={server.host} port={server.port} dbname=second user=app"})
    with broker.wire(database="second") as one, broker.wire() as stuck:
        stuck.send(wire.query("SELECT 1"))
        eventually(pids.exists)
        watch = Stopwatch()
        for _ in range(50):
            one.value("SELECT 1")
        assert watch.seconds < 2
        assert wire.error_of(stuck.until_ready()).code in ("28P01", "53300", "08001")
    started = [int(pid) for pid in pids.read_text().split()]
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started), 15)


def test_one_password_from_one_place(make_broker, run_program):
    broker = make_broker(start=False, databases={
        "app": "host=127.0.0.1 password=x password_file=/run/x",
        "two": "host=127.0.0.1 password_command=true password_file=/run/x"})
    done = run_program(broker.command()[0], "check-config", "--config", broker.config_path,
                       check=False)
    assert done.returncode == 78
    assert "password and password_file are given together" in done.stderr + done.stdout
    assert "password_command and password_file are given together" in done.stderr + done.stdout
