# SPDX-License-Identifier: Apache-2.0
"""Two PostgreSQL servers of which one follows the other."""

import os
import signal
import subprocess
from pathlib import Path

from .postgres import Postgres, as_user
from .waiting import eventually

REPLICATING = {
    "wal_level": "replica", "max_wal_senders": 5, "hot_standby": "on", "wal_keep_size": "256MB",
    "synchronous_commit": "on", "max_connections": 100, "wal_receiver_timeout": "5s",
    "wal_log_hints": "on",
}
RULES = ["local replication all trust", "host replication all 127.0.0.1/32 trust"]


class Replica(Postgres):
    """A server made by pg_basebackup from another one, which it follows."""

    def __init__(self, primary):
        self.primary = primary
        super().__init__()

    def _initialise(self, settings, hba, tls):
        subprocess.run(
            as_user(self.account) + [
                str(self.bin / "pg_basebackup"), "-D", str(self.data), "-h", self.primary.host,
                "-p", str(self.primary.port), "-U", "postgres", "-X", "stream", "-c", "fast"],
            check=True, capture_output=True, cwd="/tmp")
        self.follow(self.primary)

    def _populate(self):
        """All that the primary has is here already."""


class Server(Postgres):
    """One that others may follow."""

    def __init__(self, settings=None, port=None):
        super().__init__({**REPLICATING, **(settings or {})}, RULES, port=port)


def pair(synchronous=False):
    """A primary and its standby. `synchronous`: a COMMIT is answered when the standby has it."""
    primary = Server()
    standby = Replica(primary)
    if synchronous:
        primary.set("synchronous_standby_names", "*")
        eventually(lambda: primary.sql(
            "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"), 30, "a standby")
    return primary, standby


def processes(server):
    """The postmaster and all its children."""
    first = server.process.pid
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


class Frozen:
    """A server that answers nothing although its sockets are open."""

    def __init__(self, server):
        self.server, self.pids = server, []

    def __enter__(self):
        # The postmaster first: it starts no others then.
        os.kill(self.server.process.pid, signal.SIGSTOP)
        self.pids = processes(self.server)
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass


__all__ = ["Frozen", "Replica", "Server", "pair", "processes"]
