# SPDX-License-Identifier: Apache-2.0
"""Programs of other languages' drivers, and of Python's object mappers, see through a transaction pool what they see on a connection of their own.

A driver that is not installed is skipped; `scripts/drivers` installs them all.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.pooler import REPOSITORY

pytestmark = pytest.mark.pglease_only

PROGRAMS = REPOSITORY / "Tests/drivers"
NODE_MODULES = REPOSITORY / ".build/node/usr/share/nodejs"
GO_FLAGS = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "GOCACHE": "/tmp/pglease-go-cache"}
JDBC = "/usr/share/java/postgresql.jar"


def has_perl_module(name):
    return shutil.which("perl") and subprocess.run(
        ["perl", f"-M{name}", "-e1"], capture_output=True, check=False).returncode == 0


def has_ruby_library(name):
    return shutil.which("ruby") and subprocess.run(
        ["ruby", "-r", name, "-e", "1"], capture_output=True, check=False).returncode == 0


def has_php_extension(name):
    return shutil.which("php") and name in subprocess.run(
        ["php", "-m"], capture_output=True, text=True, check=False).stdout.split()


def has_go(package):
    return shutil.which("go") and Path("/usr/share/gocode/src", package).is_dir()


JAVA = ["java", "-cp", JDBC, str(PROGRAMS / "Session.java")]
HAS_JAVA = shutil.which("javac") and Path(JDBC).exists()
# Command, its environment, and whether the driver is here.
DRIVERS = {
    "node-pg": (["node", "session.js"], {"NODE_PATH": str(NODE_MODULES)},
                shutil.which("node") and (NODE_MODULES / "pg").is_dir()),
    "ruby-pg": (["ruby", "session.rb"], {}, has_ruby_library("pg")),
    "php": (["php", "session.php"], {}, has_php_extension("pdo_pgsql")),
    "dbd-pg": (["perl", "session.pl"], {}, has_perl_module("DBD::Pg")),
    "jdbc": (JAVA, {}, HAS_JAVA),
    "jdbc-prepared": ([*JAVA, "prepareThreshold=1"], {}, HAS_JAVA),
    "jdbc-simple": ([*JAVA, "preferQueryMode=simple"], {}, HAS_JAVA),
    "lib-pq": (["go", "run", "go/libpq.go"], GO_FLAGS, has_go("github.com/lib/pq")),
    "sqlalchemy-psycopg2": ([sys.executable, "session_sqlalchemy.py", "psycopg2"], {},
                            importlib.util.find_spec("sqlalchemy")),
    "sqlalchemy-psycopg": ([sys.executable, "session_sqlalchemy.py", "psycopg"], {},
                           importlib.util.find_spec("sqlalchemy")),
    "django": ([sys.executable, "session_django.py"], {}, importlib.util.find_spec("django")),
    "pgx": (["go", "run", "go/pgx.go"], GO_FLAGS, has_go("github.com/jackc/pgx/v4")),
}


@pytest.fixture(scope="module")
def aside(postgres):
    postgres.sql("CREATE SCHEMA aside; CREATE TABLE aside.there (number int)", dbname="app", user="app")
    yield
    postgres.sql("DROP SCHEMA aside CASCADE", dbname="app", user="app")


@pytest.fixture
def busy(make_broker, aside):
    """A pool of three, and a neighbour who leaves its connections in another state all the time."""
    broker = make_broker({"default_pool_size": 3, "pin_notice": 0}, tcp=True)
    stop = threading.Event()

    def work():
        with broker.wire() as one, broker.wire() as two:
            while not stop.is_set():
                one.query("BEGIN; SET LOCAL jit = off; SELECT 1")
                two.query("SET work_mem = '17MB'; SET search_path = public; SET app.tenant = 'theirs'")
                one.query("ROLLBACK")
                one.extended("SET work_mem = '18MB'")
                two.query("SELECT 1")
    thread = threading.Thread(target=work)
    thread.start()
    yield broker
    stop.set()
    thread.join()


def transcript(command, environment, host, port):
    done = subprocess.run(
        command, cwd=PROGRAMS, text=True, timeout=300, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PGHOST": host, "PGPORT": str(port), "PGUSER": "app", "PGDATABASE": "app"} | environment)
    return done.stdout.splitlines(), done.returncode


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_program_sees_what_it_sees_directly(postgres, busy, driver):
    command, environment, is_here = DRIVERS[driver]
    if not is_here:
        assert os.environ.get("PGLEASE_DRIVERS") != "required", f"{driver} is not installed"
        pytest.skip(f"{driver} is not installed: see scripts/drivers")
    direct, status = transcript(command, environment, "127.0.0.1", postgres.port)
    assert status == 0 and len(direct) > 10, "\n".join(direct[-20:])
    pooled, status = transcript(command, environment, "127.0.0.1", busy.port)
    assert pooled == direct
    assert status == 0
