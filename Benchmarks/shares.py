# SPDX-License-Identifier: Apache-2.0
"""One bound over eight brokers of one PostgreSQL, in bad weather: `pg_stat_activity` is looked at all the time.

All flood at once; load that wanders; a broker that is killed and started again, one that is stopped for a minute, some that
are cut off (each has a network namespace of its own, where `ip netns` works); PostgreSQL started anew; a rolling deployment
of all of them. Then the same load through eight poolers that do not know of each other.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests/end_to_end"))

import psycopg2  # noqa: E402

from harness.pooler import Pgbouncer, Pooler, pglease_binary  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.waiting import pause  # noqa: E402

TOTAL = 40
BROKERS = 8


class Networks:
    """A network namespace for each broker, with one link to PostgreSQL's host that can be taken down."""

    def __init__(self):
        self.names = [f"pglease-{os.getpid()}-{number}" for number in range(BROKERS)]
        self.work = True
        try:
            for number, name in enumerate(self.names):
                here, there = self.link(number), f"there{number}"
                self.ip("netns", "add", name)
                self.ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
                self.ip("addr", "add", f"{self.address(number)}/30", "dev", here)
                self.ip("link", "set", here, "up")
                self.ip("-n", name, "addr", "add", f"10.211.{number}.2/30", "dev", there)
                self.ip("-n", name, "link", "set", there, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"without network namespaces: {error}", file=sys.stderr)
            self.close()
            self.work = False

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    @staticmethod
    def link(number):
        return f"pgl{os.getpid() % 10000}n{number}"

    @staticmethod
    def address(number):
        """PostgreSQL's, as that broker sees it."""
        return f"10.211.{number}.1"

    def cut(self, numbers, state="down"):
        for number in numbers:
            self.ip("link", "set", self.link(number), state)

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Sharer(Pooler):
    """A broker in a network namespace of its own."""

    namespace = None

    def command(self):
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        return inside + super().command()


class Watch(threading.Thread):
    """Connections of the role app and of the one that asks, about thirty times a second."""

    def __init__(self, postgres):
        super().__init__(daemon=True)
        self.postgres, self.most, self.looks, self.over = postgres, 0, 0, 0
        self.is_over = threading.Event()
        self.start()

    def run(self):
        while not self.is_over.is_set():
            try:
                one = self.postgres.connect("app")
                cursor = one.cursor()
                while not self.is_over.is_set():
                    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename IN ('app', 'asker')")
                    count = cursor.fetchone()[0]
                    self.most = max(self.most, count)
                    self.over += count > TOTAL
                    self.looks += 1
                    pause(0.03)
            except psycopg2.Error:
                pause(0.1)

    def stop(self):
        self.is_over.set()
        self.join()


class Load:
    """Up to twenty clients of each broker; how many of them work is set from outside."""

    def __init__(self, brokers):
        self.brokers, self.working = brokers, [0] * len(brokers)
        self.done, self.is_over = [0] * len(brokers), threading.Event()
        for place in range(len(brokers)):
            for number in range(20):
                threading.Thread(target=self.run, args=(place, number), daemon=True).start()

    def run(self, place, number):
        one = None
        while not self.is_over.is_set():
            if number >= self.working[place]:
                if one:
                    one.close()
                    one = None
                pause(0.1)
                continue
            try:
                if one is None:
                    one = psycopg2.connect(self.brokers[place].dsn())
                    one.autocommit = True
                one.cursor().execute("SELECT pg_sleep(0.02)")
                self.done[place] += 1
            except psycopg2.Error:
                if one and one.closed:
                    one = None
                pause(0.1)

    def wander(self, rng):
        self.working = [rng.choice([0, 1, 3, 10, 20, 20]) for _ in self.brokers]


def span(load, rng, seconds):
    """Load that moves every ten seconds; statements that were done meanwhile."""
    before = sum(load.done)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        load.wander(rng)
        pause(min(10, max(0.1, deadline - time.monotonic())))
    return sum(load.done) - before


def measured(name, watch, result, body):
    looks, over = watch.looks, watch.over
    watch.most = 0
    start = time.monotonic()
    done = body()
    seconds = time.monotonic() - start
    result[name] = {"seconds": round(seconds), "statements": done, "looks": watch.looks - looks,
                    "most": watch.most, "over": watch.over - over}
    print(f"{name:42}{seconds:6.0f} s {done:8} statements {watch.looks - looks:6} looks, "
          f"at most {watch.most:3}, over {TOTAL}: {watch.over - over}", flush=True)


