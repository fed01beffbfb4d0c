# SPDX-License-Identifier: Apache-2.0
"""Configurations as others write them for pgbouncer: who gets in, who does not, and what exporters ask for.

`configurations/NAME` has the files, with @WORDS@ for what is of this machine, and `logins.toml`: whom they let in.
With PGLEASE_REFERENCE=/path/of/pgbouncer the same is asked of pgbouncer itself.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import psycopg2
import pytest

from harness import pooler
from harness.certificates import Certificates
from harness.postgres import Postgres, folder, free_port, unprivileged_user

pytestmark = pytest.mark.pglease_only

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("configurations/*/logins.toml"))
REFERENCE = os.environ.get("PGLEASE_REFERENCE")
# What each operator installs for its auth_query.
LOOKUPS = {"public.user_search": "usename", "pgbouncer.get_auth": "username", "pooler.user_lookup": "uname",
           "public.pg_shadow_lookup": "username", "monitor.pgbouncer_auth": "username"}
ROLES = {"app": "app-word", "old": "old-word", "other": "other-word", "postgres": "super-word", "pgbouncer": "bouncer-word",
         "pooler_pgbouncer": "pooler-word", "cnpg_pooler_pgbouncer": None, "pooler": "pooler-word",
         "_crunchypgbouncer": "crunchy-word", "dbuser_app": "dbuser-word", "dbuser_monitor": "monitor-word"}
# As pgbouncer's exporters ask for them (prometheus-community, jbub, CloudNativePG's own).
EXPORTED = ("SHOW VERSION", "SHOW STATS", "SHOW STATS_TOTALS", "SHOW POOLS", "SHOW DATABASES", "SHOW LISTS",
            "SHOW CONFIG", "SHOW CLIENTS", "SHOW SERVERS", "SHOW USERS", "SHOW MEM", "SHOW TOTALS")


@pytest.fixture(scope="module")
def certificates():
    """Of localhost, of the client `app`, and of CloudNativePG's user."""
    one = Certificates(unprivileged_user())
    one.make("server", "/CN=localhost", names="DNS:localhost,IP:127.0.0.1")
    one.make("cnpg", "/CN=cnpg_pooler_pgbouncer")
    one.make("client", "/CN=app")
    shutil.copy(one.path("client.key"), one.path("own.key"))
    os.chmod(one.path("own.key"), 0o600)
    yield one
    one.destroy()


@pytest.fixture(scope="module")
def postgres(certificates):
    """Asks for passwords over TCP, the operators' users for what they bring."""
    tls = type("Tls", (), {"certificate": certificates.path("server.crt"),
                           "key": certificates.path("server.key"), "authority": certificates.path("ca.crt")})
    one = Postgres(tls=tls, hba=[
        "hostssl all cnpg_pooler_pgbouncer 127.0.0.1/32 cert",
        "hostssl all _crunchypgbouncer 127.0.0.1/32 scram-sha-256", "host all _crunchypgbouncer all reject",
        "host all all 127.0.0.1/32 md5"])
    for role, word in ROLES.items():
        exists = one.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        one.sql(f'{"ALTER" if exists else "CREATE"} ROLE "{role}" LOGIN')
        if word:
            form = "md5" if role in ("old", "pgbouncer") else "scram-sha-256"
            one.sql(f"SET password_encryption = '{form}'; ALTER ROLE \"{role}\" PASSWORD '{word}'")
    one.sql("CREATE ROLE expired LOGIN PASSWORD 'expired-word' VALID UNTIL '2001-01-01'")
    one.sql("CREATE ROLE gone NOLOGIN PASSWORD 'gone-word'")
    for database in ("postgres", "app", "second"):
        for function, column in LOOKUPS.items():
            schema = function.split(".")[0]
            one.sql(
                f"CREATE SCHEMA IF NOT EXISTS {schema}; GRANT USAGE ON SCHEMA {schema} TO PUBLIC; "
                f"CREATE FUNCTION {function}(name text) RETURNS TABLE ({column} name, password text) "
                "LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS "
                "$$ SELECT rolname, rolpassword FROM pg_authid "
                "WHERE rolname = $1 AND rolcanlogin AND NOT rolsuper $$".replace(
                    "password text", "passwd text" if column == "usename" else "password text"),
                dbname=database)
    yield one
    one.destroy()


