# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL takes no more connections: the broker works with those that it has."""

import pytest

from harness import wire
from harness.postgres import Postgres
from harness.waiting import eventually

pytestmark = pytest.mark.broker_only

LIMIT = 3
MODES = ["session", "transaction", "statement"]


@pytest.fixture(scope="module", params=["database", "role"])
def narrow(request, postgres):
    """(database, role) of which one has a CONNECTION LIMIT of 3."""
    if request.param == "database":
        postgres.sql(f"CREATE DATABASE narrow OWNER app CONNECTION LIMIT {LIMIT}")
        yield "narrow", "app"
        postgres.gone("narrow")
        postgres.sql("DROP DATABASE narrow")
    else:
        postgres.sql(f"CREATE ROLE narrow LOGIN CONNECTION LIMIT {LIMIT}")
        yield "second", "narrow"
        postgres.gone(user="narrow")
        postgres.sql("DROP ROLE narrow")


@pytest.fixture
def narrow_broker(make_broker):
    """A broker whose pools are wider than what PostgreSQL takes."""
    def make(mode, on=None, **settings):
        return make_broker(
            {"pool_mode": mode, "default_pool_size": 10, "query_wait_timeout": 8} | settings,
            on=on, userlist=dict.fromkeys(("app", "other", "admin", "narrow"), ""))
    return make


def refusals(postgres):
    return postgres.log().count("FATAL:  too many connections for") \
        + postgres.log().count("FATAL:  sorry, too many clients already") \
        + postgres.log().count("FATAL:  remaining connection slots are reserved")


def own_postgres(places):
    return Postgres({"max_connections": places + 1, "superuser_reserved_connections": 1})


@pytest.mark.parametrize("mode", MODES)
def test_clients_of_different_profiles_come_one_after_another(
        narrow_broker, postgres, narrow, mode):
    database, user = narrow
    broker = narrow_broker(mode)
    before = refusals(postgres)
    for turn in range(3 * LIMIT):
        with broker.wire(user, database, application_name=f"turn {turn}") as one:
            assert one.value("SHOW application_name") == f"turn {turn}"
    # One refusal shows the limit; each further one would be a connection tried in vain.
    assert refusals(postgres) - before <= 3


def test_an_idle_session_of_another_profile_makes_room_beside_busy_ones(
        narrow_broker, postgres, narrow):
    database, user = narrow
    broker = narrow_broker("session")
    with broker.wire(user, database, application_name="busy") as busy:
        busy.query("BEGIN")
        for turn in range(2 * LIMIT):
            with broker.wire(user, database, application_name=f"guest {turn}") as one:
                assert one.value("SHOW application_name") == f"guest {turn}"
        busy.query("COMMIT")


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_many_clients_share_what_there_is(narrow_broker, postgres, narrow, mode):
    database, user = narrow
    broker = narrow_broker(mode)
    before = refusals(postgres)
    clients = [broker.wire(user, database, application_name=f"many {number}")
               for number in range(12)]
    for _ in range(3):
        for one in clients:
            one.send(wire.query("SELECT pg_sleep(0.01)"))
        for one in clients:
            assert wire.kinds(one.until_ready()) == "TDCZ"
    for one in clients:
        one.close()
    assert refusals(postgres) - before <= 8


@pytest.mark.pglease_only
def test_a_place_that_others_give_back_is_taken_within_the_deadline(
        narrow_broker, postgres, narrow):
    database, user = narrow
    broker = narrow_broker("transaction")
    outsiders = [postgres.connect(database, user, application_name="outsider")
                 for _ in range(LIMIT)]
    try:
        with broker.wire(user, database) as waiter:
            waiter.send(wire.query("SELECT 1"))
            eventually(lambda: refusals(postgres) and broker.waiting(database, user) == 1)
            outsiders.pop().close()
            assert wire.rows_of(waiter.until_ready()) == [["1"]]
    finally:
        for one in outsiders:
            one.close()


@pytest.mark.pglease_only
def test_the_deadline_says_that_postgresql_has_no_room(narrow_broker, postgres, narrow):
    database, user = narrow
    broker = narrow_broker("transaction", query_wait_timeout=0.4)
    outsiders = [postgres.connect(database, user, application_name="outsider")
                 for _ in range(LIMIT)]
    try:
        before = refusals(postgres)
        with broker.wire(user, database) as waiter:
            error = wire.error_of(waiter.query("SELECT 1"))
            assert error.code == "53300" and "too many connections for" in str(error.fields)
        assert 1 <= refusals(postgres) - before <= 5
    finally:
        for one in outsiders:
            one.close()


@pytest.mark.pglease_only
def test_each_cause_of_no_room_is_told_apart(narrow_broker):
    """What waiters, SHOW EVENTS and the log say; and whoever still waits is served once there is room."""
    server = Postgres({"max_connections": 6, "superuser_reserved_connections": 2})
    broker = narrow_broker("transaction", on=server, query_wait_timeout=1)
    outsiders = []

    def refusal(words, advice):
        with broker.wire("app", "app") as waiter:
            error = wire.error_of(waiter.query("SELECT 1"))
        assert error.code == "53300" and words in error.fields["M"] and advice in error.fields["H"]
        last = [one for one in broker.console("SHOW EVENTS") if one["kind"] == "connect_failed"][-1]
        assert words in last["message"]
        assert words in broker.log()

    def outside(user, count, dbname="postgres"):
        outsiders.extend(server.connect(dbname, user) for _ in range(count))

    def leave():
        while outsiders:
            outsiders.pop().close()

    try:
        server.sql("ALTER ROLE app CONNECTION LIMIT 1")
        outside("app", 1)
        refusal("too many connections for role", "the role's CONNECTION LIMIT")
        server.sql("ALTER ROLE app CONNECTION LIMIT -1")
        server.sql("ALTER DATABASE app CONNECTION LIMIT 0")
        refusal("too many connections for database", "the database's CONNECTION LIMIT")
        server.sql("ALTER DATABASE app CONNECTION LIMIT -1")
        leave()
        outside("other", 4)
        refusal("connection slots are reserved", "max_connections")
        outside("postgres", 2)
        refusal("too many clients", "max_connections")
        with broker.wire("app", "app") as waiter:
            waiter.send(wire.query("SELECT 1"))
            eventually(lambda: broker.waiting() == 1)
            leave()
            assert wire.rows_of(waiter.until_ready()) == [["1"]]
    finally:
        leave()
        server.destroy()


@pytest.mark.pglease_only
def test_an_idle_connection_of_another_pool_of_the_same_server_makes_room(narrow_broker):
    server = own_postgres(places=3)
    try:
        broker = narrow_broker("transaction", on=server)
        rich = [broker.wire("app", "app") for _ in range(3)]
        for one in rich:
            one.send(wire.query("SELECT pg_sleep(0.05)"))
        for one in rich:
            one.until_ready()
        for user, database in (("app", "second"), ("other", "app"), ("other", "second")):
            with broker.wire(user, database) as poor:
                assert poor.value("SELECT current_user") == user
        for one in rich:
            assert one.value("SELECT 1") == "1"
            one.close()
        assert refusals(server) <= 4
    finally:
        server.destroy()
