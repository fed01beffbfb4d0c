# SPDX-License-Identifier: Apache-2.0
"""One run: a world, a way, the workers, an observer; and what was seen."""

import time
from dataclasses import dataclass, field

import worker_log
from harness.waiting import NotInTime, eventually
from observer import Observer
from ways import PIPELINE_CAP
from world import CONFIG_ROLE, ENDED, World


@dataclass(frozen=True)
class Size:
    """What a run has: pool connections, pipelines, jobs and each job's rows."""

    pool: int
    pipelines: int
    jobs: int
    rows: int = 2000
    batch: int = 500
    paused: bool = False

    @property
    def streams(self):
        """The pipelines that are to write."""
        return 0 if self.paused else self.pipelines

    @property
    def title(self):
        return f"pool {self.pool}, {self.pipelines} pipelines, {self.jobs} jobs"


@dataclass
class Seen:
    """What a run showed. Times in seconds."""

    way: str
    size: Size
    limit: int | None
    shares_pools: bool = False
    completed: int = 0
    right: int = 0
    statuses: dict = field(default_factory=dict)
    seconds: float | None = None
    stuck: bool = False
    most_connections: int = 0
    most_in_transaction: int = 0
    locked_seconds: float = 0.0
    sessions: int = 0
    most_leases: int = 0
    most_waiting: int = 0
    most_of_group: dict = field(default_factory=dict)
    streaming: int = 0
    flow_records: int = 0
    errors: dict = field(default_factory=dict)
    left_over: list = field(default_factory=list)
    shut_down: str = ""
    faults: list = field(default_factory=list)

    @property
    def spoilt(self):
        """Jobs that are not right where parent and child read each other's answers (defect D1): that
        ends and hangs jobs and pipelines whatever is behind the socket, so it is told, not judged. At
        most as many as there are such errors, and none where a pool lock was seen."""
        mixed = self.errors.get("answers mixed", 0) + self.errors.get("connection lost", 0)
        if not self.shares_pools or self.locked_seconds:
            return 0
        return min(self.size.jobs - self.right, mixed)

    def judge(self):
        """What is not as it should be, as sentences."""
        wrong = []
        if self.right + self.spoilt < self.size.jobs:
            wrong.append(f"{self.right} of {self.size.jobs} jobs completed with the right rows")
        if self.locked_seconds:
            wrong.append(f"all connections were idle in transaction for {self.locked_seconds} s")
        if self.limit and self.most_connections > self.limit:
            wrong.append(f"{self.most_connections} server connections, the limit is {self.limit}")
        if self.streaming < self.size.streams and not self.shares_pools:
            wrong.append(f"{self.streaming} of {self.size.streams} pipelines write")
        wrong += [f"{group}: {count} leases at once" for group, count in self.most_of_group.items()
                  if group.startswith("pipeline-") and count > PIPELINE_CAP]
        wrong += [f"{count} times: {kind}" for kind, count in self.errors.items()
                  if kind in FORBIDDEN]
        return wrong + self.left_over + self.faults


# What no caller may see any more. The rest of worker_log's kinds are the workers' own defects.
FORBIDDEN = ("gave up (exhausted)", "pool exhausted", "broker: no connection", "broker: pool lock",
             "broker: lease ended", "statement timeout", "connect timeout")


def run(postgres, name, way, size, limit=200, quiet=60, ending="interrupt", log_path=None):
    """Runs the workers until every job has ended and every pipeline writes, or nothing has moved for
    `quiet` seconds, or `limit` seconds are over. `ending`: interrupt (Ctrl-C) or kill (kill -9)."""
    world = World(postgres, size)
    pooler = way.pooler(postgres, size)
    seen = Seen(name, size, way.limit(size), way.shares_pools)
    observer = workers = None
    mark = len(postgres.log())
    try:
        if pooler:
            pooler.start()
        broker = pooler if pooler and pooler.program == "pglease" else None
        observer = Observer(postgres, way.roles, way.full(size), broker)
        observer.start()
        workers = way.start_workers(postgres, pooler, size, log_path or f"{postgres.folder}/workers.log")
        watch(world, way, workers, seen, limit, quiet)
        end(workers, ending, seen)
        look_at_what_is_left(postgres, way, pooler, broker, seen)
        seen.sessions = postgres.log()[mark:].count(f"authorized: user={CONFIG_ROLE} ")
        conclude(world, workers, seen)
        if pooler:
            check_pooler(pooler, seen)
    finally:
        if workers:
            workers.kill()
        if observer:
            observer.stop()
            note(observer, seen)
        if pooler:
            pooler.destroy()
        world.destroy()
    return seen


def watch(world, way, workers, seen, limit, quiet):
    size = seen.size
    start = changed = time.monotonic()
    last = None

    def over():
        nonlocal last, changed
        progress, now = world.progress(), time.monotonic()
        if progress != last:
            last, changed = progress, now
        statuses, _, streaming = progress
        ended = sum(statuses.get(one, 0) for one in ENDED) == size.jobs
        if ended and seen.seconds is None:
            seen.seconds = now - start
        if workers.ended() is not None:
            seen.faults.append(f"the workers ended with status {workers.ended()}")
        if way.feeds:
            world.feed()
        return ended and streaming == size.streams or seen.faults or now - changed > quiet

    try:
        eventually(over, limit, every=0.1)
    except NotInTime:
        pass
    seen.stuck = seen.seconds is None


def end(workers, ending, seen):
    if ending == "interrupt":
        seen.shut_down = "in order" if workers.interrupt() else "had to be killed"
    else:
        workers.kill()
        seen.shut_down = "killed"


def look_at_what_is_left(postgres, way, pooler, broker, seen):
    """Every lease is back: none in the console, no client, no backend in a transaction."""
    def left():
        found = []
        if broker:
            found += [f"a lease is not back: {row}" for row in broker.console("SHOW LEASES")]
            found += [f"a pool is not at rest: {row}" for row in broker.console("SHOW POOLS")
                      if row["user"] in way.roles and any(
                          int(row[name]) for name in ("cl_active", "cl_waiting", "sv_active"))]
        rows = [row for role in way.roles for row in postgres.backends(user=role)]
        busy = [row for row in rows if row[3] != "idle"] if pooler else rows
        return found + [f"a backend is not at rest: {row}" for row in busy]

    try:
        eventually(lambda: not left(), 15)
    except NotInTime:
        seen.left_over = left()


def conclude(world, workers, seen):
    statuses = world.job_statuses()
    for status in statuses.values():
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
    seen.completed = seen.statuses.get("COMPLETED", 0)
    complete = set(world.complete_tables())
    seen.right = sum(1 for table, status in statuses.items()
                     if status == "COMPLETED" and table in complete)
    seen.streaming, seen.flow_records = len(world.streaming()), world.flow_records()
    seen.errors = worker_log.count(workers.log())


def check_pooler(pooler, seen):
    try:
        pooler.errors_expected = True
        pooler.check()
    except AssertionError as trouble:
        seen.faults.append(str(trouble)[:2000])


def note(observer, seen):
    seen.most_connections = observer.most
    seen.most_in_transaction = observer.most_in_transaction
    seen.locked_seconds = round(observer.locked_seconds, 1)
    seen.most_leases, seen.most_waiting = observer.most_leases, observer.most_waiting
    seen.most_of_group = observer.most_of_group
    if observer.trouble:
        seen.faults.append(f"the observer: {observer.trouble}")


__all__ = ["FORBIDDEN", "Seen", "Size", "run"]
