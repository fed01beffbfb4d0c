# SPDX-License-Identifier: Apache-2.0
"""LEASE and LEASE RETURN: what they answer, what they refuse, and what a lease keeps and leaves."""

import struct

import pytest

from harness import direct, wire
from harness.direct import give_back, lease

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"


@pytest.fixture(params=["transaction", "session", "statement"])
def any_mode(request):
    return request.getfixturevalue(f"{request.param}_broker")


@pytest.fixture
def narrow(make_broker):
    """A single server connection: the next lease is certainly on the same one."""
    return make_broker({"default_pool_size": 1, "reserve_pool_size": 0})


def pid(one):
    return int(one.value(PID))


# What it answers.


def test_a_lease_is_one_backend_until_it_is_returned(any_mode):
    with any_mode.wire() as one, any_mode.wire() as other:
        held = lease(one)
        assert held.kind == "relay" and held.waited_us >= 0
        for _ in range(5):
            assert pid(one) == held.server_pid
            assert pid(other) != held.server_pid
        give_back(one)
        assert one.value("SELECT 'after'") == "after"


def test_the_answer_has_postgresqls_types(transaction_broker):
    with transaction_broker.wire() as one:
        description = one.query("LEASE")[0].body
        at, types = 2, []
        for _ in range(4):
            at = description.index(b"\0", at) + 1
            types.append(struct.unpack_from("!IhIhih", description, at)[2])
            at += 18
        assert types == [20, 23, 25, 20]
        give_back(one)


def test_each_lease_has_a_number_of_its_own(transaction_broker):
    with transaction_broker.wire() as one:
        numbers = []
        for _ in range(5):
            numbers.append(lease(one).lease_id)
            give_back(one)
        assert len(set(numbers)) == 5


@pytest.mark.parametrize("text", [
    "lease", "LEASE;", "LeAsE FOR 'x' ;", " \t\n LEASE", "-- why\nLEASE", "/* a /* b */ */ LEASE;",
    "LEASE/**/WAIT/**/'2s'", "LEASE WAIT '2'", "LEASE WAIT '500ms' HOLD '1min'",
    "LEASE THREAD '77' FOR 'it''s' HOLD '30s' WAIT '1.5s'", "LEASE FOR ''", "LEASE ; ;",
    "LEASE\nFOR\n'two\nlines'", "LEASE WAIT '2 S'", "LEASE FOR ';' -- end",
])
def test_the_grammar(transaction_broker, text):
    with transaction_broker.wire() as one:
        assert direct.granted(one.query(text)).server_pid == pid(one)
        direct.returned(one.query("/* done */ lease  Return ; "))


@pytest.mark.parametrize("text, code, position", [
    ("LEASE FOO", "42601", 7),
    ("LEASE RETURN now", "42601", 14),
    ("LEASE WAIT", "42601", 11),
    ("LEASE WAIT 3", "42601", 12),
    ("LEASE WAIT '1s' WAIT '1s'", "42601", 17),
    ("LEASE FOR 'grün' LEASE", "42601", 18),
    ("  LEASE  HOLDS '3s'", "42601", 10),
    ("LEASE FOR 'open", "42601", 11),
    ("LEASE FOR \"x\"", "42601", 11),
    ("LEASE; SELECT 1", "42601", 8),
    ("LEASE DIRECT DIRECT", "42601", 14),
    ("LEASE WAIT 'soon'", "22023", None),
    ("LEASE WAIT '-1s'", "22023", None),
    ("LEASE WAIT ''", "22023", None),
    ("LEASE HOLD '0'", "22023", None),
    ("LEASE HOLD '99999999999999999999h'", "22023", None),
    ("LEASE THREAD ''", "22023", None),
    ("LEASE THREAD '" + "x" * 65 + "'", "22023", None),
])
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_what_is_wrong_is_refused_with_its_place(transaction_broker, text, code, position,
                                                 extended):
    with transaction_broker.wire() as one:
        seen = one.extended(text) if extended else one.query(text)
        assert wire.kinds(seen) == "EZ" and seen[1].body == b"I"
        fields = seen[0].fields
        assert (fields["C"], fields.get("P")) == (code, position and str(position)), fields
        assert fields["S"] == "ERROR" and fields.get("H"), fields
        assert wire.error_of(one.query("LEASE RETURN")).code == "55000"
        assert one.value("SELECT 'goes on'") == "goes on"


