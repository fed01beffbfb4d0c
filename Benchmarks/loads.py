# SPDX-License-Identifier: Apache-2.0
"""What clients do in a run, and what a run's figures are. Each load has a stable name, and every way does it with the same
client: pgbench, or processes of psycopg2 workers where pgbench cannot (COPY, direct leases)."""

import collections
import re
import subprocess
import tempfile
from pathlib import Path

import crew
from figures import Cannot, Meter, latencies
from harness.postgres import binaries
from worker_runs import copy_in, copy_out, fill, many_rows, one_select, short_transaction

PROTOCOLS = ("simple", "extended", "prepared")
SCALE = 10
FIVE = """\\set aid random(1, 100000)
BEGIN;
""" + 5 * "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n" + "COMMIT;\n"
LARGE = """\\set id random(1, 8)
SELECT body FROM large WHERE id = :id;
"""
PROCESSES = 4  # of psycopg2 workers
LATE = 10  # seconds that a run may be late


def prepare(postgres, scale=SCALE):
    """Fills the database that all loads use."""
    pgbench = [str(binaries() / "pgbench"), "-i", "-q", "-s", str(scale), "-U", "app",
               "-h", postgres.host, "-p", str(postgres.port), "app"]
    subprocess.run(pgbench, check=True, capture_output=True)
    fill(postgres)
    postgres.sql(
        "CREATE TABLE large (id int PRIMARY KEY, body text); ALTER TABLE large ALTER body SET STORAGE EXTERNAL;"
        " INSERT INTO large SELECT i, repeat('x', 1048576) FROM generate_series(1, 8) i;"
        " CREATE TABLE copied (id int, name text, digest text, made timestamptz);"
        " GRANT SELECT ON large TO app; GRANT SELECT, INSERT ON copied TO app", dbname="app")


class Pgbench:
    """Transactions of pgbench."""

    uses_driver = False

    def __init__(self, name, *words, script=None, protocol="simple", connects=False):
        self.name, self.words, self.script = name, list(words), script
        self.protocol, self.connects = protocol, connects

    def run(self, way, clients, seconds=1, each=None):
        """One run of so many seconds, or of so many transactions of each client; its figures."""
        pooler = way.pooler
        meter = Meter(pooler)
        with tempfile.TemporaryDirectory() as logs:
            words = [str(binaries() / "pgbench"), "-n", *self.words, "-M", self.protocol, "-c", str(clients),
                     "-j", str(min(clients, 2)), "-l", "--log-prefix", f"{logs}/log"]
            if self.script:
                Path(f"{logs}/script").write_text(self.script)
                words += ["-f", f"{logs}/script"]
            words += ["-t", str(each)] if each else ["-T", str(max(1, round(seconds)))]
            words += ["-C"] if self.connects else ["--sampling-rate", "0.2"]
            meter.start()
            try:
                done = subprocess.run(words + [pooler.dsn()], capture_output=True, text=True, cwd=logs,
                                      timeout=(seconds or 0) + LATE)
            except subprocess.TimeoutExpired:
                raise Cannot(f"pgbench was not done {LATE} s after its time") from None
            meter.stop()
            if done.returncode or not re.search(r"number of failed transactions: 0 ", done.stdout):
                raise Cannot((done.stderr.strip().splitlines() or ["transactions failed"])[-1])
            times = list(self.times(Path(logs)))
        count = int(re.search(r"actually processed: (\d+)", done.stdout).group(1))
        rate = re.search(r"tps = ([\d.]+) \((?:without|including)", done.stdout)
        if not rate:
            raise Cannot("pgbench did no transaction in its time")
        return {"count": count, "throughput": float(rate.group(1)), **latencies(times), **meter.each(count),
                "memory": way.memory()}

    def times(self, logs):
        """Milliseconds of each transaction; with its connection, where it has one of its own."""
        for path in logs.glob("log*"):
            before = {}
            for line in path.read_text().splitlines():
                client, _, took, _, second, micros = line.split()[:6]
                now = int(second) * 1000 + int(micros) / 1000
                if not self.connects:
                    yield int(took) / 1000
                elif client in before:
                    yield now - before[client]
                before[client] = now


class Workers:
    """Pieces of work of psycopg2 workers."""

    uses_driver = True
    protocol = None

    def __init__(self, name, work):
        self.name, self.work = name, work

    def run(self, way, clients, seconds=1, each=None):
        meter = Meter(way.pooler)
        threads = crew.shares(clients, PROCESSES)
        done = crew.run(len(threads), threads, way.workers(self.work), None if each else seconds, each,
                        meter.start, meter.stop)
        count = len(done.milliseconds)
        return {"count": count, "throughput": count / done.seconds, **latencies(done.milliseconds),
                **meter.each(count), "memory": way.memory()}


def find():
    """All loads by their names."""
    loads = []
    for protocol in PROTOCOLS:
        loads.append(Pgbench(f"select.{protocol}", "-S", protocol=protocol))
    for protocol in PROTOCOLS:
        loads.append(Pgbench(f"tpcb.{protocol}", "-b", "tpcb-like", protocol=protocol))
    for protocol in PROTOCOLS:
        loads.append(Pgbench(f"five.{protocol}", script=FIVE, protocol=protocol))
    loads += [Pgbench("large", script=LARGE), Pgbench("connect", "-S", connects=True),
              Workers("driver.select", one_select), Workers("driver.five", short_transaction),
              Workers("driver.rows", many_rows), Workers("copy.in", copy_in), Workers("copy.out", copy_out)]
    return {one.name: one for one in loads}


ALL = (1, 8, 32, 100, 1000)
FEW = (1, 8, 32)
CLIENTS = collections.defaultdict(lambda: FEW, {
    "select.simple": ALL, "select.extended": ALL, "select.prepared": ALL, "tpcb.simple": ALL, "five.simple": ALL,
    "tpcb.extended": (8,), "tpcb.prepared": (8,), "five.extended": (8,), "five.prepared": (8,),
    "driver.rows": (8,), "copy.in": (1, 8), "copy.out": (1, 8)})
QUICK = collections.defaultdict(lambda: (8,), {
    "tpcb.extended": (), "tpcb.prepared": (), "five.extended": (), "five.prepared": (), "driver.rows": (),
    "select.simple": (1, 8, 100)})
