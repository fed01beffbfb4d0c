# SPDX-License-Identifier: Apache-2.0
"""What the demo shows: read from the tables, the server's activity and the broker's console."""

import time
from collections import Counter
from dataclasses import dataclass, field

import psycopg2

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass
class Job:
    table: str
    status: str
    count: int
    total: int
    starts: int
    error: str


@dataclass
class Group:
    name: str
    clients: int
    leases: int
    waiting: int
    cap: int
    purpose: str = ""


@dataclass
class Pipeline:
    name: str
    state: str
    behind: int


@dataclass
class Snapshot:
    """The last that was seen of each part; a server that is away leaves the parts as they were."""

    postgres_is_up: bool = False
    broker_is_up: bool = False
    jobs: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    pipelines: list = field(default_factory=list)
    connections: int = 0
    most: int = 0
    leases: int = 0
    waiting: int = 0

    @property
    def rows(self):
        return sum(job.count for job in self.jobs)

    @property
    def total(self):
        return sum(job.total for job in self.jobs)

    @property
    def part(self):
        """Of all rows, how many jobs have copied: 0 to 1."""
        return self.rows / self.total if self.total else 0.0

    def number(self, *states):
        return sum(job.status in states for job in self.jobs)


class Watcher:
    """Looks with two connections: one to PostgreSQL, past the broker, and one to the console."""

    JOBS = """
        SELECT table_name, status, coalesce(count_record, 0),
            greatest(total_record, count_record, %s), coalesce(resume_attempts, 0),
            coalesce(error_message, '')
        FROM queue_backfill_data ORDER BY id"""
    PIPELINES = """
        SELECT p.name, coalesce(m.status, 'starting'),
            coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::bigint
        FROM pipelines p LEFT JOIN pipeline_metadata m ON m.pipeline_id = p.id
        LEFT JOIN pg_replication_slots s ON s.slot_name = p.name
        ORDER BY p.id"""
    CONNECTIONS = """
        SELECT application_name, datname, pid, state, query, now() - backend_start
        FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND application_name <> 'demo'
        ORDER BY backend_start"""

    def __init__(self, cluster, services, rows):
        self.cluster, self.services, self.rows = cluster, services, rows
        self.server = self.console = None
        self.seen = Snapshot()
        self.looks = 0
        # The connections that there were when there were most.
        self.at_most = []
        # Looks that saw more than the limit, for as long as a closed one took to end.
        self.overlaps = 0

    def count_connections(self):
        """Server connections now, and the most that were ever seen; cheap."""
        rows = self._ask_server(self.CONNECTIONS)
        if rows is None:
            return
        self.looks += 1
        limit = self.services.options.connections
        if len(rows) > limit:
            seen = len(rows)
            rows = self._lasting(rows, limit)
            self.overlaps += seen > len(rows)
        self.seen.connections = len(rows)
        if len(rows) > self.seen.most:
            self.seen.most, self.at_most = len(rows), rows

    def _lasting(self, rows, limit):
        """Those that are still there after some more looks: PostgreSQL lists a connection that the
        broker has closed until its process has ended, which may be after the next has begun."""
        for _ in range(10):
            time.sleep(0.03)
            now = {row[2] for row in self._ask_server(self.CONNECTIONS) or []}
            rows = [row for row in rows if row[2] in now]
            if len(rows) <= limit:
                break
        return rows

    def look(self):
        """Everything anew."""
        self.count_connections()
        jobs = self._ask_server(self.JOBS, [self.rows])
        if jobs is not None:
            self.seen.jobs = [Job(*row) for row in jobs]
        pipelines = self._ask_server(self.PIPELINES)
        if pipelines is not None:
            self.seen.pipelines = [Pipeline(*row) for row in pipelines]
        self._look_at_broker()
        return self.seen

    def _look_at_broker(self):
        groups = self._ask_console("SHOW GROUPS")
        leases = self._ask_console("SHOW LEASES")
        waiters = self._ask_console("SHOW WAITERS")
        if groups is None or leases is None or waiters is None:
            return
        purposes = {}
        for row in leases + waiters:
            if row["purpose"]:
                purposes.setdefault(row["group"], Counter())[row["purpose"]] += 1
        self.seen.leases, self.seen.waiting = len(leases), len(waiters)
        self.seen.groups = [
            Group(row["group"] or "(none)", int(row["clients"]), int(row["leases"]),
                  int(row["waiting"]), int(row["max_leases"] or 0), listed(purposes.get(row["group"])))
            for row in groups]

    def _ask_server(self, statement, values=None):
        try:
            if self.server is None:
                self.server = self.cluster.connect("rosetta")
            with self.server.cursor() as cursor:
                cursor.execute(statement, values)
                rows = cursor.fetchall()
            self.seen.postgres_is_up = True
            return rows
        except psycopg2.Error as error:
            if isinstance(error, psycopg2.errors.UndefinedTable):
                return []
            self.seen.postgres_is_up = False
            self.seen.connections = 0
            self.server = closed(self.server)
            return None

    def _ask_console(self, command):
        try:
            if self.console is None:
                self.console = psycopg2.connect(
                    host=self.services.folder, port=self.services.port, dbname="pglease",
                    user="app", application_name="demo", connect_timeout=5)
                self.console.autocommit = True
            with self.console.cursor() as cursor:
                cursor.execute(command)
                names = [column.name for column in cursor.description]
                rows = [dict(zip(names, row)) for row in cursor.fetchall()]
            self.seen.broker_is_up = True
            return rows
        except psycopg2.Error:
            self.seen.broker_is_up = False
            self.console = closed(self.console)
            return None

    def close(self):
        self.server, self.console = closed(self.server), closed(self.console)


def closed(connection):
    if connection is not None:
        connection.close()


def listed(purposes):
    """The purposes in force, the commonest first, without the group's own word before them."""
    if not purposes:
        return ""
    words = []
    for purpose, number in sorted(purposes.items(), key=lambda item: (-item[1], item[0])):
        short = purpose.rpartition(".")[2]
        words.append(short if number == 1 else f"{number} {short}")
    return ", ".join(words)


class Clock:
    """Seconds since the demo began."""

    def __init__(self):
        self.start = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.start

    def __str__(self):
        minutes, seconds = divmod(int(self.seconds), 60)
        return f"{minutes:02}:{seconds:02}"
