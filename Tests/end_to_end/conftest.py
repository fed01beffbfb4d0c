# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one PostgreSQL for the run, one broker per mode for tests that can share it."""

import shutil
import subprocess

import psycopg2
import pytest

from harness import browser as browsers, pooler, postgres as database
from harness.certificates import Certificates


def pytest_configure(config):
    config.addinivalue_line("markers", "pglease_only: a promise that pgbouncer does not make")
    config.addinivalue_line("markers", "broker_only: needs a broker, not PostgreSQL itself")


def pytest_collection_modifyitems(items):
    kind = pooler.kind()
    for item in items:
        if kind != "pglease" and item.get_closest_marker("pglease_only"):
            item.add_marker(pytest.mark.skip(reason=f"not promised by {kind}"))
        if kind == "direct" and item.get_closest_marker("broker_only"):
            item.add_marker(pytest.mark.skip(reason="needs a broker"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for one in item.__dict__.get("brokers", []):
            report.sections.append((f"log of {one.folder}", one.log_tail(60)))
        postgres = item.funcargs.get("postgres") if hasattr(item, "funcargs") else None
        if postgres:
            report.sections.append(("log of PostgreSQL", postgres.log()[-3000:]))
    return report


@pytest.fixture(scope="session")
def postgres():
    one = database.Postgres()
    one.sql("CREATE TABLE items (id int PRIMARY KEY, name text)", dbname="app", user="app")
    yield one
    one.destroy()


@pytest.fixture(scope="session")
def tls():
    one = database.Tls(database.unprivileged_user())
    yield one
    one.destroy()


@pytest.fixture(scope="session")
def certificates():
    """An authority, and `server`, a certificate of localhost."""
    one = Certificates(None)
    one.make("server", "/CN=localhost", names="DNS:localhost")
    yield one
    one.destroy()


@pytest.fixture(scope="session")
def tls_postgres(tls):
    one = database.Postgres(
        tls=tls,
        hba=["hostssl all other 127.0.0.1/32 cert",
             "hostssl all app 127.0.0.1/32 trust",
             "hostnossl all app 127.0.0.1/32 reject"])
    yield one
    one.destroy()


class Shared:
    """The brokers that many tests use; one that died is replaced: one bug is one failure."""

    def __init__(self, postgres):
        self.postgres, self.brokers = postgres, {}

    def get(self, mode):
        one = self.brokers.get(mode)
        if one is None or not one.alive:
            if one:
                one.destroy()
            one = pooler.make(self.postgres, {"pool_mode": mode, "default_pool_size": 20})
            self.brokers[mode] = one
            one.start()
        return one

    def close(self):
        for one in self.brokers.values():
            one.destroy()


@pytest.fixture(scope="session")
def shared(postgres):
    one = Shared(postgres)
    yield one
    one.close()


def borrow(shared, mode, request):
    one = shared.get(mode)
    one.mark()
    request.node.__dict__.setdefault("brokers", []).append(one)
    yield one
    assert one.alive, f"the broker died:\n{one.log_tail(80)}"
    one.check()


@pytest.fixture
def transaction_broker(shared, request):
    yield from borrow(shared, "transaction", request)


@pytest.fixture
def session_broker(shared, request):
    yield from borrow(shared, "session", request)


@pytest.fixture
def statement_broker(shared, request):
    yield from borrow(shared, "statement", request)


@pytest.fixture(params=["transaction", "session"])
def broker(shared, request):
    """A shared broker, in transaction and in session mode."""
    yield from borrow(shared, request.param, request)


@pytest.fixture
def make_broker(postgres, request):
    """Starts brokers of the test's own: make_broker(settings, databases=…, start=True, …)."""
    made = request.node.__dict__.setdefault("brokers", [])

    def make(settings=None, start=True, on=None, **named):
        one = pooler.make(on or postgres, settings, **named)
        made.append(one)
        return one.start() if start else one

    yield make
    try:
        for one in made:
            one.check()
            one.stop()
            one.check()
    finally:
        for one in made:
            one.destroy()


@pytest.fixture
def table(postgres, request):
    """The name of an empty table (id int primary key, name text) in database app."""
    name = "t_" + "".join(c if c.isalnum() else "_" for c in request.node.name.lower())[:50]
    postgres.sql(
        f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id int PRIMARY KEY, name text)",
        dbname="app", user="app")
    yield name
    postgres.sql(f"DROP TABLE IF EXISTS {name} CASCADE", dbname="app", user="app")


@pytest.fixture
def connect(request):
    """psycopg2.connect that closes what the test opened."""
    opened = []

    def open_one(broker, user="app", dbname="app", autocommit=True, **more):
        connection = psycopg2.connect(broker.dsn(user, dbname), **more)
        connection.autocommit = autocommit
        opened.append(connection)
        return connection

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def browser():
    """A chromium for the tests of the status page."""
    one = browsers.Browser()
    yield one
    one.close()


@pytest.fixture(scope="session")
def run_program():
    """Runs a command line program; returns the finished process with text output."""
    def run(*words, check=True, timeout=120, **named):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                              timeout=timeout, **named)
        if check:
            assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stderr}"
        return done
    return run


@pytest.fixture(scope="session")
def tool():
    """The path of a program of PostgreSQL, of the server's version."""
    def find(name):
        beside = database.binaries() / name
        return str(beside) if beside.exists() else shutil.which(name)
    return find
