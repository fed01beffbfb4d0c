# SPDX-License-Identifier: Apache-2.0
"""What a client leaves in its session is there in its next transaction, whichever connection that has.

A pool of two, and a neighbour who uses both: nothing is there by luck. `scripts/differential` tries what nobody thought of.
"""

import asyncio
import itertools

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import pooler, wire

pytestmark = pytest.mark.pglease_only


@pytest.fixture(scope="module")
def objects(postgres):
    postgres.sql("""
        CREATE ROLE state_reader; CREATE SCHEMA state_schema; CREATE TABLE state_schema.here (a int);
        CREATE FUNCTION state_set(name text, value text) RETURNS text LANGUAGE plpgsql AS
            $$ BEGIN RETURN set_config(name, value, false); END $$;
        CREATE FUNCTION state_outer(name text, value text) RETURNS text LANGUAGE sql AS
            $$ SELECT state_set(name, value) $$;
        CREATE FUNCTION state_lock() RETURNS void LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_lock(4712); END $$;
        CREATE PROCEDURE state_call(value text) LANGUAGE plpgsql AS
            $$ BEGIN PERFORM set_config('app.called', value, false); END $$;
        """, dbname="app")
    yield
    postgres.sql("""
        DROP PROCEDURE state_call; DROP FUNCTION state_lock, state_outer, state_set;
        DROP SCHEMA state_schema CASCADE; DROP ROLE state_reader""", dbname="app")


@pytest.fixture
def pooled(make_broker, objects):
    return make_broker({"default_pool_size": 2, "reserve_pool_size": 0, "pin_notice": 0})


def neighbour(broker):
    """Leaves both connections, those that are free, in another state."""
    with broker.wire("postgres") as one, broker.wire("postgres") as two:
        one.query("BEGIN; SELECT 1")
        two.query("SET work_mem = '17MB'; SET app.tenant = 'theirs'")
        one.query("ROLLBACK")
        one.query("SET work_mem = '17MB'; SET app.tenant = 'theirs'")


