# SPDX-License-Identifier: Apache-2.0
"""Clean means as new: a snapshot of everything that a session holds, to compare with a fresh one."""

from harness import wire

from .compare import Difference, without_numbers
from .program import Step
from .session import Late, Session

NAMED = (("application_name", "fresh"),)
# Begun and not ended: it keeps the server, so that the next session looks at another one.
SNAPSHOT = Step((("Q", "BEGIN; SELECT name, value FROM public.snapshot()"),))


def answered(session):
    try:
        session.wait(10)
    except Late:
        raise Late("no answer to a fresh client within 10 s") from None


def snapshots(sessions):
    """What each of the sessions holds, as a dictionary; they are looked at at the same time."""
    for session in sessions:
        answered(session)
        session.send(SNAPSHOT, 0)
    found = []
    for session in sessions:
        answered(session)
        rows = {}
        for one in session.records:
            if one.kind in ("E", "EOF"):
                raise wire.Refused(wire.Message("E", one.body)) if one.body else EOFError()
            if one.kind == "D":
                name, value = wire.Message("D", one.body).row
                rows[name.decode()] = value and without_numbers(value).decode()
        found.append(rows)
    return found


def told(value):
    return "NULL" if value is None else str(value or "''")


class Clean:
    """What a fresh connection of each user looks like, and the comparison with a leased one."""

    def __init__(self, path, database):
        self.path, self.database, self.fresh = path, database, {}

    def reference(self, user):
        if user not in self.fresh:
            session = Session(self.path, user, self.database, NAMED)
            self.fresh[user], = snapshots([session])
            session.finish("terminate")
        return self.fresh[user]

    def look(self, path, user, servers, reasons, mode):
        """Leases `servers` connections at the same time; returns the first difference."""
        sessions = [Session(path, user, self.database, NAMED) for _ in range(servers)]
        try:
            for seen in snapshots(sessions):
                found = self._compare(user, seen, reasons, mode)
                if found:
                    return found
        finally:
            for session in sessions:
                session.finish("terminate")
        return None

    def _compare(self, user, seen, reasons, mode):
        fresh = self.reference(user)
        for name in sorted(fresh.keys() | seen.keys()):
            one, other = fresh.get(name, "(none)"), seen.get(name, "(none)")
            if one == other:
                continue
            texts = {"name": name, "direct": told(one), "pooled": told(other)}
            if not any(each.what == "clean" and each.covers(mode, **texts) for each in reasons):
                return Difference("clean", 10**6, f"{name}: {told(one)}",
                                  f"{name}: {told(other)}")
        return None
