# SPDX-License-Identifier: Apache-2.0
"""One meaning of ready: pglease ping and /readyz say the same, whoever asks."""

import os
import pwd
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from harness import pooler, postgres as database, wire
from harness.faucet import Faucet
from harness.pooler import pglease_binary
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def faucet(postgres):
    one = Faucet(postgres.socket_path)
    yield one
    one.close()


@pytest.fixture
def http_port():
    return database.free_port()


@pytest.fixture
def broker(make_broker, faucet, http_port):
    one = make_broker({"metrics_listen": f"127.0.0.1:{http_port}", "server_login_retry": 1},
                      databases={"app": f"host=127.0.0.1 port={faucet.port} user=app dbname=app"},
                      tcp=True)
    one.errors_expected = True
    return one


def ping(broker, *words, host=None, port=None, **named):
    done = subprocess.run(
        [pglease_binary(), "ping", *words, "--host", str(host or broker.socket_folder), "--port",
         str(port or broker.port)], capture_output=True, text=True, timeout=30, **named)
    return done.returncode, done.stdout.strip()


def readyz(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


def both(broker, http_port):
    """The verdict of both, which must be one."""
    status, text = ping(broker)
    code, reason = readyz(http_port)
    assert (status == 0) == (code == 200), (text, reason)
    live, _ = ping(broker, "--live")
    assert live == 0
    return status, text


def test_ready_paused_and_ready_again(broker, http_port):
    assert both(broker, http_port) == (0, f"{broker.socket_path}: ready")
    for pause, resume in (("PAUSE", "RESUME"), ("PAUSE app", "RESUME app"), ("KILL", "RESUME")):
        broker.console(pause)
        status, text = both(broker, http_port)
        assert status == 1 and "not ready: paused: " in text and 'of user "admin"' in text
        broker.console(resume)
        assert both(broker, http_port)[0] == 0


def test_not_ready_while_postgresql_is_down(broker, http_port, faucet):
    faucet.refuse()
    with broker.wire() as one:
        one.send(wire.query("SELECT 1"))
        eventually(lambda: readyz(http_port)[0] == 503)
        status, text = both(broker, http_port)
        assert status == 1 and "every server is down" in text and "refused" in text
        status, text = ping(broker, "--live")
        assert status == 0 and "alive (not ready: every server is down" in text
        faucet.flow()
        one.until_ready()
    assert both(broker, http_port)[0] == 0


def test_over_tcp_a_stranger_learns_the_state_and_no_more(broker):
    broker.console("PAUSE")
    assert ping(broker, host="127.0.0.1") == (1, f"127.0.0.1:{broker.port}: not ready: paused")


def test_nobody_has_to_log_in(make_broker):
    broker = make_broker({"auth_type": "scram-sha-256", "max_client_conn": 1},
                         userlist={"app": "secret", "admin": "secret"})
    with wire.Wire(broker.socket_path).start("app", "app", "secret"):
        assert ping(broker)[0] == 0
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            copy = Path(shutil.copy(pglease_binary(), broker.folder / "pglease"))
            copy.chmod(0o755)
            done = subprocess.run(
                [*database.as_user(nobody), copy, "ping", "--host", broker.socket_folder, "--port",
                 str(broker.port)], capture_output=True, text=True, timeout=30)
            assert (done.returncode, done.stdout.strip()[-5:]) == (0, "ready"), done
    assert not broker.logged("client refused")


@pytest.mark.parametrize("words", [(), ("--live",)])
def test_a_plain_postgresql_is_no_broker(postgres, words):
    status, text = ping(None, *words, host=postgres.host, port=postgres.port)
    assert status == 2 and "a PostgreSQL answers there, not a pglease broker" in text


@pytest.mark.parametrize("words", [(), ("--live",)])
def test_nor_is_pgbouncer(postgres, tmp_path, words):
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("there is no pgbouncer here")
    one = pooler.Pgbouncer(postgres)
    try:
        one.launch()
        eventually(lambda: os.path.exists(one.socket_path))
        status, text = ping(one, *words)
        assert status == 2 and "no pglease broker" in text
    finally:
        one.destroy()


def test_nobody_there_names_the_place(tmp_path):
    status, text = ping(None, host=tmp_path, port=6432)
    assert status == 2
    assert f"{tmp_path}/.s.PGSQL.6432 (--host): No such file or directory" in text
    assert subprocess.run([pglease_binary(), "ping", "--no-such-option"],
                          capture_output=True).returncode == 3


def test_draining_is_not_ready(make_broker, http_port):
    broker = make_broker({"metrics_listen": f"127.0.0.1:{http_port}", "shutdown_grace": 60})
    with broker.wire() as one:
        one.query("BEGIN")
        broker.send_signal(15)
        eventually(lambda: readyz(http_port)[0] == 503)
        # The socket may be closed already, or still answer.
        status, text = ping(broker)
        assert status in (1, 2) and (status == 2 or "draining" in text)
        one.query("COMMIT")
    broker.wait()
