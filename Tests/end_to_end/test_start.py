# SPDX-License-Identifier: Apache-2.0
"""The start: who is let in when, and which connections there are before the first client."""

import pytest

from harness import wire
from harness.faucet import Faucet
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PATIENT = {"startup_attempts": 1000, "startup_delay": 0.2, "startup_max_delay": 0.2}


@pytest.fixture
def faucet(postgres):
    one = Faucet(postgres.socket_path)
    yield one
    one.close()


def three_databases(broker, faucet):
    return {"first": broker.server(dbname="app", user="app"),
            "dead": f"host=127.0.0.1 port={faucet.port} dbname=app user=app",
            "third": broker.server(dbname="second", user="app")}


def test_one_dead_database_keeps_nobody_out(make_broker, faucet):
    broker = make_broker(PATIENT | {"query_wait_timeout": 30}, start=False)
    broker.databases = three_databases(broker, faucet)
    broker.write()
    faucet.refuse()
    broker.start()
    broker.errors_expected = True
    for name in ("first", "third"):
        with broker.wire("app", name) as one:
            assert one.value("SELECT 1") == "1"
    # Clients of the dead one wait for it within their deadline.
    with broker.wire("app", "dead") as waiter:
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting("dead") == 1)
        faucet.flow()
        assert wire.rows_of(waiter.until_ready()) == [["1"]]


def test_a_database_that_hangs_keeps_nobody_out(make_broker, faucet):
    broker = make_broker(PATIENT, start=False)
    broker.databases = three_databases(broker, faucet)
    broker.write()
    faucet.hang()
    broker.start()
    with broker.wire("app", "first") as one:
        assert one.value("SELECT 1") == "1"


def test_the_start_of_one_that_failed_does_not_end_the_broker(make_broker, faucet):
    broker = make_broker(
        {"startup_attempts": 2, "startup_delay": 0.05, "query_wait_timeout": 0.5}, start=False)
    broker.databases = three_databases(broker, faucet)
    broker.write()
    broker.errors_expected = True
    faucet.refuse()
    broker.start()
    broker.wait_logged("could not be reached at start", "dead")
    with broker.wire("app", "first") as one:
        assert one.value("SELECT 1") == "1"
    with broker.wire("app", "dead") as one:
        assert wire.error_of(one.query("SELECT 1")).code == "08001"


def test_when_all_fail_the_failure_is_clear(make_broker, postgres, faucet):
    broker = make_broker({"startup_attempts": 2, "startup_delay": 0.05}, start=False)
    broker.databases = {"absent": broker.server(dbname="absent", user="app"),
                        "dead": f"host=127.0.0.1 port={faucet.port} dbname=app user=app"}
    broker.write()
    broker.errors_expected = True
    faucet.refuse()
    broker.launch()
    assert broker.wait(20) == 69
    assert len(broker.logged("could not be reached at start")) == 2
    assert not any(line.startswith("READY") for line in broker.hear(0))


# min_pool_size


def kept(postgres, count):
    return eventually(lambda: len(postgres.backends(dbname="second")) == count,
                      what=lambda: postgres.backends(dbname="second"))


@pytest.fixture
def empty_second(postgres):
    postgres.gone("second")


@pytest.mark.parametrize("settings", [{}, {"prewarm": 0}, {"pool_mode": "session"}],
                         ids=["prewarm", "no prewarm", "session"])
def test_the_minimum_is_there_before_the_first_client(
        make_broker, postgres, empty_second, settings):
    broker = make_broker(settings, start=False)
    broker.databases = {"second": broker.server(dbname="second", user="app", min_pool_size=3)}
    broker.write()
    broker.start()
    kept(postgres, 3)


def test_the_minimum_with_pgbouncers_own_section(make_broker, postgres, empty_second):
    broker = make_broker({"min_pool_size": 2}, section="pgbouncer", start=False)
    broker.databases = {"second": broker.server(dbname="second", user="app")}
    broker.write()
    broker.start()
    kept(postgres, 2)


def test_the_minimum_of_the_only_user_that_is_known(make_broker, postgres, empty_second):
    broker = make_broker(userlist={"app": "", "admin": ""}, start=False)
    broker.databases = {"second": broker.server(dbname="second", min_pool_size=2)}
    broker.write()
    broker.start()
    kept(postgres, 2)
    assert {row[1] for row in postgres.backends(dbname="second")} == {"app"}


def test_the_minimum_of_a_line_that_a_reload_adds(make_broker, postgres, empty_second):
    broker = make_broker()
    broker.databases["second"] = broker.server(dbname="second", user="app", min_pool_size=2)
    broker.write()
    broker.console("RELOAD")
    kept(postgres, 2)
    broker.databases["second"] = broker.server(dbname="second", user="app", min_pool_size=3)
    broker.write()
    broker.console("RELOAD")
    kept(postgres, 3)
    # Another mode is another pool.
    broker.set(pool_mode="session")
    broker.console("RELOAD")
    kept(postgres, 3)


def test_the_minimum_outlives_lifetimes_and_failures(make_broker, postgres, empty_second):
    broker = make_broker({"server_lifetime": 0.3, "server_idle_timeout": 0.2,
                          "server_login_retry": 0.3}, start=False)
    broker.databases = {"second": broker.server(dbname="second", user="app", min_pool_size=2)}
    broker.write()
    broker.start()
    broker.errors_expected = True
    kept(postgres, 2)
    first = {row[0] for row in postgres.backends(dbname="second")}
    eventually(lambda: not first & {row[0] for row in postgres.backends(dbname="second")})
    postgres.sql("ALTER ROLE app NOLOGIN")
    try:
        eventually(lambda: not postgres.backends(dbname="second"))
    finally:
        postgres.sql("ALTER ROLE app LOGIN")
    kept(postgres, 2)
