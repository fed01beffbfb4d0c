# SPDX-License-Identifier: Apache-2.0
"""What a client sets alone, outside a transaction, goes with it from server to server."""

from contextlib import contextmanager

import pytest

from harness import wire

pytestmark = pytest.mark.pglease_only

ONE_SERVER = {"default_pool_size": 1, "reserve_pool_size": 0}
PID = "SELECT pg_backend_pid()"


@pytest.fixture
def wide(make_broker):
    return make_broker({"default_pool_size": 4, "reserve_pool_size": 0})


@pytest.fixture
def narrow(make_broker):
    return make_broker(ONE_SERVER)


@contextmanager
def held(broker, one):
    """The server connection that `one` used last is held by somebody else; `one` gets another."""
    pid = one.value(PID)
    others = []
    while True:
        other = broker.wire()
        others.append(other)
        other.query("BEGIN")
        if other.value(PID) == pid:
            break
    yield pid
    for other in others:
        other.close()


def ok(one, sql):
    assert "E" not in wire.kinds(one.query(sql)), sql


FOLLOWED = [
    ("SET work_mem = '9MB'", "work_mem", "9MB"),
    ("set session work_mem to 9216;", "work_mem", "9MB"),
    ("SELECT pg_catalog.set_config('search_path', '', false);", "search_path", ""),
    ("SELECT set_config('work_mem', '9MB', false)", "work_mem", "9MB"),
    ("SET search_path = public, \"Odd Name\", 'It''s'", "search_path",
     "public, \"Odd Name\", \"It's\""),
    ("SET search_path TO ''", "search_path", '""'),
    ("SET DATESTYLE = german, dmy", "DateStyle", "German, DMY"),
    ("SET row_security = off", "row_security", "off"),
    ("SET extra_float_digits TO -3", "extra_float_digits", "-3"),
    ("SET seq_page_cost = 1.25", "seq_page_cost", "1.25"),
    ("SET TIME ZONE 'Asia/Tokyo'", "TimeZone", "Asia/Tokyo"),
    ("/* why */ SET my.tenant = 'seven' -- so", "my.tenant", "seven"),
]


@pytest.mark.parametrize("statement, name, value", FOLLOWED)
def test_it_is_seen_on_another_server_and_by_nobody_else(wide, statement, name, value):
    with wide.wire() as one, wide.wire() as other:
        missing = f"SELECT coalesce(current_setting('{name}', true), '')"
        before = other.value(missing)
        ok(one, statement)
        assert one.value(f"SHOW {name}") == value
        with held(wide, one) as pid:
            assert one.value(f"SHOW {name}") == value
            assert one.value(PID) != pid
            assert other.value(missing) == before
        for _ in range(3):
            assert other.value(missing) == before
            assert one.value(f"SHOW {name}") == value


def test_nobody_else_sees_it_on_the_same_server(narrow):
    with narrow.wire() as one, narrow.wire() as other, \
            narrow.wire(options="-c work_mem=5MB") as third:
        for _ in range(2):
            ok(one, "SET work_mem = '9MB'")
            assert other.value("SHOW work_mem") == "4MB"
            assert third.value("SHOW work_mem") == "5MB"
            assert one.value("SHOW work_mem") == "9MB"
    with narrow.wire() as late:
        assert late.value("SHOW work_mem") == "4MB"


@pytest.mark.parametrize("forget", [
    "DISCARD ALL", "RESET ALL", "RESET work_mem", "SET work_mem TO DEFAULT",
    "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;"])
@pytest.mark.parametrize("options, value", [("", "4MB"), ("-c work_mem=5MB", "5MB")])
def test_it_is_forgotten(narrow, forget, options, value):
    with narrow.wire(options=options) as one, narrow.wire() as other:
        ok(one, "SET work_mem = '9MB'")
        ok(one, forget)
        for _ in range(2):
            assert one.value("SHOW work_mem") == value
            assert other.value("SHOW work_mem") == "4MB"


def test_reset_of_one_keeps_the_others(narrow):
    with narrow.wire() as one, narrow.wire() as other:
        for name in ("work_mem", "maintenance_work_mem", "temp_buffers"):
            ok(one, f"SET {name} = '9MB'")
        ok(one, "RESET work_mem")
        ok(one, "SET temp_buffers TO DEFAULT")
        other.query("SELECT 1")
        shown = [one.value(f"SHOW {name}")
                 for name in ("work_mem", "maintenance_work_mem", "temp_buffers")]
        assert shown == ["4MB", "9MB", "8MB"]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_one_in_a_transaction_follows_if_that_commits(narrow, end):
    with narrow.wire() as one, narrow.wire() as other:
        ok(one, "BEGIN")
        ok(one, "SET work_mem = '9MB'")
        ok(one, end)
        assert other.value("SHOW work_mem") == "4MB"
        assert one.value("SHOW work_mem") == ("9MB" if end == "COMMIT" else "4MB")


