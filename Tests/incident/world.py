# SPDX-License-Identifier: Apache-2.0
"""The databases of one run: config, source and destination, with pipelines, tables and jobs."""

from pathlib import Path

from harness.postgres import Postgres

MIGRATION = Path(__file__).parent / "workers/001_create_table.sql"
CONFIG, SOURCE, WAREHOUSE = "rosetta", "shop", "warehouse"
CONFIG_ROLE = "rosetta"
ENDED = ("COMPLETED", "FAILED", "CANCELLED")

# As the compose files of the first user have it.
POSTGRES_SETTINGS = {
    "wal_level": "logical", "max_wal_senders": 10, "max_replication_slots": 20,
    "timezone": "Asia/Jakarta", "log_connections": "on",
}


def start_postgres():
    """A cluster with the three roles: the workers' on the config database, a reader, a writer."""
    postgres = Postgres(settings=POSTGRES_SETTINGS)
    for role in (CONFIG_ROLE, "reader", "writer"):
        postgres.sql(f"CREATE ROLE {role} LOGIN REPLICATION")
    return postgres


class World:
    """Databases with pipelines to start, and jobs to do, a table each."""

    def __init__(self, postgres, size):
        self.postgres, self.pipelines, self.rows = postgres, size.pipelines, size.rows
        self.status = "PAUSE" if size.paused else "START"
        self.tables = [f"orders_{number:02}" for number in range(1, size.jobs + 1)]
        for name, owner in ((CONFIG, CONFIG_ROLE), (SOURCE, "reader"), (WAREHOUSE, "writer")):
            postgres.sql(f"CREATE DATABASE {name} OWNER {owner}")
        self._fill_source()
        self._make_destination_tables()
        self._fill_config()

    def destroy(self):
        for name in self._slots():
            self.postgres.sql("SELECT pg_drop_replication_slot(%s)", (name,), dbname=SOURCE)
        for name in (CONFIG, SOURCE, WAREHOUSE):
            self.postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _slots(self):
        return [f"slot_{number}" for number in range(1, self.pipelines + 1)]

    def _fill_source(self):
        def run(statement, user="reader"):
            self.postgres.sql(statement, dbname=SOURCE, user=user)
        for number, table in enumerate(self.tables):
            run(f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text, amount numeric, made timestamptz);"
                f" INSERT INTO {table} SELECT i, 'order ' || i || E'\\t' || {number}, i * 1.25, now()"
                f" FROM generate_series(1, {self.rows}) i")
        for number in range(1, self.pipelines + 1):
            run(f"CREATE TABLE events_{number} (id bigserial PRIMARY KEY, name text)")
        run("CREATE PUBLICATION publication FOR ALL TABLES", user="postgres")
        for name in self._slots():
            self.postgres.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,),
                              dbname=SOURCE)

    def _make_destination_tables(self):
        statements = [f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text, amount numeric, made timestamptz)"
                      for table in self.tables]
        statements += [f"CREATE TABLE events_{number} (id bigint PRIMARY KEY, name text)"
                       for number in range(1, self.pipelines + 1)]
        self.postgres.sql("; ".join(statements), dbname=WAREHOUSE, user="writer")

    def config(self, statement, arguments=None):
        """As the superuser, so that it is not counted among the workers' connections."""
        return self.postgres.sql(statement, arguments, dbname=CONFIG)

    def _fill_config(self):
        self.postgres.sql(MIGRATION.read_text(), dbname=CONFIG, user=CONFIG_ROLE)
        host, port = self.postgres.host, self.postgres.port
        for number in range(1, self.pipelines + 1):
            self.config(
                "INSERT INTO sources (id, name, pg_host, pg_port, pg_database, pg_username,"
                " publication_name, replication_name) VALUES (%s, %s, %s, %s, %s, 'reader',"
                " 'publication', %s)",
                (number, f"source {number}", host, port, SOURCE, f"slot_{number}"))
            self.config(
                "INSERT INTO destinations (id, name, type, config) VALUES (%s, %s, 'POSTGRES',"
                " jsonb_build_object('host', %s::text, 'port', %s::int, 'database', %s::text,"
                " 'user', 'writer', 'password', '', 'schema', 'public'))",
                (number, f"destination {number}", host, port, WAREHOUSE))
            self.config("INSERT INTO pipelines (id, name, source_id, status)"
                        " VALUES (%s, %s, %s, %s)", (number, f"pipeline_{number}", number, self.status))
            self.config("INSERT INTO pipelines_destination (id, pipeline_id, destination_id)"
                        " VALUES (%s, %s, %s)", (number, number, number))
            self._sync(number, f"events_{number}")
        for at, table in enumerate(self.tables):
            pipeline = at % self.pipelines + 1
            self._sync(pipeline, table)
            self.config("INSERT INTO queue_backfill_data (pipeline_id, source_id, table_name)"
                        " VALUES (%s, %s, %s)", (pipeline, pipeline, table))

    def _sync(self, pipeline, table):
        self.config("INSERT INTO pipelines_destination_table_sync (pipeline_destination_id,"
                    " table_name, table_name_target) VALUES (%s, %s, %s)", (pipeline, table, table))
        self.config("INSERT INTO table_metadata_list (source_id, table_name) VALUES (%s, %s)",
                    (pipeline, table))

    def feed(self):
        """Some rows for each pipeline to replicate."""
        self.postgres.sql("".join(
            f"INSERT INTO events_{number} (name) SELECT 'event ' || i FROM generate_series(1, 5) i;"
            for number in range(1, self.pipelines + 1)), dbname=SOURCE)

    # What came of it.

    def progress(self):
        """What changes as long as anything goes on: jobs by status, rows counted, pipelines alive."""
        statuses = dict(self.config("SELECT status, count(*)::int FROM queue_backfill_data GROUP BY 1"))
        counted = self.config("SELECT sum(count_record)::bigint FROM queue_backfill_data")[0][0]
        return statuses, int(counted), len(self.streaming())

    def streaming(self):
        """The pipelines that have written a batch and said so."""
        return [row[0] for row in self.config(
            "SELECT DISTINCT pipeline_id FROM data_flow_record_monitoring"
            " WHERE table_name LIKE 'LANDING_EVENTS%'")]

    def flow_records(self):
        return self.config("SELECT count(*)::int FROM data_flow_record_monitoring"
                           " WHERE table_name LIKE 'LANDING_EVENTS%'")[0][0]

    def job_statuses(self):
        return dict(self.config("SELECT table_name, status FROM queue_backfill_data"))

    def complete_tables(self):
        """Those whose rows in the destination are exactly the source's."""
        return [table for table in self.tables
                if self._digest(SOURCE, table) == self._digest(WAREHOUSE, table)]

    def _digest(self, database, table):
        return self.postgres.sql(
            f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM {table} t",
            dbname=database)[0]
