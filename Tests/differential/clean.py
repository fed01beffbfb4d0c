"""Clean means as new: a snapshot of everything that a session holds, to compare with a fresh one."""

from .compare import Difference
from .session import Session

CUSTOM = ("app.tenant", "app.user", "My.Odd", "app.who")
NAMED = (("application_name", "fresh"),)
SNAPSHOT = " UNION ALL ".join([
    "SELECT 'setting ' || name, concat_ws(' ', setting, 'from', source, sourcefile, 'reset to', "
    "reset_val) FROM pg_settings",
    "SELECT 'user', concat_ws(' ', session_user, 'as', current_user, current_setting('role'), "
    "current_setting('session_authorization'))",
    "SELECT 'path', current_schemas(true)::text",
    "SELECT 'channel ' || channel, 'listens' FROM pg_listening_channels() AS channel",
    "SELECT concat_ws(' ', 'lock', classid, objid, objsubid), mode FROM pg_locks "
    "WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "SELECT 'statement ' || name, statement FROM pg_prepared_statements",
    "SELECT 'cursor ' || name, statement FROM pg_cursors WHERE name <> ''",
    "SELECT concat_ws(' ', 'temporary', classid::regclass::text, coalesce(classes.relname, "
    "routines.proname, types.typname, objid::text)), deptype::text FROM pg_depend "
    "LEFT JOIN pg_class classes ON classid = 'pg_class'::regclass AND classes.oid = objid "
    "LEFT JOIN pg_proc routines ON classid = 'pg_proc'::regclass AND routines.oid = objid "
    "LEFT JOIN pg_type types ON classid = 'pg_type'::regclass AND types.oid = objid "
    "WHERE refclassid = 'pg_namespace'::regclass AND refobjid = pg_my_temp_schema()",
    "SELECT 'lastval', public.probe_lastval()",
    "SELECT 'currval', public.probe_currval()",
    *(f"SELECT 'custom {name}', current_setting('{name}', true)" for name in CUSTOM)])


def snapshot(session):
    """The rows of the snapshot as a dictionary."""
    return dict(session.ask(SNAPSHOT))


class Clean:
    """What a fresh connection of each user looks like, and the comparison with a leased one."""

    def __init__(self, path, database):
        self.path, self.database, self.fresh = path, database, {}

    def reference(self, user):
        if user not in self.fresh:
            session = Session(self.path, user, self.database, NAMED)
            session.wait(20)
            session.ask("BEGIN")
            self.fresh[user] = snapshot(session)
            session.finish("terminate")
        return self.fresh[user]

    def look(self, path, user, servers, reasons, mode):
        """Leases `servers` connections at the same time; returns the first difference."""
        sessions = []
        try:
            for _ in range(servers):
                session = Session(path, user, self.database, NAMED)
                session.wait(20)
                session.ask("BEGIN")
                sessions.append(session)
            for session in sessions:
                found = self._compare(user, snapshot(session), reasons, mode)
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
            texts = {"name": name, "direct": one or "NULL", "pooled": other or repr(other)}
            if not any(each.what == "clean" and each.covers(mode, **texts) for each in reasons):
                return Difference("clean", 10**6, f"{name}: {one}", f"{name}: {other}")
        return None
