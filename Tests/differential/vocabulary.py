# SPDX-License-Identifier: Apache-2.0
"""The words that random programs are made of: settings, names and texts."""

# Settings that any user may set, with values that PostgreSQL takes; some more are for superusers.
SETTINGS = {
    "work_mem": ["'5MB'", "6000", "'7 MB'", "'64kB'", "DEFAULT"],
    "search_path": ["one", "two", "two, public", "one, two, pg_temp", "'\"$user\"', public", "''",
                    "pg_catalog, two", "nosuch, one", "pg_temp, public", "'one'", "DEFAULT",
                    "\"one\", 'two'", "public"],
    "DateStyle": ["'ISO, MDY'", "german", "sql, dmy", "'Postgres, YMD'", "DEFAULT", "iso"],
    "IntervalStyle": ["iso_8601", "postgres_verbose", "sql_standard", "DEFAULT"],
    "TimeZone": ["'UTC'", "'Asia/Tokyo'", "'-03:30'", "'America/New_York'", "DEFAULT"],
    "client_encoding": ["'UTF8'", "LATIN1", "sql_ascii", "DEFAULT"],
    "application_name": ["'prog'", "'my app'", "''", "DEFAULT"],
    "extra_float_digits": ["0", "-3", "3", "DEFAULT"],
    "bytea_output": ["escape", "hex", "DEFAULT"],
    "standard_conforming_strings": ["on", "off", "DEFAULT"],
    "enable_seqscan": ["off", "on", "DEFAULT", "false"],
    "default_transaction_isolation": ["serializable", "'repeatable read'", "DEFAULT"],
    "default_transaction_read_only": ["on", "off", "DEFAULT"],
    "default_transaction_deferrable": ["on", "DEFAULT"],
    "client_min_messages": ["warning", "error", "notice", "DEFAULT"],
    "lock_timeout": ["'90ms'", "110", "DEFAULT"],
    "statement_timeout": ["'30s'", "45000", "0", "DEFAULT"],
    "idle_in_transaction_session_timeout": ["'60s'", "DEFAULT"],
    "row_security": ["off", "on", "DEFAULT"],
    "seq_page_cost": ["1.25", "2", "DEFAULT"],
    "random_page_cost": ["3.5", "1e1", "DEFAULT"],
    "jit": ["off", "on", "DEFAULT"],
    "plan_cache_mode": ["force_generic_plan", "DEFAULT"],
    "lc_monetary": ["'C'", "'POSIX'", "DEFAULT"],
    "xmloption": ["document", "content", "DEFAULT"],
    "default_tablespace": ["''", "pg_default", "DEFAULT"],
    "check_function_bodies": ["off", "DEFAULT"],
    "array_nulls": ["off", "DEFAULT"],
    "quote_all_identifiers": ["on", "DEFAULT"],
    "synchronous_commit": ["off", "local", "DEFAULT"],
    "max_parallel_workers_per_gather": ["0", "DEFAULT"],
    "gin_fuzzy_search_limit": ["7", "DEFAULT"],
    "transform_null_equals": ["on", "DEFAULT"],
    "plpgsql.extra_warnings": ["'none'", "DEFAULT"],
    "default_table_access_method": ["heap", "DEFAULT"],
    "app.tenant": ["'a'", "'b'", "''", "DEFAULT", "a, b"],
    "app.user": ["'it''s me'", "42", "DEFAULT"],
    "app.@own@": ["'mine'", "'other'", "DEFAULT"],
    "\"My.Odd\"": ["'odd'", "DEFAULT"],
}
REPORTED = ["DateStyle", "IntervalStyle", "TimeZone", "client_encoding", "application_name",
            "standard_conforming_strings"]
CUSTOM = ["app.tenant", "app.user", "app.@own@", "\"My.Odd\""]
SUPERUSER_SETTINGS = {
    "session_replication_role": ["replica", "DEFAULT"],
    "log_min_duration_statement": ["'10s'", "DEFAULT"],
    "track_activities": ["off", "DEFAULT"],
    "deadlock_timeout": ["'2s'", "DEFAULT"],
    "log_statement": ["ddl", "DEFAULT"],
}
BAD_SETTINGS = ["SET nosuch = 1", "SET work_mem = 'lots'", "SET TimeZone = 'Nowhere/Land'",
                "SET app = 1", "SET server_version = '1'", "SET max_connections = 7",
                "RESET nosuch", "SET client_encoding = 'nosuch'",
                "SELECT set_config('work_mem', 'much', false)", "SET LOCAL nosuch.thing.very = 1",
                "SET wal_level = minimal", "SET default_transaction_isolation = 'quick'"]

