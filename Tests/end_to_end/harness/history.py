# SPDX-License-Identifier: Apache-2.0
"""Clients that write down what they sent and what they were told, and the check of it all."""

import random
import threading

from . import wire


class Writer(threading.Thread):
    """Inserts numbered rows, one transaction each, and records how each one ended.

    `acknowledged`: COMMIT was answered; `unknown`: the answer never came; `refused`: an error was.
    """

    def __init__(self, broker, number, table, seed=0, user="app", database="app"):
        super().__init__(daemon=True)
        self.broker, self.number, self.table = broker, number, table
        self.random = random.Random(seed * 1000 + number)
        self.user, self.database = user, database
        self.acknowledged, self.unknown, self.refused = set(), set(), set()
        self.codes, self.confused, self.reconnects = {}, [], 0
        self.stop_asked = threading.Event()

    def run(self):
        step, one = 0, None
        while not self.stop_asked.is_set():
            step += 1
            key = self.number * 1_000_000 + step
            try:
                one = one or self.broker.wire(self.user, self.database, timeout=40)
                self.attempt(one, key)
            except TimeoutError:
                self.confused.append(f"{key}: no answer in 40 s")
                return
            except (wire.Closed, ConnectionError):
                self.unknown.add(key)
                one, self.reconnects = self.drop(one), self.reconnects + 1
            except wire.Refused as refused:
                self.count(refused.code)
                self.refused.add(key)
                one = self.drop(one)
            except Exception as error:
                self.confused.append(repr(error))
                return
        if one:
            one.close()

    @staticmethod
    def drop(one):
        if one:
            one.close()

    def count(self, code):
        self.codes[code] = self.codes.get(code, 0) + 1

    def attempt(self, one, key):
        shape = self.random.randrange(3)
        insert = f"INSERT INTO {self.table} VALUES ({key}, 'w{self.number}') RETURNING id"
        if shape == 0:
            self.judge(one.query(insert), key, one)
        elif shape == 1:
            self.judge(one.extended(
                f"INSERT INTO {self.table} VALUES ($1::int, $2) RETURNING id",
                [key, f"w{self.number}"]), key, one)
        else:
            for statement in ("BEGIN", insert, f"SELECT {key}"):
                seen = one.query(statement)
                if any(m.kind == "E" for m in seen):
                    self.refuse(seen, key)
                    if seen[-1].body != b"I":
                        one.query("ROLLBACK")
                    return
                if statement.startswith("SELECT") and wire.rows_of(seen) != [[str(key)]]:
                    self.confused.append(f"{key}: {seen}")
            seen = one.query("COMMIT")
            if any(m.kind == "E" for m in seen):
                self.count(next(m for m in seen if m.kind == "E").code)
                self.unknown.add(key)
            elif seen[0].tag == "COMMIT":
                self.acknowledged.add(key)
            else:
                self.refused.add(key)

    def judge(self, seen, key, one):
        errors = [m for m in seen if m.kind == "E"]
        if errors:
            code = errors[0].code
            self.count(code)
            # A single statement that met the end of its server may have run or not.
            (self.unknown if code in ("08006", "57P01", "57P02") else self.refused).add(key)
        elif wire.rows_of(seen) == [[str(key)]]:
            self.acknowledged.add(key)
        else:
            self.confused.append(f"{key}: {seen}")

    def refuse(self, seen, key):
        self.count(next(m for m in seen if m.kind == "E").code)
        self.refused.add(key)


class History:
    """Several writers, and the promise that they were told the truth."""

    def __init__(self, broker, table, writers=8, seed=0, **named):
        self.table = table
        self.writers = [Writer(broker, n + 1, table, seed, **named) for n in range(writers)]

    def __enter__(self):
        for one in self.writers:
            one.start()
        return self

    def __exit__(self, *_):
        for one in self.writers:
            one.stop_asked.set()
        for one in self.writers:
            one.join(60)

    @property
    def acknowledged(self):
        return sum(len(one.acknowledged) for one in self.writers)

    @property
    def codes(self):
        total = {}
        for one in self.writers:
            for code, count in one.codes.items():
                total[code] = total.get(code, 0) + count
        return total

    def check(self, postgres, database="app"):
        """Committed is exactly what was acknowledged, plus some of what is unknown."""
        assert not any(one.is_alive() for one in self.writers), "a client hangs"
        stored = {row[0]: row[1] for row in
                  postgres.sql(f"SELECT id, name FROM {self.table}", dbname=database)}
        for one in self.writers:
            assert one.confused == [], one.confused[:3]
            mine = {key for key, name in stored.items() if name == f"w{one.number}"}
            lost = one.acknowledged - mine
            assert not lost, f"acknowledged but not there: {sorted(lost)[:5]}"
            invented = mine - one.acknowledged - one.unknown
            assert not invented, f"there but refused or never sent: {sorted(invented)[:5]}"
