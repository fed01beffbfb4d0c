# SPDX-License-Identifier: Apache-2.0
"""What a client sees of its own session in a transaction pool is what a connection of its own would show it.

Each scene runs on both, the pool's two connections having served others. `scripts/differential` found them.
"""

import pytest

from harness import pooler, wire
from harness.wire import told

pytestmark = pytest.mark.pglease_only


@pytest.fixture(scope="module")
def objects(postgres):
    postgres.sql("""
        CREATE ROLE alike_plain; CREATE SEQUENCE alike_sequence;
        CREATE TABLE alike_numbered (id serial, word text); CREATE SCHEMA alike_schema;
        CREATE TABLE public.alike_here AS SELECT 'public' AS place;
        CREATE TABLE alike_schema.alike_here AS SELECT 'schema' AS place;
        CREATE FUNCTION alike_run(what text) RETURNS text LANGUAGE plpgsql AS
            $$ BEGIN EXECUTE what; RETURN 'ran'; END $$;
        CREATE FUNCTION alike_last() RETURNS bigint LANGUAGE plpgsql AS
            $$ BEGIN RETURN lastval(); END $$;
        CREATE PROCEDURE alike_call(what text) LANGUAGE plpgsql AS $$ BEGIN EXECUTE what; END $$;
        """, dbname="app")
    yield
    postgres.sql("""
        DROP PROCEDURE alike_call; DROP FUNCTION alike_run, alike_last;
        DROP TABLE alike_numbered, public.alike_here; DROP SEQUENCE alike_sequence;
        DROP SCHEMA alike_schema CASCADE; DROP ROLE alike_plain""", dbname="app")


@pytest.fixture(scope="module")
def pool(postgres, objects):
    one = pooler.make(postgres, {
        "default_pool_size": 2, "reserve_pool_size": 0, "pin_notice": 0}).start()
    yield one
    one.stop()
    one.check()
    one.destroy()


def both(pool, postgres, scene, **parameters):
    """What the scene's messages are answered with, and what the client knows of its session then."""
    seen = []
    for path in (postgres.socket_path, pool.socket_path):
        with wire.Wire(path).start("postgres", "app", application_name="alike", **parameters) as one:
            answers = [dict(one.parameters)]
            for messages in scene:
                one.send(*messages)
                batches = sum(raw[:1] in (b"Q", b"S") for raw in messages)
                answers.append([(kind, what) for kind, what in told(one.until_ready(batches))
                                if kind != "S"])
                answers.append(dict(one.parameters))
            seen.append(answers)
    assert seen[0] == seen[1]
    return seen[0]


# Sequences.

def use_both(pool, text):
    """Two other clients run this, on a connection each."""
    with pool.wire("postgres") as one, pool.wire("postgres") as two:
        for each in (one, two):
            each.query("BEGIN")
            each.query(text)
        for each in (one, two):
            each.query("COMMIT")


DRAWS = ["SELECT nextval('alike_sequence')", "SELECT setval('alike_sequence', 40)",
         "INSERT INTO alike_numbered (word) VALUES ('w')",
         "SELECT alike_run('INSERT INTO alike_numbered (word) VALUES (1)')"]
ASKS = {
    "simple": lambda one: one.query("SELECT lastval()"),
    "extended": lambda one: one.extended("SELECT pg_catalog.lastval ()"),
    "named": lambda one: one.extended("SELECT lastval()", name="asks"),
    "by a function": lambda one: one.query("SELECT alike_last()"),
    "by a value": lambda one: one.extended("SELECT alike_run($1)", (b"SELECT lastval()",)),
    "in a block": lambda one: one.query("DO $$ BEGIN PERFORM lastval(); END $$"),
    "in a string": lambda one: one.query("BEGIN; SELECT lastval(); COMMIT"),
}


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("asks", ASKS)
def test_nobody_sees_what_another_client_drew(pool, draws, asks):
    for _ in range(2):
        use_both(pool, draws)
        with pool.wire("postgres") as one:
            assert wire.error_of(ASKS[asks](one)).code == "55000"
            one.query("ROLLBACK")


def test_what_a_client_drew_in_its_transaction_is_there(pool):
    for _ in range(2):
        use_both(pool, DRAWS[0])
        with pool.wire("postgres") as one:
            one.query("BEGIN")
            drawn = one.value("INSERT INTO alike_numbered (word) VALUES ('mine') RETURNING id")
            assert one.value("SELECT lastval()") == drawn
            assert one.value("SELECT currval('alike_numbered_id_seq')") == drawn
            one.query("COMMIT")


