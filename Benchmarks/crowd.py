# SPDX-License-Identifier: Apache-2.0
"""Time until the next waiter is served after a crowd of waiters has gone at once, and what others feel of it.

With --others: a client of another pool asks all the time, while a crowd of 10,000 comes, waits, cancels, vanishes and is
refused at its deadline, each at once; its median, p99.9 and longest answer in each phase are printed, in milliseconds.
Else: one connection, which one client holds; a crowd of one process waits for it, and behind it one more client. The crowd
vanishes (its process is killed) or cancels, the holder commits, and the one behind is answered: the time from the
moment at which the crowd went is printed, in milliseconds, the best and the worst of some rounds.
"""

import argparse
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/end_to_end")]

from harness import wire  # noqa: E402
from harness.pooler import Pooler  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.waiting import eventually, pause  # noqa: E402

SETTINGS = {
    "default_pool_size": 1, "reserve_pool_size": 0, "max_client_conn": 12_000, "max_waiting": 12_000,
    "query_wait_timeout": 300, "log_connections": 0, "log_disconnections": 0, "log_stats": 0,
    "query_wait_notify": 0, "log_pooler_errors": 0}


def crowd(broker, count, ready, orders):
    """The child: so many clients that wait, until they are told to cancel or are killed."""
    clients = [broker.wire() for _ in range(count)]
    for one in clients:
        one.send(wire.query("SELECT 1"))
    os.write(ready, b"r")
    if os.read(orders, 1) == b"c":
        address = clients[0].socket.getpeername()
        for one in clients:
            with socket.socket(socket.AF_UNIX) as cancel:
                cancel.connect(address)
                cancel.sendall(struct.pack("!iiiI", 16, 80877102, *one.key))
        os.write(ready, b"c")
    signal.pause()


def pools(broker):
    """SHOW POOLS, as soon as there is room in the socket's queue."""
    while True:
        try:
            return broker.console("SHOW POOLS")
        except BlockingIOError:
            time.sleep(0.01)


def waiting(broker):
    return sum(int(row["cl_waiting"]) for row in pools(broker))


def once(broker, count, cancels, waits=waiting):
    """Milliseconds from the crowd's end to the answer. `waits` says how many wait; without it, a moment is given to them."""
    def all_wait(wanted, within):
        if waits:
            eventually(lambda: waits(broker) == wanted, within)
        else:
            pause(0.5)

    with broker.wire() as holder, broker.wire(timeout=120) as behind:
        holder.query("BEGIN")
        # Odyssey takes a connection only for what follows.
        holder.query("SELECT 1")
        ready, told = os.pipe()
        orders, order = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                crowd(broker, count, told, orders)
            finally:
                os._exit(1)
        assert os.read(ready, 1) == b"r"
        behind.send(wire.query("SELECT 1"))
        all_wait(count + 1, 120)
        start = time.perf_counter()
        if cancels:
            os.write(order, b"c")
            assert os.read(ready, 1) == b"c"
        else:
            os.kill(child, signal.SIGKILL)
        gone = time.perf_counter()
        holder.send(wire.query("COMMIT"))
        behind.until_ready()
        end = time.perf_counter()
        if cancels:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for descriptor in (ready, told, orders, order):
            os.close(descriptor)
        all_wait(0, 60)
        return (end - start) * 1000, (end - gone) * 1000


class Others:
    """A process with a client of another pool that asks all the time, and notes how long each answer takes."""

    def __init__(self, broker):
        self.results, told = os.pipe()
        orders, self.orders = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                self._ask(broker, told, orders)
            finally:
                os._exit(0)
        os.close(told)

    @staticmethod
    def _ask(broker, told, orders):
        os.nice(-5)
        seen = []
        with broker.wire(database="second", timeout=60) as one:
            while not select.select([orders], [], [], 0)[0]:
                start = time.monotonic()
                one.send(wire.query("SELECT 1"))
                one.until_ready()
                seen.append((start, time.monotonic() - start))
                time.sleep(0.0005)
        with os.fdopen(told, "wb") as out:
            pickle.dump(seen, out)

    def stop(self):
        os.write(self.orders, b"s")
        with os.fdopen(self.results, "rb") as answers:
            seen = pickle.load(answers)
        os.waitpid(self.child, 0)
        return seen