@pytest.mark.parametrize("text", ["LEASES", "\"lease\"", "LEASEHOLD '3s'", "SELECT 1; LEASE",
                                  "EXPLAIN LEASE"])
def test_what_is_no_lease_command_is_postgresqls_to_answer(transaction_broker, text):
    with transaction_broker.wire() as one:
        error = wire.error_of(one.query(text))
        assert error.code == "42601" and error.fields.get("R"), error


def test_a_lease_in_a_lease_is_refused_and_the_lease_stays(any_mode):
    with any_mode.wire() as one:
        held = lease(one, "FOR 'first'")
        for options in ("", "DIRECT", "FOR 'second'"):
            seen = one.query(f"LEASE {options}")
            assert wire.error_of(seen).code == "55000" and seen[-1].body == b"I"
        one.query("BEGIN")
        seen = one.query("LEASE")
        assert wire.error_of(seen).code == "55000" and seen[-1].body == b"T"
        assert one.query("COMMIT")[0].tag == "COMMIT"
        assert pid(one) == held.server_pid
        give_back(one)


def test_a_return_without_a_lease_is_refused(any_mode):
    with any_mode.wire() as one:
        for _ in range(2):
            seen = one.query("LEASE RETURN")
            assert wire.error_of(seen).code == "55000" and seen[-1].body == b"I"
        lease(one)
        give_back(one)
        assert wire.error_of(one.query("LEASE RETURN")).code == "55000"
        assert one.value("SELECT 1") == "1"


@pytest.mark.parametrize("word", ["LEASE", "LEASE DIRECT", "LEASE RETURN"])
def test_in_a_transaction_of_its_own_neither_is_possible(broker, word):
    """The transaction stays as it is: it is PostgreSQL's, and heard nothing of this."""
    code = "55000" if word == "LEASE RETURN" else "25001"
    with broker.wire() as one:
        one.query("BEGIN")
        one.query("SELECT 1")
        seen = one.query(word)
        assert wire.error_of(seen).code == code and seen[-1].body == b"T"
        assert one.value("SELECT 'goes on'") == "goes on"
        one.query("SELECT 1/0")
        seen = one.query(word)
        assert wire.error_of(seen).code == code and seen[-1].body == b"E"
        assert wire.error_of(one.query("SELECT 1")).code == "25P02"
        assert one.query("ROLLBACK")[-1].body == b"I"
        lease(one)
        give_back(one)


@pytest.mark.parametrize("fail", [False, True], ids=["open", "failed"])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_return_in_a_transaction_rolls_it_back_with_a_warning(make_broker, table, fail, mode):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "pool_mode": mode})
    with broker.wire() as one, broker.wire() as other:
        lease(one)
        one.query("BEGIN")
        one.query(f"INSERT INTO {table} VALUES (1, 'x')")
        if fail:
            one.query("SELECT 1/0")
        direct.returned(one.query("LEASE RETURN"))
        note, = one.notices
        assert (note.fields["S"], note.code) == ("WARNING", "25001")
        assert "rolled back" in note.fields["M"]
        assert other.value(f"SELECT count(*) FROM {table}") == "0"
        assert one.query("SELECT 1")[-1].body == b"I"


def test_in_a_statement_pool_a_lease_allows_transactions(statement_broker, table):
    with statement_broker.wire() as one:
        lease(one)
        one.query("BEGIN")
        one.query(f"INSERT INTO {table} VALUES (1, 'x')")
        assert one.query("COMMIT")[0].tag == "COMMIT"
        give_back(one)
        assert one.value(f"SELECT count(*) FROM {table}") == "1"


def test_in_a_session_pool_the_session_goes_on_as_it_is(session_broker):
    """The connection was its own before, and stays so: nothing is rolled back or reset."""
    with session_broker.wire() as one:
        one.query("CREATE TEMP TABLE mine AS SELECT 7 AS x")
        held = lease(one)
        one.query("SET work_mem = '9MB'")
        one.query("BEGIN")
        seen = one.query("LEASE RETURN")
        assert wire.kinds(seen) == "CZ" and seen[-1].body == b"T"
        assert (one.value("SHOW work_mem"), one.value("SELECT x FROM mine")) == ("9MB", "7")
        assert one.query("COMMIT")[0].tag == "COMMIT"
        assert pid(one) == held.server_pid


