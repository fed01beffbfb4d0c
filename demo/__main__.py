# SPDX-License-Identifier: Apache-2.0
"""The demo of scripts/demo: see there."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end")]

from chaos import Chaos  # noqa: E402
from cluster import Cluster  # noqa: E402
from screen import Live, Plain  # noqa: E402
from services import Services  # noqa: E402
from shop import PIPELINES, Shop, Storefront  # noqa: E402
from summary import Summary  # noqa: E402
from watch import ENDED, Clock, Watcher  # noqa: E402


class Told(Exception):
    """A signal asks for the end."""


class TooLate(Exception):
    """Something did not happen by the deadline."""


class Demo:
    def __init__(self, options):
        self.options = options
        self.clock = Clock()
        title = f"{len(PIPELINES)} pipelines, {options.jobs} jobs"
        self.view = Live(self.clock, options.connections, title) if options.live \
            else Plain(self.clock, options.connections)
        self.cluster = self.services = self.watcher = self.storefront = self.chaos = None

    def say(self, text):
        self.view.say(text)

    def run(self):
        """All of it; returns the summary."""
        self.set_up()
        self.until("all pipelines run", self.pipelines_run)
        self.say("all pipelines run; the storefront changes rows, the jobs are queued")
        began = self.clock.seconds
        self.storefront = Storefront(self.shop, str(self.services.folder), self.services.port)
        self.storefront.start()
        self.shop.queue_jobs()
        for worker in self.services.backfills:
            worker.start()
        if self.options.chaos:
            self.chaos = Chaos(self.cluster, self.services, self.watcher, self.say)
        self.until("the jobs have ended", lambda: (
            self.watcher.seen.jobs and self.watcher.seen.number(*ENDED) == len(self.watcher.seen.jobs)
            and (not self.chaos or self.chaos.is_over)))
        self.say("all jobs have ended")
        self.until("the storefront has had its time",
                   lambda: self.clock.seconds - began >= self.options.seconds)
        self.storefront.stop()
        self.say(f"the storefront has closed after {self.storefront.transactions} transactions")
        return self.finish()

    def set_up(self):
        self.say("PostgreSQL is made and started (wal_level = logical)")
        self.cluster = Cluster()
        self.cluster.make()
        self.cluster.launch()
        self.until("PostgreSQL answers", self.cluster.accepts)
        self.shop = Shop(self.cluster, self.options.jobs, self.options.rows)
        self.shop.make_databases()
        self.say(f"the broker starts: {self.options.connections} server connections at most")
        self.services = Services(self.cluster, self.options)
        self.watcher = Watcher(self.cluster, self.services, self.options.rows)
        self.services.broker.start()
        self.until("the broker listens", self.services.broker_is_ready)
        self.services.migrate()
        self.say(f"{self.options.jobs} tables of {self.options.rows:,} rows are made")
        self.shop.fill()
        self.shop.describe()
        self.services.pipelines.start()

    def pipelines_run(self):
        """Each has its slot: what changes from now on arrives."""
        pipelines = self.watcher.seen.pipelines
        return pipelines and all(one.state == "RUNNING" for one in pipelines)

    def finish(self):
        behind = [name for name, _ in self.shop.tables]

        def is_same():
            nonlocal behind
            behind = self.shop.differing(
                [table for table in self.shop.tables if table[0] in behind])
            return not behind
        try:
            self.until("the warehouse is in line with the shop", is_same, every=0.5)
            # Once more, all of it: nothing moves any more.
            behind = self.shop.differing(self.shop.tables)
        except TooLate as error:
            self.say(str(error))
        self.say("the workers are told to end")
        self.services.stop([*self.services.backfills, self.services.pipelines], 15)
        leases = self.leases_left()
        return Summary(self.options, self.shop, self.services, self.storefront, self.watcher,
                       self.chaos).take(behind, leases)

    def leases_left(self):
        """Those of ended processes take the broker a moment."""
        try:
            self.until("all leases are back", lambda: self.watcher.look().leases == 0, within=10)
        except TooLate:
            pass
        return self.watcher.seen.leases

    def until(self, what, condition, within=None, every=0.0):
        """Shows what there is until the condition holds; chaos has its turns meanwhile."""
        deadline = min(self.options.deadline, self.clock.seconds + (within or 1e9))
        next_look = next_try = 0.0
        while True:
            if self.watcher:
                if self.clock.seconds >= next_look:
                    self.view.show(self.watcher.look())
                    next_look = self.clock.seconds + 0.4
                else:
                    self.watcher.count_connections()
            if self.services:
                self.services.check()
            if self.chaos:
                self.chaos.turn()
            if self.clock.seconds >= next_try:
                if condition():
                    return
                next_try = self.clock.seconds + every
            if self.clock.seconds > deadline:
                raise TooLate(f"not in time ({self.clock.seconds:.0f} s): {what}")
            time.sleep(0.05)

    def close(self):
        """Whatever has been started ends, whatever has been made goes."""
        if self.storefront:
            self.storefront.ending.set()
        if self.watcher:
            self.watcher.close()
        if self.services:
            if self.options.keep:
                self.keep_logs()
            self.services.destroy()
        if self.cluster:
            self.cluster.destroy()

    def keep_logs(self):
        folder = Path(self.options.keep)
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.services.folder.glob("*.log"):
            (folder / log.name).write_bytes(log.read_bytes())
        (folder / "postgres.log").write_bytes((self.cluster.folder / "log").read_bytes())


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("use a number from 1")
    return value


def read_options():
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="A private PostgreSQL, the broker, four pipelines and backfill jobs on "
        "generated data, with a live table of who holds what. Exit status 0: everything as promised.")
    parser.add_argument("--chaos", action="store_true",
                        help="kill a worker and a pipeline, restart PostgreSQL meanwhile")
    parser.add_argument("--jobs", type=positive, default=30, help="backfill jobs (30)")
    parser.add_argument("--rows", type=positive, default=20_000, help="rows of each job (20000)")
    parser.add_argument("--seconds", type=positive, default=15,
                        help="how long rows are changed at the source, at least (15)")
    parser.add_argument("--connections", type=positive, default=10,
                        help="server connections that the broker may open (10)")
    parser.add_argument("--deadline", type=positive, default=600,
                        help="seconds after which the demo has failed (600)")
    parser.add_argument("--plain", action="store_true", help="lines also on a terminal")
    parser.add_argument("--keep-logs", dest="keep", metavar="FOLDER",
                        help="copy the logs there in the end")
    options = parser.parse_args()
    options.pglease = os.environ["PGLEASE_BIN"]
    options.workers = os.environ["PGLEASE_WORKERS_BIN"]
    options.batch_rows = min(5000, max(100, options.rows // 20))
    # Of each of the two workers.
    options.at_once = max(1, min(8, options.jobs))
    options.live = sys.stdout.isatty() and not options.plain \
        and os.environ.get("TERM", "dumb") != "dumb"
    return options


def main():
    options = read_options()
    demo = Demo(options)

    def tell(number, _):
        raise Told(number)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        signal.signal(number, tell)
    status, last = 1, ""
    try:
        demo.view.open()
        summary = demo.run()
        status, last = (0 if summary.is_good else 1), summary.text()
    except Told as told:
        status, last = 128 + told.args[0], "ended as told; cleaning up"
    except Exception as error:
        last = f"the demo failed: {error}"
    finally:
        # Nothing interrupts the cleaning up; it is bounded.
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        demo.view.close()
        print(last, flush=True)
        demo.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
