# SPDX-License-Identifier: Apache-2.0
"""What PostgreSQL reports of a session (ParameterStatus), in a transaction pool: as on a connection of its own, whichever
connection serves the client, and whatever the others have set there."""

import psycopg2
import pytest

from harness import pooler, wire
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]

# The setting, a value of it, and one that another client has.
SETTINGS = {
    "application_name": ("mine", "other"), "client_encoding": ("LATIN1", "SQL_ASCII"),
    "DateStyle": ("German, DMY", "SQL, MDY"), "IntervalStyle": ("iso_8601", "sql_standard"),
    "TimeZone": ("Asia/Tokyo", "Europe/Prague"), "standard_conforming_strings": ("off", "on"),
    "default_transaction_read_only": ("on", "off"), "search_path": ("pg_catalog", "public"),
    "scram_iterations": ("5000", "6000"), "work_mem": ("7MB", "9MB"),
}


@pytest.fixture(scope="module")
def pool(postgres):
    one = pooler.make(postgres, {"default_pool_size": 2, "reserve_pool_size": 0,
                                 "pin_notice": 0}).start()
    yield one
    one.stop()
    one.check()
    one.destroy()


def known(postgres):
    """Those that this version has."""
    names = [name for (name,) in postgres.sql("SELECT name FROM pg_settings")]
    return [name for name in SETTINGS if name in names]


def walk(one, names, others=lambda: None, **parameters):
    """What a client knows after each of its steps."""
    seen = [dict(one.parameters)]

    def step(text):
        # In a transaction it keeps its connection.
        if text != "ROLLBACK":
            others()
        one.query(text)
        seen.append((text, dict(one.parameters)))
    for name in names:
        step(f"SET {name} TO {SETTINGS[name][0]!r}")
        step("SELECT 1")
        step(f"BEGIN; SET LOCAL {name} TO {SETTINGS[name][1]!r}")
        step("ROLLBACK")
        step(f"BEGIN; SET {name} TO {SETTINGS[name][1]!r}")
        step("ROLLBACK")
        step(f"RESET {name}")
        step(f"SELECT set_config('{name}', '{SETTINGS[name][0]}', false)")
        step("SELECT 2")
    step("SET ROLE other")
    step("RESET ROLE")
    step("SET SESSION AUTHORIZATION other")
    step("SELECT 3")
    step("RESET SESSION AUTHORIZATION")
    step("RESET ALL")
    step("DISCARD ALL")
    step("SELECT 4")
    return seen


@pytest.mark.parametrize("parameters", [
    {}, {"application_name": "mine", "TimeZone": "Asia/Tokyo", "client_encoding": "latin1",
         "DateStyle": "german", "search_path": "pg_catalog, public"},
    {"options": "-c IntervalStyle=iso_8601 -c default_transaction_read_only=on"}])
def test_as_on_a_connection_of_its_own(pool, postgres, parameters):
    names = known(postgres)
    with wire.Wire(postgres.socket_path).start("postgres", "app", **parameters) as one:
        expected = walk(one, names)
    others = [pool.wire("postgres") for _ in range(2)]
    turn = iter(range(1_000_000))

    def use_both():
        """Both connections serve others in between, who have settings of their own."""
        name = names[next(turn) % len(names)]
        for each in others:
            each.query("BEGIN")
            each.query(f"SET {name} TO {SETTINGS[name][1]!r}")
        for each in others:
            each.query("COMMIT")
    with pool.wire("postgres", **parameters) as one:
        if "application_name" not in parameters:
            # One without a name has its program's (docs).
            one.query("SET application_name = ''")
        seen = walk(one, names, use_both)
    for here, there in zip(seen, expected):
        if "application_name" not in parameters:
            here, there = ([*each][-1] if isinstance(each, tuple) else each for each in (here, there))
            here, there = ({name: value for name, value in each.items() if name != "application_name"}
                           for each in (here, there))
        assert here == there
    for each in others:
        each.close()


def test_a_reload_of_the_server_is_told_to_all(make_broker, postgres):
    broker = make_broker({"default_pool_size": 2})
    ones = [broker.wire("postgres") for _ in range(3)]
    mine = broker.wire("postgres", TimeZone="Asia/Tokyo")
    before = ones[0].parameters["TimeZone"]
    admin = psycopg2.connect(host=postgres.host, port=postgres.port, user="postgres",
                             dbname="postgres")
    admin.autocommit = True
    cursor = admin.cursor()

    def told(value):
        for one in [*ones, mine]:
            one.query("SELECT 1")
        return {one.parameters["TimeZone"] for one in ones} == {value}
    try:
        cursor.execute("ALTER SYSTEM SET TimeZone = 'Europe/Prague'")
        cursor.execute("SELECT pg_reload_conf()")
        eventually(lambda: told("Europe/Prague"))
        assert mine.parameters["TimeZone"] == "Asia/Tokyo"
        with broker.wire("postgres") as late:
            assert late.parameters["TimeZone"] == "Europe/Prague"
    finally:
        cursor.execute("ALTER SYSTEM RESET TimeZone")
        cursor.execute("SELECT pg_reload_conf()")
    eventually(lambda: told(before))
    admin.close()
    for one in [*ones, mine]:
        one.close()
