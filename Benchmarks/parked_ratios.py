"""A psycopg2 worker that leases for each piece of work, with parking and without, beside a connection of its own:
ratios from one run, in turns; and processes of several threads on one small pool, with parking and without.

`own pool` is psycopg2's own ThreadedConnectionPool, which pglease's takes the place of.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import psycopg2.pool

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end"), str(ROOT / "clients/python/src"),
                str(ROOT / "Benchmarks")]

from direct_ratios import ROWS, fill, in_turns, seconds_each, short_transaction  # noqa: E402
from harness.pooler import Pooler  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from pglease.psycopg2_pool import LeasePool  # noqa: E402

WAYS = {
    "own": "a connection of its own",
    "own pool": "psycopg2's own pool, each",
    "held": "a direct lease, held",
    "parked": "a lease for each, parked",
    "each": "a lease for each, not parked",
}
BY_KEY = "SELECT name FROM bench WHERE id = %s"


def one_select(conn):
    with conn.cursor() as cursor:
        cursor.execute(BY_KEY, (random.randint(1, ROWS),))
        cursor.fetchone()


WORK = {"BEGIN, 5 selects, COMMIT": short_transaction, "1 autocommit select": one_select}


class Ways:
    """The worker's connections, one for each way."""

    def __init__(self, postgres, broker):
        own = {"host": postgres.host, "port": postgres.port, "user": "app", "dbname": "app"}
        place = {"host": broker.dsn_host, "port": broker.dsn_port, "user": "app", "dbname": "app"}
        self.own = psycopg2.connect(**own)
        self.own.autocommit = True
        self.pools = {"own pool": psycopg2.pool.ThreadedConnectionPool(1, 1, **own),
                      "parked": LeasePool(1, 1, **place),
                      "held": LeasePool(1, 1, park=False, **place),
                      "each": LeasePool(1, 1, park=False, **place)}

    @contextmanager
    def worker(self, way, work):
        """What one run repeats."""
        if way == "own":
            yield lambda: work(self.own)
            return
        pool = self.pools[way]
        if way == "held":
            conn = pool.getconn()
            conn.autocommit = True
            try:
                yield lambda: work(conn)
            finally:
                pool.putconn(conn)
            return

        def leased():
            conn = pool.getconn()
            conn.autocommit = True
            work(conn)
            pool.putconn(conn)

        yield leased

    def close(self):
        self.own.close()
        for pool in self.pools.values():
            pool.closeall()


# Many at once.

def worker_process(place, park, threads, seconds, begin, answers):
    """So many threads, each of which takes a lease for each short transaction."""
    pool = LeasePool(0, threads, park=park, wait=60, **place)
    counts = [0] * threads
    begin.wait()
    until = time.perf_counter() + seconds

    def work(index):
        while time.perf_counter() < until:
            conn = pool.getconn()
            conn.autocommit = True
            short_transaction(conn)
            pool.putconn(conn)
            counts[index] += 1

    each = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for one in each:
        one.start()
    for one in each:
        one.join()
    pool.closeall()
    answers.put(sum(counts))


def crowd(place, park, processes, threads, seconds):
    """Transactions of each process."""
    context = multiprocessing.get_context("spawn")
    begin, answers = context.Barrier(processes), context.Queue()
    each = [context.Process(target=worker_process,
                            args=(place, park, threads, seconds, begin, answers))
            for _ in range(processes)]
    for one in each:
        one.start()
    counts = [answers.get(timeout=seconds + 120) for _ in each]
    for one in each:
        one.join()
    return counts


def jain(counts):
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


def handover(place, rounds):
    """Milliseconds until a process of another user's place has its first answer, where all is parked."""
    waits = []
    context = multiprocessing.get_context("spawn")
    for _ in range(rounds):
        pool = LeasePool(1, 4, **place)
        held = [pool.getconn() for _ in range(4)]
        for conn in held:
            pool.putconn(conn)
        answers = context.Queue()
        one = context.Process(target=ask, args=(place, answers))
        one.start()
        waits.append(answers.get(timeout=60))
        one.join()
        pool.closeall()
    return waits


def ask(place, answers):
    conn = psycopg2.connect(**place)
    conn.autocommit = True
    with conn.cursor() as cursor:
        begun = time.perf_counter()
        cursor.execute("SELECT 1")
        answers.put((time.perf_counter() - begun) * 1000)
    conn.close()


def show(results):
    print(f"{'work':28}{'through':32}{'each, us':>10}{'throughput of own':>20}")
    for case in results["cases"]:
        own = case["seconds"]["own"]
        for way, value in case["seconds"].items():
            print(f"{case['work']:28}{WAYS[way]:32}{value * 1e6:10.1f}{own / value:20.3f}")
    print(f"taken and parked again, without work: {results['price_us']:.1f} us")
    for name, one in results["crowd"].items():
        print(f"4 processes of 4 threads, pool of 4, {name}: {one['per_second']:.0f} transactions/s,"
              f" Jain {one['jain']:.3f}")
    print("a waiter of another process has a parked connection's place after"
          f" {results['handover_ms']:.1f} ms (median), {results['handover_worst_ms']:.1f} ms (worst)")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    options.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    options.add_argument("--rounds", type=int)
    options.add_argument("--seconds", type=float, help="length of each run")
    asked = options.parse_args()
    rounds = asked.rounds or (5 if asked.quick else 15)
    seconds = asked.seconds or (0.3 if asked.quick else 1)

    settings = {"pool_mode": "transaction", "default_pool_size": 4, "log_connections": 0,
                "log_disconnections": 0, "log_stats": 0, "log_format": "text"}
    postgres = Postgres({"shared_buffers": "128MB"})
    broker = Pooler(postgres, settings)
    try:
        fill(postgres)
        broker.start()
        ways = Ways(postgres, broker)
        cases = []
        for name, work in WORK.items():
            def measure(way, work=work):
                with ways.worker(way, work) as repeat:
                    repeat()
                    return seconds_each(repeat, seconds)

            cases.append({"work": name, "seconds": in_turns(WAYS, rounds, measure)})
        with ways.worker("parked", lambda conn: None) as repeat:
            price = min(seconds_each(repeat, seconds / 4) for _ in range(rounds))
        ways.close()
        place = {"host": broker.dsn_host, "port": broker.dsn_port, "user": "app", "dbname": "app"}
        many = {"parked": [], "not parked": []}
        for turn in range(2 if asked.quick else 4):
            for name in list(many)[:: 1 if turn % 2 == 0 else -1]:
                many[name].append(crowd(place, name == "parked", 4, 4, seconds * 3))
                # Behind a contention nothing is handed out for a while: both begin alike.
                broker.stop()
                broker.start()
        found = {}
        for name, runs in many.items():
            found[name] = {
                "per_second": statistics.median(sum(one) for one in runs) / (seconds * 3),
                "jain": min(jain(one) for one in runs)}
        waits = []
        for _ in range(rounds):
            waits += handover(place, 1)
            broker.stop()
            broker.start()
    finally:
        broker.destroy()
        postgres.destroy()
    results = {"rounds": rounds, "seconds": seconds, "processors": os.cpu_count(), "cases": cases,
               "price_us": price * 1e6, "crowd": found, "handover_ms": statistics.median(waits),
               "handover_worst_ms": max(waits)}
    show(results)
    if asked.json:
        Path(asked.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
