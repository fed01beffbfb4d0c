# SPDX-License-Identifier: Apache-2.0
"""A session pool's client sees, byte for byte, what a connection of its own would show it.

All that differs is what must: the process, the secret, and the broker's own parameters (`pgbouncer.*`).
"""

import struct

import pytest

from harness import pooler, wire
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]


ROLES = ["exact_plain", "exact_set", "exact_few", "exact_bad", "exact_nobody"]


@pytest.fixture(scope="module")
def objects(postgres):
    postgres.sql("""
        CREATE ROLE exact_plain LOGIN; CREATE ROLE exact_set LOGIN; CREATE ROLE exact_few LOGIN
            CONNECTION LIMIT 0;
        CREATE ROLE exact_bad LOGIN; CREATE ROLE exact_group; GRANT exact_group TO exact_set;
        ALTER ROLE exact_set SET work_mem = '7MB';
        ALTER ROLE exact_set SET "TimeZone" = 'Europe/Prague';
        ALTER ROLE exact_set SET search_path = pg_catalog, public;
        ALTER ROLE exact_bad SET default_tablespace = 'exact_nowhere';
        ALTER ROLE exact_bad SET exact.class = 'x';
        """)
    postgres.sql("CREATE DATABASE exact_closed; ", dbname="postgres")
    postgres.sql("ALTER DATABASE exact_closed ALLOW_CONNECTIONS false")
    postgres.sql("""
        CREATE FUNCTION exact_raise(what text) RETURNS text LANGUAGE plpgsql AS
            $$ BEGIN RAISE NOTICE '%', what; RETURN what; END $$;
        CREATE TABLE exact_rows AS SELECT g AS id, 'row ' || g AS word FROM generate_series(1, 50) g;
        GRANT ALL ON exact_rows TO public;
        """, dbname="app")
    yield
    postgres.sql("DROP FUNCTION exact_raise; DROP TABLE exact_rows", dbname="app")
    postgres.sql("DROP DATABASE exact_closed")
    postgres.sql("DROP ROLE exact_plain, exact_set, exact_few, exact_bad, exact_group")


@pytest.fixture(scope="module")
def pool(postgres, objects):
    one = pooler.make(postgres, {"pool_mode": "session", "default_pool_size": 3},
                      userlist=dict.fromkeys((*pooler.USERS, *ROLES), "")).start()
    one.errors_expected = True
    yield one
    one.stop()
    one.check()
    one.destroy()


def shown(one, message):
    """A message as it is compared: the process is `PID`, the place in PostgreSQL's source is left out."""
    if message.kind == "K":
        return ("K", len(message.body))
    if message.kind in "EN":
        fields = {key: text for key, text in message.fields.items() if key not in "FLR"}
        return (message.kind, fields)
    body = message.body
    if one.key:
        body = body.replace(str(one.key[0]).encode(), b"PID")
        if message.kind == "A":
            body = body.replace(struct.pack("!i", one.key[0]), b"PID")
        if message.kind == "D":
            # The length in front of it.
            body = (len(message.row), [None if value is None else value.replace(
                str(one.key[0]).encode(), b"PID") for value in message.row])
    return (message.kind, body)


def login(address, user, database, parameters):
    """The raw client, and all that it was told up to ReadyForQuery or the end."""
    one = wire.Wire(address)
    one.send(wire.startup({"user": user, "database": database, **parameters}))
    seen = []
    try:
        while not seen or seen[-1].kind != "Z":
            seen.append(one.read())
            if seen[-1].kind == "K":
                one.key = struct.unpack("!iI", seen[-1].body[:8])
    except wire.Closed:
        seen.append(wire.Message("-", b""))
    # The order of parameters at login is that of a hash table, and says nothing.
    told = [shown(one, each) for each in seen]
    names = [each for each in told if each[0] != "S"]
    if names[-1] == ("-", b""):
        # Where the login fails, the broker has not said yet that the password was right.
        names = [each for each in names if each[0] != "R"]
    values = sorted(each for each in told if each[0] == "S"
                    and not each[1].startswith(b"pgbouncer."))
    return one, (names, values)


def answers(one, batches):
    """What each batch is answered with; a batch is bytes and the number of ReadyForQuery it brings."""
    seen = []
    for batch in batches:
        raw, count = batch if isinstance(batch, tuple) else (wire.query(batch), 1)
        told = []
        try:
            one.send(raw)
            while count:
                message = one.read()
                told.append(shown(one, message))
                count -= message.kind == "Z"
        except (wire.Closed, BrokenPipeError):
            return seen + [told, "closed"]
        seen.append(told)
    return seen


def compare(pool, postgres, batches=(), user="app", database="app", **parameters):
    """Both, and in the pool also on a connection that has served another."""
    one, expected = login(postgres.socket_path, user, database, parameters)
    expected = [expected, answers(one, batches)]
    one.close()
    for _ in range(2):
        one, told = login(pool.socket_path, user, database, parameters)
        told = [told, answers(one, batches)]
        one.close()
        # The first difference is enough to read.
        assert told[0] == expected[0]
        for index, batch in enumerate(expected[1]):
            for place, message in enumerate(batch):
                assert told[1][index][place] == message, (index, batches[index])
        assert told == expected


