# SPDX-License-Identifier: Apache-2.0
"""Event triggers of the login, PostgreSQL 17 and newer: one that raises, one that is slow, one that speaks."""

import pytest

from harness import postgres as database, wire
from harness.waiting import Stopwatch

pytestmark = [
    pytest.mark.broker_only, pytest.mark.pglease_only,
    pytest.mark.skipif(database.major_version() < 17, reason="PostgreSQL has none before 17")]

BODIES = {
    "raises": "IF session_user = 'app' THEN RAISE EXCEPTION 'not today' "
              "USING ERRCODE = 'T0001', DETAIL = 'a detail', HINT = 'a hint'; END IF;",
    "lasts": "IF session_user = 'app' THEN PERFORM pg_sleep(0.7); END IF;",
    "speaks": "RAISE NOTICE 'welcome, %', session_user;",
    "sets": "PERFORM set_config('TimeZone', 'Asia/Tokyo', false);",
}


@pytest.fixture(scope="module", autouse=True)
def databases(postgres):
    for name, body in BODIES.items():
        postgres.sql(f"CREATE DATABASE {name}")
        postgres.sql(f"""
            CREATE FUNCTION at_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
            CREATE EVENT TRIGGER greeting ON login EXECUTE FUNCTION at_login()""", dbname=name)
    yield
    for name in BODIES:
        postgres.gone(name)
        postgres.sql(f"DROP DATABASE {name}")


def fields(error):
    return {key: text for key, text in error.fields.items() if key in "CMDH"}


def test_what_a_trigger_raises_is_told_at_once(make_broker, postgres):
    with pytest.raises(wire.Refused) as directly:
        wire.Wire(postgres.socket_path).start("app", "raises")
    broker = make_broker({"pool_mode": "session"})
    broker.errors_expected = True
    watch = Stopwatch()
    with pytest.raises(wire.Refused) as refused:
        broker.wire(database="raises")
    assert fields(refused.value) == fields(directly.value) and refused.value.code == "T0001"
    assert watch.seconds < 5


def test_in_a_transaction_pool_the_first_statement_is_told(make_broker):
    broker = make_broker()
    broker.errors_expected = True
    watch = Stopwatch()
    try:
        with broker.wire(database="raises") as one:
            error = wire.error_of(one.query("SELECT 1"))
    except wire.Refused as refused:
        error = refused.error
    assert error.code == "T0001" and "not today" in error.fields["M"]
    assert watch.seconds < 5
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_slow_one_holds_up_nobody_else(make_broker, mode):
    broker = make_broker({"pool_mode": mode})
    slow = broker.raw()
    slow.send(wire.startup({"user": "app", "database": "lasts"}))
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"
    slow.finish_login("app")
    assert slow.value("SELECT 2") == "2"
    slow.close()


def test_its_notices_are_a_session_clients(make_broker, postgres):
    broker = make_broker({"pool_mode": "session"})
    heard = []
    for one in (wire.Wire(postgres.socket_path).start("app", "speaks"), broker.wire(database="speaks")):
        heard.append(wire.told(one.notices))
        one.close()
    assert heard[0] == heard[1] and len(heard[0]) == 1


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_what_it_sets_is_told_to_the_first_clients(make_broker, mode):
    """Until a cleaning puts it back, as DISCARD ALL does on a connection of one's own: connect_query lasts."""
    broker = make_broker({"pool_mode": mode})
    with broker.wire(database="sets") as one:
        assert one.value("SHOW TimeZone") == one.parameters["TimeZone"] == "Asia/Tokyo"
