# SPDX-License-Identifier: Apache-2.0
"""A destination database: one connection that writes (DuckDB's in production), one for the catalog."""

import io

import psycopg2


class PostgresDestination:
    """Made once for each pipeline or job and destination; `close` ends its connections."""

    def __init__(self, row):
        self.id, self.config = row["id"], row["config"]
        self.writer = self.catalog = None

    def initialize(self):
        words = {"host": self.config["host"], "port": self.config["port"],
                 "dbname": self.config["database"], "user": self.config["user"]}
        if self.config.get("password"):
            words["password"] = self.config["password"]
        self.writer = psycopg2.connect(**words)
        self.catalog = psycopg2.connect(**words)
        self.catalog.autocommit = True

    def _columns(self, table):
        with self.catalog.cursor() as cursor:
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s"
                " AND table_name = %s ORDER BY ordinal_position",
                (self.config.get("schema", "public"), table))
            return [row[0] for row in cursor.fetchall()]

    def _key(self, table):
        with self.catalog.cursor() as cursor:
            cursor.execute(
                "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
                " AND a.attnum = ANY (i.indkey) WHERE i.indrelid = %s::regclass AND i.indisprimary",
                (f'"{table}"',))
            row = cursor.fetchone()
            return row[0] if row else None

    def write_batch(self, table, columns, rows):
        """Deletes the rows' keys, then copies them in: two statements, no common transaction."""
        if not rows:
            return 0
        known = self._columns(table)
        if not known:
            raise RuntimeError(f"table {table} does not exist in the destination")
        key = self._key(table)
        if key in columns:
            at = columns.index(key)
            with self.writer, self.writer.cursor() as cursor:
                cursor.execute(f'DELETE FROM "{table}" WHERE "{key}" = ANY (%s)',
                               ([row[at] for row in rows],))
        text = io.StringIO("".join(
            "\t".join("\\N" if value is None else _escaped(value) for value in row) + "\n"
            for row in rows))
        names = ", ".join(f'"{column}"' for column in columns)
        with self.writer, self.writer.cursor() as cursor:
            cursor.copy_expert(f'COPY "{table}" ({names}) FROM STDIN', text)
        return len(rows)

    def close(self):
        for conn in (self.writer, self.catalog):
            if conn is not None:
                conn.close()


def _escaped(value):
    return (str(value).replace("\\", "\\\\").replace("\t", "\\t")
            .replace("\n", "\\n").replace("\r", "\\r"))
