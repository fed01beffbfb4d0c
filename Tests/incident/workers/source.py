# SPDX-License-Identifier: Apache-2.0
"""A source database: one connection of its own for the time of a job. DuckDB's ATTACH in production."""

import psycopg2


class Source:
    def __init__(self, row):
        words = {"host": row["pg_host"], "port": row["pg_port"], "dbname": row["pg_database"],
                 "user": row["pg_username"]}
        if row.get("pg_password"):
            words["password"] = row["pg_password"]
        self.conn = psycopg2.connect(**words)
        self.conn.set_session(isolation_level="REPEATABLE READ", readonly=True)

    def _rows(self, statement, arguments=()):
        with self.conn, self.conn.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall()

    def primary_key(self, table):
        """The name of a single-column key of a table of the schema public, else None."""
        found = self._rows(
            "SELECT k.column_name FROM information_schema.table_constraints c"
            " JOIN information_schema.key_column_usage k USING (constraint_schema, constraint_name)"
            " WHERE c.constraint_type = 'PRIMARY KEY' AND k.table_schema = 'public'"
            " AND k.table_name = %s ORDER BY k.ordinal_position", (table,))
        return found[0][0] if len(found) == 1 else None

    def columns(self, table):
        return [row[0] for row in self._rows(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name = %s ORDER BY ordinal_position", (table,))]

    def count(self, table):
        return self._rows(f'SELECT COUNT(*) FROM "{table}"')[0][0]

    def batch(self, table, key, last, offset, limit):
        """The next rows after a key's value, or from an offset when the table has no key."""
        if key is None:
            return self._rows(f'SELECT * FROM "{table}" LIMIT {limit} OFFSET {offset}')
        after = "" if last is None else f' WHERE "{key}" > {last}'
        return self._rows(f'SELECT * FROM "{table}"{after} ORDER BY "{key}" LIMIT {limit}')

    def close(self):
        self.conn.close()


def validate_replication_setup(row):
    """Publication, its tables and the slot, over a connection of the moment (no time-out set)."""
    words = {"host": row["pg_host"], "port": row["pg_port"], "dbname": row["pg_database"],
             "user": row["pg_username"]}
    conn = psycopg2.connect(**words)
    try:
        for statement, name in (
            ("SELECT COUNT(*) FROM pg_publication WHERE pubname = %s", "publication_name"),
            ("SELECT COUNT(*) FROM pg_publication_tables WHERE pubname = %s", "publication_name"),
            ("SELECT COUNT(*) FROM pg_replication_slots WHERE slot_name = %s", "replication_name"),
        ):
            with conn.cursor() as cursor:
                cursor.execute(statement, (row[name],))
                if cursor.fetchone()[0] == 0:
                    raise RuntimeError(f"{name} {row[name]!r} is missing on the source")
    finally:
        conn.close()