@pytest.mark.parametrize("statement", [
    "SET work_mem = 'much'", "SET no_such_setting = 1",
    "SELECT set_config('work_mem', 'much', false)"])
def test_one_that_fails_changes_nothing(narrow, statement):
    with narrow.wire() as one, narrow.wire() as other:
        ok(one, "SET work_mem = '9MB'")
        assert wire.error_of(one.query(statement)).code in ("22023", "42704")
        assert other.value("SHOW work_mem") == "4MB"
        assert one.value("SHOW work_mem") == "9MB"


@pytest.mark.parametrize("way", ["extended", "several", "local", "do"])
def test_it_follows_whatever_sets_it(narrow, way):
    statement = {"extended": "SET work_mem = '9MB'", "several": "SET work_mem = '9MB'; SELECT 1",
                 "local": "SET LOCAL work_mem = '9MB'",
                 "do": "DO $$ BEGIN PERFORM set_config('work_mem', '9MB', false); END $$"}[way]
    with narrow.wire() as one, narrow.wire() as other:
        one.extended(statement) if way == "extended" else one.query(statement)
        assert other.value("SHOW work_mem") == "4MB"
        assert one.value("SHOW work_mem") == ("4MB" if way == "local" else "9MB")


def test_pipelined_queries_behind_it(narrow):
    with narrow.wire() as one, narrow.wire() as other:
        one.send(wire.query("SET work_mem = '9MB'"), wire.query("BEGIN"),
                 wire.query("SET LOCAL TimeZone = 'Asia/Tokyo'"), wire.query("COMMIT"),
                 wire.query("SET maintenance_work_mem = '9MB'"))
        one.until_ready(5)
        assert other.value("SHOW maintenance_work_mem") == "64MB"
        assert other.value("SHOW TimeZone") == one.value("SHOW TimeZone") != "Asia/Tokyo"
        assert one.value("SHOW work_mem") == "9MB"
        assert other.value("SHOW work_mem") == "4MB"


def test_a_client_that_goes_before_the_answer(narrow):
    for _ in range(5):
        one = narrow.wire()
        one.send(wire.query("SET work_mem = '9MB'"), wire.terminate())
        one.close()
        with narrow.wire() as other:
            assert other.value("SHOW work_mem") == "4MB"


def test_it_is_no_reason_to_clean(narrow):
    with narrow.wire() as one:
        one.send(wire.parse("SELECT 1", "kept"), wire.sync())
        one.until_ready()
        ok(one, "SET work_mem = '9MB'")
        ok(one, "SELECT set_config('search_path', 'public', false)")
        assert one.value("SELECT count(*) FROM pg_prepared_statements") == "1"


def test_very_many_settings_follow(narrow):
    with narrow.wire() as one, narrow.wire() as other:
        for number in range(70):
            ok(one, f"SET my.n{number} = '{number}'")
        question = "SELECT coalesce(current_setting('my.n{}', true), '')"
        assert one.value(question.format(60)) == "60"
        assert one.value(question.format(69)) == "69"
        assert other.value(question.format(60)) == other.value(question.format(69)) == ""


def test_a_reported_setting_keeps_the_half_that_is_not_named(narrow):
    with narrow.wire() as one, narrow.wire() as other:
        ok(one, "SET DateStyle = 'SQL, DMY'")
        ok(one, "SET DateStyle = 'SQL'")
        assert other.value("SHOW DateStyle") == "ISO, MDY"
        assert one.value("SHOW DateStyle") == "SQL, DMY" == one.parameters["DateStyle"]


def test_a_session_pool_is_as_it_was(session_broker):
    with session_broker.wire() as one:
        ok(one, "SET work_mem = '9MB'")
        ok(one, "BEGIN")
        ok(one, "SET work_mem = '8MB'")
        ok(one, "COMMIT")
        assert one.value("SHOW work_mem") == "8MB"
    with session_broker.wire() as other:
        assert other.value("SHOW work_mem") == "4MB"
