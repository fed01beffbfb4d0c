# SPDX-License-Identifier: Apache-2.0
"""Where ping, stat, leases and top look for the broker, and with which password: as libpq has it."""

import os
import subprocess

import pytest

from harness import postgres as database
from harness.pooler import pglease_binary
from harness.terminal import Terminal

pytestmark = pytest.mark.pglease_only

TOOLS = ["stat", "leases", "top"]


def run(name, *words, **environment):
    """A tool with nothing in its environment but what is given."""
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("PG", "XDG_"))}
    return subprocess.run(
        [pglease_binary(), name, *map(str, words)], capture_output=True, text=True, timeout=30,
        env=kept | {key: str(value) for key, value in environment.items()})


@pytest.fixture
def guarded(make_broker):
    """A broker that asks its console's users for a password."""
    return make_broker({"auth_type": "scram-sha-256"}, tcp=True,
                       userlist={"app": "x", "admin": "opensesame", "watcher": "look"})


@pytest.mark.parametrize("name", ["ping", *TOOLS])
def test_pghost_and_pgport_lead_to_the_broker(transaction_broker, name):
    done = run(name, PGHOST=transaction_broker.socket_folder, PGPORT=transaction_broker.port)
    assert done.returncode == 0, done.stderr


def test_the_command_line_wins_over_the_configuration_and_that_over_pghost(
        transaction_broker, tmp_path):
    broker = transaction_broker
    good = {"PGHOST": broker.socket_folder, "PGPORT": broker.port}
    assert run("ping", "--host", tmp_path, **good).returncode == 2
    assert run("ping", "--set", f"unix_socket_dir={tmp_path}", **good).returncode == 2
    assert run("ping", PGLEASE_UNIX_SOCKET_DIR=tmp_path, **good).returncode == 2
    assert run("ping", "--config", broker.config_path, PGHOST=tmp_path).returncode == 0
    assert run("ping", "--host", broker.socket_folder, "--port", broker.port,
               PGHOST=tmp_path, PGPORT=1).returncode == 0
    assert run("ping", PGHOST=f"{tmp_path},{broker.socket_folder}",
               PGPORT=f"1,{broker.port}").returncode == 0


@pytest.mark.parametrize("name", ["ping", *TOOLS])
def test_a_pghost_of_postgresql_itself_is_passed_over(make_broker, postgres, tmp_path, name):
    """As in the environment of a broker that reaches its PostgreSQL by it."""
    broker = make_broker(start=False)
    folder = broker.folder / "pglease"
    folder.mkdir()
    broker.settings |= {"unix_socket_dir": str(folder), "listen_port": "6432"}
    broker.write()
    broker.start()
    done = run(name, PGHOST=postgres.host, PGPORT=postgres.port, PGLEASE_RUNTIME_DIR=folder)
    assert done.returncode == 0, done.stderr
    alone = run(name, PGHOST=postgres.host, PGPORT=postgres.port, PGLEASE_RUNTIME_DIR=tmp_path,
                XDG_RUNTIME_DIR=tmp_path)
    if alone.returncode == 0:
        pytest.skip("a broker of somebody else's runs in a usual place")
    assert alone.returncode == 2
    text = alone.stdout + alone.stderr
    for place in (f"{postgres.socket_path} (PGHOST): a PostgreSQL answers there",
                  f"{tmp_path}/.s.PGSQL.6432 (a usual place): No such file",
                  f"{tmp_path}/pglease/.s.PGSQL.6432", "/run/pglease/.s.PGSQL.6432",
                  "/tmp/.s.PGSQL.6432"):
        assert place in text, text


@pytest.mark.parametrize("name", TOOLS)
def test_a_plain_postgresql_is_said(postgres, name):
    done = run(name, "--host", postgres.host, "--port", postgres.port)
    assert done.returncode == 2 and done.stdout == ""
    assert "a PostgreSQL answers there, not a pglease broker" in done.stderr


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("host", ["folder", "127.0.0.1"])
def test_a_password_comes_from_where_libpq_looks(guarded, tmp_path, name, host):
    place = guarded.socket_folder if host == "folder" else host
    where = ["--host", place, "--port", guarded.port, "--user", "watcher"]
    # As root or the broker's own user the socket needs no password.
    needed = host != "folder"
    bare = run(name, *where, HOME=tmp_path)
    if needed:
        assert bare.returncode == 1 and bare.stdout == ""
        assert 'asks user "watcher" for a password' in bare.stderr
        assert "PGPASSWORD" in bare.stderr
        assert f"{place}:{guarded.port}:pglease:watcher:PASSWORD" in bare.stderr
        wrong = run(name, *where, PGPASSWORD="wrong")
        assert wrong.returncode == 1 and "password" in wrong.stderr
    assert run(name, *where, PGPASSWORD="look").returncode == 0
    passfile = tmp_path / "pass"
    passfile.write_text(f"{place}:{guarded.port}:pglease:watcher:look\n")
    passfile.chmod(0o600)
    assert run(name, *where, PGPASSFILE=passfile).returncode == 0
    assert run(name, *where[:4], PGUSER="watcher", PGPASSFILE=passfile).returncode == 0


def test_top_on_a_terminal_says_so_before_it_takes_the_screen(guarded, tmp_path):
    terminal = Terminal(tmp_path, columns=200)
    try:
        terminal.run("env", "-u", "PGPASSWORD", pglease_binary(), "top", "--host", "127.0.0.1",
                     "--port", guarded.port, "--user", "watcher")
        terminal.wait('asks user "watcher" for a password')
        assert terminal.state("alternate_on") == "0"
    finally:
        terminal.close()


@pytest.mark.parametrize("name", ["ping", *TOOLS])
def test_their_help_names_only_what_is_theirs(name):
    text = run(name, "--help").stdout
    assert "--database-url" not in text and "--embedded" not in text
    for word in ("--config", "--host", "PGHOST", "PGUSER"):
        assert word in text
    assert run(name, "--database-url", "postgresql://x/y").returncode == 3


@pytest.mark.parametrize("name", ["serve", "check-config"])
def test_those_that_need_a_database_take_one(name):
    text = run(name, "--help").stdout
    assert "--database-url" in text and "--embedded" in text


def test_nobody_there_names_every_place_that_was_searched(tmp_path):
    port = database.free_port()
    for name in ("ping", *TOOLS):
        done = run(name, "--set", f"listen_port={port}", XDG_RUNTIME_DIR=tmp_path)
        text = done.stdout + done.stderr
        assert done.returncode == 2
        for folder in ("/run/pglease", f"{tmp_path}/pglease", "/tmp"):
            assert f"{folder}/.s.PGSQL.{port} (a usual place): " in text, text