@pytest.mark.parametrize("word", ["LEASE", "LEASE DIRECT"])
def test_a_wrong_startup_parameter_is_told_to_the_lease(transaction_broker, word):
    with transaction_broker.wire(options="-c work_mem=nonsense") as one:
        one.send(wire.query(word))
        assert one.until("E")[-1].code == "22023"
        assert one.closed_by_peer()
    with transaction_broker.wire() as other:
        lease(other)
        give_back(other)


def test_a_lease_in_a_database_that_is_not_there(transaction_broker):
    with pytest.raises(wire.Refused) as refused:
        with transaction_broker.wire(database="not_there") as one:
            one.rows("LEASE")
    assert refused.value.code == "3D000"


@pytest.mark.parametrize("word", ["LEASE", "LEASE RETURN"])
@pytest.mark.parametrize("within", [False, True], ids=["without a lease", "in a lease"])
def test_a_lease_command_in_the_middle_of_a_copy_is_an_error_of_the_copy(
        transaction_broker, table, word, within):
    with transaction_broker.wire() as one:
        if within:
            lease(one)
        one.send(wire.query(f"COPY {table} FROM STDIN"))
        assert one.next().kind == "G"
        one.send(wire.copy_data(b"1\tx\n"), wire.query(word))
        assert one.until("E")[-1].code == "08P01"
    with transaction_broker.wire() as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"


# Pipelines and the extended protocol.


def test_lease_query_and_return_in_one_write(any_mode):
    with any_mode.wire() as one:
        for _ in range(20):
            one.send(wire.query("LEASE"), wire.query(PID), wire.query(PID),
                     wire.query("LEASE RETURN"), wire.query("SELECT 'after'"))
            seen = one.until_ready(5)
            assert wire.kinds(seen) == "TDCZ" + "TDCZ" * 2 + "CZ" + "TDCZ"
            rows = wire.rows_of(seen)
            assert rows[0][1] == rows[1][0] == rows[2][0] and rows[3] == ["after"]


def test_the_same_by_the_extended_protocol_in_one_write(any_mode):
    with any_mode.wire() as one:
        for _ in range(20):
            for text in ("LEASE", PID, "LEASE RETURN", "SELECT 'after'"):
                one.send(wire.parse(text), wire.bind(), wire.describe_portal(), wire.execute(),
                         wire.sync())
            seen = one.until_ready(4)
            assert wire.kinds(seen) == "12TDCZ" * 2 + "12nCZ" + "12TDCZ"
            rows = wire.rows_of(seen)
            assert rows[0][1] == rows[1][0] and rows[2] == ["after"]


def test_a_return_behind_unread_answers_waits_for_them(transaction_broker):
    with transaction_broker.wire() as one:
        one.send(wire.query("LEASE"),
                 wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 100)"),
                 wire.query("LEASE RETURN"))
        assert wire.kinds(one.until_ready(3)) == "TDCZ" + "T" + "D" * 100 + "CZ" + "CZ"


def test_a_lease_asked_for_behind_a_query_comes_after_it(transaction_broker):
    with transaction_broker.wire() as one:
        one.send(wire.query("SELECT pg_sleep(0.05)"), wire.query("LEASE"), wire.query(PID))
        rows = wire.rows_of(one.until_ready(3))
        assert rows[1][1] == rows[2][0]
        give_back(one)


def test_the_text_may_come_in_any_pieces(transaction_broker):
    raw = wire.query("/* x */ LEASE FOR 'in pieces' WAIT '5s'") + wire.query(PID) + \
        wire.parse("LEASE RETURN", "r") + wire.bind((), "r") + wire.execute() + wire.sync()
    with transaction_broker.wire() as one:
        for cut in range(1, len(raw), 3):
            one.send(raw[:cut])
            with transaction_broker.wire() as other:
                assert other.value("SELECT 1") == "1"
            one.send(raw[cut:])
            seen = one.until_ready(3)
            assert wire.kinds(seen) == "TDCZ" + "TDCZ" + "12CZ"
            rows = wire.rows_of(seen)
            assert rows[0][1] == rows[1][0]


