# SPDX-License-Identifier: Apache-2.0
"""What the demo works on: a shop's tables at the source, a warehouse, the rows that describe both."""

import json
import random
import threading
import time

import psycopg2

PIPELINES = ("orders", "payments", "customers", "stock")
COLUMNS = "id bigint PRIMARY KEY, name text, amount numeric(10, 2), changed_at timestamptz, note text"


class Shop:
    """Databases `rosetta` (the config database), `shop` (the source), `warehouse`.

    Each pipeline has a table that only it fills (`orders`), and its share of the tables that jobs
    copy while the pipeline applies their changes (`orders_01`, …).
    """

    def __init__(self, cluster, jobs, rows):
        self.cluster, self.rows = cluster, rows
        self.job_tables = [
            (f"{PIPELINES[number % 4]}_{number // 4 + 1:02}", number % 4 + 1)
            for number in range(jobs)]
        self.live_tables = [(name, number) for number, name in enumerate(PIPELINES, 1)]
        self.tables = self.live_tables + self.job_tables

    def make_databases(self):
        with_app = self.cluster.connect("postgres")
        with with_app.cursor() as cursor:
            cursor.execute("CREATE ROLE app LOGIN REPLICATION")
            for name in ("rosetta", "shop", "warehouse"):
                cursor.execute(f"CREATE DATABASE {name} OWNER app")
        with_app.close()

    def fill(self):
        """Makes the tables on both sides, and the rows that jobs will copy."""
        for database in ("shop", "warehouse"):
            connection = self.cluster.connect(database, "app")
            with connection.cursor() as cursor:
                for name, _ in self.tables:
                    cursor.execute(f"CREATE TABLE {name} ({COLUMNS})")
                if database == "shop":
                    for name, _ in self.job_tables:
                        cursor.execute(
                            f"INSERT INTO {name} SELECT n, '{name} ' || n, n % 1000 / 10.0, now(),"
                            f" md5(n::text) FROM generate_series(1, {self.rows}) n")
            connection.close()

    def describe(self):
        """The rows of the config database: sources, a destination, pipelines, tables."""
        connection = self.cluster.connect("rosetta", "app")
        address = {"host": self.cluster.host, "port": self.cluster.port, "user": "app"}
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO destinations (id, name, type, config)"
                " VALUES (1, 'warehouse', 'POSTGRES', %s)",
                [json.dumps(address | {"database": "warehouse"})])
            for number, name in enumerate(PIPELINES, 1):
                # A source row for each pipeline: the slot is named there.
                cursor.execute(
                    "INSERT INTO sources (id, name, pg_host, pg_port, pg_database, pg_username,"
                    " publication_name, replication_name, is_publication_enabled,"
                    " is_replication_enabled) VALUES (%s, %s, %s, %s, 'shop', 'app', %s, %s,"
                    " true, true)",
                    [number, f"shop {name}", self.cluster.host, self.cluster.port,
                     f"{name}_changes", name])
                cursor.execute(
                    "INSERT INTO pipelines (id, name, source_id, status)"
                    " VALUES (%s, %s, %s, 'START')", [number, name, number])
                cursor.execute(
                    "INSERT INTO pipelines_destination (id, pipeline_id, destination_id)"
                    " VALUES (%s, %s, 1)", [number, number])
            for name, pipeline in self.tables:
                cursor.execute(
                    "INSERT INTO pipelines_destination_table_sync"
                    " (pipeline_destination_id, table_name) VALUES (%s, %s)", [pipeline, name])
        connection.close()

    def queue_jobs(self):
        connection = self.cluster.connect("rosetta", "app")
        with connection.cursor() as cursor:
            for name, pipeline in self.job_tables:
                cursor.execute(
                    "INSERT INTO queue_backfill_data (pipeline_id, source_id, table_name)"
                    " VALUES (%s, %s, %s)", [pipeline, pipeline, name])
        connection.close()

    def differing(self, tables):
        """The names of those tables whose rows are not the same on both sides."""
        sums = {}
        for database in ("shop", "warehouse"):
            connection = self.cluster.connect(database)
            with connection.cursor() as cursor:
                for name, _ in tables:
                    cursor.execute(
                        f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {name} t")
                    sums[database, name] = cursor.fetchone()
            connection.close()
        return [name for name, _ in tables if sums["shop", name] != sums["warehouse", name]]

    def count(self, tables):
        """Rows of the tables at the warehouse."""
        connection = self.cluster.connect("warehouse")
        with connection.cursor() as cursor:
            cursor.execute("SELECT " + "+".join(f"(SELECT count(*) FROM {name})"
                                                for name, _ in tables))
            rows = cursor.fetchone()[0]
        connection.close()
        return rows


class Storefront:
    """An ordinary program with psycopg2 that changes rows of the source, through the broker."""

    def __init__(self, shop, host, port):
        self.shop = shop
        self.address = {
            "host": host, "port": port, "dbname": "shop", "user": "app",
            "application_name": "storefront"}
        self.transactions = 0
        self.errors = []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.ending.set()
        if self.thread.is_alive():
            self.thread.join(40)

    def _work(self):
        chance = random.Random(1)
        last = 0
        connection = None
        while not self.ending.is_set():
            try:
                connection = connection or psycopg2.connect(**self.address)
                with connection, connection.cursor() as cursor:
                    last += 1
                    self._change(cursor, last, chance)
                self.transactions += 1
            except psycopg2.Error as error:
                # Whether the transaction is there or not: both sides must show the same.
                self.errors.append((time.time(), error.pgcode, str(error).strip()))
                if connection:
                    connection.close()
                connection = None
            self.ending.wait(0.03)
        if connection:
            connection.close()

    def _change(self, cursor, number, chance):
        live, _ = chance.choice(self.shop.live_tables)
        cursor.execute(
            f"INSERT INTO {live} VALUES (%s, 'new', %s, now(), 'from the storefront')",
            [number, chance.randrange(1000)])
        cursor.execute(
            f"UPDATE {live} SET note = 'changed', changed_at = now() WHERE id = %s", [number - 7])
        cursor.execute(f"DELETE FROM {live} WHERE id = %s", [number - 50])
        if self.shop.job_tables:
            table, _ = chance.choice(self.shop.job_tables)
            row = chance.randint(1, self.shop.rows)
            cursor.execute(
                f"UPDATE {table} SET amount = amount + 1, changed_at = now() WHERE id = %s", [row])
