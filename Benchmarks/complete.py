# SPDX-License-Identifier: Apache-2.0
"""Every way from a client to PostgreSQL under every load and in every scenario, in turns, in one run.

Every round runs each way once, in an order that changes, so that a slow minute of the machine hits all of them; the
figures are medians over the rounds. docs/benchmarks.md says what the loads, scenarios, figures and ratios are.
"""

import argparse
import contextlib
import datetime
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / part) for part in ("Tests/end_to_end", "clients/python/src")]

import figures  # noqa: E402
import loads as all_loads  # noqa: E402
import report  # noqa: E402
import scenarios as all_scenarios  # noqa: E402
import ways as all_ways  # noqa: E402
from figures import Cannot  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from peers import DEFAULT_FOLDER, Peers  # noqa: E402

CALLS_AT = 8  # clients of the short runs in which system calls are counted


class Complete:
    """One run of everything that is asked for."""

    def __init__(self, asked, ways, loads, scenarios):
        self.asked, self.ways, self.loads, self.scenarios = asked, ways, loads, scenarios
        self.began = time.monotonic()
        self.cells, self.scenes = {}, {}
        self.refused = {}
        self.postgres = None

    def say(self, what):
        print(f"{time.monotonic() - self.began:6.0f} s  {what}", file=sys.stderr, flush=True)

    def run(self):
        self.postgres = Postgres({"shared_buffers": "256MB", "max_connections": 1300})
        try:
            all_loads.prepare(self.postgres, 1 if self.asked.quick else all_loads.SCALE)
            if self.loads:
                self.run_loads()
            for name, scenario in self.scenarios.items():
                self.scenes[name] = {key: self.play(scenario, way) for key, way in self.ways.items()}
                self.say(f"{name}: done")
        finally:
            for one in self.ways.values():
                one.stop()
            self.postgres.destroy()
        return self.results()

    # Loads.

    def run_loads(self):
        for one in self.ways.values():
            try:
                one.start(self.postgres, {"default_pool_size": self.asked.pool_size})
            except Exception as error:  # noqa: BLE001 - the others are measured
                self.say(f"{one.key} does not start: {error}")
        for name, load in self.loads.items():
            for clients in self.counts(name):
                self.cells[name, clients] = self.in_turns(load, clients)
                self.say(f"{name}, {clients} clients: done")
        for one in self.ways.values():
            one.stop()

    def counts(self, name):
        if self.asked.clients:
            return self.asked.clients
        return (all_loads.QUICK if self.asked.quick else all_loads.CLIENTS)[name]

    def in_turns(self, load, clients):
        """The runs of each way, round by round. A way that could not is not asked again, nor with more clients."""
        keys = [key for key in self.ways if load.uses_driver or key != "lease"]
        runs = {key: [] for key in keys}
        for turn in range(self.asked.rounds):
            shift = turn % len(keys)
            for key in keys[shift:] + keys[:shift]:
                if runs[key] and "cannot" in runs[key][-1]:
                    runs[key].append(runs[key][-1])
                else:
                    runs[key].append(self.once(load, self.ways[key], clients))
        counted = CALLS_AT if CALLS_AT in self.counts(load.name) else self.counts(load.name)[0]
        if clients == counted:
            for key in keys:
                calls = self.system_calls(load, self.ways[key], clients, runs[key][-1])
                for one in runs[key]:
                    if "cannot" not in one:
                        one["calls"] = calls
        return runs

    def once(self, load, way, clients):
        before = self.refused.get((load.name, way.key))
        if before:
            return {"cannot": f"not with {before[0]} clients: {before[1]}"}
        if not way.pooler:
            return {"cannot": "does not start"}
        try:
            return load.run(way, clients, self.asked.seconds)
        except (Cannot, OSError, EOFError) as error:
            self.refused[load.name, way.key] = clients, str(error)
            if way.has_process:
                with contextlib.suppress(Exception):
                    way.again()
            return {"cannot": str(error)}

    def system_calls(self, load, way, clients, last):
        """For each transaction: a run and a longer one, so that what each does once is in neither."""
        if not way.has_process or not way.pooler or "cannot" in last:
            return None
        short = 3
        long = short + max(4, round(min(last["throughput"] * 0.4, 20_000) / clients))
        seen = []
        try:
            with tempfile.TemporaryDirectory() as folder:
                for each in (short, long):
                    with figures.system_calls(way.pooler.pid, folder) as counted:
                        load.run(way, clients, each=each)
                    seen += counted
        except (Cannot, OSError) as error:
            self.say(f"system calls of {way.key}: {error}")
            return None
        return max(0.0, (seen[1] - seen[0]) / (clients * (long - short)))

    # Scenarios.

    def play(self, scenario, way):
        scene = all_scenarios.Scene(self.asked.seconds, self.asked.quick)
        try:
            return scenario.play(way, self.postgres, scene)
        except Exception as error:  # noqa: BLE001 - one way's failure is its figure
            return {"cannot": (str(error).strip().splitlines() or [repr(error)])[0][:120]}

    # What it comes to.

    def results(self):
        loads = {}
        for (name, clients), runs in self.cells.items():
            loads.setdefault(name, {})[clients] = {key: figures.summary(each) for key, each in runs.items()}
        return {
            "date": datetime.date.today().isoformat(), "rounds": self.asked.rounds, "seconds": self.asked.seconds,
            "pool_size": self.asked.pool_size, "machine": figures.machine() | {"load_before": self.asked.load},
            "versions": self.versions(), "loads": loads, "scenarios": self.scenes,
            "titles": {name: one.title for name, one in self.scenarios.items()},
            "ratios": report.ratios(self.cells, self.scenes), "took_s": time.monotonic() - self.began,
        }

    def versions(self):
        found = {"PostgreSQL": all_ways.find()["direct"].version()}
        for key, way in self.ways.items():
            if key not in ("direct", "lease"):
                found[key] = way.version()
        return found


