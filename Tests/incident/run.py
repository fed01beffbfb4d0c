# SPDX-License-Identifier: Apache-2.0
"""The incident, in every way: own pools, pgbouncer, pglease. Prints a table.

    python Tests/incident/run.py [--ways own,pgbouncer,pglease] [--sizes small,asked,many] [--json FILE]
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "end_to_end")]

import incident  # noqa: E402
from incident import Size  # noqa: E402
from ways import WAYS  # noqa: E402
from world import start_postgres  # noqa: E402

SIZES = {
    "small": Size(pool=5, pipelines=1, jobs=10),
    "asked": Size(pool=10, pipelines=4, jobs=30),
    "many": Size(pool=10, pipelines=10, jobs=30),
}

COLUMNS = ("way", "COMPLETED", "rows right", "seconds", "connections", "limit", "sessions", "locked s",
           "exhausted", "gave up", "other errors", "spoilt by D1", "pipelines", "leases back")


def row(title, seen):
    others = {kind: count for kind, count in seen.errors.items()
              if kind not in ("pool exhausted", "gave up (exhausted)", "process died")}
    return (
        title, f"{seen.completed} of {seen.size.jobs}", f"{seen.right} of {seen.size.jobs}",
        "stuck" if seen.stuck else f"{seen.seconds:.1f}", str(seen.most_connections),
        str(seen.limit or "none"), str(seen.sessions), f"{seen.locked_seconds:.1f}",
        str(seen.errors.get("pool exhausted", 0)), str(seen.errors.get("gave up (exhausted)", 0)),
        str(sum(others.values())), str(seen.spoilt), f"{seen.streaming} of {seen.size.pipelines}",
        "no" if seen.left_over else "yes")


def table(rows):
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join(lines + ["| " + " | ".join(one) + " |" for one in rows])


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--ways", default="own,own-large,pgbouncer,pglease,pglease-within,pglease-module",
                       help="of " + ", ".join(WAYS))
    words.add_argument("--sizes", default="small,asked,many", help="of " + ", ".join(SIZES))
    words.add_argument("--limit", type=float, default=200, help="seconds for a run")
    words.add_argument("--quiet", type=float, default=60, help="seconds without progress: stuck")
    words.add_argument("--ending", choices=("interrupt", "kill"), default="interrupt")
    words.add_argument("--times", type=int, default=1)
    words.add_argument("--json", type=Path)
    words.add_argument("--logs", type=Path, help="folder that keeps the workers' logs")
    given = words.parse_args()
    if given.logs:
        given.logs.mkdir(parents=True, exist_ok=True)
    results = []
    postgres = start_postgres()
    try:
        for size in given.sizes.split(","):
            results += runs_of_a_size(postgres, size, given)
            if given.json:
                given.json.write_text(json.dumps([asdict(seen) for seen in results], indent=2) + "\n")
    finally:
        postgres.destroy()


def runs_of_a_size(postgres, size, given):
    rows, results = [], []
    for name in given.ways.split(","):
        for time in range(given.times):
            log = given.logs / f"{size}-{name}-{time}.log" if given.logs else None
            seen = incident.run(postgres, name, WAYS[name], SIZES[size], limit=given.limit,
                                quiet=given.quiet, ending=given.ending, log_path=log)
            results.append(seen)
            rows.append(row(WAYS[name].title, seen))
            print(f"{size} {name}: {', '.join(rows[-1][1:])}; errors {seen.errors};"
                  f" statuses {seen.statuses}; spoilt by D1: {seen.spoilt};"
                  f" {seen.judge() or 'nothing else wrong'}",
                  file=sys.stderr, flush=True)
    print(f"\n{SIZES[size].title}\n\n{table(rows)}", flush=True)
    return results


if __name__ == "__main__":
    main()
