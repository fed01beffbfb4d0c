"""Time until the next waiter is served after a crowd of waiters has gone at once.

One connection, which one client holds; a crowd of one process waits for it, and behind it one more client. The crowd
vanishes (its process is killed) or cancels, the holder commits, and the one behind is answered: the time from the
moment at which the crowd went is printed, in milliseconds, the best and the worst of some rounds.
"""

import argparse
import os
import resource
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
from harness.waiting import eventually  # noqa: E402

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


def waiting(broker):
    return sum(int(row["cl_waiting"]) for row in broker.console("SHOW POOLS"))


def once(broker, count, cancels):
    """Milliseconds from the crowd's end to the answer."""
    with broker.wire() as holder, broker.wire(timeout=120) as behind:
        holder.query("BEGIN")
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
        eventually(lambda: waiting(broker) == count + 1, 120)
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
        eventually(lambda: waiting(broker) == 0, 60)
        return (end - start) * 1000, (end - gone) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--crowd", type=int, action="append")
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The crowd's sockets, and the broker's.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    postgres = Postgres()
    broker = Pooler(postgres, SETTINGS).start()
    try:
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


main()
