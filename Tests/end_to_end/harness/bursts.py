# SPDX-License-Identifier: Apache-2.0
"""Bursts of nested leases from psycopg2's own pool: threads that all begin at once and pause between the levels."""

import random
import threading
import time

from psycopg2.pool import ThreadedConnectionPool

# What a thread does with a connection that it has just taken: nothing; try it with a statement of its own; the same
# in a transaction; use it for a transaction and pause then, as between two levels.
HABITS = ("nothing", "tries", "tries in transaction", "uses once")


class Burst:
    """Each thread takes leases, each in the transaction of the one before, and pauses for up to `longest` seconds before
    the next. `errors` are those that threads got, `steps` what they did and when."""

    def __init__(self, dsn, threads, longest, habit="nothing", depth=3, seed=1):
        self.pool = ThreadedConnectionPool(1, 4 * threads, dsn)
        self.threads, self.longest, self.habit = threads, longest, habit
        self.depth, self.seed = depth, seed
        self.together = threading.Barrier(threads)
        self.thinking = threading.Event()  # never set: a thread thinks until its time is up
        self.steps, self.errors, self.took = [], [], None

    def run(self):
        workers = [threading.Thread(target=self.chain, args=(number,), daemon=True)
                   for number in range(self.threads)]
        began = time.monotonic()
        for one in workers:
            one.start()
        for one in workers:
            one.join()
        self.took = time.monotonic() - began
        self.pool.closeall()
        return self

    def chain(self, thread):
        chance = random.Random(f"{self.seed}/{thread}")
        self.together.wait(30)
        held = []
        try:
            for level in range(self.depth):
                if level:
                    self.think(chance)
                held.append(self.pool.getconn())
                self.try_out(held[-1], thread, level, chance)
                self.note(thread, level, "asks")
                held[-1].cursor().execute("SELECT 2")
                self.note(thread, level, "holds")
        except Exception as error:  # noqa: BLE001 - told by the caller
            self.note(thread, len(held), f"failed: {str(error).splitlines()[0]}")
            self.errors.append(error)
        finally:
            for conn in reversed(held):
                conn.rollback()
                self.pool.putconn(conn)
            self.note(thread, 0, "ends")

    def try_out(self, conn, thread, level, chance):
        if self.habit == "nothing":
            return
        conn.autocommit = self.habit == "tries"
        self.note(thread, level, "tries")
        conn.cursor().execute("SELECT 1")
        conn.rollback()
        conn.autocommit = False
        self.note(thread, level, "has tried")
        if self.habit == "uses once":
            self.think(chance)

    def think(self, chance):
        self.thinking.wait(chance.uniform(0, self.longest))

    def note(self, thread, level, what):
        self.steps.append((time.clock_gettime(time.CLOCK_MONOTONIC), thread, level, what))
