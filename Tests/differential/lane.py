# SPDX-License-Identifier: Apache-2.0
"""Where a program runs: a database in each of two clusters, and a broker in front of the second."""

import random
import re
import time
from dataclasses import dataclass
from pathlib import Path

from harness import wire
from harness.pooler import Pooler
from harness.postgres import Postgres

from . import compare
from .busy import Busy
from .clean import Clean
from .generator import MARKER
from .program import MARKED, Step, step_text
from .session import Late, Session

DIRTY = re.compile(r"insert|update|delete|create|drop|alter|truncate|into|nextval|setval|copy|lo_|"
                   r"PREPARE TRANSACTION|made_|955", re.I)
FRESH = Step((("Q", "CALL public.fresh()"),))
CLUSTER = {"max_prepared_transactions": 20, "lock_timeout": "100ms", "deadlock_timeout": "500ms",
           "max_locks_per_transaction": 128,
           # Otherwise plpgsql.extra_warnings exists from the first function on that a backend calls.
           "session_preload_libraries": "plpgsql"}


@dataclass(frozen=True)
class Options:
    """How programs run; `mode`: of the pool, or `direct` for no broker at all."""

    mode: str = "transaction"
    pool: int = 2
    busy: int = 3
    clean: bool = True
    themes: tuple | None = None
    busy_themes: tuple | None = None
    within: float = 8.0
    settings: tuple = ()


def cluster():
    """A cluster with the roles and a template of the lanes' databases."""
    made = Postgres(CLUSTER)
    for statement in ("CREATE ROLE boss SUPERUSER LOGIN", "CREATE ROLE plain LOGIN",
                      "CREATE ROLE ready", "CREATE ROLE steady", "GRANT ready, steady TO plain",
                      "CREATE DATABASE lane_template"):
        made.sql(statement)
    made.sql(Path(__file__).with_name("database.sql").read_text(), dbname="lane_template")
    return made


class Hang(Exception):
    """A direct connection did not answer: the program is wrong, or the tool."""


