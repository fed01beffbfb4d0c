# SPDX-License-Identifier: Apache-2.0
"""Bursts of nested leases whose threads pause, from psycopg2's own pool: how many stand still until the deadline?

One process, so many threads at once; each takes leases, each in the transaction of the one before, and pauses for up to
so long between two of them. Printed for every case: bursts in which a thread got an error, the time that a burst
took, the most connections that were open, and what was lent. Of each burst that stood still `--events` prints what the
broker saw, and its log (`--log-level info` has every loan), `--steps` every request and grant of its threads.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end")]

from harness.bursts import HABITS, Burst  # noqa: E402
from harness.pooler import Pooler  # noqa: E402
from harness.postgres import Postgres  # noqa: E402


def measure(postgres, case, options):
    """Runs the bursts of one case on one broker each; returns the figures."""
    threads, size, reserve, cap, pause, habit = case
    stalls, times, most, lent = 0, [], 0, 0
    for number in range(options.bursts):
        broker = Pooler(
            postgres,
            {"default_pool_size": size, "reserve_pool_size": reserve, "query_wait_timeout": options.timeout,
             "log_connections": 0, "log_disconnections": 0, "log_stats": 0, "log_level": options.log_level,
             "query_wait_notify": 0},
            groups={"any": f"match=* max_leases={cap}"} if cap else {})
        broker.start()
        try:
            burst = Burst(broker.dsn(), threads, pause / 1000, habit, options.depth, options.seed + number).run()
            stalls += bool(burst.errors)
            times.append(burst.took)
            most = max(most, len(broker.console("SHOW SERVERS")))
            lent += sum(int(row["count"]) for row in broker.console("SHOW EVENTS") if row["kind"] == "reserve_lent")
            if burst.errors or options.all:
                tell(broker, burst, options, number)
        finally:
            broker.errors_expected = True
            broker.destroy()
    return {
        "threads": threads, "size": size, "reserve": reserve, "cap": cap, "pause_ms": pause, "habit": habit,
        "bursts": options.bursts, "stalled": stalls, "longest_s": round(max(times), 2),
        "mean_s": round(sum(times) / len(times), 2), "most_connections": most,
        "lent_per_burst": round(lent / options.bursts, 1)}


def tell(broker, burst, options, number):
    print(f"burst {number} (seed {burst.seed}): {len(burst.errors)} errors in {burst.took:.2f} s")
    if options.events:
        for row in broker.console("SHOW EVENTS"):
            print("   ", row["time"], row["kind"], row["count"], row["message"])
        print("    " + broker.log_tail(400).replace("\n", "\n    "))
    if options.steps:
        for at, thread, level, what in burst.steps:
            print(f"    {at:.4f} thread {thread} level {level + 1} {what}")


def numbers(text):
    return [int(word) if word != "none" else None for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", metavar="THREADS,SIZE,RESERVE,CAP",
                        help="CAP none for no cap; may be given again (11,5,3,none 14,10,3,none 14,10,3,9)")
    parser.add_argument("--pauses", default="30,100,300", help="the longest pause, in ms")
    parser.add_argument("--habits", default=",".join(HABITS))
    parser.add_argument("--bursts", type=int, default=20)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--timeout", type=int, default=30, help="query_wait_timeout, in s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-level", default="warning")
    parser.add_argument("--events", action="store_true")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--all", action="store_true", help="tell of bursts that came to their end, too")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    postgres = Postgres()
    results = []
    try:
        for words in options.case or ["11,5,3,none", "14,10,3,none", "14,10,3,9"]:
            for pause in numbers(options.pauses):
                for habit in options.habits.split(","):
                    case = (*numbers(words), pause, habit)
                    results.append(measure(postgres, case, options))
                    print(json.dumps(results[-1]), flush=True)
    finally:
        postgres.destroy()
        if options.json:
            Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any(one["stalled"] for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
