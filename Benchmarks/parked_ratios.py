# SPDX-License-Identifier: Apache-2.0
"""A psycopg2 worker that leases for each piece of work, with parking and without, beside a connection of its own:
ratios from one run, in turns; and processes of several threads on one small pool, with parking and without.

`own pool` is psycopg2's own ThreadedConnectionPool, which pglease's takes the place of.
"""

import multiprocessing
import os
import statistics
import time

import psycopg2
import psycopg2.pool

from worker_runs import (QUIET, Ways, address, connect, fill, one_select, options, runs_in_turns,
                         seconds_each, short_transaction, spread, write)

import crew
from figures import jain

from harness.pooler import Pooler
from harness.postgres import Postgres
from pglease.psycopg2_pool import LeasePool
from ways import Leasing

WAYS = {
    "own": "a connection of its own",
    "own pool": "psycopg2's own pool, each",
    "held": "a direct lease, held",
    "named": "a lease for each, parked, with a purpose",
    "parked": "a lease for each, parked",
    "each": "a lease for each, not parked",
}
WORK = {"BEGIN, 5 selects, COMMIT": short_transaction, "1 autocommit select": one_select}


def make_ways(postgres, broker):
    own_pool = psycopg2.pool.ThreadedConnectionPool(1, 1, **address(postgres))
    unparked = {"park": False, **address(broker)}
    return Ways(
        {"own": connect(postgres)},
        held={"held": LeasePool(1, 1, **unparked)},
        each={"own pool": (own_pool, {}), "each": (LeasePool(1, 1, **unparked), {}),
              "parked": (LeasePool(1, 1, **address(broker)), {}),
              "named": (LeasePool(1, 1, **address(broker)), {"purpose": "bench"})})


# Many at once.

def crowd(broker, park, processes, threads, seconds):
    """Transactions of each process, each of whose threads takes a lease for each short transaction."""
    done = crew.run(processes, threads, lambda count: Leasing(broker, count, short_transaction, park=park), seconds)
    return done.counts


def handover(place):
    """Milliseconds until another process has its first answer, where all is parked."""
    context = multiprocessing.get_context("spawn")
    answers, go = context.Queue(), context.Event()
    one = context.Process(target=ask, args=(place, go, answers))
    one.start()
    answers.get(timeout=60)
    pool = LeasePool(1, 4, **place)
    held = [pool.getconn() for _ in range(4)]
    for conn in held:
        pool.putconn(conn)
    go.set()
    waited = answers.get(timeout=60)
    one.join()
    pool.closeall()
    return waited


def ask(place, go, answers):
    conn = psycopg2.connect(**place)
    conn.autocommit = True
    answers.put("connected")
    go.wait()
    with conn.cursor() as cursor:
        begun = time.perf_counter()
        cursor.execute("SELECT 1")
        answers.put((time.perf_counter() - begun) * 1000)
    conn.close()


def show(results):
    print(f"{'work':28}{'through':44}{'each, us':>10}{'throughput of own':>20}{'quartiles':>16}")
    for case in results["cases"]:
        for way, value in case["seconds"].items():
            ratio = case["of_own"][way]
            print(f"{case['work']:28}{WAYS[way]:44}{value * 1e6:10.1f}{ratio['median']:20.3f}"
                  f"{ratio['low']:9.3f}-{ratio['high']:.3f}")
    print(f"taken and parked again, without work: {results['price_us']:.2f} us")
    for name, one in results["crowd"].items():
        print(f"4 processes of 4 threads, pool of 4, {name}: {one['per_second']:.0f} transactions/s,"
              f" Jain {one['jain']:.3f}")
    for name in ("handover", "connect"):
        one = results[f"{name}_ms"]
        what = ("a waiter of another process has a parked connection's place after"
                if name == "handover" else "beside it, a new connection to PostgreSQL itself takes")
        print(f"{what} {one['p50']:.1f} ms (p50), {one['p99']:.1f} (p99), {one['least']:.1f} (least)")


def times(values):
    ordered = sorted(values)
    return {"p50": statistics.median(ordered), "p99": ordered[round((len(ordered) - 1) * 0.99)],
            "least": ordered[0]}


def measure_cases(ways, rounds, seconds):
    cases = []
    for name, work in WORK.items():
        def measure(way, work=work):
            with ways.worker(way, work) as repeat:
                repeat()
                return seconds_each(repeat, seconds)

        runs = runs_in_turns(WAYS, rounds, measure)
        # Of the same round: the machine was as busy then.
        of_own = {way: spread(own / value for own, value in zip(runs["own"], values))
                  for way, values in runs.items()}
        cases.append({"work": name, "of_own": of_own, "seconds": {
            way: statistics.median(values) for way, values in runs.items()}})
    return cases


def measure_crowd(broker, asked):
    many = {"parked": [], "not parked": []}
    seconds = asked.seconds * 3
    for turn in range(2 if asked.quick else 4):
        for name in list(many)[:: 1 if turn % 2 == 0 else -1]:
            many[name].append(crowd(broker, name == "parked", 4, 4, seconds))
            # Behind a contention nothing is handed out for a while: both begin alike.
            broker.stop()
            broker.start()
    return {name: {"per_second": statistics.median(sum(one) for one in runs) / seconds,
                   "jain": min(jain(one) for one in runs)} for name, runs in many.items()}


def measure_handover(postgres, broker, rounds):
    """Milliseconds of each waiter, and beside them those of a connection of one's own."""
    waits, connects = [], []
    for _ in range(rounds):
        waits.append(handover(address(broker)))
        begun = time.perf_counter()
        conn = connect(postgres)
        connects.append((time.perf_counter() - begun) * 1000)
        conn.close()
        broker.stop()
        broker.start()
    return times(waits), times(connects)


def main():
    asked = options(__doc__, quick=(5, 0.3), full=(15, 1))
    postgres = Postgres({"shared_buffers": "128MB"})
    broker = Pooler(postgres, QUIET | {"default_pool_size": 4})
    try:
        fill(postgres)
        broker.start()
        ways = make_ways(postgres, broker)
        cases = measure_cases(ways, asked.rounds, asked.seconds)
        with ways.worker("parked", lambda conn: None) as repeat:
            price = min(seconds_each(repeat, asked.seconds / 4) for _ in range(asked.rounds))
        ways.close()
        found = measure_crowd(broker, asked)
        waits, connects = measure_handover(postgres, broker, asked.rounds * 4)
    finally:
        broker.destroy()
        postgres.destroy()
    results = {"rounds": asked.rounds, "seconds": asked.seconds, "processors": os.cpu_count(),
               "cases": cases, "price_us": price * 1e6, "crowd": found, "handover_ms": waits,
               "connect_ms": connects}
    show(results)
    write(results, asked)


if __name__ == "__main__":
    main()