def in_child(work, *arguments):
    """Runs it in a process of its own; returns its number, and the pipes to tell it and to hear from it."""
    ready, told = os.pipe()
    orders, order = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(*arguments, told, orders)
        finally:
            os._exit(1)
    return child, order, ready


def felt(broker, count):
    """What others feel of each phase."""
    phases = []

    def phase(name, action):
        start = time.monotonic()
        action()
        phases.append((name, start, time.monotonic()))
        print(f"{name}: {phases[-1][2] - start:.2f} s", file=sys.stderr, flush=True)

    others = Others(broker)
    with broker.wire() as holder:
        holder.query("BEGIN")
        phase("nothing", lambda: time.sleep(2))
        for end in ("cancel", "vanish", "deadline"):
            crowds = []

            def come():
                crowds.append(in_child(crowd, broker, count))
                assert os.read(crowds[-1][2], 1) == b"r"
                eventually(lambda: waiting(broker) == count, 240)
            broker.set(query_wait_timeout=8 if end == "deadline" else 300)
            broker.console("RELOAD")
            phase(f"{count} come", come)
            child, order, ready = crowds[-1]
            if end == "cancel":
                def cancel():
                    os.write(order, b"c")
                    assert os.read(ready, 1) == b"c"
                    eventually(lambda: waiting(broker) == 0, 120)
                phase(f"{count} cancel", cancel)
                phase(f"{count} leave", lambda: os.kill(child, signal.SIGKILL) or clients_gone(broker))
            elif end == "vanish":
                phase(f"{count} vanish", lambda: os.kill(child, signal.SIGKILL) or clients_gone(broker))
            else:
                phase(f"{count} are notified and refused", lambda: eventually(
                    lambda: waiting(broker) == 0, 120))
                os.kill(child, signal.SIGKILL)
                clients_gone(broker)
            os.waitpid(child, 0)
    seen = others.stop()
    for name, start, end in phases:
        times = sorted(took for at, took in seen if start <= at + took and at <= end)
        if times:
            print(f"{name}: {end - start:.2f} s; {len(times)} answers, median "
                  f"{times[len(times) // 2] * 1000:.2f}, p99.9 "
                  f"{times[int(len(times) * 0.999)] * 1000:.1f}, longest {times[-1] * 1000:.1f} ms",
                  flush=True)


def clients_gone(broker):
    eventually(lambda: sum(int(row["cl_active"]) + int(row["cl_waiting"])
                           for row in pools(broker) if row["database"] == "app") <= 1,
               120)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--crowd", type=int, action="append")
    parser.add_argument("--others", action="store_true")
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The crowd's sockets, and the broker's.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    postgres = Postgres()
    broker = Pooler(postgres, SETTINGS | ({"query_wait_notify": 5} if given.others else {})).start()
    try:
        if given.others:
            for count in given.crowd or [10_000]:
                felt(broker, count)
            return
        for count in given.crowd or [1_000, 4_000]:
            for cancels in (False, True):
                times = sorted(once(broker, count, cancels) for _ in range(given.rounds))
                what = "cancel" if cancels else "vanish"
                print(
                    f"{count} {what}: {times[0][0]:.1f} to {times[-1][0]:.1f} ms,"
                    f" of that behind the crowd's own work {times[0][1]:.1f} to {times[-1][1]:.1f} ms",
                    flush=True)
    finally:
        broker.stop()
        broker.destroy()
        postgres.destroy()


if __name__ == "__main__":
    main()
