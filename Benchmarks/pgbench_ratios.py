"""pgbench -S through pglease, through pgbouncer and directly: ratios from one run, in turns.

Every round runs each way once, so that a slow minute of the machine hits all of them; the figures
are medians over the rounds. CPU is what the kernel counted for the pooler's process.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests/end_to_end"))

from harness import wire  # noqa: E402
from harness.pooler import Direct, Pgbouncer, Pooler  # noqa: E402
from harness.postgres import Postgres, binaries  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
WAYS = ("direct", "pgbouncer", "pglease")
IDLE_CLIENTS = 1000


def start_ways(postgres, pool_size):
    settings = {
        "pool_mode": "transaction", "default_pool_size": pool_size, "max_client_conn": 2000,
        "log_connections": 0, "log_disconnections": 0, "log_stats": 0, "log_format": "text"}
    ways = {"direct": Direct(postgres), "pgbouncer": Pgbouncer(postgres, settings),
            "pglease": Pooler(postgres, settings)}
    for one in ways.values():
        one.start()
    return ways


def cpu_seconds(pooler):
    """User and system time of the pooler's process; none without a pooler."""
    if pooler.process is None:
        return 0.0
    fields = Path(f"/proc/{pooler.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def run(pooler, protocol, clients, seconds):
    """One run of pgbench; its figures, or None where the way cannot do it."""
    with tempfile.TemporaryDirectory() as logs:
        before = cpu_seconds(pooler)
        done = subprocess.run(
            [str(binaries() / "pgbench"), "-n", "-S", "-M", protocol, "-c", str(clients),
             "-j", str(min(clients, 2)), "-T", str(seconds), "-l", "--log-prefix", f"{logs}/log",
             "--sampling-rate", "0.2", pooler.dsn()],
            capture_output=True, text=True, cwd=logs)
        used = cpu_seconds(pooler) - before
        if done.returncode or "number of failed transactions: 0 " not in done.stdout:
            return {"error": (done.stderr.strip().splitlines() or ["failed"])[-1]}
        latencies = [int(line.split()[2]) for path in Path(logs).glob("log*")
                     for line in path.read_text().splitlines()]
    count = int(re.search(r"actually processed: (\d+)", done.stdout).group(1))
    return {
        "tps": float(re.search(r"tps = ([\d.]+) \(without", done.stdout).group(1)),
        "average_ms": float(re.search(r"latency average = ([\d.]+)", done.stdout).group(1)),
        "p99_ms": (percentile(latencies, 0.99) or 0) / 1000,
        "cpu_us": used * 1e6 / count if pooler.process else None,
    }


def median_of(runs):
    good = [one for one in runs if "error" not in one]
    if not good:
        return runs[0]
    return {key: statistics.median(one[key] for one in good) if good[0][key] is not None else None
            for key in good[0]}


def idle_memory(pooler):
    """Bytes of resident memory for each idle client."""
    if pooler.process is None:
        return None
    startup = wire.startup({"user": "app", "database": "app"})

    def enter(count):
        clients = []
        while len(clients) < count:
            batch = [wire.Wire(pooler.socket_path) for _ in range(50)]
            for one in batch:
                one.send(startup)
            for one in batch:
                one.finish_login("app")
            clients += batch
        return clients

    clients = enter(100)
    before = pooler.memory()
    clients += enter(IDLE_CLIENTS)
    each = (pooler.memory() - before) / IDLE_CLIENTS
    for one in clients:
        one.close()
    return each


def ratio(value, base):
    return f"{value / base:5.2f}" if value is not None and base else "    -"


def show(results):
    head = (f"{'protocol':9}{'clients':>8}  {'way':10}{'tps':>9}{'avg ms':>9}{'p99 ms':>9}"
            f"{'cpu us/tx':>11}   tps: of direct, of pgbouncer   cpu: of pgbouncer")
    print(head)
    print("-" * len(head))
    for case in results["cases"]:
        ways = case["ways"]
        for way in WAYS:
            figures = ways[way]
            start = f"{case['protocol']:9}{case['clients']:>8}  {way:10}"
            if "error" in figures:
                print(f"{start}  cannot: {figures['error'][:70]}")
                continue
            cpu = figures["cpu_us"]
            print(f"{start}{figures['tps']:9.0f}{figures['average_ms']:9.3f}"
                  f"{figures['p99_ms']:9.3f}{'-' if cpu is None else format(cpu, '.1f'):>11}"
                  f"   {ratio(figures['tps'], ways['direct'].get('tps')):>14}"
                  f"{ratio(figures['tps'], ways['pgbouncer'].get('tps')):>14}"
                  f"   {ratio(cpu, ways['pgbouncer'].get('cpu_us')):>17}")
    print()
    for way, each in results["idle_bytes"].items():
        if each is not None:
            print(f"{way:10} {each:8.0f} bytes of memory for each of {IDLE_CLIENTS} idle clients")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="two short rounds of fewer cases")
    options.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    options.add_argument("--rounds", type=int)
    options.add_argument("--seconds", type=int, help="length of each run")
    options.add_argument("--pool-size", type=int, default=10)
    options.add_argument("--pgbouncer", metavar="PATH", default=Pgbouncer.binary,
                         help="which pgbouncer, instead of Debian's")
    options.add_argument("--clients", metavar="N[,N]", help="numbers of clients")
    options.add_argument("--protocols", metavar="NAME[,NAME]", default="simple,extended,prepared")
    options.add_argument("--ways", default=",".join(WAYS), help=argparse.SUPPRESS)
    asked = options.parse_args()
    rounds = asked.rounds or (2 if asked.quick else 5)
    seconds = asked.seconds or (2 if asked.quick else 4)
    protocols = asked.protocols.split(",")
    counts = (1, 8) if asked.quick else (1, 8, 64)
    if asked.clients:
        counts = tuple(int(count) for count in asked.clients.split(","))
    Pgbouncer.binary = asked.pgbouncer

    postgres = Postgres({"shared_buffers": "128MB"})
    ways = {}
    try:
        subprocess.run([str(binaries() / "pgbench"), "-i", "-q", "-s", "10", "-U", "app",
                        "-h", postgres.host, "-p", str(postgres.port), "app"],
                       check=True, capture_output=True)
        ways = start_ways(postgres, asked.pool_size)
        chosen = asked.ways.split(",")
        cases = []
        for protocol in protocols:
            for clients in counts:
                runs = {way: [] for way in WAYS}
                for turn in range(rounds):
                    order = WAYS[turn % 3:] + WAYS[:turn % 3]
                    for way in order:
                        if way not in chosen:
                            runs[way].append({"error": "left out"})
                            continue
                        runs[way].append(run(ways[way], protocol, clients, seconds))
                cases.append({"protocol": protocol, "clients": clients,
                              "ways": {way: median_of(runs[way]) for way in WAYS}})
                print(f"{protocol}, {clients} clients: done", file=sys.stderr)
        results = {
            "rounds": rounds, "seconds": seconds, "pool_size": asked.pool_size,
            "processors": os.cpu_count(), "cases": cases,
            "pgbouncer": subprocess.run([asked.pgbouncer, "--version"], capture_output=True,
                                        text=True).stdout.split("\n")[0],
            "idle_bytes": {way: idle_memory(ways[way]) for way in WAYS},
        }
    finally:
        for one in ways.values():
            one.destroy()
        postgres.destroy()
    show(results)
    if asked.json:
        Path(asked.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
