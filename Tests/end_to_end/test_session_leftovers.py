# SPDX-License-Identifier: Apache-2.0
"""With server_reset_query_always, nothing that runs inside the server outlives its lease.

What a function, a procedure or a DO block leaves shows in no command tag and no text.
"""

import pytest

from harness import wire

pytestmark = pytest.mark.pglease_only

NAME = {"application_name": "snapshot"}
LEFT = {
    "temporary table": "CREATE TEMP TABLE left_behind (x int)",
    "table in pg_temp": "SET search_path = pg_temp; CREATE TABLE left_behind AS SELECT 1 AS x",
    "select into pg_temp": "SET search_path = pg_temp; SELECT 1 AS x INTO left_behind",
    "listen": "LISTEN left_behind",
    "prepare": "PREPARE left_behind AS SELECT 1",
    "deallocate": "DEALLOCATE ALL",
    "cursor": "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
    "advisory lock": "SELECT pg_advisory_lock(4711)",
    "sequence": "SELECT nextval('leftover_sequence')",
    "seed": "SELECT setseed(0.5)",
    "setting": "SELECT set_config('work_mem', '9MB', false)",
    "reported setting": "SET TimeZone = 'Asia/Tokyo'",
    "timeout": "SET statement_timeout = '9s'",
    "characteristics": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "role": "SET ROLE other",
    "session authorization": "SET SESSION AUTHORIZATION other",
    "dblink": "SELECT dblink_connect('left_behind', 'dbname=app port=' || "
              "current_setting('port') || ' host=' || current_setting('unix_socket_directories'))",
}
SNAPSHOT = [
    # A library stays loaded, with its settings; a pool's clients have a name, its connections another.
    "SELECT string_agg(format('%s=%s (%s)', name, setting, "
    "CASE name WHEN 'application_name' THEN '' ELSE reset_val END), ';' ORDER BY name) "
    "FROM pg_settings WHERE name !~ '^plpgsql[.]'",
    "SELECT session_user, current_user, current_setting('role'), current_setting('is_superuser')",
    "SELECT pg_listening_channels()",
    "SELECT locktype, objid, mode FROM pg_locks WHERE pid = pg_backend_pid() "
    "AND locktype = 'advisory'",
    "SELECT name, statement FROM pg_prepared_statements",
    "SELECT name FROM pg_cursors WHERE name <> ''",
    "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
    "SELECT lastval()", "SELECT currval('leftover_sequence')",
    "SELECT random() IN (0.9851677175347999, 0.825301858027981, 0.12974610012450416)",
    "SELECT dblink_get_connections()",
]


@pytest.fixture(scope="module", autouse=True)
def objects(postgres):
    postgres.sql("""
        CREATE EXTENSION IF NOT EXISTS dblink; CREATE SEQUENCE leftover_sequence;
        CREATE FUNCTION leftover(what text) RETURNS int LANGUAGE plpgsql AS $$
            DECLARE one text; BEGIN
                FOREACH one IN ARRAY string_to_array(what, '; ') LOOP EXECUTE one; END LOOP;
                RETURN 1; END $$;
        CREATE PROCEDURE leftover_procedure(what text) LANGUAGE plpgsql AS $$
            BEGIN PERFORM leftover(what); END $$;
        """, dbname="app")
    yield
    postgres.sql("DROP EXTENSION dblink CASCADE", dbname="app")


def snapshot(one):
    seen = []
    for question in SNAPSHOT:
        answer = one.query(question)
        seen.append([one.code for one in answer if one.kind == "E"] or sorted(
            map(str, wire.rows_of(answer))))
    return seen


NESTED = ("temporary table", "sequence", "setting", "role", "dblink")


