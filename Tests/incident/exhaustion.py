# SPDX-License-Identifier: Apache-2.0
"""Check 1: the pool is exhausted by a holder; who comes then waits, is told at its deadline who holds what,
and is served as soon as the holder dies."""

import os
import signal
import subprocess
import sys
import threading

import psycopg2
from harness.pooler import Pooler
from harness.waiting import Stopwatch, eventually
from pipeline_cap import eventually_no_lease
from python_workers import ROOT, python_path
from ways import RESERVE, userlist
from world import CONFIG_ROLE

POOL, CALLERS = 10, 30

HOLDER = """
import sys, psycopg2
held = []
for _ in range(int(sys.argv[2])):
    held.append(psycopg2.connect(sys.argv[1], application_name="leaky"))
    held[-1].cursor().execute("SELECT 1")
print("held", flush=True)
sys.stdin.read()
"""


class Caller(threading.Thread):
    """Three leases in one thread, one inside the other, as the workers' get_by_id takes them."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker, self.error, self.done = broker, None, False

    def run(self):
        held = []
        try:
            for _ in range(3):
                held.append(psycopg2.connect(self.broker.dsn(CONFIG_ROLE, "postgres")))
                held[-1].cursor().execute("SELECT 1")
            self.done = True
        except psycopg2.Error as error:
            self.error = str(error).strip()
        finally:
            for conn in reversed(held):
                conn.close()


def check(postgres):
    broker = Pooler(
        postgres, {"default_pool_size": POOL, "reserve_pool_size": RESERVE, "log_format": "text"},
        userlist=userlist())
    holder = None
    try:
        broker.start()
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, broker.dsn(CONFIG_ROLE, "postgres"), str(POOL)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": python_path()})
        holder.stdout.readline()
        yield look(postgres, broker, holder)
    finally:
        if holder:
            holder.kill()
            holder.wait()
            holder.stdin.close()
            holder.stdout.close()
        broker.destroy()


def look(postgres, broker, holder):
    told = ask_with_deadline(broker)
    callers = [Caller(broker) for _ in range(CALLERS)]
    for one in callers:
        one.start()
    waiting = eventually(lambda: (n := len(broker.console("SHOW WAITERS"))) >= CALLERS and n, 20)
    failed_before = sum(1 for one in callers if one.error)
    holder.send_signal(signal.SIGKILL)
    watch, most = Stopwatch(), 0
    while any(one.is_alive() for one in callers) and watch.seconds < 60:
        most = max(most, len(postgres.backends(user=CONFIG_ROLE)))
    seconds = watch.seconds
    errors = [one.error for one in callers if one.error]
    wrong = [f"error: {one}" for one in errors[:3]]
    wrong += ["a caller was not served"] * any(not one.done for one in callers)
    wrong += ["an error came before the deadline"] * (failed_before > 0)
    wrong += [] if f"pid {holder.pid}" in told else [f"the holder is not named: {told}"]
    wrong += [f"{most} server connections"] * (most > POOL + RESERVE)
    wrong += eventually_no_lease(broker)
    return f"{POOL} of {POOL} connections held, the holder is killed", {
        "callers waiting": waiting, "errors": len(errors),
        "served": sum(1 for one in callers if one.done),
        "seconds after the kill": round(seconds, 2), "most server connections": most,
    }, wrong


def ask_with_deadline(broker):
    """What a caller is told at its deadline."""
    conn = psycopg2.connect(broker.dsn(CONFIG_ROLE, "postgres"))
    try:
        conn.autocommit = True
        conn.cursor().execute("LEASE WAIT '100ms'")
        return "a lease, though all connections are held"
    except psycopg2.Error as error:
        return str(error)
    finally:
        conn.close()
