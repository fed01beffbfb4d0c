"""The checks on a broker that is somebody's: only SELECT and SHOW, a short burst, nothing is held.

A password comes from PGPASSWORD or a passfile. The console shows who holds what to the broker's own user, to
admin_users and stats_users; what it does not show is left out.
"""

import getpass
import os
import threading

import psycopg2
from harness.waiting import eventually, pause

CAP, TURNS, MOST_CLIENTS = 9, 5, 90
NAME = "pglease acceptance"


def add_options(words):
    words.add_argument("--host", help="a broker of yours: its socket's folder, or a host")
    words.add_argument("--port", type=int, default=6432)
    words.add_argument("--user", default=os.environ.get("PGUSER"), help="a role of the workers")
    words.add_argument("--dbname", default=os.environ.get("PGDATABASE"))
    words.add_argument("--console-user", help="one of admin_users or stats_users; else as --user")


class Deployment:
    """Where the broker is, and who asks."""

    def __init__(self, given):
        self.host, self.port = given.host, given.port
        self.user = given.user or getpass.getuser()
        self.dbname = given.dbname or self.user
        self.console_user = given.console_user or self.user

    def connect(self, application_name=NAME):
        connection = psycopg2.connect(
            host=self.host, port=self.port, user=self.user, dbname=self.dbname,
            application_name=application_name, options="-c default_transaction_read_only=on")
        return connection

    def show(self, what):
        """The rows of a SHOW command."""
        connection = psycopg2.connect(host=self.host, port=self.port, user=self.console_user,
                                      dbname="pglease", application_name=NAME)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"SHOW {what}")
                names = [column.name for column in cursor.description]
                return [dict(zip(names, row)) for row in cursor.fetchall()]
        finally:
            connection.close()

    def pool(self):
        """The row of SHOW POOLS with the most connections of this database."""
        rows = [row for row in self.show("POOLS") if row["database"] == self.dbname]
        return max(rows, key=lambda row: sum(int(row[key]) for key in row if key[:3] == "sv_"),
                   default=None)

    def bound(self):
        """The size of the database's pool, with its reserve."""
        row = next(row for row in self.show("DATABASES") if row["name"] in (self.dbname, "*"))
        return int(row["pool_size"]) + int(row["reserve_pool_size"] or 0)


class Reader(threading.Thread):
    """A worker that reads, in short transactions."""

    def __init__(self, deployment):
        super().__init__(daemon=True)
        self.deployment, self.error, self.done = deployment, None, 0

    def run(self):
        try:
            connection = self.deployment.connect()
            for _ in range(TURNS):
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT pg_sleep(0.02)")
                self.done += 1
            connection.close()
        except psycopg2.Error as error:
            self.error = str(error).strip()


def exhaustion(deployment):
    """More readers than connections: each waits its turn, none fails, every lease comes back."""
    try:
        bound = deployment.bound()
    except psycopg2.Error as error:
        bound, why = None, str(error).strip().split("\n")[0]
    readers = [Reader(deployment) for _ in range(min(3 * (bound or 10), MOST_CLIENTS))]
    most = 0
    for one in readers:
        one.start()
    while any(one.is_alive() for one in readers):
        if bound is not None:
            row = deployment.pool()
            most = max(most, sum(int(row[key]) for key in ("sv_active", "sv_idle", "sv_used",
                                                           "sv_tested", "sv_login")) if row else 0)
        pause()
    errors = [one.error for one in readers if one.error]
    figures = {"transactions": sum(one.done for one in readers), "errors": len(errors)}
    wrong = [f"error: {one}" for one in errors[:3]]
    title = f"{len(readers)} readers at once"
    if bound is None:
        yield title, figures, wrong
        yield "server connections, leases back", None, f"the console does not answer: {why}"
        return
    figures["most server connections"] = f"{most} of {bound}"
    wrong += [f"{most} server connections, {bound} are allowed"] * (most > bound)
    yield title, figures, wrong + not_back(deployment)


def not_back(deployment):
    def ours():
        return [row for row in deployment.show("LEASES") if row["application_name"] == NAME]
    try:
        eventually(lambda: not ours(), 10)
        return []
    except AssertionError:
        return [f"a lease is not back: {ours()[:1]}"]


def pipelines(deployment):
    """What the pipelines have now, for two seconds of looks."""
    most = {}
    try:
        for _ in range(20):
            for row in deployment.show("GROUPS"):
                if row["group"].startswith("pipeline"):
                    most[row["group"]] = max(most.get(row["group"], 0), int(row["leases"]))
            threading.Event().wait(0.1)
    except psycopg2.Error as error:
        yield "SHOW GROUPS", None, f"the console does not answer: {str(error).strip()}"
        return
    if not most:
        yield "SHOW GROUPS", None, "no group that begins with pipeline has a client now"
        return
    wrong = [f"{name}: {count} leases" for name, count in most.items() if count > CAP]
    yield "SHOW GROUPS", {"pipelines": len(most), "most of one": max(most.values())}, wrong


def completion(deployment):
    yield "all jobs", None, "it writes: run scripts/acceptance without --host, on a PostgreSQL of its own"


CHECKS = {
    "exhaustion recovery": exhaustion,
    "connections below 10 per pipeline": pipelines,
    "backfill completion": completion,
}
