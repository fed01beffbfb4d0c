# SPDX-License-Identifier: Apache-2.0
"""auth_query: who auth_file does not have is looked up in the database."""

import asyncio
import contextlib
import socket
import threading

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import postgres as database
from harness import wire
from harness.secrets import scram_secret, stored_secret
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PASSWORD = "pass wörd"
LOOKUP = """
CREATE SCHEMA lookup;
CREATE TABLE lookup.secret (name text, password text);
CREATE FUNCTION lookup.secret_of(name text) RETURNS TABLE (name text, password text)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT s.name, s.password FROM lookup.secret s WHERE s.name = $1';
REVOKE ALL ON FUNCTION lookup.secret_of(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA lookup TO asker;
GRANT EXECUTE ON FUNCTION lookup.secret_of(text) TO asker;
CREATE FUNCTION public.secret_of(name text) RETURNS TABLE (name text, password text)
    LANGUAGE sql AS $$ SELECT 'app'::text, 'stolen'::text $$;
"""


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL where every role but the superuser proves itself."""
    one = database.Postgres(hba=[
        "local all postgres trust", "host all postgres 127.0.0.1/32 trust",
        "host all hashed 127.0.0.1/32 md5", "host all all 127.0.0.1/32 scram-sha-256"])
    for sql in (
            f"CREATE ROLE asker LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE boss LOGIN SUPERUSER PASSWORD '{PASSWORD}'",
            f"ALTER ROLE app PASSWORD '{PASSWORD}'",
            f"CREATE ROLE expired LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '2001-01-01'",
            f"CREATE ROLE lasting LOGIN PASSWORD '{PASSWORD}' VALID UNTIL 'infinity'",
            f"CREATE ROLE nologin PASSWORD '{PASSWORD}'", "CREATE ROLE empty LOGIN",
            f"SET password_encryption = md5; CREATE ROLE hashed LOGIN PASSWORD '{PASSWORD}'"):
        one.sql(sql)
    one.sql(LOOKUP, dbname="app")
    yield one
    one.destroy()


@pytest.fixture
def start(make_broker, server):
    def make(settings=None, databases=None, userlist=None, **named):
        return make_broker(
            {"auth_type": "md5", "auth_user": "boss"} | (settings or {}), on=server,
            userlist={"boss": PASSWORD, "asker": PASSWORD} if userlist is None else userlist,
            databases=databases or {"app": line(server)}, **named)
    return make


def line(server, **more):
    words = {"host": "127.0.0.1", "port": server.port, "dbname": "app", **more}
    return " ".join(f"{key}={value}" for key, value in words.items())


def login(broker, user, password=PASSWORD, database="app", **parameters):
    return wire.Wire(broker.socket_path).start(user, database, password, **parameters)


def refusal(broker, user, password=PASSWORD, database="app"):
    with pytest.raises(wire.Refused) as refused:
        login(broker, user, password, database)
    return refused.value.fields


def is_refused(broker, user, password=PASSWORD, database="app"):
    error = refusal(broker, user, password, database)
    assert (error["C"], error["M"]) == \
        ("28P01", f'password authentication failed for user "{user}"')


@pytest.mark.parametrize("mode", ["transaction", "session", "statement"])
def test_who_is_found_is_let_in_and_works_as_the_role(start, mode):
    broker = start({"pool_mode": mode})
    for user in ("app", "lasting", "hashed"):
        with login(broker, user) as one:
            assert one.value("SELECT current_user") == user
        is_refused(broker, user, "wrong")


def test_who_is_expired_unknown_or_has_no_password_is_refused_alike(start):
    broker = start()
    for user in ("expired", "stranger", "nologin", "empty", "x'; DROP TABLE items; --", "ü", "a" * 63):
        is_refused(broker, user)
        is_refused(broker, user, "")


def test_each_driver_logs_in(start):
    broker = start(tcp=True)
    for user in ("app", "hashed"):
        psycopg2.connect(broker.dsn(user), password=PASSWORD).close()
        psycopg.connect(broker.dsn(user), password=PASSWORD).close()

        async def by_asyncpg():
            one = await asyncpg.connect(host="127.0.0.1", port=broker.port, user=user,
                                        database="app", password=PASSWORD)
            assert await one.fetchval("SELECT current_user") == user
            await one.close()
        asyncio.run(by_asyncpg())


def test_a_changed_password_counts_at_once(start, server):
    broker = start()
    login(broker, "app").close()
    try:
        server.sql("ALTER ROLE app PASSWORD 'another'")
        is_refused(broker, "app")
        with login(broker, "app", "another") as one:
            assert one.value("SELECT current_user") == "app"
    finally:
        server.sql(f"ALTER ROLE app PASSWORD '{PASSWORD}'")


def test_auth_file_comes_first(start, server):
    broker = start(userlist={"boss": PASSWORD, "app": "of the file"},
                   databases={"app": line(server, user="lasting", password=f"'{PASSWORD}'")})
    login(broker, "app", "of the file").close()
    is_refused(broker, "app", PASSWORD)


def test_a_query_user_and_place_for_each_database(start, server):
    broker = start(
        {"auth_user": ""},
        databases={"app": line(server, auth_user="asker", auth_dbname="users",
                               auth_query="'SELECT * FROM lookup.secret_of($1)'"),
                   "users": line(server), "closed": line(server)})
    server.sql("INSERT INTO lookup.secret SELECT rolname, rolpassword FROM pg_authid "
               "WHERE rolname = 'app'", dbname="app")
    with login(broker, "app") as one:
        assert one.value("SELECT current_user") == "app"
    is_refused(broker, "lasting")
    is_refused(broker, "app", database="closed")
    server.sql("DELETE FROM lookup.secret", dbname="app")


def test_a_forced_user_and_the_password_of_its_line_are_not_the_askers(start, server):
    broker = start(databases={"app": line(server, user="lasting", password=f"'{PASSWORD}'")})
    with login(broker, "app") as one:
        assert one.value("SELECT current_user") == "lasting"
    # A reload does not end the asker's pool for being of another user than the line's.
    broker.set(verbose=1)
    broker.send_signal(1)
    broker.wait_logged("configuration reloaded")
    login(broker, "app").close()


def test_the_console_is_looked_up_where_auth_dbname_is_set(start):
    broker = start({"admin_users": "app"}, tcp=True)
    with pytest.raises(wire.Refused):
        wire.Wire(broker.tcp_address).start("app", "pglease", PASSWORD)
    broker = start({"admin_users": "app", "auth_dbname": "app"}, tcp=True)
    with wire.Wire(broker.tcp_address).start("app", "pglease", PASSWORD) as one:
        assert wire.rows_of(one.query("SHOW VERSION"))
    with pytest.raises(wire.Refused):
        wire.Wire(broker.tcp_address).start("app", "pglease", "wrong")


def test_trust_asks_whether_the_user_is_there(start, server):
    broker = start({"auth_type": "trust"},
                   databases={"app": line(server, user="lasting", password=f"'{PASSWORD}'")})
    for user in ("app", "expired", "empty"):
        login(broker, user).close()
    assert refusal(broker, "stranger")["M"] == '"trust" authentication failed'


@pytest.mark.parametrize("auth_type", ["plain", "scram-sha-256", "md5"])
@pytest.mark.parametrize("stored", ["plain", "SCRAM", "MD5"])
def test_secrets_of_each_kind_by_each_method(start, server, auth_type, stored):
    secret = {"plain": PASSWORD, "MD5": stored_secret(server, "hashed"),
              "SCRAM": stored_secret(server, "app")}[stored]
    user = "hashed" if stored == "MD5" else "app"
    server.sql("TRUNCATE lookup.secret", dbname="app")
    server.sql("INSERT INTO lookup.secret VALUES (%s, %s)", (user, secret), dbname="app")
    broker = start({"auth_type": auth_type, "auth_user": "asker",
                    "auth_query": "SELECT * FROM lookup.secret_of($1)"})
    if (auth_type, stored) == ("scram-sha-256", "MD5"):
        is_refused(broker, user)
        assert broker.logged("MD5 hash")
        return
    for _ in range(2):
        with login(broker, user) as one:
            assert one.value("SELECT current_user") == user
        for wrong in ("wrong", "", "y" * 60_000):
            is_refused(broker, user, wrong)
            is_refused(broker, "stranger", wrong)


# What goes wrong.


@pytest.mark.parametrize("query, words", [
    ("SELECT name, password FROM secret_of($1)", ("42883", "schemas")),
    ("SELECT * FROM no.where WHERE name = $1", ("42P01",)),
    ("SELECT $1", ("1 column",)),
    ("SELECT $1::text, 'a', 'b'", ("3 columns",)),
    ("SELECT $1::text, 'a' FROM pg_catalog.generate_series(1, 2)", ("more than one row",)),
    ("SELECT 'other'::text, $1::text", ("another user",)),
    ("SELECT $1::text, 'SCRAM-SHA-256$x'", ("malformed",)),
    ("this is no SQL $1", ("42601",)),
    ("SELECT 1/0, $1::text", ("22012",)),
    ("SELECT $1::text, $2::text", ("08P01",)),
    ("SELECT $1::text, pg_catalog.repeat('x', 70000)", ("malformed",)),
    ("SELECT $1::text, pg_catalog.repeat('x', 300000)", ("too long",)),
])
def test_a_query_that_is_no_good_is_logged_once_and_lets_nobody_in(start, query, words):
    broker = start({"auth_query": query})
    for user in ("app", "stranger", "app"):
        error = refusal(broker, user)
        assert (error["C"], error["M"]) == ("57P03", "the user could not be looked up"), error
        assert "app" in error["D"] and "log" in error["H"]
    assert len(broker.logged("auth_query failed", *words)) == 1, broker.log_tail()
    # Who is listed needs no query.
    login(broker, "boss").close()


def test_a_null_name_is_no_user(start):
    broker = start({"auth_query": "SELECT NULL, $1::text"})
    is_refused(broker, "app", "app")
    assert not broker.logged("auth_query failed")


def test_an_asker_who_may_not_read_secrets_is_told_what_to_do(start):
    broker = start({"auth_user": "asker"})
    assert refusal(broker, "app")["C"] == "57P03"
    assert broker.logged("auth_query failed", "42501", "SECURITY DEFINER")


@pytest.mark.parametrize("userlist", [{}, {"boss": "wrong"}, {"boss": scram_secret(PASSWORD)}],
                         ids=["no secret", "wrong secret", "a secret that is no password"])
def test_an_asker_who_cannot_log_in_lets_nobody_in(start, userlist):
    broker = start(userlist=userlist)
    broker.errors_expected = True
    for user in ("app", "stranger"):
        assert refusal(broker, user)["C"] == "57P03"
    assert broker.logged("auth_query failed", "28P01", "auth_file")


def test_a_database_that_is_not_there(start, server):
    broker = start({"auth_dbname": "gone"}, section="pgbouncer")
    assert refusal(broker, "app")["C"] == "57P03"
    assert broker.logged("auth_query failed", "gone")


def test_what_the_server_says_without_an_sqlstate_ends_one_login(make_broker, postgres):
    """An ErrorResponse that has no code at all, from whoever answers in the server's place."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                one, _ = listener.accept()
                with one:
                    one.recv(1000)
                    one.sendall(wire.message("R", b"\0\0\0\0") + wire.message(
                        "K", b"\0\0\0\1\0\0\0\1") + wire.message("Z", b"I"))
                    while one.recv(10000):
                        one.sendall(wire.message("E", b"SERROR\0Mno code\0\0")
                                    + wire.message("Z", b"I"))
    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    broker = make_broker(
        {"auth_type": "md5", "auth_user": "boss", "server_check_query": "<empty>",
         "query_wait_timeout": 5, "prewarm": 0}, userlist={"boss": PASSWORD},
        databases={"app": f"host=127.0.0.1 port={port}"})
    broker.errors_expected = True
    error = refusal(broker, "app")
    assert error["C"] == "57P03", error
    listener.close()
    assert broker.alive


