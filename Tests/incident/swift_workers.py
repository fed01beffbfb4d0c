# SPDX-License-Identifier: Apache-2.0
"""The Swift workers as processes: pglease-workers backfill, and pglease-workers pipelines with its children."""

import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def workers_binary():
    given = os.environ.get("PGLEASE_WORKERS_BIN")
    return given or str(ROOT / ".build/debug/pglease-workers")


class SwiftWorkers:
    """Both managers. The pipelines' processes are children of the second, each in a group of its own."""

    def __init__(self, address, broker, batch, log_path):
        self.log_path = log_path
        inherited = {key: value for key, value in os.environ.items()
                     if not key.startswith(("PG", "ROSETTA_", "DATABASE_URL"))}
        environment = inherited | {"DATABASE_URL": address, "PGLEASE_BROKER": broker}
        with open(log_path, "wb") as log:
            self.backfill = self._start(log, environment, "backfill", "--jobs", "30",
                                        "--batch-rows", str(batch))
            self.pipelines = self._start(log, environment, "pipelines")
        self.processes = (self.backfill, self.pipelines)

    @staticmethod
    def _start(log, environment, *words):
        return subprocess.Popen(
            [workers_binary(), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, env=environment)

    def ended(self):
        """The exit status of one that has ended, else None."""
        return next((one.returncode for one in self.processes if one.poll() is not None), None)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def interrupt(self, within=60):
        """SIGTERM, as a service manager ends them; True if both ended by themselves with status 0."""
        for one in self.processes:
            one.send_signal(signal.SIGTERM)
        try:
            return [one.wait(within) for one in self.processes] == [0, 0]
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def kill(self):
        """kill -9 for both and all their children."""
        for one in self.processes:
            for victim in (one.pid, *children(one.pid)):
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            one.wait()


def children(pid):
    """The processes that `pid` has started and that are still there."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks
                for child in (task / "children").read_text().split()]
    except OSError:
        return []