def test_one_that_has_drawn_elsewhere_since_is_told_nothing_rather_than_what_is_old(pool):
    with pool.wire("postgres") as one, pool.wire("postgres") as other:
        one.query("SELECT lastval()")
        where = {}
        # Whoever holds one connection leaves the other.
        for _ in range(4):
            one.query("BEGIN")
            place = one.value("SELECT pg_backend_pid()")
            where[place] = one.value("SELECT nextval('alike_sequence')")
            one.query("COMMIT")
            other.query("BEGIN")
            other.query("SELECT 1")
            seen = one.query("SELECT pg_backend_pid(), lastval()")
            other.query("COMMIT")
            error = wire.error_of(seen)
            if error is None:
                (process, last), = wire.rows_of(seen)
                assert last == where[place] and process == place
            else:
                assert error.code == "55000"


def test_its_own_is_there_as_long_as_it_has_one_connection(make_broker, objects):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire("postgres") as one:
        drawn = one.value("SELECT nextval('alike_sequence')")
        assert one.value("SELECT lastval()") == drawn
        assert one.value("SELECT currval('alike_sequence')") == drawn


# What is told at login.

@pytest.mark.parametrize("options", [
    {"options": "-c role=alike_plain"},
    {"options": "-c DateStyle=German", "DateStyle": "ISO"},
    {"options": "-c DateStyle=SQL,YMD", "DateStyle": "Postgres"},
    {"options": "-c DateStyle=DMY", "DateStyle": "ISO"},
])
def test_a_login_is_told_what_is_in_force(pool, postgres, options):
    for _ in range(2):
        both(pool, postgres, [[wire.query("SELECT current_user, '2026-11-30'::date")]], **options)


def test_a_login_with_a_role_that_is_not_there_is_refused(pool, postgres):
    codes = []
    for path in (postgres.socket_path, pool.socket_path):
        with pytest.raises(wire.Refused) as refused:
            wire.Wire(path).start("postgres", "app", options="-c role=alike_nobody")
        codes.append(refused.value.error.code)
    assert codes[0] == codes[1]


# What a RESET goes back to.

OWN = {"DateStyle": "German", "search_path": "alike_schema", "client_encoding": "LATIN1"}
PLACE = "SELECT place FROM alike_here"


def ext(sql, name="", values=()):
    return [wire.parse(sql, name), wire.bind(values, name), wire.execute()]


RESETS = {
    "in a block of its own": [[wire.query("BEGIN; RESET ALL; COMMIT")], [wire.query(PLACE)]],
    "in a block, and set behind": [[wire.query(
        "BEGIN; RESET ALL; COMMIT; SET application_name = 'later'")]],
    "in a block, and failed behind": [[wire.query("BEGIN; RESET ALL; COMMIT; SELECT 1/0")]],
    "in a block that is rolled back": [[wire.query(
        "SET application_name = 'kept'")], [wire.query("BEGIN; RESET ALL; ROLLBACK")]],
    "in a function": [[wire.query("SET DateStyle = 'SQL'")],
                      [wire.query("SELECT alike_run('RESET ALL')")], [wire.query(PLACE)]],
    "in a block of PL/pgSQL": [[wire.query("DO $$ BEGIN RESET ALL; END $$")]],
    "in a quoted block, extended": [
        [*ext("DO $do$ BEGIN EXECUTE $q$RESET ALL$q$; END $do$"), wire.sync()]],
    "in a procedure": [[*ext("CALL alike_call('RESET application_name')"), wire.sync()]],
    "by a value": [[*ext("SELECT alike_run($1)", values=(b"RESET ALL",)), wire.sync()]],
    "by a named function": [[wire.parse("SELECT alike_run($1)", "by_name"), wire.sync()],
                            [wire.bind((b"RESET ALL",), "by_name"), wire.execute(), wire.sync()]],
    "set in a function": [[wire.query("SELECT alike_run('SET DateStyle = ''ISO, YMD''')")]],
    "by EXECUTE": [[wire.parse("RESET ALL", "goes_back"), wire.sync()],
                   [wire.query("EXECUTE goes_back")], [wire.query(PLACE)]],
    "by EXECUTE, extended": [[wire.parse("RESET ALL", "goes_back"), wire.sync()],
                             [*ext("EXECUTE goes_back"), wire.sync()]],
    "discarded in a pipeline": [[wire.query("DISCARD ALL"), wire.query(PLACE)]],
    "discarded in a batch": [[*ext("DISCARD ALL"), *ext(PLACE), wire.sync()]],
    "discarded, extended, in a pipeline": [
        [*ext("DISCARD ALL"), wire.sync(), *ext(PLACE), wire.sync()]],
    "reset in a batch": [[*ext("SET search_path = public"), *ext("RESET search_path"), *ext(PLACE),
                          wire.sync()], [wire.query(PLACE)]],
    "all reset in a batch": [[*ext("RESET ALL"), *ext(PLACE),
                              *ext("SELECT current_setting('application_name')"), wire.sync()]],
    "reset in a batch that fails": [[*ext("SET search_path = public"), wire.sync()],
                                    [*ext("RESET search_path"), *ext("SELECT 1/0"), wire.sync()],
                                    [wire.query(PLACE)]],
    "to what it was before": [[wire.query("SELECT 1; COMMIT; SET DateStyle = 'ISO, MDY'")],
                              [wire.query("RESET ALL")], [wire.query("SHOW DateStyle")]],
    "reset, and set by a function in its batch": [
        [*ext("RESET application_name"),
         *ext("SELECT set_config('application_name', 'later', false)"), wire.sync()]],
    "plans discarded": [[*ext("SET NAMES 'UTF8'"), wire.sync()],
                        [*ext("DISCARD PLANS"), *ext("SELECT 1"), wire.sync()]],
}