EXTENDED = b"".join([
    wire.parse("SELECT id, word FROM exact_rows WHERE id < $1 ORDER BY id", "s", (23,)),
    wire.describe_statement("s"), wire.bind((20,), "s", "p"), wire.describe_portal("p"),
    wire.execute("p", 5), wire.execute("p", 5), wire.close_statement("s"), wire.sync()])

SCENES = {
    "rows": ["SELECT 1, NULL, 'two'", "SELECT * FROM exact_rows", ""],
    "several in a string": ["SELECT 1; SELECT 2; BEGIN; SELECT 1/0; SELECT 3", "ROLLBACK"],
    "errors": ["SELEC", "SELECT 1/0", "SELECT * FROM nowhere", "BEGIN", "SELECT 1/0", "SELECT 1",
               "COMMIT"],
    "notices": ["SELECT exact_raise('hello')", "ROLLBACK", "DROP TABLE IF EXISTS nowhere",
                "SET client_min_messages = error; SELECT exact_raise('silent')"],
    "settings": ["SET TimeZone = 'Asia/Tokyo'", "SET DateStyle = German", "SHOW TimeZone",
                 "SET application_name = 'é'", "SET client_encoding = 'LATIN1'", "RESET client_encoding",

                 "RESET TimeZone", "RESET ALL", "SHOW DateStyle", "SET nonsense = 1"],
    "local settings": ["BEGIN", "SET LOCAL TimeZone = 'Asia/Tokyo'", "ROLLBACK", "SHOW TimeZone",
                       "BEGIN; SET TimeZone = 'Asia/Tokyo'; ROLLBACK", "SHOW TimeZone"],
    "discard": ["PREPARE one AS SELECT 1", "CREATE TEMP TABLE mine (id int)",
                "SET TimeZone = 'Asia/Tokyo'", "DISCARD ALL", "EXECUTE one", "SELECT * FROM mine",
                "SHOW TimeZone", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP"],
    "temporary objects": ["CREATE TEMP TABLE mine AS SELECT 1 AS one", "SELECT one + 1 FROM mine",
                          "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()"],
    "sequences": ["CREATE TEMP SEQUENCE drawn", "SELECT lastval()", "SELECT nextval('drawn')",
                  "SELECT lastval()"],
    "prepared statements": ["PREPARE one (int) AS SELECT $1", "EXECUTE one (1)",
                            "SELECT name, statement FROM pg_prepared_statements",
                            "DEALLOCATE one", "DEALLOCATE one", "DEALLOCATE ALL"],
    "cursors": ["DECLARE held CURSOR WITH HOLD FOR SELECT * FROM exact_rows", "FETCH 2 FROM held",
                "SELECT name FROM pg_cursors", "CLOSE held", "FETCH held"],
    "locks": ["SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_unlock(4711)",
              "SELECT pg_advisory_unlock(4711)"],
    "itself": ["SELECT pid, backend_type, state FROM pg_stat_activity WHERE pid = pg_backend_pid()",
               "SELECT pg_backend_pid()", "SELECT current_user, session_user"],
    "notifications": ["LISTEN here", "NOTIFY here, 'of myself'", "SELECT pg_listening_channels()",
                      "SELECT pg_notify('here', '2')", "UNLISTEN *", "NOTIFY here"],
    "copy": ["COPY exact_rows TO STDOUT",
             (wire.query("COPY exact_rows FROM STDIN") + wire.copy_data(b"51\tx\n")
              + wire.copy_fail("no"), 1),
             (wire.query("COPY exact_rows FROM STDIN") + wire.copy_data(b"x\ty\n")
              + wire.copy_done(), 1)],
    "extended": [(EXTENDED, 1), (EXTENDED, 1)],
    "extended errors": [
        (wire.parse("SELEC") + wire.bind() + wire.execute() + wire.sync(), 1),
        (wire.bind((), "nowhere") + wire.sync(), 1), (wire.execute("nowhere") + wire.sync(), 1),
        (wire.describe_statement("nowhere") + wire.sync(), 1), (wire.sync() * 3, 3)],
    "pipelines": [(b"".join(wire.parse(f"SELECT {n} / {n - 2}") + wire.bind() + wire.execute()
                            + wire.sync() for n in range(5)), 5),
                  (wire.query("SELECT 1") * 4, 4)],
    "function calls": [(wire.function_call(1610, ()), 1)],
    "long": ["SELECT repeat('x', 3000000)", "SELECT '" + "y" * 300000 + "'"],
    "transactions": ["BEGIN", "COMMIT", "COMMIT", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
                     "CREATE TABLE nope (id int)", "ROLLBACK", "SAVEPOINT s"],
    "nonsense": [(b"\x01\0\0\0\x04", 1)],
    "goodbye in a string": [(wire.query("SELECT 1") + wire.terminate(), 2)],
}


@pytest.mark.parametrize("scene", SCENES)
def test_what_is_answered(pool, postgres, scene):
    compare(pool, postgres, SCENES[scene])


LOGINS = {
    "plain": {},
    "application_name": {"application_name": "mine"},
    "settings": {"application_name": "mine", "DateStyle": "German", "TimeZone": "Asia/Tokyo",
                 "client_encoding": "LATIN1", "extra_float_digits": "3"},
    "options": {"options": "-c work_mem=9MB -c search_path=pg_catalog --DateStyle=SQL,DMY"},
    "a class": {"options": "-c app.tenant=7"},
    "read only": {"options": "-c default_transaction_read_only=on"},
    "a role": {"user": "exact_set", "options": "-c role=exact_group"},
    "what the role is given": {"user": "exact_set"},
    "and its own word": {"user": "exact_set", "TimeZone": "Asia/Tokyo"},
    "a bad setting of the role": {"user": "exact_bad"},
    "warnings": {"options": "-c client_min_messages=debug1", "user": "exact_bad"},
    "an unknown setting": {"options": "-c nonsense=1"},
    "an unknown parameter": {"nonsense": "1"},
    "a bad value": {"work_mem": "much"},
    "a bad encoding": {"client_encoding": "nonsense"},
    "a bad time zone": {"TimeZone": "Nowhere/City"},
    "what needs a restart": {"options": "-c max_connections=5"},
    "what only a superuser sets": {"options": "-c log_statement=all", "user": "exact_plain"},
    "a role that is not there": {"options": "-c role=exact_nobody"},
    "a role that it may not take": {"user": "exact_plain", "options": "-c role=exact_group"},
    "bad options": {"options": "-x"},
    "no such database": {"database": "exact_nowhere"},
    "a closed database": {"database": "exact_closed"},
    "no such role": {"user": "exact_nobody"},
}


@pytest.mark.parametrize("scene", LOGINS)
def test_a_login(pool, postgres, scene):
    settings = ["SHOW work_mem", "SHOW TimeZone", "SHOW search_path", "SELECT current_user",
                "SET TimeZone = 'Europe/Paris'", "RESET TimeZone", "RESET ALL", "SHOW work_mem",
                "RESET ROLE", "SELECT current_user", "SET ROLE none", "SELECT current_user",
                "RESET SESSION AUTHORIZATION", "DISCARD ALL", "SHOW TimeZone", "SHOW work_mem",
                "SELECT current_setting('app.tenant', true), current_setting('role')",
                "SELECT name, setting, source FROM pg_settings WHERE source IN ('client', 'session') "
                "AND name <> 'application_name' ORDER BY name"]
    compare(pool, postgres, settings, **LOGINS[scene])


def test_no_connection_left(make_broker, objects, postgres):
    """A place may come free: it is waited for, as for any other."""
    broker = make_broker({"pool_mode": "session", "query_wait_timeout": 1},
                         userlist={"exact_few": ""})
    with pytest.raises(wire.Refused) as refused:
        broker.wire("exact_few")
    assert refused.value.code == "53300"
    assert 'too many connections for role "exact_few"' in str(refused.value.fields)


# Ends and interruptions.

ENDS = {
    "idle session": ("SET idle_session_timeout = 100", None, "57P05"),
    "idle transaction": ("SET idle_in_transaction_session_timeout = 100", "BEGIN", "25P03"),
    "terminated by itself": (None, "SELECT pg_terminate_backend(pg_backend_pid())", "57P01"),
}


def end_of(one):
    told = []
    try:
        while True:
            told.append(shown(one, one.read()))
    except wire.Closed:
        return told


@pytest.mark.parametrize("scene", ENDS)
def test_the_servers_own_end(pool, postgres, scene):
    setting, text, code = ENDS[scene]
    seen = []
    for address in (postgres.socket_path, pool.socket_path):
        one, _ = login(address, "postgres", "app", {})
        if setting:
            one.query(setting)
        if text:
            one.send(wire.query(text))
        seen.append(end_of(one))
        one.close()
    assert seen[1] == seen[0]
    assert seen[0][-1][1]["C"] == code


def test_the_process_is_the_real_one(pool, postgres):
    one = pool.wire()
    pid = one.key[0]
    assert postgres.sql(f"SELECT usename, backend_type FROM pg_stat_activity WHERE pid = {pid}") == [
        ("app", "client backend")]
    # It is what others know it by.
    listener = wire.Wire(postgres.socket_path).start("app")
    listener.query("LISTEN exact")
    one.query("NOTIFY exact, 'by me'")
    message = listener.until("A")[-1]
    assert struct.unpack_from("!i", message.body)[0] == pid
    one.send(wire.query("SELECT pg_sleep(60)"))
    eventually(lambda: postgres.sql(
        f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}") == [("PgSleep",)])
    wire.cancel(pool.socket_path, one.key)
    assert wire.error_of(one.until_ready()).code == "57014"
    # PostgreSQL itself does not know the broker's secret.
    one.send(wire.query("SELECT pg_sleep(0.3)"))
    wire.cancel(postgres.socket_path, one.key)
    assert wire.kinds(one.until_ready()) == "TDCZ"
    postgres.terminate(pid)
    assert one.next().code == "57P01"
    assert one.closed_by_peer()
    listener.close()
