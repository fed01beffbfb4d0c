# SPDX-License-Identifier: Apache-2.0
"""gunicorn and Celery as docs/recipes.md has them: four forked workers, and no connection is shared after the fork."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness import pooler
from harness.pooler import REPOSITORY
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

RECIPES = (REPOSITORY / "docs/recipes.md").read_text()


def recipe(title):
    """The program of a recipe, its file's name, and the command that runs it."""
    part = RECIPES.split(f"\n## {title}\n")[1].split("\n## ")[0]
    program, = re.findall(r"^```python\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    command, = re.findall(r"^```text\n(.*)\n```$", part, re.MULTILINE)
    return program, re.match(r"# (\S+\.py)\n", program)[1], shlex.split(command)


SEND = """
import sys, tasks
for line in sys.stdin:
    for number in range(*map(int, line.split())):
        tasks.count.delay(number)
"""


@pytest.fixture(scope="module")
def shared(postgres):
    one = pooler.make(postgres, {"default_pool_size": 20})
    one.start()
    yield one
    one.check()
    one.destroy()


@contextlib.contextmanager
def running(title, broker, folder, *words, stop=signal.SIGTERM):
    """The recipe's command, with its program beside it; stopped at the end, without a complaint."""
    program, name, command = recipe(title)
    (folder / name).write_text(
        program.replace("/run/pglease", str(broker.socket_folder)).replace("6432", str(broker.port)))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "CELERY"))}
    said = folder / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:], *words], cwd=folder,
            env=kept | {"PGUSER": "postgres", "PYTHONPATH": f"{REPOSITORY / 'clients/python/src'}:{folder}"},
            stdout=output, stderr=output)
    try:
        yield process
        process.send_signal(stop)
        assert process.wait(30) == 0, said.read_text()
        assert "Traceback" not in said.read_text(), said.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def sockets(process):
    """The inodes of a process's sockets."""
    found = set()
    for number in os.listdir(f"/proc/{process}/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{process}/fd/{number}")
            if target.startswith("socket:"):
                found.add(target)
    return found


def sessions(broker, program):
    """Sessions of the broker by process, of one application_name."""
    found = {}
    for row in broker.console("SHOW CLIENTS"):
        if row["application_name"] == program:
            found.setdefault(int(row["remote_pid"]), []).append(row)
    return found


def assert_nobody_shares(served, broker, program, parent):
    """served: pairs of worker and backend."""
    workers = {worker for worker, _ in served}
    backends = {}
    for worker, backend in served:
        backends.setdefault(backend, set()).add(worker)
    assert len(workers) == 4 and parent not in workers
    # What one has had lies parked with it: nobody waits, so none goes from one to another.
    assert all(len(each) == 1 for each in backends.values()), backends
    # Each has a session of its own, beside the one that the parent had before the fork.
    assert set(sessions(broker, program)) == workers | {parent}
    # The parent's copy of a socket is nobody else's, nor is a worker's: but for those that came from the server
    # program itself, or lead nowhere, which all have.
    each = [sockets(process) for process in (*workers, parent)]
    common = set.intersection(*each)
    for number, one in enumerate(each):
        for other in each[number + 1:]:
            assert one & other <= common


def test_gunicorn(shared, tmp_path):
    address = tmp_path / "http"

    def ask(number):
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        connection.sock.connect(str(address))
        with contextlib.closing(connection):
            connection.request("GET", f"/?{number}")
            answer = json.loads(connection.getresponse().read())
        assert answer["query"] == str(number)
        return answer["worker"], answer["backend"]

    with running("gunicorn", shared, tmp_path, "--bind", f"unix:{address}") as process:
        eventually(address.exists, 20)
        served = []
        with concurrent.futures.ThreadPoolExecutor(8) as executor:
            def all_have_served():
                served.extend(executor.map(ask, range(len(served), len(served) + 40)))
                return len({worker for worker, _ in served}) == 4

            eventually(all_have_served, 30)
        assert_nobody_shares(served, shared, "site", process.pid)
    eventually(lambda: sessions(shared, "site") == {})


def test_celery(shared, postgres, tmp_path):
    # Stopped by its cold shutdown: the warm one takes several seconds more with this kind of queue.
    postgres.sql("CREATE TABLE counted (worker int, backend int, number int)")
    (tmp_path / "queue").mkdir()
    try:
        with running("Celery", shared, tmp_path, "--without-gossip", "--without-mingle", "--loglevel",
                     "WARNING", stop=signal.SIGQUIT) as process:
            # As a client of the same queue, in a program of its own, sends them: more until all four have had some.
            sender = subprocess.Popen(
                [sys.executable, "-uc", SEND], cwd=tmp_path, stdin=subprocess.PIPE, text=True, env=os.environ | {
                    "PGUSER": "postgres", "PYTHONPATH": f"{REPOSITORY / 'clients/python/src'}:{tmp_path}"})
            sent = 0

            def all_have_worked():
                nonlocal sent
                sender.stdin.write(f"{sent} {sent + 20}\n")
                sender.stdin.flush()
                sent += 20
                eventually(lambda: postgres.sql("SELECT count(*) FROM counted") == [(sent,)], 60)
                return postgres.sql("SELECT count(DISTINCT worker) FROM counted") == [(4,)]

            eventually(all_have_worked, 60)
            sender.communicate(timeout=30)
            assert sender.returncode == 0
            eventually(lambda: set(sessions(shared, "tasks")).isdisjoint({sender.pid}))
            rows = postgres.sql("SELECT worker, backend, number FROM counted")
            assert sorted(number for _, _, number in rows) == list(range(sent))
            assert_nobody_shares([row[:2] for row in rows], shared, "tasks", process.pid)
        eventually(lambda: sessions(shared, "tasks") == {})
    finally:
        postgres.sql("DROP TABLE counted")