ROLES = ["ready", "steady", "plain", "boss", "nosuch_role"]
CHANNELS = ["news", "\"Odd Channel\"", "tasks"]
STATEMENTS = ["s1", "s2", "S 3"]
SQL_STATEMENTS = ["p1", "p2"]
PORTALS = ["c1", "c2"]
CURSORS = ["h1", "h2"]
TEMPORARY = ["scratch", "thing", "work_area"]
SAVEPOINTS = ["a", "b"]
LOCKS = ["7", "8", "9223372036854775807", "1, 2", "-1, 5"]

QUERIES = [
    "SELECT * FROM thing ORDER BY id",
    "SELECT place, count(*) FROM thing GROUP BY place ORDER BY place",
    "SELECT id FROM thing WHERE id < 3 ORDER BY id",
    "SELECT * FROM only_one",
    "SELECT * FROM seen",
    "SELECT tenant, note FROM tenant_rows ORDER BY tenant",
    "SELECT 1 AS a, NULL AS b, 'x' AS c",
    "SELECT '2024-03-01 12:00+00'::timestamptz, '1.5 days'::interval, '\\x41'::bytea, 1.1::float8",
    "SELECT '1/2/2024'::date",
    "SELECT 1234.5::numeric::money, true",
    "SELECT generate_series(1, 4)",
    "SELECT with_own_path()",
    "SELECT owner_of_rights()",
    "TABLE thing",
    "VALUES (1, 'one'), (2, 'two')",
    "SELECT n FROM scratch",
    "SELECT count(*) FROM work_area",
    "SELECT id, place FROM thing WHERE place = current_schema() ORDER BY id",
    "SHOW search_path",
    "SELECT 'a' LIKE 'b'; SELECT 2",
    "",
    ";",
    "SELECT xml 'a' IS DOCUMENT",
    "SELECT NULL = NULL",
    "SELECT 'a\\nb'",
    "EXPLAIN (COSTS OFF) SELECT * FROM thing WHERE id = 1",
]
PARAMETER_QUERIES = [
    ("SELECT $1::int + 1", ["41"]),
    ("SELECT * FROM thing WHERE id = $1", ["2"]),
    ("SELECT place, $1::text FROM thing ORDER BY id LIMIT 2", ["with it"]),
    ("SELECT $1::text, $2::date", ["x", "1/2/2024"]),
    ("SELECT set_config($1, $2, false)", ["work_mem", "11MB"]),
    ("SELECT set_config($1, $2, false)", ["app.tenant", "b"]),
    ("SELECT set_config($1, $2, false)", ["search_path", "two, one"]),
    ("SELECT set_config($1, $2, true)", ["work_mem", "12MB"]),
    ("SELECT current_setting($1, true)", ["app.tenant"]),
    ("SELECT current_setting($1)", ["search_path"]),
    ("SELECT pg_try_advisory_lock($1)", ["7"]),
    ("SELECT pg_advisory_unlock($1)", ["7"]),
    ("INSERT INTO thing (id, place) VALUES ($1, $2)", ["77", "bound"]),
    ("UPDATE thing SET n = $1 WHERE id = 1 RETURNING *", ["5"]),
    ("SELECT $1::int", ["no number"]),
    ("SELECT 1 / $1::int", ["0"]),
    ("SELECT set_it($1, $2)", ["TimeZone", "Asia/Kolkata"]),
    ("SELECT run($1)", ["SET work_mem = '13MB'"]),
    ("SELECT pg_notify($1, $2)", ["news", "by parameter"]),
]
ERRORS = [
    "SELECT 1 / 0", "SELEC 1", "SELECT * FROM nosuch", "SELECT nosuch()", "SELECT 'x'::int",
    "INSERT INTO thing (id) VALUES (1)", "SELECT fail('oh', '22023')", "SELECT fail('no', 'P0001')",
    "SELECT set_it_and_fail('work_mem', '21MB')", "SELECT * FROM locked", "TABLE one.locked",
    "SELECT set_it_and_fail('app.tenant', 'lost')", "DROP TABLE nosuch", "FETCH nosuch",
    "SELECT run('SELECT 1/0')", "CALL run_both('SET work_mem = ''22MB''', 'SELECT 1/0')",
    "SELECT currval('counter')",
]
WRITES = [
    "INSERT INTO thing (id, place) VALUES (50, 'new')",
    "INSERT INTO thing (id, place) SELECT 60 + n, 'many' FROM generate_series(1, 3) n",
    "UPDATE thing SET place = place || '!' WHERE id = 1",
    "DELETE FROM thing WHERE id = 2",
    "INSERT INTO numbered (word) VALUES ('w') RETURNING id, word",
    "INSERT INTO numbered (word) VALUES ('x')",
    "SELECT nextval('counter')",
    "CREATE TABLE made_one (id int)",
    "CREATE TABLE IF NOT EXISTS made_one (id int)",
    "CREATE VIEW made_view AS SELECT id FROM thing",
    "CREATE FUNCTION made_it() RETURNS int LANGUAGE sql AS 'SELECT 5'",
    "SELECT made_it()",
    "ALTER TABLE made_one ADD COLUMN more int",
    "DROP TABLE IF EXISTS made_one",
    "TRUNCATE only_one",
    "SELECT 1 AS id INTO made_one",
    "LOCK TABLE thing IN SHARE MODE",
    "SELECT * FROM thing WHERE id = 3 FOR UPDATE",
]
NOTICES = [
    "SELECT say('hello')", "DROP TABLE IF EXISTS nosuch", "CREATE TABLE IF NOT EXISTS thing (a int)",
    "DO $$BEGIN RAISE NOTICE 'in a block'; END$$", "SELECT 'a\\b'", "COMMIT", "SET LOCAL work_mem = '1MB'",
]
OBSERVATIONS = [
    "SELECT current_user, session_user, current_schema(), current_schemas(true)",
    "SELECT current_user, session_user, current_setting('is_superuser')",
    "SHOW role",
    "SHOW session_authorization",
    "SELECT current_setting('role'), current_setting('session_authorization')",
    "SHOW transaction_isolation",
    "SHOW transaction_read_only",
    "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'), "
    "current_setting('transaction_deferrable'), current_setting('default_transaction_isolation'), "
    "current_setting('default_transaction_read_only')",
    "SELECT * FROM pg_listening_channels() ORDER BY 1",
    "SELECT objid, classid, objsubid, mode, granted FROM pg_locks WHERE locktype = 'advisory' "
    "AND pid = pg_backend_pid() ORDER BY 1, 2, 3, 4",
    "SELECT name, is_holdable, is_scrollable FROM pg_cursors WHERE name <> '' ORDER BY 1",
    "SELECT name FROM pg_prepared_statements ORDER BY 1",
    "SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements ORDER BY 1",
    "SELECT relname, relkind FROM pg_class WHERE relnamespace = pg_my_temp_schema() "
    "AND relkind IN ('r', 'v', 'S') ORDER BY 1",
    "SELECT to_regclass('thing')::text, to_regclass('scratch')::text, to_regclass('made_one')::text",
    "SELECT current_setting('app.tenant', true), current_setting('app.user', true), "
    "current_setting('app.@own@', true), current_setting('My.Odd', true)",
    "SELECT current_setting('work_mem'), current_setting('search_path'), "
    "current_setting('TimeZone'), current_setting('DateStyle'), current_setting('statement_timeout')",
    "SHOW app.tenant",
    "SELECT place FROM thing WHERE id = 1",
    "SELECT current_setting('server_version_num')::int > 100000, current_database()",
    "SELECT txid_current_if_assigned() IS NULL",
]
RARE_OBSERVATIONS = [
    "SELECT name, setting, source, reset_val FROM pg_settings WHERE name IN ('work_mem', 'TimeZone', "
    "'search_path', 'statement_timeout', 'application_name') ORDER BY name",
    "SELECT name, setting FROM pg_settings WHERE source NOT IN ('default', 'override') "
    "AND name NOT LIKE '%file' AND name NOT LIKE '%dir%' AND name <> 'port' "
    "AND name NOT LIKE 'transaction%' ORDER BY name",
    "SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid() AND query LIKE '%count%'",
    "SELECT application_name, usename FROM pg_stat_activity WHERE pid = pg_backend_pid()",
    "SELECT name, setting FROM pg_settings WHERE source = 'session' "
    "AND name NOT LIKE 'transaction%' ORDER BY name",
]
