"""A psycopg2 worker with a connection of its own, with a direct lease, through the relay and through
pgbouncer: ratios from one run, in turns.

Each round runs every way once, in an order that changes, so that a slow minute of the machine hits
all of them; the figures are medians over the rounds. One worker, one process, one thread.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg2

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end"), str(ROOT / "clients/python/src")]

from harness.pooler import Pgbouncer, Pooler  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from pglease.psycopg2_pool import LeasePool  # noqa: E402

ROWS = 10_000
WAYS = {
    "own": "a connection of its own",
    "direct": "a direct lease",
    "direct each": "a direct lease for each",
    "relay": "the relay",
    "relay each": "a relayed lease for each",
    "pgbouncer": "pgbouncer",
}


def fill(postgres):
    postgres.sql(
        f"CREATE TABLE bench AS SELECT i AS id, 'name ' || i AS name, md5(i::text) AS digest,"
        f" now() AS made FROM generate_series(1, {ROWS}) i; ALTER TABLE bench ADD PRIMARY KEY (id);"
        f" GRANT SELECT ON bench TO app", dbname="app")
    postgres.sql("VACUUM ANALYZE bench", dbname="app")


def short_transaction(conn):
    with conn.cursor() as cursor:
        cursor.execute("BEGIN")
        for _ in range(5):
            cursor.execute("SELECT name FROM bench WHERE id = %s", (random.randint(1, ROWS),))
            cursor.fetchone()
        cursor.execute("COMMIT")


def many_rows(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT id, name, digest, made FROM bench")
        if len(cursor.fetchall()) != ROWS:
            raise RuntimeError("rows are missing")


WORK = {"short transaction": short_transaction, f"{ROWS:,} rows": many_rows}


class Ways:
    """The worker's connections, one for each way."""

    def __init__(self, postgres, broker, pgbouncer):
        self.plain = {"own": self.connect(postgres.host, postgres.port),
                      "relay": self.connect(broker.dsn_host, broker.dsn_port),
                      "pgbouncer": self.connect(pgbouncer.dsn_host, pgbouncer.dsn_port)}
        place = {"host": broker.dsn_host, "port": broker.dsn_port, "user": "app", "dbname": "app"}
        self.direct = LeasePool(1, 1, park=False, **place)
        self.relayed = LeasePool(1, 1, direct=False, **place)

    @staticmethod
    def connect(host, port):
        conn = psycopg2.connect(host=host, port=port, user="app", dbname="app")
        conn.autocommit = True
        return conn

    @contextmanager
    def worker(self, way, work):
        """What one run repeats."""
        if way in self.plain:
            yield lambda: work(self.plain[way])
            return
        pool = self.relayed if way.startswith("relay") else self.direct

        def leased():
            conn = pool.getconn(purpose="bench")
            conn.autocommit = True
            work(conn)
            pool.putconn(conn)

        if way.endswith("each"):
            yield leased
            return
        conn = pool.getconn(purpose="bench")
        conn.autocommit = True
        try:
            yield lambda: work(conn)
        finally:
            pool.putconn(conn)

    def close(self):
        for conn in self.plain.values():
            conn.close()
        self.direct.closeall()
        self.relayed.closeall()


def seconds_each(repeat, seconds):
    """Seconds of wall clock that one repetition took, over a run of so many seconds."""
    count, begun = 0, time.perf_counter()
    while True:
        for _ in range(10):
            repeat()
        count += 10
        passed = time.perf_counter() - begun
        if passed >= seconds:
            return passed / count


def in_turns(names, rounds, measure):
    """The median over the rounds of what each name measures."""
    runs = {name: [] for name in names}
    for turn in range(rounds):
        order = list(names)
        shift = turn % len(order)
        for name in order[shift:] + order[:shift]:
            runs[name].append(measure(name))
    return {name: statistics.median(values) for name, values in runs.items()}


def price(ways, rounds, seconds):
    """What a lease and its return cost, and what a query does: microseconds of the worker's time."""
    with ways.plain["relay"].cursor() as cursor:
        def lease(pool):
            pool.putconn(pool.getconn(purpose="bench"))

        work = {"a relayed query": lambda: cursor.execute("SELECT 1"),
                "a direct lease and its return": lambda: lease(ways.direct),
                "a relayed lease and its return": lambda: lease(ways.relayed)}
        found = in_turns(work, rounds, lambda name: seconds_each(work[name], seconds))
    return {name: value * 1e6 for name, value in found.items()}


def show(results):
    print(f"{'work':20}{'through':28}{'each, us':>10}{'throughput of own':>20}{'of pgbouncer':>15}")
    for case in results["cases"]:
        own, bouncer = case["seconds"]["own"], case["seconds"]["pgbouncer"]
        for way, value in case["seconds"].items():
            print(f"{case['work']:20}{WAYS[way]:28}{value * 1e6:10.0f}{own / value:20.2f}"
                  f"{bouncer / value:15.2f}")
    print()
    for name, value in results["price_us"].items():
        print(f"{name:34}{value:8.1f} us")
    print(f"a direct lease and its return, in relayed queries: {results['lease_in_queries']:.2f}")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    options.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    options.add_argument("--rounds", type=int)
    options.add_argument("--seconds", type=float, help="length of each run")
    asked = options.parse_args()
    rounds = asked.rounds or (3 if asked.quick else 7)
    seconds = asked.seconds or (0.5 if asked.quick else 2)

    settings = {"pool_mode": "transaction", "default_pool_size": 10, "log_connections": 0,
                "log_disconnections": 0, "log_stats": 0, "log_format": "text"}
    postgres = Postgres({"shared_buffers": "128MB"})
    broker, pgbouncer = Pooler(postgres, settings), Pgbouncer(postgres, settings)
    try:
        fill(postgres)
        broker.start()
        pgbouncer.start()
        ways = Ways(postgres, broker, pgbouncer)
        cases = []
        for name, work in WORK.items():
            def measure(way, work=work):
                with ways.worker(way, work) as repeat:
                    repeat()
                    return seconds_each(repeat, seconds)

            found = in_turns(WAYS, rounds, measure)
            cases.append({"work": name, "seconds": found,
                          "of_own": {way: found["own"] / each for way, each in found.items()}})
            print(f"{name}: done", file=sys.stderr)
        price_us = price(ways, rounds, seconds)
        ways.close()
    finally:
        broker.destroy()
        pgbouncer.destroy()
        postgres.destroy()
    results = {
        "rounds": rounds, "seconds": seconds, "processors": os.cpu_count(), "cases": cases,
        "price_us": price_us,
        "lease_in_queries": price_us["a direct lease and its return"] / price_us["a relayed query"],
    }
    show(results)
    if asked.json:
        Path(asked.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
