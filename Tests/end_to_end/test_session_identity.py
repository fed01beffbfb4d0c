# SPDX-License-Identifier: Apache-2.0
"""Who a session is: roles of startup parameters, and the operator's connect_query."""

import pytest

from harness import direct, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

WHO = "SELECT session_user, current_user, current_setting('role')"
MODES = ["transaction", "session", "statement"]


@pytest.fixture(scope="module", autouse=True)
def roles(postgres):
    postgres.sql("""
        CREATE ROLE identity_r1; CREATE ROLE identity_r2; CREATE ROLE reader;
        GRANT identity_r1, identity_r2, reader TO app;
        GRANT ALL ON SCHEMA public TO public;
        """, dbname="app")
    postgres.sql("""
        CREATE FUNCTION identity_forget() RETURNS void LANGUAGE sql
            AS $$ SELECT set_config('role', 'none', false) $$;
        """, dbname="app")


@pytest.fixture(params=MODES)
def narrow(make_broker, request):
    """A single server connection: the next client is certainly on the same one."""
    return make_broker({"pool_mode": request.param, "default_pool_size": 1,
                        "reserve_pool_size": 0})


def seen_directly(postgres, sql, user="app", **parameters):
    with wire.Wire(postgres.socket_path).start(user, "app", **parameters) as one:
        return one.rows(sql)


IDENTITIES = [
    {"options": "-c role=identity_r1"}, {"role": "identity_r1"},
    {"options": "-c role=identity_r1 -c work_mem=5MB"},
]


@pytest.mark.parametrize("parameters", IDENTITIES)
def test_a_role_of_the_startup_packet_is_its_clients_only(narrow, postgres, parameters):
    mine = seen_directly(postgres, WHO, **parameters)
    plain = seen_directly(postgres, WHO)
    assert mine != plain
    for _ in range(2):
        with narrow.wire(**parameters) as one:
            assert one.rows(WHO) == mine
        with narrow.wire() as other:
            assert other.rows(WHO) == plain
        with narrow.wire(role="identity_r2") as third:
            assert third.rows(WHO) == [["app", "identity_r2", "identity_r2"]]


@pytest.mark.parametrize("name, value", [
    ("session_authorization", "other"), ("transaction_read_only", "on"),
    ("transaction_isolation", "read committed"), ("seed", "0.5")])
def test_what_a_direct_connection_takes_without_effect(narrow, postgres, name, value):
    question = WHO + ", current_setting('transaction_read_only'), random() = 0.9851677175347999"
    mine = seen_directly(postgres, question, "postgres", **{name: value})
    for _ in range(2):
        with narrow.wire("postgres", **{name: value}) as one:
            assert one.rows(question) == mine
            assert one.parameters["session_authorization"] == "postgres"
        with narrow.wire("postgres") as other:
            assert other.rows(question) == mine


@pytest.mark.parametrize("name, value", [
    ("session_authorization", "other"), ("session_authorization", "no such role"),
    ("role", "other"), ("transaction_isolation", "serializable"),
    ("transaction_deferrable", "on"), ("seed", "7"), ("is_superuser", "on")])
def test_what_a_direct_connection_refuses(narrow, postgres, name, value):
    def refusal(start):
        try:
            with start("app", "app", **{name: value}) as one:
                wire.rows_of(one.query("SELECT 1"))
        except wire.Refused as refused:
            return refused.code
        return None
    expected = refusal(wire.Wire(postgres.socket_path).start)
    told = refusal(narrow.wire)
    if name.startswith("transaction") and postgres.version >= 16:
        # A direct connection ignores it; a transaction pool says that it has none (docs/pgbouncer.md).
        assert expected is None and told in (None, "25001")
    else:
        assert expected and told == expected
    with narrow.wire() as other:
        assert other.rows(WHO) == [["app", "app", "none"]]


@pytest.mark.parametrize("leave", ["SET ROLE identity_r2", "RESET ROLE", "SET ROLE NONE",
                                   "DISCARD ALL", "SET SESSION AUTHORIZATION DEFAULT"])
def test_what_a_client_does_to_its_role_is_over_with_its_lease(narrow, postgres, leave):
    for parameters in ({}, {"role": "identity_r1"}):
        expected = seen_directly(postgres, WHO, **parameters)
        with narrow.wire(**parameters) as one:
            assert "E" not in wire.kinds(one.query(leave))
        with narrow.wire() as other:
            assert other.rows(WHO) == [["app", "app", "none"]]
        with narrow.wire(**parameters) as again:
            assert again.rows(WHO) == expected


def test_a_role_that_the_server_gives_by_default(narrow, postgres):
    postgres.sql("ALTER ROLE app IN DATABASE app SET role = 'identity_r1'")
    try:
        for leave in ("DISCARD ALL", "SET ROLE NONE", "SET ROLE identity_r2"):
            with narrow.wire(application_name=leave) as one:
                assert one.rows(WHO) == [["app", "identity_r1", "identity_r1"]]
                one.query(leave)
            with narrow.wire(role="identity_r2") as other:
                assert other.rows(WHO) == [["app", "identity_r2", "identity_r2"]]
    finally:
        postgres.sql("ALTER ROLE app IN DATABASE app RESET role")


# The operator's boundary.

LIMITED = ["app", "reader", "reader", "11MB"]
LIMITS = "SELECT session_user, current_user, current_setting('role'), current_setting('work_mem')"


@pytest.fixture(params=MODES)
def limited(make_broker, request):
    broker = make_broker({"pool_mode": request.param, "default_pool_size": 1,
                          "reserve_pool_size": 0}, start=False)
    broker.databases = {"*": broker.server()
                        + " connect_query='SET ROLE reader; SET work_mem = ''11MB'''"}
    broker.write()
    return broker.start()