def ways(name, what, mode):
    quoted = "'" + what.replace("'", "''") + "'"
    yield "plain", [what]
    # PL/pgSQL has no EXECUTE of it.
    if "INTO" in what:
        return
    yield "function", [f"SELECT public.leftover({quoted})"]
    if name not in NESTED:
        return
    yield "do", [f"DO $do$ BEGIN PERFORM public.leftover({quoted}); END $do$"]
    yield "procedure", [f"CALL public.leftover_procedure({quoted})"]
    if mode != "statement":
        yield "execute", ["BEGIN", f"PREPARE by_name AS SELECT public.leftover({quoted})",
                          "EXECUTE by_name", "COMMIT"]
        yield "create table as", ["BEGIN", f"CREATE TABLE leftover_made AS SELECT "
                                  f"public.leftover({quoted})", "COMMIT"]


@pytest.fixture(scope="module")
def fresh(postgres, objects):
    with wire.Wire(postgres.socket_path).start("postgres", "app", **NAME) as one:
        return snapshot(one)


def differences(seen, expected):
    return [(question, sorted(set(";".join(one).split(";")) ^ set(";".join(other).split(";"))))
            for question, one, other in zip(SNAPSHOT, seen, expected) if one != other]


def test_the_seed_is_known(postgres):
    assert postgres.sql("SELECT setseed(0.5); SELECT random()", dbname="app")[0][0] == \
        0.9851677175347999


@pytest.mark.parametrize("mode", ["transaction", "session", "statement"])
def test_the_next_client_has_a_session_as_new(make_broker, postgres, fresh, mode):
    broker = make_broker({"pool_mode": mode, "default_pool_size": 1, "reserve_pool_size": 0, "pin_reserve": 0,
                          "server_reset_query_always": 1})
    with broker.wire("postgres", **NAME) as one:
        assert differences(snapshot(one), fresh) == []
    pids = set()
    for name, what in LEFT.items():
        for way, statements in ways(name, what, mode):
            if name == "listen" and way == "plain" and mode != "session":
                # A pool of one connection has none that could listen for its clients.
                continue
            with broker.wire("postgres", **NAME) as one:
                for statement in statements:
                    answer = one.query(statement)
                    assert "E" not in wire.kinds(answer), (name, way, answer)
                pids.add(one.value("SELECT pg_backend_pid()"))
            with broker.wire("postgres", **NAME) as other:
                assert differences(snapshot(other), fresh) == [], (name, way)
            if way == "create table as":
                postgres.sql("DROP TABLE leftover_made", dbname="app")
    # It is cleaned, not replaced.
    assert len(pids) == 1


@pytest.mark.parametrize("statement", [
    "CALL leftover_procedure('SET work_mem = ''9MB''')",
    "SELECT dblink_connect('left_behind', 'dbname=app port=' || current_setting('port') || "
    "' host=' || current_setting('unix_socket_directories'))"])
def test_by_default_what_a_text_shows_is_cleaned(make_broker, fresh, statement):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "pin_reserve": 0})
    with broker.wire("postgres", **NAME) as one:
        assert "E" not in wire.kinds(one.query(statement))
    with broker.wire("postgres", **NAME) as other:
        assert differences(snapshot(other), fresh) == []


def test_an_extension_that_comes_and_goes(make_broker, postgres):
    """dblink is dropped, and made again in a schema with an odd name, while connections live."""
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "pin_reserve": 0,
                          "server_reset_query_always": 1})
    pids = set()
    for _ in range(2):
        with broker.wire("postgres", "second") as one:
            pids.add(one.value("SELECT pg_backend_pid()"))
            one.query('CREATE SCHEMA "Odd ""one"; CREATE EXTENSION dblink SCHEMA "Odd ""one"')
            opened = one.query(
                "SELECT \"Odd \"\"one\".dblink_connect('left', 'dbname=app port=' || "
                "current_setting('port') || ' host=' || "
                "current_setting('unix_socket_directories'))")
            assert "E" not in wire.kinds(opened), opened
            assert one.value('SELECT "Odd ""one".dblink_get_connections()') == "{left}"
        with broker.wire("postgres", "second") as other:
            pids.add(other.value("SELECT pg_backend_pid()"))
            assert other.value('SELECT "Odd ""one".dblink_get_connections()') is None
            other.query('DROP EXTENSION dblink; DROP SCHEMA "Odd ""one"')
    assert len(pids) == 1
