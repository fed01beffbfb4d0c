# SPDX-License-Identifier: Apache-2.0
"""Clients that write all the time, and what they were told of each row."""

import threading
import time

import psycopg2

from .waiting import eventually, pause


class Writers:
    """Threads that insert (writer, number) by their own connections, and connect again after each error.

    A row whose COMMIT was not answered is in doubt: it is looked for, and written again only if it is not there.
    """

    def __init__(self, dsns, table, in_transaction=lambda index: False):
        self.table, self.in_transaction = table, in_transaction
        self.acknowledged, self.errors, self.broken = [], [], []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(index, dsn), daemon=True)
                        for index, dsn in enumerate(dsns)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def _run(self, index, dsn):
        try:
            self._write(index, dsn)
        except Exception as error:  # pylint: disable=broad-except
            self.broken.append((index, repr(error)))

    def _write(self, index, dsn):
        connection, number, in_doubt = None, 0, False
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = psycopg2.connect(dsn)
                    connection.autocommit = not self.in_transaction(index)
                if not (in_doubt and self._is_there(connection, index, number)):
                    in_doubt = True
                    with connection.cursor() as cursor:
                        cursor.execute(
                            f"INSERT INTO {self.table} VALUES (%s, %s)", (index, number))
                    if not connection.autocommit:
                        connection.commit()
                self.acknowledged.append((time.monotonic(), index, number))
                number, in_doubt = number + 1, False
            except psycopg2.Error as error:
                self.errors.append((time.monotonic(), index, str(error)))
                if connection is not None:
                    connection.close()
                connection = None
                pause(0.05)
        if connection is not None:
            connection.close()

    def _is_there(self, connection, index, number):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {self.table} WHERE writer = %s AND number = %s",
                           (index, number))
            found = cursor.fetchone()[0]
        if not connection.autocommit:
            connection.commit()
        return found > 0

    # What was seen.

    def first_after(self, moment, within=20):
        """Seconds from this moment to the first row that was written wholly behind it."""
        def seen():
            # One that was answered just behind it may have been on its way before.
            return sorted(at for at, _, _ in self.acknowledged if at > moment)[1:2]
        found = eventually(seen, within, lambda: f"a row: {self.errors[-5:]}, {self.broken}")
        return found[0] - moment

    def all_write(self, since, within=20):
        """Every writer has written after this moment."""
        def done():
            return {index for at, index, _ in self.acknowledged if at > since}
        eventually(lambda: len(done()) == len(self.threads), within,
                   lambda: f"{len(self.threads)} writers: {done()}, {self.errors[-5:]}, "
                           f"{self.broken}")

    def check(self, server):
        """No acknowledged row is lost, and none is there twice."""
        assert not self.broken, self.broken
        # Who writes on has more acknowledged by the time that the rows are read.
        acknowledged = {(index, number) for _, index, number in list(self.acknowledged)}
        rows = server.sql(f"SELECT writer, number FROM {self.table}", dbname="app")
        assert len(rows) == len(set(rows)), "a row is there twice"
        lost = acknowledged - set(rows)
        assert not lost, f"{len(lost)} acknowledged rows are lost: {sorted(lost)[:5]}"