@pytest.mark.parametrize("leave", [
    "SELECT 1", "DISCARD ALL", "RESET ALL", "RESET ROLE", "SET ROLE NONE", "RESET work_mem",
    "SET ROLE identity_r1", "SET SESSION AUTHORIZATION DEFAULT", "SET TimeZone = 'Asia/Tokyo'",
    "RESET ROLE; SELECT 1", "DO $$ BEGIN SET ROLE NONE; END $$", "SET work_mem = '9MB'"])
def test_connect_query_is_in_force_before_every_client(limited, leave):
    for parameters in ({}, {"options": "-c maintenance_work_mem=9MB"}):
        with limited.wire(**parameters) as one:
            assert one.rows(LIMITS) == [LIMITED]
            assert "E" not in wire.kinds(one.query(leave))
            if limited.settings["pool_mode"] != "session":
                with limited.wire(application_name="another") as other:
                    assert other.rows(LIMITS) == [LIMITED]
        with limited.wire() as other:
            assert other.rows(LIMITS) == [LIMITED]


@pytest.mark.parametrize("leave", ["DISCARD ALL", "RESET ALL", "RESET work_mem"])
def test_connect_query_is_in_force_again_for_the_client_itself(limited, leave):
    with limited.wire() as one:
        one.query(leave)
        assert one.rows(LIMITS) == [LIMITED]
        one.extended(leave)
        assert one.rows(LIMITS) == [LIMITED]


# A session pool's clients have their settings in the startup packet.
@pytest.mark.parametrize("limited", ["transaction", "statement"], indirect=True)
def test_a_profile_is_put_on_top_of_connect_query(limited):
    for _ in range(2):
        with limited.wire(options="-c work_mem=5MB") as one, limited.wire() as other:
            for _ in range(2):
                assert one.rows(LIMITS) == [[*LIMITED[:3], "5MB"]]
                assert other.rows(LIMITS) == [LIMITED]


@pytest.mark.parametrize("leave", ["DISCARD ALL", "RESET ROLE", "SET ROLE NONE"])
@pytest.mark.parametrize("kind", ["direct", "relay"])
@pytest.mark.parametrize("limited", ["transaction"], indirect=True)
def test_connect_query_is_in_force_after_a_lease(limited, leave, kind):
    with direct.connect(limited) as one:
        end = one.lease() if kind == "direct" else one
        if kind == "relay":
            direct.lease(one)
        assert end.rows(LIMITS) == [LIMITED]
        assert "E" not in wire.kinds(end.query(leave))
        one.give_back()
        assert one.rows(LIMITS) == [LIMITED]
    with limited.wire(application_name="another") as other:
        assert other.rows(LIMITS) == [LIMITED]


@pytest.mark.parametrize("reset", ["", "SET application_name = 'clean'", "DISCARD ALL"])
def test_connect_query_is_in_force_whatever_cleans(make_broker, reset):
    for mode in ("transaction", "session"):
        broker = make_broker({"pool_mode": mode, "default_pool_size": 1, "reserve_pool_size": 0,
                              "server_reset_query": reset}, start=False)
        broker.databases = {"*": broker.server() + " connect_query='SET ROLE reader'"}
        broker.write()
        broker.start()
        for leave in ("SET ROLE NONE", "DISCARD ALL"):
            with broker.wire() as one:
                one.query(leave)
            with broker.wire() as other:
                assert other.value("SELECT current_user") == "reader"


def test_a_connect_query_that_fails_later_closes_the_connection(make_broker, postgres):
    postgres.sql("CREATE ROLE identity_gone; GRANT identity_gone TO app", dbname="app")
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0}, start=False)
    broker.databases = {"*": broker.server() + " connect_query='SET ROLE identity_gone'"}
    broker.write()
    broker.start()
    broker.errors_expected = True
    with broker.wire() as one:
        one.value("SELECT 1")
        postgres.sql("REVOKE identity_gone FROM app", dbname="app")
        one.query("SET work_mem TO '9MB'; SELECT 1")
        one.send(wire.query("SELECT 1"))
        assert one.until("E")[-1].code == "42501"
    assert [each for each in broker.console("SHOW EVENTS") if each["kind"] == "reset_failed"]
    postgres.sql("GRANT identity_gone TO app", dbname="app")
    with broker.wire() as other:
        # A connection that failed is tried again after a while.
        answer = eventually(lambda: "D" in wire.kinds(seen := other.query(WHO)) and seen)
        assert wire.rows_of(answer) == [["app", "identity_gone", "identity_gone"]]
    postgres.sql("REVOKE identity_gone FROM app", dbname="app")


def test_an_unaccepted_role_runs_nothing_as_somebody_else(make_broker, postgres):
    """A role that was accepted once, and is not any more: its client's statement must not run."""
    postgres.sql("CREATE ROLE identity_late; GRANT identity_late TO app", dbname="app")
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    broker.errors_expected = True
    with broker.wire(role="identity_late") as one, broker.wire(role="identity_r1") as other:
        for _ in range(2):
            assert one.value("SELECT current_user") == "identity_late"
            assert other.value("SELECT current_user") == "identity_r1"
        postgres.sql("REVOKE identity_late FROM app", dbname="app")
        one.send(wire.query("CREATE TABLE identity_made AS SELECT current_user AS who"))
        assert one.until("E")[-1].code in ("42501", "25P02")
    assert postgres.sql("SELECT to_regclass('identity_made')", dbname="app") == [(None,)]
