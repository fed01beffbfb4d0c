# SPDX-License-Identifier: Apache-2.0
"""Looks at a run from outside: pg_stat_activity, and the broker's console where there is one."""

import threading
import time

from harness.waiting import pause
from harness.wire import Closed, Refused
from world import CONFIG_ROLE

# Every connection is idle in transaction, and none of them has changed for so long: a pool lock.
LOCKED_AFTER = 1.0

BACKENDS = """
    SELECT usename, state, extract(epoch FROM clock_timestamp() - state_change)::float
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = ANY (%s)
        AND application_name <> 'harness'
"""


class Observer(threading.Thread):
    """Samples until it is stopped. `roles`: whose connections are counted, each role by itself; `size`:
    with so many a pooler's pool is full, or None."""

    def __init__(self, postgres, roles, size, broker=None):
        super().__init__(daemon=True)
        self.connection = postgres.connect(user="postgres")
        self.roles, self.size, self.broker = roles, size, broker
        self.asked_to_stop = threading.Event()
        self.samples = 0
        self.most = self.most_in_transaction = self.most_leases = 0
        self.most_waiting, self.locked_seconds = 0, 0.0
        self.most_of_group = {}
        self.trouble = None

    def run(self):
        try:
            last = time.monotonic()
            while not self.asked_to_stop.is_set():
                locked = self._look_at_backends()
                if self.broker:
                    self._look_at_console()
                now = time.monotonic()
                self.locked_seconds += (now - last) if locked else 0
                last = now
                self.samples += 1
                pause()
        except Exception as error:
            self.trouble = repr(error)

    def _look_at_backends(self):
        with self.connection.cursor() as cursor:
            cursor.execute(BACKENDS, (list(self.roles),))
            found = cursor.fetchall()
        for role in self.roles:
            self.most = max(self.most, sum(1 for row in found if row[0] == role))
        rows = [row for row in found if row[0] == CONFIG_ROLE]
        held = [age for _, state, age in rows if (state or "").startswith("idle in transaction")]
        self.most_in_transaction = max(self.most_in_transaction, len(held))
        return self.size is not None and len(held) == len(rows) >= self.size \
            and min(held) > LOCKED_AFTER

    def _look_at_console(self):
        try:
            leases = self.broker.console("SHOW LEASES")
            waiters = self.broker.console("SHOW WAITERS")
        except (OSError, Closed, Refused):
            return
        mine = [row for row in leases if row["user"] in self.roles]
        self.most_leases = max(self.most_leases, len(mine))
        self.most_waiting = max(self.most_waiting, len(waiters))
        for group in {row["group"] for row in mine if row["group"]}:
            count = sum(1 for row in mine if row["group"] == group)
            self.most_of_group[group] = max(self.most_of_group.get(group, 0), count)

    def stop(self):
        self.asked_to_stop.set()
        self.join(10)
        self.connection.close()