@pytest.mark.parametrize("scene", RESETS)
def test_a_reset_goes_back_to_the_startup_packet(pool, postgres, scene):
    both(pool, postgres, RESETS[scene], **OWN)


@pytest.mark.parametrize("text", ["RESET ALL", "DISCARD ALL", "RESET ROLE",
                                  "SET SESSION AUTHORIZATION DEFAULT"])
def test_a_role_of_the_startup_packet_is_put_back_by_what_puts_back_roles(pool, postgres, text):
    both(pool, postgres, [
        [wire.query("SET ROLE NONE")], [wire.query(text)], [wire.query("SELECT current_user")],
        [wire.query("SELECT current_user")]], options="-c role=alike_plain")


@pytest.mark.parametrize("text", [
    "SELECT 'default'; COPY alike_numbered (word) FROM STDIN; SELECT 1",
    "RESET DateStyle; COPY alike_numbered (word) FROM STDIN",
    "COPY alike_numbered (word) FROM STDIN; RESET ALL"])
def test_a_copy_goes_on_beside_a_reset(pool, postgres, text):
    both(pool, postgres, [
        [wire.query(text), wire.copy_data(b"copied\n"), wire.copy_done()], [wire.query("SELECT 1")]],
        DateStyle="German")


@pytest.mark.parametrize("way", ["simple", "extended", "several", "beside a literal"])
@pytest.mark.parametrize("setting", ["SET LOCAL TimeZone =", "SET TimeZone =", "SET LOCAL TIME ZONE"])
def test_what_is_set_to_the_servers_own_value_is_no_reset(pool, postgres, setting, way):
    value = postgres.sql("SHOW TimeZone")[0][0]
    text = f"{setting} '{value}'"
    send = {"simple": [wire.query(text)], "extended": [*ext(text), wire.sync()],
            "several": [wire.query(f"SELECT 1; {text}; SELECT 2")],
            "beside a literal": [wire.query(f"SELECT 'local, default'; {text}")]}[way]
    both(pool, postgres, [
        [wire.query("BEGIN")], send, [wire.query("SHOW TimeZone")], [wire.query("COMMIT")],
        [wire.query("SHOW TimeZone")]], TimeZone="Asia/Tokyo")


# Names of prepared statements.