def test_a_prepared_lease_is_used_again_and_described(transaction_broker):
    with transaction_broker.wire() as one:
        one.send(wire.parse("LEASE FOR 'prepared'", "l"), wire.describe_statement("l"),
                 wire.parse("LEASE RETURN", "r"), wire.describe_statement("r"), wire.sync())
        seen = one.until_ready()
        assert wire.kinds(seen) == "1tT1tnZ" and seen[2].columns == direct.COLUMNS
        assert seen[1].body == b"\0\0"
        for _ in range(3):
            one.send(wire.bind((), "l", results=[1, 1, 0, 1]), wire.execute(), wire.sync())
            seen = one.until_ready()
            assert wire.kinds(seen) == "2DCZ"
            number, backend, kind, waited = seen[1].row
            assert (len(number), len(waited), kind) == (8, 8, b"relay")
            assert struct.unpack("!i", backend)[0] == pid(one)
            one.send(wire.bind((), "r"), wire.execute(), wire.sync())
            assert wire.kinds(one.until_ready()) == "2CZ"
        one.send(wire.close_statement("l"), wire.close_statement("r"), wire.sync())
        assert wire.kinds(one.until_ready()) == "33Z"
        one.send(wire.bind((), "l"), wire.execute(), wire.sync())
        assert wire.error_of(one.until_ready()).code == "26000"
        assert one.value("SELECT 1") == "1"


def test_an_error_of_a_lease_in_a_batch_skips_to_its_sync(transaction_broker):
    with transaction_broker.wire() as one:
        lease(one)
        one.send(wire.parse("LEASE"), wire.bind(), wire.execute(), wire.parse("SELECT 'skipped'"),
                 wire.bind(), wire.execute(), wire.sync(), wire.query("SELECT 'not skipped'"))
        seen = one.until_ready(2)
        assert wire.kinds(seen) == "12EZ" + "TDCZ" and wire.error_of(seen).code == "55000"
        give_back(one)


def test_a_lease_has_no_parameters(transaction_broker):
    with transaction_broker.wire() as one:
        assert wire.error_of(one.extended("LEASE FOR $1", ["x"])).code == "42601"
        assert wire.error_of(one.extended("LEASE", ["x"])).code == "08P01"
        assert one.value("SELECT 1") == "1"


# What it keeps, and what it leaves.