def test_search_path_and_temporary_objects_of_others_change_nothing(start, server):
    """CVE-2025-12819: what a client asks for in its startup packet must not be in force where secrets are read."""
    server.sql("CREATE SCHEMA evil; CREATE TABLE evil.pg_authid (rolname text, rolpassword text, "
               "rolvaliduntil timestamptz, rolcanlogin bool); GRANT ALL ON SCHEMA evil TO PUBLIC; "
               "GRANT ALL ON evil.pg_authid TO PUBLIC; "
               "INSERT INTO evil.pg_authid VALUES ('app', 'evil', NULL, true)", dbname="app")
    old = ("SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END "
           "FROM pg_authid WHERE rolname=$1 AND rolcanlogin")
    try:
        for query in (None, old):
            for mode in ("transaction", "session"):
                broker = start({"pool_mode": mode} | ({"auth_query": query} if query else {}))
                with pytest.raises(wire.Refused):
                    login(broker, "app", "evil", search_path="evil, pg_catalog",
                          options="-c search_path=evil,pg_catalog")
                # The asker's own pool, which its own clients may use, too.
                with login(broker, "boss", search_path="evil, pg_catalog") as one:
                    one.query("CREATE TEMP TABLE pg_authid AS SELECT 'app'::text AS rolname, "
                              "'evil'::text AS rolpassword, NULL::timestamptz AS rolvaliduntil, "
                              "true AS rolcanlogin")
                    is_refused(broker, "app", "evil")
                    login(broker, "app").close()
    finally:
        server.sql("DROP SCHEMA evil CASCADE", dbname="app")