WAYS = {
    "simple": lambda one, text: one.query(text),
    "extended": lambda one, text: one.extended(text),
    "several": lambda one, text: one.query(f"SELECT 1; {text}; SELECT 2"),
    "transaction": lambda one, text: [one.query("BEGIN"), one.query(text), one.query("COMMIT")][1],
    "extended transaction": lambda one, text: [
        one.query("BEGIN"), one.extended(text), one.query("COMMIT")][1],
}
numbers = itertools.count()
FOLLOWS = {
    "SET work_mem = '9MB'": ("SHOW work_mem", "9MB"),
    "SET app.tenant = '42'": ("SELECT current_setting('app.tenant')", "42"),
    "SELECT set_config('app.tenant', '43', false)": (
        "SELECT current_setting('app.tenant')", "43"),
    "SELECT state_outer('app.tenant', '44')": ("SELECT current_setting('app.tenant')", "44"),
    "SELECT public.state_set('work_mem', '7MB')": ("SHOW work_mem", "7MB"),
    "CALL state_call('45')": ("SELECT current_setting('app.called')", "45"),
    "DO $$ BEGIN PERFORM set_config('app.done', '46', false); END $$": (
        "SELECT current_setting('app.done')", "46"),
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE": (
        "SHOW transaction_isolation", "serializable"),
    "SET ROLE state_reader": ("SELECT current_user", "state_reader"),
    "SET SESSION AUTHORIZATION state_reader": ("SELECT session_user", "state_reader"),
    "SET SCHEMA 'state_schema'": ("SELECT to_regclass('here')::text", "here"),
    "SET TIME ZONE 'Asia/Tokyo'": ("SHOW TimeZone", "Asia/Tokyo"),
    "SET XML OPTION DOCUMENT": ("SHOW xmloption", "document"),
    "PREPARE state_statement (int) AS SELECT $1 + 1": ("EXECUTE state_statement(41)", "42"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", FOLLOWS)
def test_it_follows(pooled, text, way):
    question, answer = FOLLOWS[text]
    with pooled.wire("postgres") as one:
        seen = WAYS[way](one, text)
        assert "E" not in wire.kinds(seen), seen
        for _ in range(2):
            neighbour(pooled)
            assert one.value(question) == answer


@pytest.mark.parametrize("text", ["SET work_mem = '9MB'", "SET app.tenant = '42'",
                                  "SET ROLE state_reader"])
def test_what_is_rolled_back_does_not(pooled, text):
    question = FOLLOWS[text][0].replace("('app.tenant')", "('app.tenant', true)")
    with pooled.wire("postgres") as one:
        one.query("SET app.tenant = 'mine'")
        before = one.value(question)
        for end in ("ROLLBACK", "SELECT 1/0; COMMIT"):
            one.query(f"BEGIN; {text}")
            one.query(end)
            one.query("ROLLBACK")
            neighbour(pooled)
            assert one.value(question) == before


PINS = {
    "CREATE TEMP TABLE state_temporary AS SELECT 42 AS a": (
        "SELECT a FROM state_temporary", "42", "DROP TABLE state_temporary", "temporary_objects"),
    "DECLARE state_cursor CURSOR WITH HOLD FOR SELECT 42": (
        "FETCH state_cursor", "42", "CLOSE state_cursor", "held_cursors"),
    "SELECT pg_advisory_lock(4711)": (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 "
        "AND pid = pg_backend_pid()", "1", "SELECT pg_advisory_unlock(4711)", "advisory_locks"),
    "SELECT state_lock()": (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 "
        "AND pid = pg_backend_pid()", "1", "SELECT pg_advisory_unlock_all()", "advisory_locks"),
}


@pytest.mark.parametrize("way", ["simple", "extended", "transaction", "extended transaction"])
@pytest.mark.parametrize("text", PINS)
def test_it_pins_until_it_is_gone(pooled, text, way):
    it_pins_until_it_is_gone(pooled, text, WAYS[way], lambda one, removal: one.query(removal))


def it_pins_until_it_is_gone(broker, text, run, remove):
    question, answer, removal, reason = PINS[text]
    with broker.wire("postgres") as one:
        seen = run(one, text)
        assert "E" not in wire.kinds(seen), seen
        neighbour_of_one(broker)
        assert one.value(question) == answer
        assert [row["pin"] for row in broker.console("SHOW LEASES") if row["pin"]] == [reason]
        assert "E" not in wire.kinds(remove(one, removal))
        one.query("SELECT 1")
        assert not [row for row in broker.console("SHOW LEASES") if row["pin"]]


def named(one, text):
    return one.extended(text, name=f"state_{next(numbers)}")


def behind_errors(one, text):
    """In one write with batches that fail, each in its own way."""
    name = f"state_{next(numbers)}"
    one.send(wire.parse("SELECT 1/0"), wire.bind(), wire.execute(), wire.sync(),
             wire.bind((), "nobody"), wire.sync(), wire.query("SELECT 1/0"),
             wire.parse("SELEC"), wire.sync(),
             wire.parse(text, name), wire.bind((), name), wire.execute(), wire.sync())
    return one.until_ready(5)[-3:]


def in_transaction(one, text):
    return [one.query("BEGIN"), named(one, text), one.query("COMMIT")][1]


def parsed_before(one, text):
    """In one transaction, and executed behind others."""
    one.query("BEGIN")
    name = f"state_{next(numbers)}"
    one.send(wire.parse(text, name), wire.sync())
    one.until_ready()
    named(one, "SELECT 1")
    one.send(wire.bind((), name), wire.execute(), wire.sync())
    return [one.until_ready(), one.query("COMMIT")][0]


NAMED = {"named": named, "behind errors": behind_errors, "in a transaction": in_transaction,
         "parsed before": parsed_before}


@pytest.fixture(scope="module", params=[0, 100], ids=["names pass", "names are kept"])
def naming(request, postgres, objects):
    one = pooler.make(postgres, {
        "default_pool_size": 2, "reserve_pool_size": 0, "pin_notice": 0,
        "max_prepared_statements": request.param}).start()
    one.follows_statements = request.param > 0
    yield one
    one.stop()
    one.check()
    one.destroy()


@pytest.mark.parametrize("way", NAMED)
@pytest.mark.parametrize("text", FOLLOWS)
def test_it_follows_of_a_named_statement(naming, text, way):
    question, answer = FOLLOWS[text]
    if text.startswith("PREPARE") and not naming.follows_statements:
        pytest.skip("max_prepared_statements = 0 follows no statement, as in pgbouncer")
    with naming.wire("postgres") as one:
        seen = NAMED[way](one, text)
        assert "E" not in wire.kinds(seen), seen
        neighbour(naming)
        assert one.value(question) == answer
        if "work_mem" in text:
            NAMED[way](one, "RESET ALL")
            neighbour(naming)
            assert one.value(question) == "4MB"


@pytest.mark.parametrize("way", NAMED)
@pytest.mark.parametrize("text", ["RESET ALL", "RESET application_name", "DISCARD ALL",
                                  "SET application_name TO DEFAULT"])
def test_a_named_statement_goes_back_to_the_startup_packet(naming, text, way):
    if text == "DISCARD ALL" and NAMED[way] in (in_transaction, parsed_before):
        pytest.skip("DISCARD ALL runs in no transaction")
    with naming.wire("postgres", application_name="state_mine") as one:
        one.query("SET application_name = 'other'")
        seen = NAMED[way](one, text)
        assert "E" not in wire.kinds(seen), seen
        assert one.parameters["application_name"] == "state_mine"
        neighbour(naming)
        assert one.value("SHOW application_name") == "state_mine"


@pytest.mark.parametrize("way", NAMED)
@pytest.mark.parametrize("text", PINS)
def test_it_pins_of_a_named_statement(naming, text, way):
    it_pins_until_it_is_gone(naming, text, NAMED[way], NAMED[way])


def neighbour_of_one(broker):
    with broker.wire("postgres") as other:
        other.query("SET work_mem = '17MB'")


def test_psycopg2(pooled):
    one = psycopg2.connect(pooled.dsn(dbname="app", user="postgres"))
    with one.cursor() as cursor:
        cursor.execute("SET app.tenant = %s", ("42",))
        cursor.execute("SET search_path = state_schema")
        one.commit()
        neighbour(pooled)
        cursor.execute("SELECT current_setting('app.tenant'), to_regclass('here')::text")
        assert cursor.fetchone() == ("42", "here")
        one.rollback()
    one.close()


def test_psycopg3(pooled):
    with psycopg.connect(pooled.dsn(dbname="app", user="postgres"), autocommit=True) as one:
        one.execute("SELECT set_config(%s, %s, false)", ("app.tenant", "42"))
        neighbour(pooled)
        assert one.execute("SELECT current_setting('app.tenant')").fetchone() == ("42",)
        with one.cursor("held", withhold=True) as held:
            held.execute("SELECT generate_series(1, 5)")
            assert [row[0] for row in held] == [1, 2, 3, 4, 5]


def test_asyncpg(pooled):
    async def run():
        one = await asyncpg.connect(
            host=str(pooled.dsn_host), port=pooled.dsn_port, user="postgres", database="app")
        await one.execute("SELECT set_config('jit', 'off', false)")
        await one.fetchval("SELECT set_config($1, $2, false)", "app.tenant", "42")
        await asyncio.to_thread(neighbour, pooled)
        seen = await one.fetchrow("SELECT current_setting('jit'), current_setting('app.tenant')")
        await one.close()
        return tuple(seen)

    assert asyncio.run(run()) == ("off", "42")


def test_an_isolation_level_of_a_driver(pooled):
    """JDBC's setTransactionIsolation and setReadOnly, word for word."""
    with pooled.wire("postgres") as one:
        one.extended("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        neighbour(pooled)
        error = wire.error_of(one.query("CREATE TABLE state_made (a int)"))
        assert error.code == "25006"


@pytest.mark.parametrize("text", ["SET server_version = '1'", "SET data_directory = '/tmp'"])
def test_a_name_that_nobody_may_set_or_see_harms_nobody(pooled, text):
    """Of a statement that is parsed and never executed, or fails, beside one that sets something."""
    with pooled.wire("app") as one:
        one.query("BEGIN")
        one.send(wire.parse(text, "never"), wire.sync())
        one.until("Z")
        one.query("ROLLBACK")
        one.query("SET work_mem = '9MB'; SET app.tenant = '42'")
        one.query("BEGIN; SET work_mem = '9MB'; SAVEPOINT a")
        assert "E" in wire.kinds(one.query(text))
        one.query("ROLLBACK TO a; COMMIT")
        neighbour(pooled)
        assert one.value("SHOW work_mem") == "9MB"
        assert one.value("SELECT current_setting('app.tenant')") == "42"


def test_what_is_dropped_by_a_pool_of_its_own_is_not_cleaned_for_each_call(make_broker, objects):
    """session_state = drop of a database: functions are not looked at, and cost no cleaning."""
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0}, start=False)
    broker.databases = {"app": broker.server() + " dbname=app session_state=drop"}
    broker.write()
    broker.start()
    with broker.wire("postgres") as one, broker.wire("postgres") as other:
        one.query("SELECT state_set('work_mem', '9MB')")
        assert other.value("SHOW work_mem") == "9MB"
