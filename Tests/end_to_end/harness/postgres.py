# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL cluster in a folder of its own."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest

from .waiting import eventually, pause


def folder(prefix):
    """A new folder that every user can enter; short, because socket paths have a limit."""
    made = Path(tempfile.mkdtemp(prefix=f"pgle-{prefix}-", dir="/tmp"))
    made.chmod(0o755)
    return made


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def unprivileged_user():
    """Whom PostgreSQL and pgbouncer run as when the tests run as root; None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("run as root, but neither postgres nor nobody exists")


def as_user(account):
    """The words that run a command as `account`."""
    if account is None:
        return []
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


def binaries():
    """The folder with initdb and postgres."""
    given = os.environ.get("PGLEASE_POSTGRES_BIN")
    if given:
        return Path(given)
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"),
                      key=lambda path: int(path.parts[-3]))
    if not versions:
        raise RuntimeError("no PostgreSQL server binaries found: run scripts/setup")
    return versions[-1].parent


def major_version():
    told = subprocess.run([str(binaries() / "postgres"), "-V"], capture_output=True, text=True,
                          check=True).stdout
    return int(re.search(r"(\d+)", told).group(1))


def has_tls():
    """Builds of package indexes may have none."""
    told = subprocess.run([str(binaries() / "pg_config"), "--configure"], capture_output=True,
                          text=True, check=False)
    return told.returncode != 0 or "ssl" in told.stdout


class Postgres:
    """A cluster: superuser `postgres`, roles `app` and `other`, trust on the Unix socket."""

    def __init__(self, settings=None, hba=(), tls=None, port=None):
        if tls and not has_tls():
            pytest.skip("this build of PostgreSQL has no TLS")
        self.folder = folder("pg")
        self.port = port or free_port()
        self.account = unprivileged_user()
        self.bin = binaries()
        self.version = major_version()
        self.process = None
        self.log_path = self.folder / "postgres.log"
        self.data = self.folder / "data"
        self._own(self.folder)
        self._initialise(settings or {}, hba, tls)
        self.start()
        self._populate()

    def _populate(self):
        for statement in (
            "CREATE ROLE app LOGIN CREATEROLE",
            "CREATE ROLE other LOGIN",
            "CREATE ROLE watcher LOGIN",
            "CREATE ROLE secretive LOGIN PASSWORD 'right horse'",
            "CREATE DATABASE app OWNER app",
            "CREATE DATABASE second OWNER app",
        ):
            self.sql(statement)

    @property
    def host(self):
        return str(self.folder)

    @property
    def socket_path(self):
        return f"{self.folder}/.s.PGSQL.{self.port}"

    def _own(self, path):
        if self.account:
            shutil.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _initialise(self, settings, hba, tls):
        command = as_user(self.account) + [
            str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust",
            "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(command, check=True, capture_output=True, cwd="/tmp")
        values = {
            "port": self.port, "listen_addresses": "127.0.0.1", "fsync": "off",
            "unix_socket_directories": str(self.folder), "max_connections": 300,
            "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB",
            "log_line_prefix": "%m [%p] %u@%d ", "autovacuum": "off", "max_wal_senders": 0,
            "wal_level": "minimal", "password_encryption": "scram-sha-256", **settings}
        if tls:
            values |= {"ssl": "on", "ssl_cert_file": tls.certificate, "ssl_key_file": tls.key,
                       "ssl_ca_file": tls.authority}
        lines = [f"{name} = '{value}'" for name, value in values.items()]
        (self.data / "postgresql.conf").open("a").write("\n".join(lines) + "\n")
        rules = [
            "host all secretive 127.0.0.1/32 scram-sha-256",
            *hba,
            "local all all trust",
            "host all all 127.0.0.1/32 trust",
        ]
        (self.data / "pg_hba.conf").write_text("\n".join(rules) + "\n")

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                as_user(self.account) + [str(self.bin / "postgres"), "-D", str(self.data)],
                stdout=log, stderr=log, cwd="/tmp", start_new_session=True)
        eventually(self.accepts, 60, lambda: f"PostgreSQL is up:\n{self.log()[-3000:]}")

    def accepts(self):
        assert self.process.poll() is None, f"PostgreSQL ended:\n{self.log()[-3000:]}"
        try:
            self.connect().close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, how=signal.SIGINT):
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def restart(self, how=signal.SIGINT):
        self.stop(how)
        self.start()

    def destroy(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    # What it is among others.

    def set(self, name, value):
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.sql("SELECT pg_reload_conf()")
        eventually(lambda: self.sql(f"SHOW {name}") == [(value,)], 10, f"{name} is {value}")

    def follow(self, primary):
        """To be a standby of that one, from its next start on."""
        auto = self.data / "postgresql.auto.conf"
        auto.write_text(
            f"primary_conninfo = 'host={primary.host} port={primary.port} user=postgres'\n"
            f"port = {self.port}\nunix_socket_directories = '{self.folder}'\n"
            "recovery_target_timeline = 'latest'\nsynchronous_standby_names = ''\n")
        (self.data / "standby.signal").touch()
        for path in (auto, self.data / "standby.signal"):
            self._own(path)

    def promote(self):
        self.sql("SELECT pg_promote(true, 20)")

    def is_standby(self):
        return self.sql("SELECT pg_is_in_recovery()") == [(True,)]

    def log(self):
        return self.log_path.read_text(errors="replace")

    def connect(self, dbname="postgres", user="postgres", **more):
        more.setdefault("application_name", "harness")
        connection = psycopg2.connect(
            host=self.host, port=self.port, dbname=dbname, user=user, **more)
        connection.autocommit = True
        return connection

    def sql(self, statement, arguments=None, dbname="postgres", user="postgres"):
        """Runs a statement directly; returns its rows."""
        connection = self.connect(dbname, user)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def backends(self, dbname=None, user=None, state=None):
        """Backends of clients other than the harness itself, as (pid, user, database, state)."""
        rows = self.sql(
            "SELECT pid, usename, datname, state FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND application_name <> 'harness'")
        return [
            row for row in rows
            if (dbname is None or row[2] == dbname) and (user is None or row[1] == user)
            and (state is None or row[3] == state)]

    def terminate(self, *pids):
        for pid in pids:
            self.sql("SELECT pg_terminate_backend(%s)", (pid,))

    def gone(self, dbname=None, user=None, within=10):
        eventually(lambda: not self.backends(dbname, user), within,
                   lambda: f"no backend left: {self.backends(dbname, user)}")


class Watcher:
    """Looks at the number of backends all the time and keeps the largest value seen."""

    def __init__(self, postgres, **which):
        self.connection = postgres.connect()
        clauses = [f"{'datname' if key == 'dbname' else 'usename'} = '{value}'"
                   for key, value in which.items()]
        self.statement = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND application_name <> 'harness'" + "".join(f" AND {one}" for one in clauses))
        self.most = 0

    def look(self):
        with self.connection.cursor() as cursor:
            cursor.execute(self.statement)
            now = cursor.fetchone()[0]
        self.most = max(self.most, now)
        return now

    def watch_until(self, condition, within=30):
        return eventually(lambda: (self.look(), condition())[1], within)

    def close(self):
        self.connection.close()


class Tls:
    """A certificate authority of our own and a server certificate for `localhost`."""

    def __init__(self, account):
        self.folder = folder("tls")
        self.authority = f"{self.folder}/ca.crt"
        self.certificate = f"{self.folder}/server.crt"
        self.key = f"{self.folder}/server.key"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                      "-subj", "/CN=pglease test authority", "-keyout", "ca.key", "-out", "ca.crt")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
                      "-keyout", "server.key", "-out", "server.csr")
        (self.folder / "names").write_text("subjectAltName=DNS:localhost\n")
        self._openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.crt")
        os.chmod(self.key, 0o600)
        if account:
            shutil.chown(self.key, account.pw_uid, account.pw_gid)
        # The certificate of a client: of the role `other`.
        self.client_certificate = f"{self.folder}/client.crt"
        self.client_key = f"{self.folder}/client.key"
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other",
                      "-keyout", "client.key", "-out", "client.csr")
        self._openssl("x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "2", "-out", "client.crt")
        os.chmod(self.client_key, 0o600)

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def destroy(self):
        shutil.rmtree(self.folder, ignore_errors=True)


__all__ = ["Postgres", "Tls", "Watcher", "as_user", "folder", "free_port", "pause",
           "unprivileged_user"]