class Adopted:
    """A program that was started with one of the configurations."""

    def __init__(self, source, postgres, certificates):
        self.folder, self.port = folder("real"), free_port()
        self.certificates = certificates
        self.account = unprivileged_user()
        (self.folder / "run").mkdir()
        words = {"DBHOST": "127.0.0.1" if REFERENCE else "localhost", "PORT": postgres.port, "PGSOCKETS": postgres.host, "LISTEN": self.port,
                 "FOLDER": self.folder, "CERTS": certificates.folder,
                 "USER": self.account.pw_name if self.account else pooler.own_name()}

        def filled(match):
            name, *more = match.group(1).split(":")
            if name == "MD5":
                return "md5" + hashlib.md5((more[1] + more[0]).encode()).hexdigest()
            if name == "SCRAM":
                return postgres.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", more)[0][0]
            return str(words[name]) if name in words else match.group(0)

        for path in source.iterdir():
            (self.folder / path.name).write_text(re.sub(r"@([A-Za-z0-9:_-]+)@", filled, path.read_text()))
        if self.account:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self.account.pw_uid, self.account.pw_gid)
        self.expected = tomllib.loads((source / "logins.toml").read_text())
        [self.ini] = [path for path in self.folder.glob("*.ini") if "[pgbouncer]" in path.read_text()
                      and "[databases]" in path.read_text()] or [self.folder / "pgbouncer.ini"]
        self.process, self.log = None, self.folder / "stderr"

    def start(self):
        command = [REFERENCE] if REFERENCE else [pooler.pglease_binary(), "pgbouncer"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PGLEASE_")}
        environment["HOME"] = str(self.folder)
        account = self.account
        if re.search("^user = ", self.ini.read_text(), re.MULTILINE) and account and not REFERENCE:
            # Root starts it, as those images do, and its own folder is nobody else's.
            (self.folder / "root").mkdir(mode=0o700)
            account, environment["HOME"] = None, str(self.folder / "root")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                pooler.as_user(account) + [*command, str(self.ini)], cwd=self.folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        pooler.eventually(self.listens, 20, self.said)
        return self

    def listens(self):
        assert self.process.poll() is None, self.said()
        with pooler.socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self):
        return self.log.read_text(errors="replace")[-3000:]

    def connect(self, user, password, database, way):
        more = {"host": "127.0.0.1", "sslmode": "disable"}
        if way == "unix":
            more["host"] = str(self.folder)
        elif way in ("tls", "cert"):
            more = {"host": "localhost", "hostaddr": "127.0.0.1", "sslmode": "verify-full",
                    "sslrootcert": self.certificates.path("ca.crt")}
        if way == "cert":
            more |= {"sslcert": self.certificates.path("client.crt"), "sslkey": self.certificates.path("own.key")}
        connection = psycopg2.connect(
            user=user, password=password, dbname=database, port=self.port, connect_timeout=20, **more)
        connection.autocommit = True
        return connection

    def ask(self, connection, sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def destroy(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(params=FOLDERS, ids=lambda path: path.name)
def adopted(request, postgres, certificates):
    one = Adopted(request.param, postgres, certificates)
    try:
        yield one.start()
    finally:
        one.destroy()


def test_there_are_many_from_many(record_property):
    sources = {tomllib.loads((path / "logins.toml").read_text())["source"].split(":")[0] for path in FOLDERS}
    assert len(FOLDERS) >= 20 and len(sources) >= 12


def test_its_users_get_in_and_its_exporter_reads(adopted):
    for again in (False, True):
        for login in adopted.expected["lets_in"]:
            connection = adopted.connect(*login)
            assert adopted.ask(connection, "SELECT 1 + 1") == [(2,)], login
            connection.close()
        for login in adopted.expected["refuses"]:
            with pytest.raises(psycopg2.OperationalError):
                adopted.connect(*login).close()
                pytest.fail(f"{login} gets in")
        if again or "console" not in adopted.expected:
            break
        user, password, way = adopted.expected["console"]
        if REFERENCE and way == "unix" and user == "pgbouncer":  # By uid.
            break
        console = adopted.connect(user, password, "pgbouncer", way)
        for sql in EXPORTED:
            assert adopted.ask(console, sql), sql
        is_admin = dict(row[:2] for row in adopted.ask(console, "SHOW CONFIG"))["admin_users"].split(",")
        if user in map(str.strip, is_admin):
            adopted.ask(console, "RELOAD")
        console.close()
    assert adopted.process.poll() is None, adopted.said()
