# SPDX-License-Identifier: Apache-2.0
"""The Python workers as processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class PythonWorkers:
    """The workers' main process, in a session of its own with all its children."""

    def __init__(self, environment, log_path):
        self.log_path = log_path
        inherited = {key: value for key, value in os.environ.items()
                     if not key.startswith(("PG", "ROSETTA_", "DATABASE_URL"))}
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.main"], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, cwd=os.path.dirname(__file__),
                env=inherited | environment | {"PYTHONPATH": python_path(),
                                               "PYTHONDONTWRITEBYTECODE": "1"})

    def ended(self):
        """The exit status once it has ended, else None."""
        return self.process.poll()

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def interrupt(self, within=90):
        """Ctrl-C, as it is ended in production; True if it ended by itself."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(within)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def kill(self):
        """kill -9 for the process and all its children."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def python_path():
    """Where the workers and the client module are."""
    client = os.environ.get("PGLEASE_PYTHON_CLIENT", str(ROOT / "clients/python/src"))
    return os.pathsep.join((str(ROOT / "Tests/incident"), client))
