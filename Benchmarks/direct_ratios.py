# SPDX-License-Identifier: Apache-2.0
"""A psycopg2 worker with a connection of its own, with a direct lease, through the relay and through
pgbouncer: ratios from one run, in turns; the figures are medians over the rounds. One worker, one process, one
thread.
"""

import os
import sys

from worker_runs import (QUIET, ROWS, Ways, address, connect, fill, in_turns, many_rows, options,
                         seconds_each, short_transaction, write)

from harness.pooler import Pgbouncer, Pooler
from harness.postgres import Postgres
from pglease.psycopg2_pool import LeasePool

WAYS = {
    "own": "a connection of its own",
    "direct": "a direct lease",
    "direct each": "a direct lease for each",
    "relay": "the relay",
    "relay each": "a relayed lease for each",
    "pgbouncer": "pgbouncer",
}
WORK = {"short transaction": short_transaction, f"{ROWS:,} rows": many_rows}
NAMED = {"purpose": "bench"}


def make_ways(postgres, broker, pgbouncer):
    direct = LeasePool(1, 1, park=False, **address(broker))
    relayed = LeasePool(1, 1, direct=False, **address(broker))
    return Ways(
        {"own": connect(postgres), "relay": connect(broker), "pgbouncer": connect(pgbouncer)},
        held={"direct": direct},
        each={"direct each": (direct, NAMED), "relay each": (relayed, NAMED)})


def price(ways, rounds, seconds):
    """What a lease and its return cost, and what a query does: microseconds of the worker's time."""
    with ways.plain["relay"].cursor() as cursor:
        def lease(pool):
            pool.putconn(pool.getconn(purpose="bench"))

        work = {"a relayed query": lambda: cursor.execute("SELECT 1"),
                "a direct lease and its return": lambda: lease(ways.each["direct each"][0]),
                "a relayed lease and its return": lambda: lease(ways.each["relay each"][0])}
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
    asked = options(__doc__, quick=(3, 0.5), full=(7, 2))
    rounds, seconds = asked.rounds, asked.seconds
    settings = QUIET | {"default_pool_size": 10}
    postgres = Postgres({"shared_buffers": "128MB"})
    broker, pgbouncer = Pooler(postgres, settings), Pgbouncer(postgres, settings)
    try:
        fill(postgres)
        broker.start()
        pgbouncer.start()
        ways = make_ways(postgres, broker, pgbouncer)
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
    write(results, asked)


if __name__ == "__main__":
    main()
