# SPDX-License-Identifier: Apache-2.0
"""The broker and the workers: processes of ours, each with a log."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from cluster import ends_with_us
from harness.postgres import folder, free_port

# What a driver or a worker says when it could not get a connection in time.
EXHAUSTED = re.compile(r"53300|40P01|pool exhausted|exhausted\(")


class Service:
    """A program that is started, killed, started again; its log goes on."""

    def __init__(self, name, command, environment, log):
        self.name, self.command, self.environment, self.log = name, command, environment, log
        self.process = None
        self.unexpected_end = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ends_with_us("TERM") + self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=self.environment, cwd="/tmp", start_new_session=True)
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """As kill -9 does."""
        if self.is_running:
            self.process.kill()
        if self.process:
            self.process.wait()

    def terminate(self):
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)

    def children(self):
        """The process ids of its children."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        found = [int(word) for word in text.split()]
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            try:
                found += [int(word) for word in task.read_text().split()]
            except OSError:
                continue
        return sorted(set(found))

    def records(self):
        """The lines of its log: JSON objects; another line becomes {"level": "error", …}."""
        if not self.log.exists():
            return
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if isinstance(record, dict):
                yield record
            elif line.strip():
                yield {"level": "error", "message": line}

    def log_tail(self, lines=12):
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Services:
    """One broker, one pipeline manager, backfill workers."""

    def __init__(self, cluster, options):
        self.folder = folder("demo")
        self.port = free_port()
        self.cluster, self.options = cluster, options
        self.statuses = {}
        self._write_configuration()
        environment = {
            key: value for key, value in os.environ.items()
            if not key.startswith(("PGLEASE_", "PG", "ROSETTA_", "DATABASE_URL", "LOG_"))}
        workers = environment | {
            "DATABASE_URL": f"host={self.folder} port={self.port} dbname=rosetta user=app",
            "PGLEASE_BROKER": f"{self.folder}:{self.port}",
            "LOG_FORMAT": "json", "LOG_LEVEL": "info",
            # What dies in the demo is seen dead soon.
            "PGLEASE_PIPELINES_INTERVAL": "0.5", "PGLEASE_PIPELINES_RESTART": "0.5",
            "PGLEASE_PIPELINE_RETRY": "0.25", "PGLEASE_PIPELINE_RETRY_LIMIT": "2",
            "PGLEASE_BACKFILL_POLL": "0.5", "PGLEASE_BACKFILL_CLAIM_TIMEOUT": "5",
            "PGLEASE_BACKFILL_BATCH_ROWS": str(options.batch_rows),
            "PGLEASE_BACKFILL_JOBS": str(options.at_once),
            "PGLEASE_BACKFILL_SPOOL": str(self.folder),
        }
        self.workers_environment = workers
        self.broker = self._service(
            "broker", [options.pglease, "serve", "--config", f"{self.folder}/pglease.ini"],
            environment)
        self.pipelines = self._service(
            "pipelines", [options.workers, "pipelines", "--no-migrate"], workers)
        self.backfills = [
            self._service(f"backfill {number}", [options.workers, "backfill", "--no-migrate"],
                          workers)
            for number in (1, 2)]

    def _service(self, name, command, environment):
        return Service(name, command, environment, self.folder / f"{name.replace(' ', '-')}.log")

    @property
    def all(self):
        return [*self.backfills, self.pipelines, self.broker]

    def _write_configuration(self):
        limit = self.options.connections
        server = f"host={self.cluster.host} port={self.cluster.port}"
        (self.folder / "pglease.ini").write_text(f"""\
[databases]
rosetta = {server}
shop = {server}
warehouse = {server}

[groups]
; Each pipeline is a group of its own, with fewer than 10 connections.
pipeline-* = max_leases={min(4, limit)}
storefront = min_leases=1

[pglease]
listen_port = {self.port}
unix_socket_dir = {self.folder}
pool_mode = transaction
auth_type = peer
stats_users = app
default_pool_size = {limit}
max_server_connections = {limit}
server_login_retry_min = 100ms
server_login_retry = 1s
server_tls_sslmode = disable
shutdown_grace = 5
log_format = json
""")

    def migrate(self):
        done = subprocess.run(
            [self.options.workers, "migrate"], env=self.workers_environment, capture_output=True,
            text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"pglease-workers migrate ended with {done.returncode}:\n{done.stderr}")

    def broker_is_ready(self):
        if not self.broker.is_running:
            raise RuntimeError(f"the broker ended:\n{self.broker.log_tail()}")
        return os.path.exists(f"{self.folder}/.s.PGSQL.{self.port}")

    def check(self):
        """Raises when something ended that nobody has killed."""
        for one in self.all:
            if one.process is not None and one.process.poll() is not None \
                    and one.name not in self.statuses:
                raise RuntimeError(
                    f"{one.name} ended with status {one.process.returncode}:\n{one.log_tail()}")

    # The end.

    def stop(self, services, within):
        """Ends them as told, then by force; notes the status of each."""
        running = [one for one in services if one.is_running]
        for one in running:
            one.terminate()
        deadline = time.monotonic() + within
        for one in running:
            try:
                one.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.kill()
            self.statuses[one.name] = one.process.returncode

    def destroy(self):
        self.stop([*self.backfills, self.pipelines], 12)
        self.stop([self.broker], 8)
        shutil.rmtree(self.folder, ignore_errors=True)

    # What went wrong, by their logs.

    def errors(self):
        """What was logged as an error, and how often: (name of the program, message, detail)."""
        found = Counter()
        for one in self.all:
            for record in one.records():
                if str(record.get("level", "")).lower() in ("error", "critical"):
                    detail = record.get("error") or record.get("end") or ""
                    found[one.name, str(record.get("message")), str(detail)[:120]] += 1
        return found

    def exhaustions(self):
        """Log lines of workers that did not get a connection in time."""
        return [f"{one.name}: {json.dumps(record)[:300]}"
                for one in (*self.backfills, self.pipelines) for record in one.records()
                if EXHAUSTED.search(json.dumps(record))]
