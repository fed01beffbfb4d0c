# SPDX-License-Identifier: Apache-2.0
"""The config database's pool, the back-off around it, and the session that repositories use."""

import logging
import os
import time

import psycopg2
import psycopg2.extensions
from psycopg2.extras import RealDictCursor

# The one line that a user of the client module changes.
if os.environ.get("ROSETTA_POOL_MODULE") == "pglease":
    from pglease import psycopg2_pool as pool
else:
    from psycopg2 import pool

logger = logging.getLogger("core.database")

MAX_ATTEMPTS, FIRST_DELAY, FACTOR = 5, 1.0, 1.5
WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")

_connection_pool = None


class DatabaseException(Exception):
    """What repositories see of every error of the driver or the pool."""


def init_connection_pool(min_conn=1, max_conn=10):
    """Makes the process's pool. Defect D1: a forked child finds its parent's and keeps it."""
    global _connection_pool
    if _connection_pool is not None:
        logger.info("Connection pool already initialised")
        return _connection_pool
    delay = 2.0
    for attempt in range(1, 6):
        try:
            _connection_pool = pool.ThreadedConnectionPool(
                min_conn, max_conn, **connection_keywords())
            logger.info("Connection pool initialised (min %s, max %s)", min_conn, max_conn)
            return _connection_pool
        except psycopg2.Error as error:
            if attempt == 5:
                raise DatabaseException(f"Failed to create connection pool: {error}") from error
            logger.warning("Connection pool creation failed (attempt %s/5): %s", attempt, error)
            time.sleep(delay)
            delay *= 1.5


def connection_keywords():
    words = {
        "host": os.environ.get("ROSETTA_DB_HOST", "localhost"),
        "port": int(os.environ.get("ROSETTA_DB_PORT", "5432")),
        "dbname": os.environ.get("ROSETTA_DB_NAME", "rosetta"),
        "user": os.environ.get("ROSETTA_DB_USER", "postgres"),
        "connect_timeout": 10,
        "keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 5,
        "options": "-c statement_timeout=30000",
    }
    password = os.environ.get("ROSETTA_DB_PASSWORD")
    return words | ({"password": password} if password else {})


def close_connection_pool():
    global _connection_pool
    if _connection_pool is not None:
        _connection_pool.closeall()
        _connection_pool = None


def _take():
    """getconn with a back-off in place of a queue (defect D3)."""
    delay = FIRST_DELAY
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return _connection_pool.getconn()
        except pool.PoolError as error:
            if attempt == MAX_ATTEMPTS:
                raise DatabaseException(
                    f"Failed to get connection from pool (exhausted): {error}") from error
            logger.warning("Connection pool exhausted (attempt %s/%s), retrying in %.2fs: %s",
                           attempt, MAX_ATTEMPTS, delay, error)
            time.sleep(delay)
            delay *= FACTOR
        except psycopg2.Error as error:
            raise DatabaseException(f"Failed to get connection from pool: {error}") from error


def _check(conn):
    if conn.get_transaction_status() != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
        conn.rollback()
    conn.autocommit = True
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1")
    conn.autocommit = False


def get_db_connection():
    conn = _take()
    try:
        _check(conn)
        return conn
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        logger.warning("Stale connection detected, replacing it: %s", str(error).strip())
        _connection_pool.putconn(conn, close=True)
    # Defect D12: when this check fails as well, its lease is never given back.
    try:
        conn = _connection_pool.getconn()
        _check(conn)
        return conn
    except psycopg2.Error as error:
        raise DatabaseException(f"Failed to get connection from pool: {error}") from error


def return_db_connection(conn):
    try:
        if conn.get_transaction_status() != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
            conn.rollback()
        conn.autocommit = False
        _connection_pool.putconn(conn)
    except Exception as error:
        logger.error("Error returning connection: %s", error)
        close_db_connection(conn)


def close_db_connection(conn):
    try:
        _connection_pool.putconn(conn, close=True)
    except Exception as error:
        logger.error("Error closing connection: %s", error)


class DatabaseSession:
    """A lease for a block: commits if a statement wrote, rolls back otherwise."""

    def __enter__(self):
        self.conn = get_db_connection()
        self.cursor = self.conn.cursor(cursor_factory=RealDictCursor)
        self.wrote = False
        return self

    def execute(self, statement, arguments=None):
        if statement.strip().upper().startswith(WRITES):
            self.wrote = True
        try:
            self.cursor.execute(statement, arguments)
        except psycopg2.Error as error:
            raise DatabaseException(f"Database error: {error}") from error

    def fetchone(self):
        return self.cursor.fetchone()

    def fetchall(self):
        return self.cursor.fetchall()

    def __exit__(self, kind, error, _):
        broken = False
        try:
            if error is not None:
                logger.error("Transaction rolled back due to: %s", str(error).strip())
                self.conn.rollback()
            elif self.wrote:
                self.conn.commit()
            else:
                self.conn.rollback()
        except psycopg2.Error as failure:
            broken = True
            logger.error("Commit failed: %s", str(failure).strip())
            if error is None:
                raise DatabaseException(f"Commit failed: {failure}") from failure
        finally:
            self.cursor.close()
            if broken:
                close_db_connection(self.conn)
            else:
                return_db_connection(self.conn)
        return False


def run_migration(path):
    conn = get_db_connection()
    try:
        with conn.cursor() as cursor:
            cursor.execute(open(path).read())
        conn.commit()
        logger.info("Migration done")
    finally:
        return_db_connection(conn)