def brokers_of(postgres, kind, networks=None, **settings):
    found = []
    for number in range(BROKERS):
        host = networks.address(number) if networks else "127.0.0.1"
        one = kind(postgres, {"default_pool_size": "40" if kind is Pgbouncer else "38", "pool_mode": "transaction",
                              "query_wait_timeout": "60", **settings},
                   databases={"app": f"host={host} port={postgres.port} dbname=app user=app"})
        if networks:
            one.namespace = networks.names[number]
        found.append(one.start())
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="short spans, and a stop of 40 s")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--own-role", action="store_true", help="ask as a role of its own (shared_bound_user)")
    options.add_argument("--only", default="", metavar="WORD", help="only what has this word in its name")
    options.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    asked = options.parse_args()
    rng = random.Random(asked.seed)
    length = 20 if asked.quick else 60
    stop = 40 if asked.quick else 60
    networks = Networks()
    postgres = Postgres({"fsync": "off", "max_connections": 400, "listen_addresses": "*"},
                        hba=["host all all 10.211.0.0/16 trust"])
    environment = os.environ | {"PGHOST": postgres.host, "PGPORT": str(postgres.port),
                                "PGUSER": "postgres", "PGDATABASE": "app"}
    asker = "asker" if asked.own_role else "app"
    if asked.own_role:
        postgres.sql("CREATE ROLE asker LOGIN CONNECTION LIMIT 2")
    for words in (["init", "--role", asker], ["set", "orders", str(TOTAL)]):
        subprocess.run([pglease_binary(), "share", *words], check=True, env=environment,
                       stdout=subprocess.DEVNULL)
    result = {}

    def act(name, watch, result, body):
        if asked.only in name:
            measured(name, watch, result, body)
    brokers = brokers_of(postgres, Sharer, networks if networks.work else None, shared_bound="orders",
                         **({"shared_bound_user": asker} if asked.own_role else {}))
    load, watch = Load(brokers), Watch(postgres)
    try:
        def flooded():
            before = sum(load.done)
            for _ in range(4):
                load.working = [0] * BROKERS
                pause(8)
                load.working = [20] * BROKERS
                pause(length / 6)
            return sum(load.done) - before
        act("all begin to flood at once, 4 times", watch, result, flooded)
        act("load wanders", watch, result, lambda: span(load, rng, length))

        def killed():
            brokers[0].kill()
            done = span(load, rng, 5)
            brokers[0].start()
            return done + span(load, rng, length)
        act("kill -9, and another in its place", watch, result, killed)

        def stopped():
            brokers[1].send_signal(signal.SIGSTOP)
            done = span(load, rng, stop)
            brokers[1].send_signal(signal.SIGCONT)
            return done + span(load, rng, length)
        act(f"SIGSTOP for {stop} s, SIGCONT", watch, result, stopped)

        def cut():
            networks.cut([2])
            done = span(load, rng, length)
            networks.cut([2], "up")
            done += span(load, rng, length / 3)
            networks.cut([3, 4, 5])
            done += span(load, rng, 10)
            networks.cut([3, 4, 5], "up")
            return done + span(load, rng, length / 3)
        if networks.work:
            act(f"one is cut off for {length} s, three for 10 s", watch, result, cut)

        def restarted():
            postgres.restart(signal.SIGINT)
            done = span(load, rng, length // 2)
            postgres.restart(signal.SIGQUIT)
            return done + span(load, rng, length // 2)
        act("PostgreSQL anew, fast, immediate", watch, result, restarted)

        def rolled():
            done = 0
            for one in brokers:
                one.send_signal(signal.SIGTERM)
                one.wait()
                one.start()
                done += span(load, rng, 3)
            return done
        act("all of them anew, one by one", watch, result, rolled)
    finally:
        load.is_over.set()
        watch.stop()
        for one in brokers:
            one.destroy()
    brokers = brokers_of(postgres, Pgbouncer)
    load, watch = Load(brokers), Watch(postgres)
    try:
        act("8 pgbouncers of 40, load wanders", watch, result, lambda: span(load, rng, length))
    finally:
        load.is_over.set()
        watch.stop()
        for one in brokers:
            one.destroy()
        postgres.destroy()
        networks.close()
    if asked.json:
        Path(asked.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