def test_a_query_that_hangs_is_bounded_by_the_login_and_holds_up_nobody(start, server):
    server.sql("CREATE TABLE IF NOT EXISTS lookup.lock (n int)", dbname="app")
    broker = start({
        "client_login_timeout": 2,
        "auth_query": "SELECT rolname, rolpassword FROM pg_catalog.pg_authid "
                      "WHERE rolname = $1 AND (rolname <> 'lasting' OR "
                      "(SELECT count(*) FROM lookup.lock) >= 0)"})
    with server.connect("app") as holder:
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE lookup.lock IN ACCESS EXCLUSIVE MODE")
        slow = [broker.raw() for _ in range(8)]
        for one in slow:
            one.send(wire.startup({"user": "lasting", "database": "app"}))
        # Who is listed goes on.
        login(broker, "boss").close()
        for one in slow:
            error = one.until("E")[-1]
            assert error.fields["M"] == "client_login_timeout", error
            one.close()
        # Their queries are cancelled.
        eventually(lambda: not list(server.sql(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pglease auth_query' "
            "AND wait_event_type = 'Lock'")), 20)
        holder.rollback()
    login(broker, "lasting").close()


def test_many_logins_at_once_take_a_few_connections(start, server):
    broker = start({"max_client_conn": 200})
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(login(broker, "app")))
               for _ in range(60)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert len(seen) == 60
    assert 1 <= len(server.backends("app", "boss")) <= 4
    for one in seen:
        one.close()


def test_who_asks_is_no_client_of_the_console_and_logs_nothing(start):
    broker = start({"stats_users": "boss"})
    with login(broker, "app"):
        rows = broker_rows(broker, "SHOW CLIENTS")
        assert {row["user"] for row in rows} == {"app", "boss"}
        assert not broker.logged("client logged in", "pglease auth_query")
        users = {row["name"]: row for row in broker_rows(broker, "SHOW USERS")}
        assert users["boss"]["current_client_connections"] in ("0", "1")


def broker_rows(broker, sql):
    with wire.Wire(broker.socket_path).start("boss", "pglease", PASSWORD) as one:
        seen = one.query(sql)
        names = next(each.columns for each in seen if each.kind == "T")
        return [dict(zip(names, row)) for row in wire.rows_of(seen)]
