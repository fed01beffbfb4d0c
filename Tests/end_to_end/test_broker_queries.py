# SPDX-License-Identifier: Apache-2.0
"""The broker's own queries run under the broker's conditions, whatever a client has set."""

import pytest

from harness import direct, wire

pytestmark = pytest.mark.pglease_only

ONE_SERVER = {"default_pool_size": 1, "reserve_pool_size": 0}
PID = "SELECT pg_backend_pid()"
MANY = " ".join(f"-c z.a{number}=" for number in range(550))


@pytest.mark.parametrize("first", [
    {"options": "-c statement_timeout=1"}, {"options": "-c lock_timeout=1"},
    {"options": "-c default_transaction_read_only=on"},
    {"options": "-c default_transaction_isolation=serializable -c default_transaction_deferrable=on"},
    {"client_encoding": "sjis"}, {"options": "-c standard_conforming_strings=off"},
    {"options": r"-c search_path=shadow,pg_catalog -c backslash_quote=off"}])
def test_another_clients_settings_do_not_touch_a_profile(make_broker, postgres, first):
    postgres.sql("""
        CREATE SCHEMA IF NOT EXISTS shadow; GRANT ALL ON SCHEMA shadow TO public;
        CREATE OR REPLACE FUNCTION shadow.set_config(text, text, boolean) RETURNS text
            LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'shadowed'; END $$;
        """, dbname="app")
    broker = make_broker(ONE_SERVER)
    value = "it's \\ \"odd\" é"
    with broker.wire(**first) as one:
        for _ in range(5):
            one.query("SELECT 1")
            # A profile that takes longer to read than the other client's timeout allows.
            with broker.wire(**{"my.value": value, "search_path": "public, pg_catalog"},
                             options=MANY) as other:
                assert other.value("SHOW my.value") == value
                assert other.value("SHOW search_path") == "public, pg_catalog"


def test_a_clients_own_timeout_does_not_end_its_own_profile(make_broker):
    broker = make_broker(ONE_SERVER)
    for _ in range(5):
        with broker.wire(options=f"-c statement_timeout=1 {MANY}") as one, broker.wire() as other:
            other.value("SELECT 1")
            assert "T" in wire.kinds(one.query("SHOW statement_timeout")) \
                or wire.error_of(one.query("SELECT 1")).fields["S"] == "ERROR"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_clients_timeout_does_not_end_the_cleaning(make_broker, mode):
    broker = make_broker({**ONE_SERVER, "pool_mode": mode,
                          "server_reset_query": "SELECT pg_sleep(0.05)"})
    with broker.wire() as one:
        pid = one.value(PID)
        one.query("BEGIN")
        one.query("SET statement_timeout = '20ms'")
        one.query("COMMIT")
    with broker.wire() as other:
        assert other.value(PID) == pid
        assert other.value("SHOW statement_timeout") == "0"


def test_a_clients_timeout_does_not_end_connect_query(make_broker):
    broker = make_broker(ONE_SERVER, start=False)
    broker.databases = {"*": broker.server() + " connect_query='SELECT pg_sleep(0.05)'"}
    broker.write()
    broker.start()
    with broker.wire(options="-c statement_timeout=20ms") as one, broker.wire() as other:
        pid = one.value(PID)
        assert other.value(PID) == pid
        one.query("SET work_mem TO '9MB'; SELECT 1")
        assert other.value(PID) == pid == one.value(PID)


def test_a_clients_timeout_does_not_end_the_check(make_broker):
    broker = make_broker({**ONE_SERVER, "server_check_delay": 0,
                          "server_check_query": "SELECT pg_sleep(0.05)"})
    with broker.wire(options="-c statement_timeout=20ms") as one:
        pids = {one.value(PID) for _ in range(3)}
    assert len(pids) == 1


def test_settings_that_make_a_reader_wait_for_writers_do_not_hold_up_the_cleaning(
        make_broker, postgres):
    """A deferrable serializable reader waits for a snapshot; DISCARD ALL takes one."""
    broker = make_broker(ONE_SERVER)
    writer = postgres.connect("app", "app")
    with writer.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS waited_for (x int)")
        cursor.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        cursor.execute("INSERT INTO waited_for VALUES (1)")
        with broker.wire(timeout=5) as one, broker.wire(timeout=5) as other:
            pid = one.value(PID)
            one.query("SET default_transaction_isolation = serializable; "
                      "SET default_transaction_read_only = on; "
                      "SET default_transaction_deferrable = on")
            assert other.value(PID) == pid
        cursor.execute("ROLLBACK")
    writer.close()


@pytest.mark.parametrize("left", [
    "SET statement_timeout = 1", "SET lock_timeout = 1", "SET search_path = shadow, pg_catalog",
    "SET default_transaction_read_only = on; SET client_encoding = sjis",
    "SET standard_conforming_strings = off; SET SESSION AUTHORIZATION other"])
def test_what_a_direct_lease_leaves_does_not_touch_its_return(make_broker, left):
    broker = make_broker(ONE_SERVER)
    with direct.connect(broker, user="postgres", **{"my.value": "it's \\ é"}) as one:
        for _ in range(3):
            end = one.lease()
            pid = end.value(PID)
            assert end.value("SHOW my.value") == "it's \\ é"
            assert "E" not in wire.kinds(end.query(left))
            one.give_back()
        with broker.wire("postgres") as other:
            assert other.value(PID) == pid
            assert other.rows("SELECT current_user, current_setting('statement_timeout')") == \
                [["postgres", "0"]]