NAMES = {
    "taken by the protocol, prepared by a named text": [
        [*ext('PREPARE "s 1" (int) AS SELECT $1 + 1', "maker"), wire.sync()],
        [wire.bind((), "maker"), wire.execute(), wire.sync()]],
    "taken, prepared by a text": [
        [wire.parse("SELECT 1", "s1"), wire.sync()], [*ext("PREPARE s1 AS SELECT 2"), wire.sync()],
        [wire.query("PREPARE s1 AS SELECT 3")], [wire.bind((), "s1"), wire.execute(), wire.sync()]],
    "taken by SQL in its transaction": [
        [wire.query("BEGIN")], [wire.query("PREPARE s1 AS SELECT 1")],
        [wire.parse("SELECT 2", "s1"), wire.sync()], [wire.query("ROLLBACK")],
        [wire.query("EXECUTE s1")]],
    "taken by a statement of its own, and skipped behind an error": [
        [*ext("PREPARE p1 AS SELECT 1", "s1"), wire.sync()],
        [wire.execute(), wire.bind((), "s1"), wire.sync()],
        [wire.bind((), "s1"), wire.execute(), wire.sync()]],
    "prepared in a function": [
        [wire.parse("SELECT 1", "s1"), wire.sync()],
        [wire.query("SELECT alike_run('PREPARE s1 AS SELECT 2')")], [wire.query("EXECUTE s1")]],
    "prepared in a block": [
        [wire.parse("SELECT 1", "s1"), wire.sync()],
        [wire.query("DO $$ BEGIN EXECUTE 'PREPARE s1 AS SELECT 2'; END $$")]],
    "dropped in a quoted block": [
        [wire.parse("SELECT 1", "S 1"), wire.flush(),
         wire.query('DO $do$ BEGIN EXECUTE $q$DEALLOCATE "S 1"$q$; END $do$')],
        [wire.bind((), "S 1"), wire.execute(), wire.sync()]],
    "prepared in a procedure by a value": [
        [wire.parse("SELECT 1", "s1"), wire.sync()],
        [*ext("CALL alike_call($1)", values=(b"PREPARE s1 AS SELECT 2",)), wire.sync()]],
    "dropped in a procedure": [
        [wire.parse("SELECT 1", "S 1"), wire.sync()],
        [wire.query("CALL alike_call('DEALLOCATE \"S 1\"')")],
        [wire.bind((), "S 1"), wire.execute(), wire.sync()],
        [wire.parse("SELECT 2", "S 1"), wire.sync()],
        [wire.bind((), "S 1"), wire.execute(), wire.sync()]],
    "dropped and prepared in a function": [
        [wire.parse("SELECT 1", "s1"), wire.sync()],
        [wire.query("DO $$ BEGIN EXECUTE 'DEALLOCATE s1'; EXECUTE 'PREPARE s1 AS SELECT 2'; END $$")],
        [wire.query("EXECUTE s1")], [wire.bind((), "s1"), wire.execute(), wire.sync()]],
    "all dropped in a function": [
        [wire.parse("SELECT 1", "s1"), wire.parse("SELECT 2", "s2"), wire.sync()],
        [wire.query("SELECT alike_run('DEALLOCATE ALL')")], [wire.query("EXECUTE s1")],
        [wire.parse("SELECT 3", "s2"), wire.sync()], [wire.query("EXECUTE s2")]],
    "executed in a function": [
        [wire.parse("SELECT set_config('app.alike', 'executed', false)", "s1"), wire.sync()],
        [wire.query("SELECT alike_run('EXECUTE s1')")],
        [wire.query("SELECT current_setting('app.alike')")]],
    "dropped and parsed in one write": [
        [wire.parse("SELECT 1", "s1"), wire.sync()],
        [wire.query("SELECT 1; DEALLOCATE s1"), wire.parse("SELECT 2", "s1"), wire.sync()],
        [wire.bind((), "s1"), wire.execute(), wire.sync()]],
    "one that drops itself": [
        [wire.parse('DEALLOCATE "s1"', "s1"), wire.sync()],
        [wire.bind((), "s1"), wire.execute(), wire.sync()],
        [wire.bind((), "s1"), wire.execute(), wire.sync()]],
    "parsed in front of an error": [
        [wire.query("BEGIN")],
        [wire.parse("DEALLOCATE PREPARE nobody", "s1"), wire.execute("nowhere"), wire.sync()],
        [wire.describe_statement("s1"), wire.sync()], [wire.query("ROLLBACK")]],
    "described in a transaction that failed": [
        [wire.query("BEGIN")], [wire.parse("UNLISTEN *", "s1"), wire.sync()],
        [wire.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")],
        [wire.query("SELECT 1/0")], [wire.describe_statement("s1"), wire.sync()],
        [wire.query("ROLLBACK")]],
}


@pytest.mark.parametrize("scene", NAMES)
def test_names_are_taken_and_free_as_on_a_connection_of_its_own(pool, postgres, scene):
    both(pool, postgres, NAMES[scene])


def test_the_next_client_sees_nothing_of_the_names(pool):
    with pool.wire("postgres") as one:
        one.send(wire.parse("SELECT 1", "s1"), wire.sync())
        one.until_ready()
        one.query("DO $$ BEGIN EXECUTE 'EXECUTE s1'; END $$")
    with pool.wire("postgres") as one, pool.wire("postgres") as two:
        for each in (one, two):
            each.query("BEGIN")
            assert each.rows(
                "SELECT name FROM pg_prepared_statements WHERE name !~ '^pglease_'") == []


# Notifications.

def test_ones_own_notification_bears_ones_own_process_on_a_connection_that_is_kept(pool):
    with pool.wire("postgres") as one:
        one.query("CREATE TEMP TABLE alike_kept (a int)")
        one.query("SELECT alike_run('LISTEN alike_channel')")
        seen = one.query("NOTIFY alike_channel, 'x'") + one.query("SELECT 1")
        (heard,) = [each for each in seen if each.kind == "A"]
        assert int.from_bytes(heard.body[:4], "big") == one.key[0]


def test_ones_own_notification_bears_ones_own_process_in_the_write_of_its_listen(pool):
    for turn in range(10):
        with pool.wire("postgres") as one:
            one.send(wire.query("ROLLBACK"), wire.query(f"LISTEN alike_{turn}"),
                     wire.query(f"NOTIFY alike_{turn}, 'x'"))
            seen = one.until_ready(3) + one.query("SELECT 1")
            (heard,) = [each for each in seen if each.kind == "A"]
            assert int.from_bytes(heard.body[:4], "big") == one.key[0]
