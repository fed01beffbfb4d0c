# SPDX-License-Identifier: Apache-2.0
"""User-space instructions and mallocs for each transaction, through pglease and through pgbouncer.

Counted by valgrind's callgrind as the difference between a short and a long run, so that neither the start
nor the logins count: repeatable whatever else the machine does. What the kernel does is not in it.
Eight clients, a pool of ten, transaction mode; a direct lease and its return are one psycopg2 worker's.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end"), str(ROOT / "clients/python/src")]

from harness.pooler import Pgbouncer, Pooler  # noqa: E402
from harness.postgres import Postgres, binaries  # noqa: E402

CLIENTS = 8
SETTINGS = {
    "pool_mode": "transaction", "default_pool_size": 10, "max_client_conn": 500,
    "log_connections": 0, "log_disconnections": 0, "log_stats": 0, "log_format": "text",
    "max_prepared_statements": 200}
FIVE = """\\set aid random(1, 100000)
BEGIN;
""" + 5 * "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n" + "COMMIT;\n"
LEASES = """
import sys
from pglease.psycopg2_pool import LeasePool
pool = LeasePool(1, 1, sys.argv[1])
for _ in range(int(sys.argv[2])):
    with pool.lease("bench") as connection:
        pass
"""
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"}


class Counted:
    """A pooler under callgrind."""

    binary = None

    def command(self):
        command = super().command()
        program = [str(self.binary), *command[1:]] if self.binary else command
        # What is named may be a script that is replaced by the pooler.
        return ["valgrind", "--tool=callgrind", "--trace-children=yes",
                f"--callgrind-out-file={self.counts}", *program]

    @property
    def counts(self):
        return self.folder / "callgrind"

    good_ends = (0, 1, -2, -3, -15)


class CountedPglease(Counted, Pooler):
    pass


class CountedPgbouncer(Counted, Pgbouncer):
    UNHEARD = {"max_prepared_statements"}

    def sections(self):
        # Newer ones have what Debian 12's has not heard of.
        known = self.UNHEARD if self.binary else set()
        for name, entries in super().sections():
            if name == "pgbouncer":
                entries = entries | {key: self.settings[key] for key in known}
            yield name, entries


def read_counts(path):
    """Instructions, and calls of the allocators, of a whole run."""
    names, total, mallocs, called = {}, 0, 0, None
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("cfn="):
            number, _, name = line[4:].partition(" ")
            if name:
                names[number] = name
            called = names.get(number, "")
        elif line.startswith("fn="):
            number, _, name = line[3:].partition(" ")
            if name:
                names[number] = name
        elif line.startswith("calls=") and called in ALLOCATORS:
            mallocs += int(line[6:].split()[0])
        elif found := re.match(r"(?:summary|totals): (\d+)", line):
            total = total or int(found.group(1))
    return total, mallocs


def pgbench(pooler, count, *arguments):
    done = subprocess.run(
        [str(binaries() / "pgbench"), "-n", "-c", str(CLIENTS), "-j", "1", "-t", str(count),
         *arguments, pooler.dsn()], capture_output=True, text=True)
    if done.returncode or f"{CLIENTS * count}/{CLIENTS * count}" not in done.stdout:
        raise RuntimeError((done.stderr.strip().splitlines() or ["pgbench failed"])[-1])


def leases(pooler, count):
    program = [sys.executable, "-c", LEASES, pooler.dsn(), str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "clients/python/src")}
    subprocess.run(program, check=True, capture_output=True, env=environment)


def cases(five):
    """Name, what runs, transactions for each count, and the two counts."""
    yield "simple", lambda p, n: pgbench(p, n, "-S"), CLIENTS, (200, 1200)
    yield "extended", lambda p, n: pgbench(p, n, "-S", "-M", "extended"), CLIENTS, (200, 1200)
    yield "prepared", lambda p, n: pgbench(p, n, "-S", "-M", "prepared"), CLIENTS, (200, 1200)
    yield "connect", lambda p, n: pgbench(p, n, "-S", "-C"), CLIENTS, (20, 120)
    yield "five", lambda p, n: pgbench(p, n, "-f", five), CLIENTS, (100, 500)
    yield "lease", leases, 1, (50, 550)


def measure(make, run, each, counts):
    seen = []
    for count in counts:
        pooler = make()
        try:
            pooler.start(within=120)
            run(pooler, count)
            pooler.stop()
            seen.append(read_counts(pooler.counts))
        finally:
            pooler.destroy()
    transactions = each * (counts[1] - counts[0])
    return [round((long - short) / transactions, 2) for short, long in zip(*seen)]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pgbouncer", metavar="PATH", help="another pgbouncer than Debian's")
    options.add_argument("--only", action="append", metavar="CASE",
                         help="simple, extended, prepared, connect, five, lease; may be repeated")
    options.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    asked = options.parse_args()
    CountedPgbouncer.binary = asked.pgbouncer
    postgres = Postgres({"fsync": "off"})
    five = postgres.folder / "five.sql"
    five.write_text(FIVE)
    figures = {}
    try:
        subprocess.run(
            [str(binaries() / "pgbench"), "-i", "-q", "-h", postgres.host, "-p",
             str(postgres.port), "-U", "app", "app"], check=True, capture_output=True)
        ways = {"pglease": lambda: CountedPglease(postgres, SETTINGS),
                "pgbouncer": lambda: CountedPgbouncer(postgres, SETTINGS)}
        print(f"{'':10}{'pglease':>10}{'mallocs':>9}{'pgbouncer':>11}{'mallocs':>9}{'ratio':>7}")
        for name, run, each, counts in cases(five):
            if asked.only and name not in asked.only:
                continue
            row = {}
            for way, make in ways.items():
                if name == "lease" and way == "pgbouncer":
                    continue
                try:
                    row[way] = measure(make, run, each, counts)
                except RuntimeError as error:
                    print(f"{name}: {way} cannot: {error}", file=sys.stderr)
            figures[name] = {
                f"{way}_{what}": value for way, values in row.items()
                for what, value in zip(("instructions", "mallocs"), values)}
            shown = "".join(
                f"{row[way][0]:>{width}.0f}{row[way][1]:>9.2f}" if way in row
                else f"{'-':>{width}}{'-':>9}" for way, width in (("pglease", 10), ("pgbouncer", 11)))
            ratio = f"{row['pglease'][0] / row['pgbouncer'][0]:7.2f}" if len(row) == 2 else "      -"
            print(f"{name:10}{shown}{ratio}", flush=True)
    finally:
        postgres.destroy()
    if asked.json:
        Path(asked.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
