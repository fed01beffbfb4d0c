"""What `isolation = strict` costs: pgbench -S through a transaction pool, tracked and strict in turns.

More clients than connections, so that a connection changes its client with nearly each transaction, which is the worst
there is for strict; and as many, where it seldom does. Figures are medians over the rounds, ratios are of tracked.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests/end_to_end"))

from harness.pooler import Pooler  # noqa: E402
from harness.postgres import Postgres, binaries  # noqa: E402
from pgbench_ratios import median_of, run  # noqa: E402

WAYS = ("tracked", "strict")
PROTOCOLS = ("simple", "extended", "prepared")
CLIENTS = (4, 32)
POOL_SIZE = 4


def broker(postgres, isolation):
    return Pooler(postgres, {
        "pool_mode": "transaction", "default_pool_size": POOL_SIZE, "isolation": isolation,
        "log_connections": 0, "log_disconnections": 0, "log_stats": 0})


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="one short round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=4, help="of each run")
    options.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    asked = options.parse_args()
    rounds, seconds = (1, 1) if asked.quick else (asked.rounds, asked.seconds)
    postgres = Postgres({"fsync": "off", "max_connections": 100})
    ways = {}
    figures = {}
    try:
        subprocess.run(
            [str(binaries() / "pgbench"), "-i", "-q", "-h", postgres.host, "-p", str(postgres.port),
             "-U", "app", "app"], check=True, capture_output=True)
        for way in WAYS:
            ways[way] = broker(postgres, way)
            ways[way].start()
        print(f"{'protocol':10}{'clients':>8}  " + "".join(f"{way + ' tps':>13}" for way in WAYS)
              + f"{'tps':>7}{'broker cpu':>12}")
        for protocol in PROTOCOLS:
            for clients in CLIENTS:
                runs = {way: [] for way in WAYS}
                for _ in range(rounds):
                    for way in WAYS:
                        runs[way].append(run(ways[way], protocol, clients, seconds))
                seen = {way: median_of(runs[way]) for way in WAYS}
                ratios = {key: seen["strict"][key] / seen["tracked"][key] for key in ("tps", "cpu_us")}
                figures[f"{protocol}_{clients}"] = {**seen, "ratio": ratios}
                print(f"{protocol:10}{clients:8}  " + "".join(f"{seen[way]['tps']:13.0f}" for way in WAYS)
                      + f"{ratios['tps']:7.2f}{ratios['cpu_us']:12.2f}")
    finally:
        for one in ways.values():
            one.destroy()
        postgres.destroy()
    if asked.json:
        Path(asked.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