def words(text):
    return [word for word in text.split(",") if word]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of fewer and smaller cases: within 4 minutes")
    parser.add_argument("--only", type=words, default=[], metavar="NAME[,NAME]",
                        help="loads and scenarios by name or by how it begins: select, copy.in, burst; loads, scenarios")
    parser.add_argument("--ways", type=words, metavar="NAME[,NAME]",
                        help="direct, pglease, lease, pgbouncer, odyssey, pgagroal")
    parser.add_argument("--clients", type=lambda text: [int(word) for word in words(text)], metavar="N[,N]")
    parser.add_argument("--protocols", type=words, metavar="NAME[,NAME]", help="simple, extended, prepared")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="length of each run")
    parser.add_argument("--pool-size", type=int, default=10)
    parser.add_argument("--pgbouncer", metavar="PATH", help="which pgbouncer, instead of Debian's")
    parser.add_argument("--peers", nargs="?", const=str(DEFAULT_FOLDER), metavar="FOLDER",
                        help="beside pgbouncer, Odyssey and pgagroal of Debian sid, in this folder: debootstrap makes it")
    parser.add_argument("--json", metavar="FILE", help="write every figure and ratio to FILE")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to FILE as well")
    parser.add_argument("--svg", metavar="FILE", help="draw throughput and latency to FILE")
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (1 if asked.quick else 3)
    asked.seconds = asked.seconds or 1
    asked.load = figures.machine()["load_before"]
    return parser, asked


def chosen(asked, found, group):
    """Those of a group that are asked for."""
    return {name: one for name, one in found.items()
            if not asked.only or any(name == word or name.startswith(f"{word}.") or word == group
                                     for word in asked.only)}


def main():
    parser, asked = options()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    peers = Peers(asked.peers).make() if asked.peers else None
    ways = all_ways.find(peers, asked.pgbouncer)
    for name in asked.ways or []:
        if name not in ways:
            parser.error(f"there is no way called {name}: there are {', '.join(ways)}")
    ways = {key: one for key, one in ways.items() if not asked.ways or key in asked.ways}
    loads = {name: one for name, one in chosen(asked, all_loads.find(), "loads").items()
             if not asked.protocols or one.protocol in asked.protocols}
    scenarios = chosen(asked, all_scenarios.ALL, "scenarios")
    if not loads and not scenarios:
        parser.error(f"nothing is called {', '.join(asked.only)}: there are "
                     f"{', '.join([*all_loads.find(), *all_scenarios.ALL])}")
    if asked.protocols and not asked.only:
        scenarios = {}
    results = Complete(asked, ways, loads, scenarios).run()
    table = report.markdown(results)
    print(table)
    for path, text in ((asked.json, json.dumps(results, indent=1) + "\n"), (asked.markdown, table),
                       (asked.svg, report.plot(results))):
        if path:
            Path(path).write_text(text)


if __name__ == "__main__":
    main()
