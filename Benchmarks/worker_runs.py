# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of one psycopg2 worker have in common: its work, its ways to a connection, and runs in turns.

Each round runs every way once, in an order that changes, so that a slow minute of the machine hits all of them.
"""

import argparse
import io
import json
import random
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg2

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end"), str(ROOT / "clients/python/src")]

ROWS = 10_000
BY_KEY = "SELECT name FROM bench WHERE id = %s"
QUIET = {"pool_mode": "transaction", "log_connections": 0, "log_disconnections": 0, "log_stats": 0,
         "log_format": "text"}


# Work.

def fill(postgres):
    postgres.sql(
        f"CREATE TABLE bench AS SELECT i AS id, 'name ' || i AS name, md5(i::text) AS digest,"
        f" now() AS made FROM generate_series(1, {ROWS}) i; ALTER TABLE bench ADD PRIMARY KEY (id);"
        f" GRANT SELECT ON bench TO app", dbname="app")
    postgres.sql("VACUUM ANALYZE bench", dbname="app")


def one_select(conn):
    with conn.cursor() as cursor:
        cursor.execute(BY_KEY, (random.randint(1, ROWS),))
        cursor.fetchone()


def short_transaction(conn):
    with conn.cursor() as cursor:
        cursor.execute("BEGIN")
        for _ in range(5):
            cursor.execute(BY_KEY, (random.randint(1, ROWS),))
            cursor.fetchone()
        cursor.execute("COMMIT")


def many_rows(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT id, name, digest, made FROM bench")
        if len(cursor.fetchall()) != ROWS:
            raise RuntimeError("rows are missing")


def copy_out(conn):
    sink = Sink()
    with conn.cursor() as cursor:
        cursor.copy_expert("COPY bench TO STDOUT", sink)
    if not sink.length:
        raise RuntimeError("nothing was copied")


COPIED = b"".join(
    b"%d\tname %d\t%032x\t2026-12-01 00:00:00+00\n" % (number, number, number) for number in range(ROWS))


def copy_in(conn):
    with conn.cursor() as cursor:
        # PostgreSQL reads every row and keeps none: no run makes the table longer for the next.
        cursor.copy_expert("COPY copied FROM STDIN WHERE id < 0", io.BytesIO(COPIED), len(COPIED))


class Sink:
    """What COPY writes to: counts bytes."""

    def __init__(self):
        self.length = 0

    def write(self, raw):
        self.length += len(raw)


# Ways.

def address(one):
    """What psycopg2 connects to a PostgreSQL or a pooler of the tests with."""
    host = getattr(one, "dsn_host", None) or one.host
    return {"host": host, "port": getattr(one, "dsn_port", None) or one.port, "user": "app",
            "dbname": "app"}


def connect(one):
    conn = psycopg2.connect(**address(one))
    conn.autocommit = True
    return conn


class Ways:
    """The worker's connections and pools, one for each way.

    plain: connections. held: pools, of which a connection is held for the whole run; each: pools that one is
    taken from for each piece of work, with the words that getconn is called with.
    """

    def __init__(self, plain, held=None, each=None):
        self.plain, self.held, self.each = plain, held or {}, each or {}

    @contextmanager
    def worker(self, way, work):
        """What one run repeats."""
        if way in self.plain:
            yield lambda: work(self.plain[way])
        elif way in self.held:
            conn = self.held[way].getconn()
            conn.autocommit = True
            try:
                yield lambda: work(conn)
            finally:
                self.held[way].putconn(conn)
        else:
            pool, words = self.each[way]

            def leased():
                conn = pool.getconn(**words)
                conn.autocommit = True
                work(conn)
                pool.putconn(conn)

            def plainly():
                conn = pool.getconn()
                conn.autocommit = True
                work(conn)
                pool.putconn(conn)

            yield leased if words else plainly

    def close(self):
        for conn in self.plain.values():
            conn.close()
        for pool in {*self.held.values(), *(pool for pool, _ in self.each.values())}:
            pool.closeall()


# Runs.

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


def runs_in_turns(names, rounds, measure):
    """What each name measures, round by round."""
    runs = {name: [] for name in names}
    for turn in range(rounds):
        order = list(names)
        shift = turn % len(order)
        for name in order[shift:] + order[:shift]:
            runs[name].append(measure(name))
    return runs


def in_turns(names, rounds, measure):
    """The median over the rounds of what each name measures."""
    return {name: statistics.median(values)
            for name, values in runs_in_turns(names, rounds, measure).items()}


def spread(values):
    """Median, first and third quartile."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"median": statistics.median(ordered), "low": ordered[round(last * 0.25)],
            "high": ordered[round(last * 0.75)]}


# The program.

def options(description, quick, full):
    """The arguments that all take; quick and full: rounds and seconds of each run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of each run")
    asked = parser.parse_args()
    usual = quick if asked.quick else full
    asked.rounds = asked.rounds or usual[0]
    asked.seconds = asked.seconds or usual[1]
    return asked


def write(results, asked):
    if asked.json:
        Path(asked.json).write_text(json.dumps(results, indent=2) + "\n")
