# SPDX-License-Identifier: Apache-2.0
"""What io_uring would spare: one bare relay, with epoll, with io_uring, and with io_uring for the waiting alone.

Each client has a server connection of its own and every byte passes unread, so that nothing but the kernel's part is
measured (Benchmarks/Waiting/relay.c). pgbench -S through each in turns; medians of the rounds: transactions a second, and
the relay's processor time for each of them, in microseconds. Needs gcc and liburing-dev.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end")]

from harness.postgres import Postgres, binaries  # noqa: E402
from harness.waiting import eventually  # noqa: E402

WAYS = {"epoll": "epoll, read, write", "uring": "io_uring: receives and sends, one call a turn",
        "poll": "io_uring to wait, read, write"}
CLIENTS = (1, 8, 32, 90)
PORT = 7000


def build(folder):
    relay = folder / "relay"
    done = subprocess.run(
        ["gcc", "-O2", "-Wall", "-Werror", "-o", relay, ROOT / "Benchmarks/Waiting/relay.c", "-luring"],
        capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the relay is not built (apt-get install gcc liburing-dev?):\n{done.stderr}")
    return relay


def pgbench(*arguments):
    done = subprocess.run([f"{binaries()}/pgbench", *arguments, "-U", "postgres", "postgres"],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def once(relay, postgres, folder, way, clients, seconds):
    """Transactions a second, and microseconds of user and system time for each."""
    socket = folder / f".s.PGSQL.{PORT}"
    process = subprocess.Popen([relay, way, socket, postgres.socket_path], stderr=subprocess.PIPE, text=True)
    eventually(socket.exists)
    try:
        told = pgbench("-n", "-h", str(folder), "-p", str(PORT), "-S", "-c", str(clients), "-T", str(seconds))
    finally:
        process.terminate()
        said = process.communicate()[1]
        socket.unlink(missing_ok=True)
    if process.returncode:
        sys.exit(said)
    user, system = (float(one) * 1e6 for one in said.split()[-2:])
    count = int(re.search(r"actually processed: (\d+)", told).group(1))
    return float(re.search(r"tps = ([\d.]+)", told).group(1)), user / count, system / count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {}
    postgres = Postgres()
    try:
        pgbench("-i", "-q", "-h", postgres.host, "-p", str(postgres.port))
        with tempfile.TemporaryDirectory(prefix="pgle-waiting-") as folder:
            folder = Path(folder)
            relay = build(folder)
            for _ in range(given.rounds):
                for clients in CLIENTS:
                    for way in WAYS:
                        found.setdefault((clients, way), []).append(
                            once(relay, postgres, folder, way, clients, given.seconds))
    finally:
        postgres.destroy()
    ratios = {}
    for clients in CLIENTS:
        own = [sum(one[1:]) for one in found[clients, "epoll"]]
        for way, title in WAYS.items():
            rounds = found[clients, way]
            rate, user, system = (statistics.median(values) for values in zip(*rounds))
            each = sorted(sum(one[1:]) / beside for one, beside in zip(rounds, own))
            ratios[f"waiting.{way}.{clients}.cpu"] = statistics.median(each)
            print(f"{clients:3} clients, {title}: {rate:,.0f} a second, {user:.2f} + {system:.2f} µs,"
                  f" {statistics.median(each):.2f} of epoll ({each[0]:.2f} to {each[-1]:.2f})", flush=True)
    if given.json:
        given.json.write_text(json.dumps(ratios, indent=1))


if __name__ == "__main__":
    main()
