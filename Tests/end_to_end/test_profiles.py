# SPDX-License-Identifier: Apache-2.0
"""Startup parameters are honoured for each client, and what a client sets follows it."""

import psycopg2
import pytest

from harness import wire

pytestmark = pytest.mark.pglease_only


def show(one, name):
    return one.value(f"SHOW {name}")


def refusal(broker, **parameters):
    """The code of the error at login, or else at the first query: then a server has been asked."""
    try:
        with broker.wire(**parameters) as one:
            one.send(wire.query("SELECT 1"))
            return wire.error_of(one.until("EZ")).code
    except wire.Refused as refused:
        return refused.code


def test_options_are_in_force_for_each_client_its_own(broker):
    clients = [broker.wire(options=f"-c statement_timeout={n}000") for n in (30, 31, 32)]
    for _ in range(5):
        for number, one in zip((30, 31, 32), clients):
            assert show(one, "statement_timeout") == f"{number}s"
    with broker.wire() as plain:
        assert show(plain, "statement_timeout") == "0"
    for one in clients:
        one.close()


def test_options_of_every_form(broker):
    options = r"-c work_mem=7MB --lock-timeout=5s -csearch_path=pg_catalog,\ public"
    with broker.wire(options=options) as one:
        assert show(one, "work_mem") == "7MB"
        assert show(one, "lock_timeout") == "5s"
        assert show(one, "search_path").replace(" ", "") == "pg_catalog,public"


def test_options_through_psycopg2(broker, connect):
    cursor = connect(broker, options="-c statement_timeout=1500").cursor()
    cursor.execute("SHOW statement_timeout")
    assert cursor.fetchone() == ("1500ms",)
    with pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.execute("SELECT pg_sleep(30)")


@pytest.mark.parametrize("name, value, shown", [
    ("application_name", "worker 7", "worker 7"),
    ("client_encoding", "LATIN1", "LATIN1"),
    ("DateStyle", "SQL, DMY", "SQL, DMY"),
    ("TimeZone", "Europe/Berlin", "Europe/Berlin"),
    ("IntervalStyle", "iso_8601", "iso_8601"),
    ("extra_float_digits", "2", "2"),
    ("search_path", "pg_catalog", "pg_catalog"),
    ("statement_timeout", "4321", "4321ms"),
    ("lock_timeout", "1min", "1min"),
    ("default_transaction_isolation", "serializable", "serializable"),
    ("idle_in_transaction_session_timeout", "9s", "9s"),
])
def test_a_startup_parameter_is_honoured(broker, name, value, shown):
    with broker.wire(**{name: value}) as one, broker.wire() as plain:
        default = show(plain, name)
        for _ in range(4):
            assert show(one, name) == shown
            assert show(plain, name) == default


@pytest.mark.parametrize("name, value, told", [
    ("application_name", "worker", "worker"),
    ("client_encoding", "latin1", "LATIN1"),
    ("DateStyle", "sql, dmy", "SQL, DMY"),
    ("TimeZone", "europe/berlin", "Europe/Berlin"),
    ("IntervalStyle", "ISO_8601", "iso_8601"),
])
def test_parameter_status_tells_the_client_what_is_in_force(broker, postgres, name, value, told):
    with wire.Wire(postgres.socket_path).start("app", "app", **{name: value}) as direct, \
            broker.wire(**{name: value}) as one:
        assert direct.parameters[name] == told
        one.query("SELECT 1")
        assert one.parameters[name] == told


def test_parameter_status_equals_that_of_a_direct_connection(broker, postgres):
    with wire.Wire(postgres.socket_path).start("app", "app", application_name="same") as direct:
        expected = dict(direct.parameters)
    for _ in range(2):
        with broker.wire(application_name="same") as one:
            assert {key: one.parameters.get(key) for key in expected} == expected
            one.query("SELECT 1")
            assert {key: one.parameters.get(key) for key in expected} == expected


def test_the_first_login_on_a_cold_pool_knows_the_servers_version(make_broker, postgres):
    broker = make_broker()
    with wire.Wire(postgres.socket_path).start("app", "app") as direct:
        version = direct.parameters["server_version"]
    with broker.wire() as one:
        assert one.parameters["server_version"] == version
        assert one.parameters["standard_conforming_strings"] == "on"


def test_an_unknown_parameter_gives_the_servers_error(session_broker):
    with pytest.raises(wire.Refused) as refused:
        session_broker.wire(no_such_parameter="1")
    assert refused.value.code == "42704"


def test_an_unknown_parameter_in_transaction_mode_gives_the_servers_error(transaction_broker):
    assert refusal(transaction_broker, no_such_parameter="1") == "42704"
    with transaction_broker.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_a_wrong_value_gives_the_servers_error(broker):
    assert refusal(broker, options="-c statement_timeout=soon") == "22023"
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_malformed_options_are_refused(broker):
    assert refusal(broker, options="--no_equals_sign") in ("42601", "22023", "08P01")


