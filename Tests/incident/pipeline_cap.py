# SPDX-License-Identifier: Apache-2.0
"""Check 2: a pipeline never has ten server connections, however much it asks for."""

import threading

import psycopg2
from harness.pooler import Pooler
from harness.waiting import eventually, pause
from ways import RESERVE, userlist
from world import CONFIG_ROLE

CAP, POOL, PIPELINES, THREADS, TURNS = 9, 30, 4, 25, 20

# The comment says whose statement it is: a connection may still have the last one's application_name.
WORK = "SELECT pg_sleep(0.005) /* {name} */"
BUSY = (f"SELECT substring(query FROM 'pipeline-\\d+'), count(*) FROM pg_stat_activity"
        f" WHERE usename = '{CONFIG_ROLE}' AND state <> 'idle' AND query LIKE '%pipeline-%'"
        " AND pid <> pg_backend_pid() GROUP BY 1")
ALL = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{CONFIG_ROLE}'"


class Client(threading.Thread):
    """A thread of a pipeline with a connection of its own to the broker."""

    def __init__(self, broker, name):
        super().__init__(daemon=True)
        self.broker, self.name_of_group, self.error, self.done = broker, name, None, 0

    def run(self):
        try:
            conn = psycopg2.connect(
                self.broker.dsn(CONFIG_ROLE, "postgres"), application_name=self.name_of_group)
            for _ in range(TURNS):
                with conn, conn.cursor() as cursor:
                    cursor.execute(WORK.format(name=self.name_of_group))
                self.done += 1
            conn.close()
        except psycopg2.Error as error:
            self.error = str(error).strip()


def check(postgres):
    broker = Pooler(
        postgres, {"default_pool_size": POOL, "reserve_pool_size": RESERVE, "log_format": "text"},
        groups={"pipeline-*": f"max_leases={CAP}"}, userlist=userlist())
    try:
        broker.start()
        yield look(postgres, broker)
    finally:
        broker.destroy()


def look(postgres, broker):
    names = [f"pipeline-{number}" for number in range(1, PIPELINES + 1)]
    clients = [Client(broker, name) for name in names for _ in range(THREADS)]
    seen_by_server, seen_by_broker, most = {}, {}, 0
    watching = postgres.connect()
    for one in clients:
        one.start()
    while any(one.is_alive() for one in clients):
        with watching.cursor() as cursor:
            cursor.execute(BUSY)
            raise_to(seen_by_server, cursor.fetchall())
            cursor.execute(ALL)
            most = max(most, cursor.fetchone()[0])
        raise_to(seen_by_broker, ((row["group"], int(row["leases"]))
                                  for row in broker.console("SHOW GROUPS")))
        pause()
    watching.close()
    errors = [one.error for one in clients if one.error]
    left = eventually_no_lease(broker)
    wrong = [f"{name}: {count} connections" for counts in (seen_by_server, seen_by_broker)
             for name, count in counts.items() if count > CAP and name in names]
    wrong += [f"{most} server connections in all"] * (most > POOL + RESERVE)
    wrong += [f"error: {one}" for one in errors[:3]] + left
    wrong += ["a transaction is missing"] * (sum(one.done for one in clients) < len(clients) * TURNS)
    return f"{PIPELINES} pipelines of {THREADS} threads, max_leases={CAP}", {
        "most of one pipeline in pg_stat_activity": max(seen_by_server.values(), default=0),
        "in SHOW GROUPS": max((seen_by_broker.get(name, 0) for name in names), default=0),
        "of all": most, "transactions": sum(one.done for one in clients), "errors": len(errors),
    }, wrong


def raise_to(highest, counts):
    for name, count in counts:
        highest[name] = max(highest.get(name, 0), count)


def eventually_no_lease(broker):
    try:
        eventually(lambda: not broker.console("SHOW LEASES"), 10)
        return []
    except AssertionError:
        return [f"a lease is not back: {broker.console('SHOW LEASES')[:1]}"]