class Lane:
    """Runs programs one after the other, each on both sides."""

    def __init__(self, number, clusters, options, reasons):
        self.database, self.options, self.reasons = f"lane{number}", options, reasons
        self.direct, self.pooled = clusters
        for each in clusters:
            each.sql(f"CREATE DATABASE {self.database} TEMPLATE lane_template")
        self.admins = [self._session(each.socket_path, "postgres") for each in clusters]
        self.clean = Clean(self.pooled.socket_path, self.database)
        self.broker, self.busy, self.dirty, self.prepared = None, {}, True, False
        # The order in which the program and the busy clients went on, of the last run.
        self.trace = []
        self._start()

    def _session(self, path, user, parameters=(), outside=None):
        session = Session(path, user, self.database, parameters, self.database, outside)
        if not parameters:
            session.wait(20)
        return session

    def _start(self):
        if self.options.mode == "direct":
            self.path = self.pooled.socket_path
            return
        size = self.options.pool if self.options.mode == "transaction" else 8
        self.broker = Pooler(self.pooled, {
            "pool_mode": self.options.mode, "default_pool_size": size, "reserve_pool_size": 0,
            "log_format": "text", "pin_reserve": 0, **dict(self.options.settings)},
            userlist=dict.fromkeys(("boss", "plain", "admin"), ""))
        self.broker.start()
        self.path = self.broker.socket_path

    def _restart(self):
        """After a fault, so that the next program does not suffer from it."""
        for each in self.busy.values():
            for one in each:
                one.session.finish("close")
        self.busy = {}
        if self.broker:
            self.broker.destroy()
            self.admins[1].ask(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "
                "current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'")
        self._start()

    def destroy(self):
        for each in self.admins:
            each.finish("terminate")
        if self.broker:
            self.broker.destroy()

    # One program.

    def run(self, program):
        """Runs it on both sides; returns the differences (the first of each kind), and what happened."""
        self._fresh(program)
        direct = self._run_direct(program)
        pooled, failures = self._run_pooled(program)
        if self.broker and not self.broker.alive:
            failures.insert(0, compare.Difference(
                "crash", pooled.step, "", self.broker.log_tail(15)))
        ends = sum(one.used for one in self.reasons if one.what == "end")
        found = compare.first_difference(program, direct.records, pooled.records, self.reasons,
                                         self.options.mode)
        # From where the two went other ways (reasons that end it) they heard other things.
        ends -= sum(one.used for one in self.reasons if one.what == "end")
        if not found and not ends and program.steps and program.steps[-1].label == MARKER.label:
            found = compare.notification_difference(direct.notifications, pooled.notifications)
        found = ([found] if found else []) + failures
        if not failures and self.options.clean and self.options.mode != "direct":
            found += self._look(program)
        if any(one.kind in ("hang", "clean", "busy", "crash") for one in found):
            self._restart()
        return found

    def _fresh(self, program):
        if self.dirty:
            for admin in self.admins if self.prepared else ():
                for gid, in admin.ask("SELECT gid FROM pg_prepared_xacts "
                                      "WHERE database = current_database()"):
                    admin.ask(f"ROLLBACK PREPARED '{gid}'")
            for admin in self.admins:
                admin.send(FRESH, 0)
            for admin in self.admins:
                admin.ask("SELECT 1")
        self.prepared = "PREPARE TRANSACTION" in program.text()
        self.dirty = bool(DIRTY.search(program.text()))

    def _run_direct(self, program):
        session = self._session(self.direct.socket_path, program.user, program.parameters,
                                self.admins[0].ask)
        try:
            session.wait(20)
            for at, step in enumerate(program.steps):
                session.send(step, at)
                if step.wait:
                    session.wait(20)
            self._hear(session, program, 5)
        except Late:
            raise Hang(f"step {session.step} on a direct connection") from None
        finally:
            session.finish(program.ending)
        return session

    def _hear(self, session, program, within):
        """Waits for the program's last notification of all."""
        if not program.steps or program.steps[-1].label != MARKER.label:
            return True
        deadline = time.monotonic() + within
        while not session.ended and (not session.notifications
                                     or session.notifications[-1][1] != MARKED):
            if not session.pump(deadline - time.monotonic()) and time.monotonic() > deadline:
                return False
        return True

    def _run_pooled(self, program):
        turns = random.Random(program.seed)
        failures, self.trace = [], []
        busy = self._busy(program.user, turns)
        session = self._session(self.path, program.user, program.parameters, self.admins[1].ask)
        try:
            self._wait(session, busy)
            for at, step in enumerate(program.steps):
                if session.ended:
                    break
                session.send(step, at)
                self.trace.append(f"program {at}: {step_text(step)[:150]}")
                if step.wait:
                    self._wait(session, busy)
                for _ in range(turns.choice((0, 0, 1, 2, 3)) if busy else 0):
                    self._turn(turns.choice(busy), busy)
            if not session.ended:
                self._hear(session, program, 2)
        except Late:
            session.hang()
        session.finish(program.ending)
        if not (session.records and session.records[-1].kind == "HANG"):
            failures = self._rest(busy, session.step)
        return session, failures

    # The busy clients.

    def _busy(self, user, turns):
        if user not in self.busy:
            self.busy[user] = [
                Busy(number, self.path, user, self.database, turns, self.options.busy_themes)
                for number in range(1, self.options.busy + 1)]
        for one in self.busy[user]:
            one.random, one.failure = turns, None
        return self.busy[user]

    def _turn(self, one, busy):
        """One statement of a busy client, unless it would take the last server that is free."""
        if one.outstanding:
            one.feed()
            return
        if one.would_hold() and sum(each.holds for each in busy) >= self.options.pool - 1:
            return
        one.kick()
        one.wait(0.005)
        self._note(one)

    def _note(self, one):
        self.trace.append(f"    busy {one.number}: {one.last}" + (" …" if one.outstanding else ""))

    def _wait(self, session, busy):
        """Waits for the program's answer; lets go on who may keep the servers it waits for."""
        deadline = time.monotonic() + self.options.within
        patience = 0.02
        while not session.idle:
            if session.pump(patience):
                continue
            for one in busy:
                if one.outstanding:
                    one.wait(0)
                elif one.holds:
                    one.kick()
                    one.wait(0.005)
                    self._note(one)
            if time.monotonic() > deadline:
                self.trace.append("    late; " + "; ".join(
                    f"busy {one.number} holds {one.holds}, asked {one.asked}" for one in busy))
                raise Late

    def _rest(self, busy, step):
        """Lets every busy client end its script; a wrong answer or none is a failure."""
        deadline = time.monotonic() + self.options.within
        while not all(one.at_rest for one in busy):
            for one in busy:
                if not one.at_rest and not one.outstanding:
                    one.kick()
                if one.outstanding:
                    one.wait(0.002)
                if one.failure:
                    return [compare.Difference("busy", step, "right for itself", one.failure)]
            if time.monotonic() > deadline:
                late = [one.asked for one in busy if one.outstanding]
                return [compare.Difference("busy", step, "answered", f"no answer to {late}")]
        wrong = next((one.failure for one in busy if one.failure), None)
        return [compare.Difference("busy", step, "right for itself", wrong)] if wrong else []

    def _look(self, program):
        servers = self.options.pool if self.options.mode == "transaction" else 1
        try:
            found = self.clean.look(self.path, program.user, servers, self.reasons,
                                    self.options.mode)
        except Late as late:
            return [compare.Difference("clean", 10**6, "a lease for a fresh client", str(late))]
        except (wire.Refused, EOFError) as error:
            return [compare.Difference("clean", 10**6, "a lease for a fresh client", repr(error))]
        return [found] if found else []