def test_ignored_startup_parameters_are_dropped(make_broker):
    broker = make_broker({"ignore_startup_parameters": "no_such_parameter, extra_float_digits"})
    with broker.wire(no_such_parameter="1", extra_float_digits="3") as one:
        assert show(one, "extra_float_digits") == "1"


@pytest.mark.parametrize("statement, name, value", [
    ("SET application_name = 'set later'", "application_name", "set later"),
    ("SET DateStyle = 'SQL, DMY'", "DateStyle", "SQL, DMY"),
    ("SET TimeZone = 'Asia/Tokyo'", "TimeZone", "Asia/Tokyo"),
    ("SET client_encoding = 'LATIN1'", "client_encoding", "LATIN1"),
    ("SET IntervalStyle = 'sql_standard'", "IntervalStyle", "sql_standard"),
])
def test_what_is_set_and_reported_follows_the_client(broker, statement, name, value):
    with broker.wire() as one, broker.wire() as other, broker.wire() as third:
        before = show(other, name)
        one.query(statement)
        assert one.parameters[name] == value
        for _ in range(3):
            assert show(one, name) == value
            assert show(other, name) == before
            assert show(third, name) == before


def test_a_set_that_is_rolled_back_does_not_follow(broker):
    with broker.wire() as one:
        before = show(one, "TimeZone")
        one.query("BEGIN")
        one.query("SET TimeZone = 'Asia/Tokyo'")
        one.query("ROLLBACK")
        assert show(one, "TimeZone") == before
        assert one.parameters["TimeZone"] == before


def test_set_local_ends_with_its_transaction(broker):
    with broker.wire() as one:
        one.query("BEGIN")
        one.query("SET LOCAL statement_timeout = '5s'")
        assert show(one, "statement_timeout") == "5s"
        one.query("COMMIT")
        assert show(one, "statement_timeout") == "0"


def test_reset_all_in_session_mode_returns_to_the_startup_values(session_broker):
    with session_broker.wire(options="-c statement_timeout=7s", TimeZone="Asia/Tokyo") as one:
        one.query("SET statement_timeout = '1s'")
        one.query("SET TimeZone = 'UTC'")
        one.query("RESET ALL")
        assert show(one, "statement_timeout") == "7s"
        assert show(one, "TimeZone") == "Asia/Tokyo"
        one.query("SET statement_timeout = '1s'")
        one.query("DISCARD ALL")
        assert show(one, "statement_timeout") == "7s"


def test_session_mode_shows_the_real_backend(session_broker, postgres):
    with session_broker.wire() as one:
        pid = int(one.value("SELECT pg_backend_pid()"))
        assert one.key[0] == pid
        assert pid in [row[0] for row in postgres.backends(dbname="app")]


def test_a_role_set_by_the_clients_options(broker):
    with broker.wire(user="postgres", options="-c role=app") as one:
        assert one.value("SELECT current_user") == "app"


def test_database_and_role_settings_of_the_server_hold(broker, postgres):
    postgres.sql("ALTER ROLE other SET statement_timeout = '11s'")
    try:
        postgres.terminate(*(row[0] for row in postgres.backends(user="other")))
        with broker.wire(user="other") as one:
            assert show(one, "statement_timeout") == "11s"
        with broker.wire(user="other", options="-c statement_timeout=3s") as one:
            assert show(one, "statement_timeout") == "3s"
        with broker.wire(user="other") as one:
            assert show(one, "statement_timeout") == "11s"
    finally:
        postgres.sql("ALTER ROLE other RESET ALL")


def test_protocol_3_2_is_negotiated_down(broker):
    """libpq 18 asks for minor versions; options with _pq_. are listed as not understood."""
    one = broker.raw()
    one.send(wire.startup({"user": "app", "database": "app", "_pq_.later": "1"}, 196610))
    seen = one.next()
    assert seen.kind == "v"
    one.finish_login("app")
    assert one.value("SELECT 1") == "1"
    one.close()


@pytest.mark.parametrize("name, value", [
    ("client_encoding", "LATIN1"), ("DateStyle", "German"), ("TimeZone", "Asia/Tokyo")])
def test_database_wide_parameters_of_the_configuration(make_broker, name, value):
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server(dbname="app") + f" {name.lower()}={value}"}
    broker.write()
    broker.start()
    with broker.wire() as one:
        assert show(one, name).startswith(value)


@pytest.mark.pglease_only
def test_putting_a_profile_in_force_is_no_reason_to_clean(make_broker):
    """What the broker set itself is meant to be there: no DISCARD ALL after every lease."""
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire(application_name="named", options="-c work_mem=5MB") as one:
        one.send(wire.parse("SELECT 1", "kept"), wire.sync())
        one.until_ready()
        for _ in range(3):
            assert one.value("SHOW work_mem") == "5MB"
            assert one.value("SELECT count(*) FROM pg_prepared_statements") == "1"
