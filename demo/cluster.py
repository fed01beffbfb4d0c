# SPDX-License-Identifier: Apache-2.0
"""The demo's own PostgreSQL: one cluster in a folder that goes with it."""

import shutil
import signal
import subprocess

import psycopg2
from harness.postgres import as_user, binaries, folder, free_port, unprivileged_user

SETTINGS = {
    "listen_addresses": "", "wal_level": "logical", "max_wal_senders": 20,
    "max_replication_slots": 20, "max_connections": 100, "shared_buffers": "64MB",
    # The data is thrown away; a commit that was acknowledged survives a restart all the same.
    "fsync": "off", "full_page_writes": "off",
    "log_line_prefix": "%m [%p] %a@%d ",
}


def ends_with_us(signal_name, account=None):
    """The words that run a command as `account`, and end it when this process is killed."""
    words = as_user(account)[1:]
    return ["setpriv", f"--pdeathsig={signal_name}", *words]


class Cluster:
    """Superuser `postgres`, role `app`, trusted on the Unix socket; no TCP."""

    def __init__(self):
        self.account = unprivileged_user()
        self.port = free_port()
        self.process = None
        self.folder = folder("demo-pg")
        if self.account:
            shutil.chown(self.folder, self.account.pw_uid, self.account.pw_gid)

    @property
    def host(self):
        return str(self.folder)

    def make(self):
        """Makes the files of the cluster."""
        subprocess.run(
            [*ends_with_us("TERM", self.account), str(binaries() / "initdb"), "-D",
             f"{self.folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
             "-N"], check=True, capture_output=True, cwd="/tmp")
        values = {**SETTINGS, "port": self.port, "unix_socket_directories": self.host}
        with open(f"{self.folder}/data/postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in values.items())

    def launch(self):
        """Starts the server without waiting for it."""
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(
                [*ends_with_us("QUIT", self.account), str(binaries() / "postgres"), "-D",
                 f"{self.folder}/data"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/tmp", start_new_session=True)

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def accepts(self):
        if not self.is_running:
            raise RuntimeError(f"PostgreSQL ended:\n{self.log_tail()}")
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def connect(self, database, user="postgres"):
        """A connection past the broker, under a name that the count of connections leaves out."""
        connection = psycopg2.connect(
            host=self.host, port=self.port, dbname=database, user=user, application_name="demo",
            connect_timeout=5)
        connection.autocommit = True
        return connection

    def stop(self, how=signal.SIGINT):
        """Tells it to end: SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one."""
        if self.is_running:
            self.process.send_signal(how)

    def log_tail(self):
        try:
            with open(f"{self.folder}/log", encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-15:])
        except FileNotFoundError:
            return ""

    def destroy(self):
        self.stop(signal.SIGQUIT)
        if self.process:
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                # Its children see that it is gone and end as well.
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
