# SPDX-License-Identifier: Apache-2.0
"""Clients that write one transaction after the other, and keep book of what they were told."""

import threading

from . import wire


class Writer(threading.Thread):
    """BEGIN, INSERT, COMMIT, again and again. Sent away between two transactions it connects again, if it may;
    everything else that goes wrong is kept in `failures`."""

    def __init__(self, address, number, table, database="app", per_session=None, returns=True):
        super().__init__(daemon=True)
        self.address, self.number, self.table, self.database = address, number, table, database
        # How many transactions it does before it connects again by itself; None: it stays.
        self.per_session, self.returns = per_session, returns
        self.committed, self.sent_away, self.sessions = 0, 0, 0
        self.failures = []
        self.is_over = threading.Event()
        self.has_written = threading.Event()

    def run(self):
        try:
            while not self.is_over.is_set():
                with wire.Wire(self.address, 30).start("app", self.database) as one:
                    self.sessions += 1
                    if not self.session(one) and not self.returns:
                        return
        except Exception as error:  # whatever it is, the test is to know
            self.failures.append(error)

    def session(self, one):
        """False when it was sent away."""
        done = 0
        while not self.is_over.is_set() and done != self.per_session:
            if not self.begin(one):
                self.sent_away += 1
                return False
            number = self.committed + 1
            self.answer(one, f"INSERT INTO {self.table} VALUES ({self.number}, {number})")
            self.answer(one, "COMMIT")
            self.committed = number
            self.has_written.set()
            done += 1
        if done == self.per_session:
            one.send(wire.message("X", b""))
        return True

    def begin(self, one):
        """The one statement that may be refused: it has not run."""
        try:
            one.send(wire.query("BEGIN"))
        except OSError:
            pass  # what there is to read says why
        seen = one.until("ZE")
        if seen[-1].kind == "E" and seen[-1].code == "57P01":
            return False
        assert wire.kinds(seen) == "CZ", seen
        return True

    @staticmethod
    def answer(one, sql):
        seen = one.query(sql)
        assert wire.kinds(seen) == "CZ", (sql, seen)


class Writers:
    """Some of them at once. The table has the columns (writer, number)."""

    def __init__(self, broker, count, table, **named):
        self.table = table
        address = named.pop("address", broker.socket_path)
        first = named.pop("first", 0)
        self.all = [Writer(address, first + number, table, **named) for number in range(count)]

    def start(self):
        for one in self.all:
            one.start()
        for one in self.all:
            assert one.has_written.wait(60), one.failures
        return self

    def end(self, within=60):
        for one in self.all:
            one.is_over.set()
        self.join(within)

    def join(self, within=60):
        for one in self.all:
            one.join(within)
            assert not one.is_alive(), "a writer hangs"

    def join_all(self, *others):
        """One book of several."""
        for other in others:
            self.all += other.all
        return self

    @property
    def failures(self):
        return [(one.number, error) for one in self.all for error in one.failures]

    def check(self, postgres, dbname="app"):
        """Nobody was told anything but to go, and what was committed is what they were told."""
        assert not self.failures, self.failures[:5]
        rows = postgres.sql(
            f"SELECT writer, count(*), max(number) FROM {self.table} GROUP BY 1", dbname=dbname)
        found = {int(row[0]): (int(row[1]), int(row[2])) for row in rows}
        told = {one.number: (one.committed, one.committed) for one in self.all}
        assert found == told
