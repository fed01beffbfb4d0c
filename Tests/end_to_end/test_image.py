# SPDX-License-Identifier: Apache-2.0
"""The image's entry point, outside of an image: the variables of edoburu/pgbouncer and bitnami/pgbouncer."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import psycopg2
import pytest

from harness import pooler
from harness.postgres import folder, free_port
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

ENTRYPOINT = pooler.REPOSITORY / "config/entrypoint"
DOCUMENT = pooler.REPOSITORY / "docs/docker.md"
WORD = "right horse"


class Image:
    """A container, as far as its files and its environment go."""

    def __init__(self, postgres):
        self.root, self.port = folder("image"), free_port()
        self.postgres, self.process = postgres, None
        (self.root / "bin").mkdir()
        (self.root / "bin/pglease").symlink_to(pooler.pglease_binary())
        self.log = self.root / "log"

    def put(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self.root / path

    def environment(self, variables):
        return {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "HOME": str(self.root),
                "PGLEASE_IMAGE_ROOT": str(self.root)} | {key: str(text) for key, text in variables.items()}

    def run(self, variables, *command):
        return subprocess.run([str(ENTRYPOINT), *command], env=self.environment(variables), cwd=self.root,
                              capture_output=True, text=True, timeout=60)

    def start(self, variables, *command):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(ENTRYPOINT), *command], env=self.environment(variables), cwd=self.root,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self.listens, 20, self.log.read_text)
        return self

    def listens(self):
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def value(self, sql, user="secretive", password=WORD, dbname="app", **more):
        more = {"host": "127.0.0.1", "sslmode": "disable"} | more
        connection = psycopg2.connect(
            user=user, password=password, dbname=dbname, port=self.port, connect_timeout=20, **more)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            rows = cursor.fetchall()
        connection.close()
        return rows[0][0]

    def settings(self, user, password):
        connection = psycopg2.connect(host="127.0.0.1", user=user, password=password, dbname="pgbouncer",
                                      port=self.port)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SHOW CONFIG")
            rows = dict(row[:2] for row in cursor.fetchall())
        connection.close()
        return rows

    def destroy(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture
def image(postgres):
    one = Image(postgres)
    yield one
    one.destroy()


def test_the_variables_of_edoburus_image(image):
    image.start({
        "DB_HOST": "127.0.0.1", "DB_PORT": image.postgres.port, "DB_USER": "secretive", "DB_PASSWORD": WORD,
        "LISTEN_PORT": image.port, "AUTH_TYPE": "scram-sha-256", "POOL_MODE": "transaction",
        "POOL_SIZE": 3, "TIMEZONE": "Asia/Tokyo", "MAX_CLIENT_CONN": 77, "ADMIN_USERS": "boss,helper",
        "ADMIN_PASSWORDS": 'a"b,c', "PGLEASE_UNIX_SOCKET_DIR": "/nowhere/at/all"})
    assert image.value("SHOW TimeZone") == "Asia/Tokyo"
    with pytest.raises(psycopg2.OperationalError):
        image.value("SELECT 1", password="wrong")
    settings = image.settings("boss", 'a"b')
    assert (settings["max_client_conn"], settings["pool_mode"]) == ("77", "transaction")
    assert settings["unix_socket_dir"] in ("", "none")
    assert image.settings("helper", "c")["ignore_startup_parameters"] == "extra_float_digits"
    # As the health check asks.
    assert image.run({"DB_HOST": "127.0.0.1"}, "ping", "--live").returncode == 0
    assert WORD not in Path(f"/proc/{image.process.pid}/environ").read_text()
    assert WORD not in image.log.read_text()
    assert {path.stat().st_mode & 0o777 for path in (image.root / "etc/pglease/pgbouncer").iterdir()} == {0o600}


def test_a_url_and_the_command_of_edoburus_image(image):
    host = f"127.0.0.1:{image.postgres.port}"
    image.put("etc/pgbouncer/userlist.txt", '"watcher" "its own"\n')
    image.start(
        {"DATABASE_URL": f"postgres://secretive:right%20h%6Frse@{host}/app?sslmode=disable&x=1",
         "LISTEN_PORT": image.port, "STATS_USERS": "watcher"},
        "/usr/bin/pgbouncer", f"{image.root}/etc/pgbouncer/pgbouncer.ini")
    assert image.value("SELECT current_user") == "secretive"
    assert image.settings("watcher", "its own")["server_tls_sslmode"] == "disable"
    with pytest.raises(psycopg2.OperationalError, match="no such database"):
        image.value("SELECT 1", dbname="second")
    assert image.run({}, "ping", "--live").returncode == 0


def test_the_variables_of_bitnamis_image(image, certificates):
    image.start({
        "POSTGRESQL_HOST": "127.0.0.1", "POSTGRESQL_PORT": image.postgres.port,
        "POSTGRESQL_USERNAME": "secretive", "POSTGRESQL_PASSWORD_FILE": image.put("word", WORD),
        "POSTGRESQL_DATABASE": "app", "PGBOUNCER_DATABASE": "main", "PGBOUNCER_PORT": image.port,
        "PGBOUNCER_SOCKET_DIR": image.root, "PGBOUNCER_USERLIST": '"app" "app word"\n"other" "other word"',
        "PGBOUNCER_DSN_0": f"two=host=127.0.0.1 port={image.postgres.port} dbname=second",
        "PGBOUNCER_DSN_1_FILE": image.put("dsn", f"three=host={image.postgres.host} "
                                                 f"port={image.postgres.port} dbname=app user=app"),
        "PGBOUNCER_CONNECT_QUERY": "SELECT set_config('app.here', 'it''s', false)",
        "PGBOUNCER_SET_DATABASE_USER": "yes", "PGBOUNCER_SET_DATABASE_PASSWORD": "yes",
        "PGBOUNCER_CLIENT_TLS_SSLMODE": "require", "PGBOUNCER_STATS_PERIOD": 30,
        "PGBOUNCER_CLIENT_TLS_CERT_FILE": certificates.path("server.crt"),
        "PGBOUNCER_CLIENT_TLS_KEY_FILE": certificates.path("server.key"),
        "PGBOUNCER_EXTRA_FLAGS": "-v -v"})
    secure = {"sslmode": "require"}
    assert image.value("SELECT current_setting('app.here')", dbname="main", **secure) == "it's"
    assert image.value("SELECT current_user", "other", "other word", "main", **secure) == "secretive"
    assert image.value("SELECT current_database()", "app", "app word", "two", **secure) == "second"
    assert image.value("SELECT current_user", "other", "other word", "three", **secure) == "app"
    with pytest.raises(psycopg2.OperationalError):
        image.value("SELECT 1", dbname="main")
    settings = image.settings("secretive", WORD)
    assert (settings["stats_period"], settings["verbose"]) == ("30", "2")
    assert settings["auth_type"] == "scram-sha-256"


@pytest.mark.parametrize("place", ["etc/pgbouncer", "bitnami/pgbouncer/conf"])
def test_a_mounted_file_wins(image, place):
    image.put(f"{place}/userlist.txt", f'"secretive" "{WORD}"\n')
    image.put(f"{place}/pgbouncer.ini",
              f"[databases]\nmounted = host=127.0.0.1 port={image.postgres.port} dbname=app\n[pgbouncer]\n"
              f"listen_addr = 127.0.0.1\nlisten_port = {image.port}\nunix_socket_dir =\nauth_type = md5\n"
              f"auth_file = {image.root}/{place}/userlist.txt\n")
    image.start({"DB_HOST": "elsewhere", "POSTGRESQL_HOST": "elsewhere", "LISTEN_PORT": 1}, "serve")
    assert image.value("SELECT current_database()", dbname="mounted") == "app"


@pytest.mark.parametrize("variables, command, reason", [
    ({"POSTGRESQL_HOST": "x"}, (), "POSTGRESQL_PASSWORD is missing"),
    ({"POSTGRESQL_PASSWORD_FILE": "/nowhere"}, (), "POSTGRESQL_PASSWORD_FILE: /nowhere cannot be read"),
    ({"POSTGRESQL_PASSWORD": "x", "PGBOUNCER_DSN_0_FILE": "/nowhere", "PGBOUNCER_FAIL_ON_INVALID_DSN_FILE": "true"},
     (), "PGBOUNCER_DSN_0_FILE: /nowhere cannot be read"),
    ({"DB_HOST": "x", "POOL_MODE": "session\nauth_type = trust"}, (), "pool_mode has more than one line"),
    ({"DB_HOST": "x\ny = z"}, (), "the database's line has more than one line"),
    ({"DB_HOST": "x", "DB_USER": "x", "DB_PASSWORD": 'y\n"z" ""'}, (), "x has more than one line"),
    ({"DB_HOST": "x", "POOL_MODE": "sometimes"}, (), "pool_mode"),
    ({}, ("pgbouncer",), "no server is named"),
])
def test_what_is_wrong_ends_it(image, variables, command, reason):
    done = image.run(variables, *command)
    assert done.returncode == 78 and reason in done.stderr, done


def test_what_is_pgleases_own_goes_to_it(image):
    assert image.run({"DB_HOST": "x"}, "version").stdout.startswith("pglease")
    for more in ({}, {"PGBOUNCER_PORT": "tcp://10.0.0.1:6432", "PGLEASE_UNIX_SOCKET_DIR": str(image.root)}):
        done = image.run(more, "serve", "--set", "default_pool_size=x")
        assert done.returncode == 78 and "default_pool_size" in done.stderr
    done = image.run({"DB_HOST": "x", "PGLEASE_DATABASE_URL": "host=/x", "PGLEASE_MAX_CLIENT_CONN": "x"}, "serve")
    assert "PGLEASE_MAX_CLIENT_CONN" in done.stderr


def test_every_variable_is_documented():
    script, document = ENTRYPOINT.read_text(), DOCUMENT.read_text()
    lists = re.findall(r'^[A-Z]+_(?:SETTINGS|WORDS)="([^"]*)"', script, re.MULTILINE)
    assert len(lists) == 3
    names = {name for each in lists for name in each.split()}
    assert not {name for name in names if f"`{name}`" not in document}
    used = set(re.findall(r"\$\{?((?:DB|LISTEN|ADMIN|STATS|POSTGRESQL|PGBOUNCER)_[A-Z_]+)", script)) - {"PGBOUNCER_DSN_"}
    assert not {name for name in used if name not in document}
