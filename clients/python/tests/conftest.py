# SPDX-License-Identifier: Apache-2.0
"""The end-to-end tests' PostgreSQL and broker, and the pools on them."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
END_TO_END = REPOSITORY / "Tests/end_to_end"
SOURCE = REPOSITORY / "clients/python/src"
sys.path[:0] = [str(SOURCE), str(END_TO_END)]

from harness import pooler  # noqa: E402
from harness.waiting import eventually  # noqa: E402

# What the environment says must not decide a test.
for name in [name for name in os.environ if name.startswith(
        ("PGLEASE_LEASE_", "PGLEASE_DIRECT", "PGLEASE_PARK"))]:
    del os.environ[name]


def pytest_configure(config):
    # postgres, make_broker, table … are fixtures there; a second conftest needs a name of its own.
    spec = importlib.util.spec_from_file_location(
        "end_to_end_fixtures", END_TO_END / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config.pluginmanager.register(module, "end_to_end_fixtures")


def pytest_collection_modifyitems(items):
    if pooler.kind() != "pglease":
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs pglease"))


class Way:
    """One way to a lease: `direct` over the Unix socket, `relay` there, or over `tcp`."""

    def __init__(self, name):
        self.name = name
        self.kind = "direct" if name == "direct" else "relay"
        self.shown = "direct" if name == "direct" else "explicit"
        self.direct = name != "relay"

    def dsn(self, broker, **more):
        words = {"host": "127.0.0.1"} if self.name == "tcp" else {}
        return broker.dsn(**words, **more)


@pytest.fixture(params=["direct", "relay", "tcp"])
def way(request):
    return Way(request.param)


@pytest.fixture(params=["direct", "relay"])
def unix_way(request):
    return Way(request.param)


@pytest.fixture
def broker(make_broker):
    """A broker of the test's own with three server connections. At the end nothing may be held."""
    one = make_broker({
        # What was given back, and is parked, is shown until its time is over.
        "default_pool_size": "3", "reserve_pool_size": "0", "park_timeout": "2"}, tcp=True)
    yield one
    if one.alive:
        eventually(lambda: not leases(one), 10, lambda: f"leases left: {leases(one)}")


def leases(broker):
    """The rows of SHOW LEASES, the console's own session left out."""
    return [row for row in broker.console("SHOW LEASES") if row["database"] == "app"]


@pytest.fixture
def closing():
    """Closes pools, or whatever has a `closeall`, at the end of the test."""
    open_ones = []

    def keep(pool):
        open_ones.append(pool)
        return pool

    yield keep
    for pool in open_ones:
        if not pool.closed:
            (pool.closeall if hasattr(pool, "closeall") else pool.close)()


@pytest.fixture
def make_pool(broker, closing):
    """A psycopg2 pool on the test's broker: make_pool(way, maxconn=…, …)."""
    from pglease import psycopg2_pool

    def make(way, maxconn=5, minconn=0, on=None, **more):
        more.setdefault("wait", 10)
        return closing(psycopg2_pool.ThreadedConnectionPool(
            minconn, maxconn, way.dsn(on or broker), direct=way.direct, **more))

    return make
