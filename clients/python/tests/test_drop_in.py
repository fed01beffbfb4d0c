# SPDX-License-Identifier: Apache-2.0
"""The first user's database layer (managers.md, sections 5 and 6) with only its import changed.

Written again from the description: the calls of psycopg2, their order and their error handling are
the user's; nothing else in here knows of pglease.
"""

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import extensions

from conftest import leases
from harness.postgres import Watcher
from harness.waiting import eventually
from pglease import psycopg2_pool as pool  # was: from psycopg2 import pool
from programs import in_threads


class DatabaseException(Exception):
    pass


class Database:
    """One process's pool, as the user has it."""

    def __init__(self, minimum, maximum, **address):
        self.pool = pool.ThreadedConnectionPool(
            minimum, maximum, connect_timeout=10, keepalives=1, keepalives_idle=30,
            keepalives_interval=10, keepalives_count=5, options="-c statement_timeout=30000",
            **address)

    def check(self, connection):
        if connection.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
            connection.rollback()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.autocommit = False

    def get_db_connection(self):
        try:
            connection = self.pool.getconn()
            try:
                self.check(connection)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.pool.putconn(connection, close=True)
                connection = self.pool.getconn()
                self.check(connection)
            return connection
        except pool.PoolError as error:
            raise DatabaseException(f"pool exhausted: {error}") from error
        except psycopg2.Error as error:
            raise DatabaseException(str(error)) from error

    def return_db_connection(self, connection):
        if connection.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
            connection.rollback()
        connection.autocommit = False
        self.pool.putconn(connection)


class DatabaseSession:
    """Commits when a statement wrote, rolls back otherwise, gives the connection back."""

    WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")

    def __init__(self, database):
        self.database = database

    def __enter__(self):
        self.connection = self.database.get_db_connection()
        self.cursor = self.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
        self.wrote = False
        return self

    def execute(self, statement, arguments=None):
        self.wrote |= statement.strip().upper().startswith(self.WRITES)
        self.cursor.execute(statement, arguments)
        return self.cursor

    def __exit__(self, kind, error, trace):
        try:
            self.cursor.close()
            if kind is None and self.wrote:
                self.connection.commit()
            else:
                self.connection.rollback()
        except psycopg2.Error:
            self.database.pool.putconn(self.connection, close=True)
            raise
        self.database.return_db_connection(self.connection)


@pytest.fixture
def database(broker, closing, unix_way, monkeypatch):
    monkeypatch.setenv("PGLEASE_DIRECT", "on" if unix_way.direct else "off")
    monkeypatch.setenv("PGLEASE_LEASE_WAIT", "30")
    made = Database(1, 8, host=str(broker.dsn_host), port=broker.dsn_port, dbname="app",
                    user="app", password="")
    closing(made.pool)
    return made


def nested(database, table, depth):
    """A read whose transaction and connection stay open around the next one."""
    with DatabaseSession(database) as session:
        row = session.execute(f"SELECT count(*) AS number FROM {table}").fetchone()
        return row["number"] if depth == 1 else nested(database, table, depth - 1)


def test_sessions(broker, database, table):
    with DatabaseSession(database) as session:
        session.execute(f"INSERT INTO {table} VALUES (%s, %s)", (1, "one"))
        assert session.execute("SHOW statement_timeout").fetchone() == {"statement_timeout": "30s"}
    with pytest.raises(KeyError):
        with DatabaseSession(database) as session:
            session.execute(f"INSERT INTO {table} VALUES (2, 'two')")
            raise KeyError
    with DatabaseSession(database) as session:
        assert session.execute(f"SELECT * FROM {table}").fetchall() == [{"id": 1, "name": "one"}]
    eventually(lambda: leases(broker) == [])


def test_three_leases_deep(broker, database, table):
    assert nested(database, table, 3) == 0
    eventually(lambda: leases(broker) == [])


def test_the_purpose_names_the_repository(broker, database):
    connection = database.get_db_connection()
    (row,) = leases(broker)
    assert row["purpose"].startswith("tests/test_drop_in.py:")
    database.return_db_connection(connection)


def test_thirty_jobs_and_no_exhaustion(postgres, broker, database, table):
    watcher = Watcher(postgres, dbname="app")

    def job(index):
        for step in range(5):
            with DatabaseSession(database) as session:
                session.execute(f"INSERT INTO {table} VALUES (%s, 'x')", (index * 10 + step,))
            with DatabaseSession(database) as session:
                session.execute(f"SELECT count(*) FROM {table}")
            if index == 0:
                watcher.look()

    in_threads(30, job)
    assert watcher.most <= 3
    watcher.close()
    with DatabaseSession(database) as session:
        row = session.execute(f"SELECT count(*) AS number FROM {table}").fetchone()
        assert row["number"] == 150


def test_a_server_that_was_lost_is_found_by_the_check(postgres, broker, database):
    held = database.get_db_connection()
    pid = held.info.backend_pid
    database.return_db_connection(held)
    postgres.terminate(*[row[0] for row in postgres.backends("app")])
    with DatabaseSession(database) as session:
        assert session.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    assert pid


def test_an_exhausted_pool_is_the_error_that_the_user_expects(broker, database, monkeypatch):
    monkeypatch.setattr(database.pool._leasing, "policy",
                        type(database.pool._leasing.policy).make(wait=0.1))
    held = [database.get_db_connection() for _ in range(3)]
    with pytest.raises(DatabaseException, match="Held by: "):
        database.get_db_connection()
    for one in held:
        database.return_db_connection(one)