KEPT = {
    "a temporary table": (
        "CREATE TEMP TABLE kept AS SELECT 7 AS x; GRANT SELECT ON kept TO other",
        "SELECT x FROM kept", "7"),
    "an advisory lock": (
        "SELECT pg_advisory_lock(815)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 815", "1"),
    "a channel": ("LISTEN kept", "SELECT pg_listening_channels()", "kept"),
    "a cursor with hold": (
        "DECLARE kept CURSOR WITH HOLD FOR SELECT 7", "SELECT count(*) FROM pg_cursors", "1"),
    "a setting": ("SET work_mem = '9MB'", "SHOW work_mem", "9MB"),
    "a statement": ("PREPARE kept AS SELECT 7", "EXECUTE kept", "7"),
    "a role": ("SET ROLE other", "SELECT current_user", "other"),
    "a hidden setting": (
        "DO $$ BEGIN PERFORM set_config('my.kept', '7', false); END $$", "SHOW my.kept", "7"),
}
CLEAN = {
    "temporary tables": ("SELECT to_regclass('kept') IS NULL", "t"),
    "advisory locks": (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 815", "0"),
    "channels": ("SELECT count(*) FROM pg_listening_channels()", "0"),
    "cursors": ("SELECT count(*) FROM pg_cursors", "0"),
    "settings": ("SHOW work_mem", "4MB"),
    "statements": ("SELECT count(*) FROM pg_prepared_statements WHERE name = 'kept'", "0"),
    "roles": ("SELECT current_user", "postgres"),
    "hidden settings": ("SELECT coalesce(current_setting('my.kept', true), '')", ""),
}


def test_all_state_is_kept_through_transactions_and_gone_after(narrow):
    with narrow.wire("postgres") as one, narrow.wire("postgres") as other:
        for _ in range(2):
            held = lease(one)
            for statement, _, _ in KEPT.values():
                wire.rows_of(one.query(statement))
            one.query("BEGIN")
            one.query("COMMIT")
            for what, (_, question, expected) in KEPT.items():
                assert one.value(question) == expected, what
            give_back(one)
            for each in (other, one):
                for what, (question, expected) in CLEAN.items():
                    assert each.value(question) == expected, what
            assert pid(other) == held.server_pid


def test_even_what_discard_all_stands_in_front_of_is_cleaned(narrow):
    with narrow.wire("postgres") as one, narrow.wire("postgres") as other:
        lease(one)
        one.query("DISCARD ALL")
        one.query("DO $$ BEGIN PERFORM set_config('my.kept', '7', false); END $$")
        give_back(one)
        assert other.value(CLEAN["hidden settings"][0]) == ""


def test_notifications_arrive_while_the_lease_is_idle(transaction_broker):
    with transaction_broker.wire() as one, transaction_broker.wire() as teller:
        lease(one)
        one.query("LISTEN explicit")
        for word in ("first", "second"):
            teller.query(f"NOTIFY explicit, '{word}'")
            heard = one.next()
            assert heard.kind == "A" and heard.body[4:] == b"explicit\0%s\0" % word.encode()
        give_back(one)
        teller.query("NOTIFY explicit, 'too late'")
        assert "A" not in wire.kinds(one.query("SELECT 1"))


def test_prepared_statements_of_the_protocol_follow_into_and_out_of_a_lease(narrow):
    with narrow.wire() as one:
        one.extended("SELECT 'before ' || $1::text", ["x"], name="before")
        lease(one)
        one.send(wire.bind(["inside"], "before"), wire.execute(), wire.sync())
        assert wire.rows_of(one.until_ready()) == [["before inside"]]
        one.extended("SELECT 'within ' || $1::text", ["x"], name="within")
        give_back(one)
        for name in ("before", "within"):
            one.send(wire.bind(["after"], name), wire.execute(), wire.sync())
            assert wire.rows_of(one.until_ready()) == [[f"{name} after"]]


# Settings of the client's own.

STARTUP = {"options": "-c statement_timeout=31s -c my.mark=seven", "application_name": "worker 7",
           "TimeZone": "Asia/Tokyo", "client_encoding": "LATIN1", "search_path": "pg_catalog"}
IN_FORCE = {"statement_timeout": "31s", "my.mark": "seven", "application_name": "worker 7",
            "TimeZone": "Asia/Tokyo", "client_encoding": "LATIN1", "search_path": "pg_catalog"}


def test_startup_settings_are_in_force_inside_and_after(narrow):
    with narrow.wire() as plain, narrow.wire(**STARTUP) as one:
        for _ in range(2):
            assert plain.value("SHOW statement_timeout") == "0"
            lease(one)
            assert {name: one.value(f"SHOW {name}") for name in IN_FORCE} == IN_FORCE
            one.query("SET statement_timeout = '1h'; SET TimeZone = 'UTC'; SET my.mark = 'eight'")
            assert one.value("SHOW statement_timeout") == "1h"
            give_back(one)
            assert {name: one.value(f"SHOW {name}") for name in IN_FORCE} == IN_FORCE


@pytest.mark.parametrize("word", ["RESET ALL", "DISCARD ALL"])
def test_reset_inside_a_lease_leaves_the_session_after_it_as_it_began(narrow, word):
    with narrow.wire(**STARTUP) as one:
        lease(one)
        one.query(word)
        give_back(one)
        assert {name: one.value(f"SHOW {name}") for name in IN_FORCE} == IN_FORCE
        lease(one)
        assert {name: one.value(f"SHOW {name}") for name in IN_FORCE} == IN_FORCE


def test_a_set_before_the_lease_follows_into_it_and_one_inside_ends_with_it(narrow):
    with narrow.wire() as one, narrow.wire() as other:
        one.query("SET work_mem = '9MB'")
        one.query("SET TimeZone = 'Asia/Tokyo'")
        other.query("SET work_mem = '5MB'")
        lease(one)
        assert (one.value("SHOW work_mem"), one.value("SHOW TimeZone")) == ("9MB", "Asia/Tokyo")
        one.query("SET work_mem = '11MB'")
        one.query("SET TimeZone = 'UTC'")
        give_back(one)
        assert other.value("SHOW work_mem") == "5MB"
        assert (one.value("SHOW work_mem"), one.value("SHOW TimeZone")) == ("9MB", "Asia/Tokyo")


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_the_client_is_told_when_the_lease_took_its_settings_along(narrow, extended):
    with narrow.wire(client_encoding="UTF8", TimeZone="Asia/Tokyo") as one:
        lease(one)
        one.query("SET client_encoding = 'LATIN1'")
        one.query("SET TimeZone = 'UTC'")
        assert (one.parameters["client_encoding"], one.parameters["TimeZone"]) == \
            ("LATIN1", "UTC")
        if extended:
            one.extended("LEASE RETURN")
        else:
            give_back(one)
        assert (one.parameters["client_encoding"], one.parameters["TimeZone"]) == \
            ("UTF8", "Asia/Tokyo")
        assert one.query("SELECT 'ä' = U&'\\00E4'")[1].row == [b"t"]
