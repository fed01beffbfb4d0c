# SPDX-License-Identifier: Apache-2.0
"""scripts/demo as its user runs it, small: what it promises, and that nothing is left of it."""

import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from harness.pooler import REPOSITORY, pglease_binary
from harness.waiting import eventually

sys.path.insert(0, str(REPOSITORY / "demo"))

from screen import Live  # noqa: E402
from watch import Clock, Group, Job, Pipeline, Snapshot  # noqa: E402

pytestmark = pytest.mark.pglease_only


class Demo:
    """A running scripts/demo; its processes are known by a word in their environment."""

    def __init__(self, *arguments):
        workers = os.environ.get(
            "PGLEASE_WORKERS_BIN", str(REPOSITORY / ".build/debug/pglease-workers"))
        if not Path(workers).exists():
            pytest.skip("pglease-workers is not built")
        self.mark = f"DEMO_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        environment = os.environ | {
            "PGLEASE_BIN": pglease_binary(), "PGLEASE_WORKERS_BIN": workers, name: value}
        self.process = subprocess.Popen(
            [str(REPOSITORY / "scripts/demo"), *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True)

    def left(self):
        """The command lines of its processes that still run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_text().replace("\0", " ").strip())
            except OSError:
                continue
        return [line for line in found if line]

    def folders(self):
        """Where it keeps its things, by what its processes are told."""
        return set(re.findall(r"/tmp/pgle-demo[^/ ]+", " ".join(self.left())))

    def read_until(self, word):
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if word in line:
                return "".join(lines)
        raise AssertionError(f"no {word!r}:\n{''.join(lines)}")

    def end(self):
        rest = self.process.communicate(timeout=60)[0]
        return self.process.returncode, rest

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.communicate(timeout=60)


@pytest.fixture
def demo():
    started = []

    def start(*arguments):
        started.append(Demo(*arguments))
        return started[-1]
    yield start
    for one in started:
        one.close()


def test_chaos_ends_with_everything_done(demo):
    run = demo("--chaos", "--jobs", "8", "--rows", "2000", "--seconds", "2", "--deadline", "55")
    text = run.read_until("all pipelines run")
    folders = run.folders()
    status, rest = run.end()
    text += rest
    assert status == 0, text
    assert "WRONG" not in text
    for word in (r"jobs completed: +8 of 8", r"rows right: +8 of 8 tables, 16,000 rows",
                 r"pipelines in sync: +4 of 4", r"server connections: +at most \d+ of 10",
                 r"leases left: +0", r"exhaustion errors: +0", r"errors: +0",
                 r"chaos: +3 of 3", "everything as promised"):
        assert re.search(word, text), f"{word} in:\n{text}"
    assert "kill -9 of backfill" in text and "kill -9 of a pipeline" in text
    assert "PostgreSQL is restarted" in text and "PostgreSQL is back" in text
    # Lines only: no escape sequence, since this is no terminal.
    assert "\x1b" not in text
    assert len(folders) == 2
    assert run.left() == [] and not any(Path(one).exists() for one in folders)


def test_interrupted_it_leaves_nothing(demo):
    run = demo("--jobs", "8", "--rows", "20000", "--deadline", "55")
    text = run.read_until("all pipelines run")
    folders = run.folders()
    assert len(folders) == 2, text
    run.process.send_signal(signal.SIGINT)
    status, rest = run.end()
    assert status == 128 + signal.SIGINT, text + rest
    assert run.left() == [] and not any(Path(one).exists() for one in folders)


def test_killed_it_leaves_no_process(demo):
    run = demo("--jobs", "4", "--rows", "2000", "--deadline", "55")
    run.read_until("all pipelines run")
    folders = run.folders()
    run.process.kill()
    run.process.wait()
    try:
        eventually(lambda: not run.left(), 30, lambda: f"no process is left: {run.left()}")
    finally:
        for one in folders:
            subprocess.run(["rm", "-rf", one], check=True)


@pytest.mark.parametrize("width,height", [(80, 24), (80, 10), (120, 50), (40, 12)])
def test_the_table_fits_the_terminal(width, height):
    view = Live(Clock(), 10, "4 pipelines, 30 jobs")
    view.events = [("00:01", "x" * 200)] * 10
    view.seen = Snapshot(
        postgres_is_up=True, broker_is_up=True, connections=10, most=10, leases=10, waiting=1234,
        jobs=[Job(f"customers_{number:02}", status, 123456, 654321, 2, "")
              for number in range(10) for status in ("PENDING", "EXECUTING", "FAILED")],
        groups=[Group(f"pipeline-{name}", 20, 4, 300, 4, "8 writeBatch, 2 readBatch, progress")
                for name in ("orders", "payments", "customers", "stock")],
        pipelines=[Pipeline(name, "RUNNING", 12_345_678) for name in ("orders", "payments")])
    lines = view.lines(width, height)
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    assert [line for line in plain if len(line) > max(width, 40)] == []
    if (width, height) == (80, 24):
        assert len(lines) <= height
        assert any("10 of 10" in line for line in plain)
        # What failed comes first where not all jobs have room.
        assert "FAIL" in "".join(plain)
