# SPDX-License-Identifier: Apache-2.0
"""What `isolation = strict` costs: pgbench -S through a transaction pool, tracked and strict in turns.

More clients than connections, so that a connection changes its client with nearly each transaction, which is the worst
there is for strict; and as many, where it seldom does. Figures are medians over the rounds, ratios are of tracked.
"""

import statistics

from worker_runs import QUIET, options, runs_in_turns, write

from harness.postgres import Postgres
from loads import PROTOCOLS, Pgbench, prepare
from ways import Broker

WAYS = ("tracked", "strict")
CLIENTS = (4, 32)
POOL_SIZE = 4


def brokers(postgres):
    return {way: Broker(way, way).start(postgres, QUIET | {"default_pool_size": POOL_SIZE, "isolation": way})
            for way in WAYS}


def medians(runs):
    return {key: statistics.median(one[key] for one in runs) for key in ("throughput", "p99_ms", "cpu_us")}


def main():
    asked = options(__doc__, quick=(1, 1), full=(5, 4))
    postgres = Postgres({"fsync": "off", "max_connections": 100})
    ways = {}
    figures = {}
    try:
        prepare(postgres)
        ways = brokers(postgres)
        print(f"{'protocol':10}{'clients':>8}  " + "".join(f"{way + ' tps':>13}" for way in WAYS)
              + f"{'tps':>7}{'broker cpu':>12}")
        for protocol in PROTOCOLS:
            load = Pgbench(f"select.{protocol}", "-S", protocol=protocol)
            for clients in CLIENTS:
                runs = runs_in_turns(WAYS, asked.rounds, lambda way: load.run(ways[way], clients, asked.seconds))
                seen = {way: medians(runs[way]) for way in WAYS}
                ratios = {key: seen["strict"][key] / seen["tracked"][key] for key in ("throughput", "cpu_us")}
                figures[f"{protocol}_{clients}"] = {**seen, "ratio": ratios}
                print(f"{protocol:10}{clients:8}  " + "".join(f"{seen[way]['throughput']:13.0f}" for way in WAYS)
                      + f"{ratios['throughput']:7.2f}{ratios['cpu_us']:12.2f}")
    finally:
        for one in ways.values():
            one.stop()
        postgres.destroy()
    write(figures, asked)


if __name__ == "__main__":
    main()
