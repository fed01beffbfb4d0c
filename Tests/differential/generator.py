# SPDX-License-Identifier: Apache-2.0
"""Random client programs: a seed gives one program, always the same one."""

import random

from . import vocabulary as words
from .program import LANE, MARKED, Program, Step

USERS = ("boss", "plain")
BEGINS = ["BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL SERIALIZABLE",
          "BEGIN READ ONLY", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
          "begin; SET LOCAL search_path = two"]
ENDS = ["COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "END", "ABORT", "COMMIT AND CHAIN",
        "ROLLBACK AND CHAIN"]
ENDINGS = ["terminate"] * 6 + ["close", "close", "half a message"]

# Whoever listens hears this one last; what came before it is compared.
MARKER = Step((("S",), ("Q", "ROLLBACK"), ("Q", f"LISTEN {MARKED}"), ("Q", f"NOTIFY {MARKED}, 'end'")),
              "marker")


class Generator:
    """Makes up one program. Which themes it is about is drawn first, so that their states meet."""

    def __init__(self, seed, themes=None):
        self.seed, self.random = seed, random.Random(seed)
        self.in_transaction = self.seeded = self.listens = False
        self.touched = []
        chosen = [name for name in THEMES if themes is None or name in themes]
        count = min(len(chosen), self.random.choice([1, 2, 2, 3, 3, 4]))
        self.favoured = self.random.sample(chosen, count)
        strays = [] if themes is not None and len(themes) < 6 else chosen
        self.bag = self.favoured * 6 + ["observe"] * 5 + ["transaction"] * 2 + strays[:]
        if themes is not None:
            self.bag = [one for one in self.bag
                        if one in themes or one in ("observe", "transaction")]

    def pick(self, items):
        return self.random.choice(items)

    def chance(self, share):
        return self.random.random() < share

    def own(self, sql):
        """A custom setting's name that no other program uses."""
        return sql.replace("@own@", f"own{self.seed}")

    def program(self):
        steps = []
        if "random_numbers" in self.favoured:
            self.seeded = True
            steps.append(Step((("Q", "SELECT setseed(0.7)"),), "random_numbers/seed"))
        length = self.random.randint(6, 26)
        while len(steps) < length:
            made = THEMES[self.pick(self.bag)](self)
            steps += made if isinstance(made, list) else [made]
        if self.listens:
            steps.append(MARKER)
        steps = [Step(tuple(self.named(one) for one in step.operations), step.label, step.wait)
                 for step in steps]
        return Program(self.seed, self.user(), self.parameters(), tuple(steps),
                       self.pick(ENDINGS), tuple(self.favoured))

    def named(self, operation):
        return tuple(self.own(one) if isinstance(one, str) else one for one in operation)

    def user(self):
        return USERS[self.seed % 2]

    def parameters(self):
        found = {}
        if not self.chance(0.01):
            found["application_name"] = self.pick(["prog", "psql", "my app"])
        if self.chance(0.15):
            found["client_encoding"] = self.pick(["UTF8", "LATIN1"])
        if self.chance(0.1):
            found["DateStyle"] = self.pick(["ISO", "German", "SQL, DMY"])
        if self.chance(0.1):
            found["TimeZone"] = self.pick(["UTC", "Asia/Tokyo"])
        if self.chance(0.1):
            found["search_path"] = self.pick(["one", "two,public"])
        if self.chance(0.1):
            found["extra_float_digits"] = self.pick(["0", "3"])
        if self.chance(0.15):
            found["options"] = self.pick([
                "-c work_mem=5MB", "-c search_path=two -c work_mem=6MB", "--statement_timeout=33s",
                "-c DateStyle=German", "-c app.tenant=a", "-c default_transaction_isolation=serializable",
                "-c role=ready", "-c jit=off", "-c search_path=one,\\ public"])
        return tuple(found.items())

    # How a statement travels.

    def carried(self, sql, label, plain=False):
        """A step that has one statement carried out, by whichever way."""
        draw = self.random.random()
        if draw < 0.42 or plain:
            return Step((("Q", sql),), label + "/simple")
        if draw < 0.66:
            return Step(self.extended(sql), label + "/extended")
        if draw < 0.72:
            name = self.pick(words.STATEMENTS)
            return Step(self.extended(sql, name=name), label + "/named")
        if draw < 0.80:
            return Step((("Q", self.joined(sql)),), label + "/joined")
        if draw < 0.85:
            quoted = sql.replace("'", "''")
            way = self.pick([f"SELECT run('{quoted}')", f"DO $do$ BEGIN EXECUTE $q${sql}$q$; END $do$",
                             f"CALL run_both('{quoted}', 'SELECT 1')",
                             f"CALL run_both('SELECT 1', '{quoted}')",
                             f"CALL run_and_roll_back('{quoted}', 'SELECT 1')"])
            if self.chance(0.5):
                return Step((("Q", way),), label + "/inside")
            return Step(self.extended(way), label + "/inside extended")
        if draw < 0.93:
            other = self.observation()
            pair = [sql, other] if self.chance(0.7) else [other, sql]
            operations = self.extended(pair[0], sync=self.chance(0.4)) + self.extended(pair[1])
            return Step(operations, label + "/pipeline")
        pair = (("Q", sql), ("Q", self.observation()))
        return Step(pair, label + "/two queries")

    def extended(self, sql, values=(), name="", portal="", limit=0, sync=True):
        operations = [("P", name, sql)]
        if name and self.chance(0.3):
            operations.insert(0, ("CS", name))
        if self.chance(0.25):
            operations.append(("DS", name))
        operations.append(("B", portal, name, tuple(values)))
        if self.chance(0.6):
            operations.append(("DP", portal))
        operations.append(("E", portal, limit))
        if sync:
            operations.append(("S",))
        return tuple(operations)

    def joined(self, sql):
        """Several statements in one string: one implicit transaction, unless they say otherwise."""
        draw = self.random.random()
        if draw < 0.3:
            return f"{sql}; {self.observation()}"
        if draw < 0.45:
            return f"BEGIN; {sql}; COMMIT"
        if draw < 0.55:
            return f"BEGIN; {sql}; ROLLBACK; {self.observation()}"
        if draw < 0.7:
            return f"{sql}; SELECT 1/0"
        if draw < 0.8:
            self.in_transaction = True
            return f"SELECT 0; BEGIN; {sql}"
        if draw < 0.9:
            return f"{sql}; COMMIT; {self.setting_statement()}"
        return f"{self.setting_statement()}; {sql}; SELECT 1"

    # What is said.

    def setting(self):
        if self.touched and self.chance(0.35):
            return self.pick(self.touched)
        pool = list(words.SETTINGS)
        if self.user() == "boss" and self.chance(0.1):
            pool = list(words.SUPERUSER_SETTINGS)
        name = self.pick(words.CUSTOM if self.chance(0.2) else words.REPORTED
                         if self.chance(0.2) else pool)
        self.touched.append(name)
        return name

    def values(self, name):
        return words.SETTINGS.get(name) or words.SUPERUSER_SETTINGS[name]

    def literal(self, name):
        """A value as set_config takes it."""
        value = self.pick([one for one in self.values(name) if one != "DEFAULT"] or ["''"])
        return value if value.startswith("'") else "'" + value.replace("'", "''") + "'"

    def setting_statement(self):
        name = self.setting()
        value = self.pick(self.values(name))
        bare = name.strip('"')
        draw = self.random.random()
        if draw < 0.40:
            return self.pick(["SET {} = {}", "SET {} TO {}", "SET SESSION {} = {}",
                              "set {}={}", "/* c */ SET {} = {}"]).format(name, value)
        if draw < 0.52:
            return f"SET LOCAL {name} = {value}"
        if draw < 0.62:
            return f"RESET {name}"
        if draw < 0.65:
            return "RESET ALL"
        if draw < 0.75:
            return f"SELECT set_config('{bare}', {self.literal(name)}, false)"
        if draw < 0.80:
            return f"SELECT set_config('{bare}', {self.literal(name)}, true)"
        if draw < 0.84:
            return f"SELECT {self.pick(['set_it', 'set_it_inside', 'set_it_and_catch'])}" \
                   f"('{bare}', {self.literal(name)})"
        if draw < 0.87:
            return self.pick(words.BAD_SETTINGS)
        if draw < 0.89 and self.user() == "boss":
            return f"UPDATE pg_settings SET setting = {self.literal(name)} WHERE name = '{bare}'"
        return self.pick([
            "SET TIME ZONE 'Europe/Berlin'", "SET TIME ZONE LOCAL", "SET TIME ZONE -7",
            "SET NAMES 'LATIN1'", "SET NAMES", "SET SCHEMA 'two'", "SET SCHEMA 'one'",
            "SET XML OPTION DOCUMENT", "SET XML OPTION CONTENT", "SET SESSION TIME ZONE 'UTC'",
            "SET LOCAL TIME ZONE 'UTC'", "SET work_mem FROM CURRENT", "RESET TIME ZONE",
            "SELECT set_config('jit', 'off', false), set_config('work_mem', '14MB', false)",
            "SELECT pg_catalog.set_config('search_path', '', false)"])

    def settings(self):
        return self.carried(self.setting_statement(), "settings")

    def settings_seen(self):
        name = self.setting()
        bare = name.strip('"')
        sql = self.pick([f"SHOW {name}", f"SELECT current_setting('{bare}', true)"])
        return self.carried(sql, "settings_seen")

    def observation(self):
        if self.touched and self.chance(0.4):
            names = {one.strip('"') for one in self.touched[-3:]}
            return "SELECT " + ", ".join(f"current_setting('{one}', true)" for one in sorted(names))
        if self.chance(0.04):
            return self.pick(words.RARE_OBSERVATIONS)
        return self.pick(words.OBSERVATIONS)

    def observe(self):
        return self.carried(self.observation(), "observe")

    def roles(self):
        role = self.pick(words.ROLES)
        sql = self.pick([
            f"SET ROLE {role}", f"SET ROLE '{role}'", "SET ROLE NONE", "RESET ROLE",
            f"SET SESSION AUTHORIZATION {role}", "RESET SESSION AUTHORIZATION",
            "SET SESSION AUTHORIZATION DEFAULT", f"SET LOCAL ROLE {role}",
            f"SET LOCAL SESSION AUTHORIZATION {role}", f"SELECT set_config('role', '{role}', false)",
            f"SET SESSION ROLE {role}", "SELECT current_user, session_user",
            f"SELECT set_config('session_authorization', '{role}', false)",
            "SELECT * FROM locked", "SELECT * FROM tenant_rows ORDER BY 1"])
        return self.carried(sql, "roles")

    def characteristics(self):
        mode = self.pick(["ISOLATION LEVEL SERIALIZABLE", "ISOLATION LEVEL REPEATABLE READ",
                          "READ ONLY", "READ WRITE", "ISOLATION LEVEL READ COMMITTED, READ ONLY",
                          "ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE", "NOT DEFERRABLE"])
        sql = self.pick([f"SET SESSION CHARACTERISTICS AS TRANSACTION {mode}"] * 3 + [
            f"SET TRANSACTION {mode}", "SET transaction_isolation = serializable",
            "SET transaction_read_only = on", "SHOW transaction_isolation",
            "SHOW default_transaction_isolation", "CREATE TABLE made_ro (id int)"])
        return self.carried(sql, "characteristics")

    def transaction(self):
        if not self.in_transaction:
            self.in_transaction = True
            sql = self.pick(BEGINS)
        else:
            name = self.pick(words.SAVEPOINTS)
            sql = self.pick([*ENDS, *ENDS[:4], f"SAVEPOINT {name}", f"SAVEPOINT {name}",
                             f"ROLLBACK TO {name}", f"RELEASE {name}", "BEGIN"])
            self.in_transaction = sql not in ENDS or sql.endswith("CHAIN")
        if self.chance(0.7):
            return Step((("Q", sql),), "transaction/simple")
        return Step(self.extended(sql), "transaction/extended")

    def lone_ends(self):
        return self.carried(self.pick(["COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a",
                                       "COMMIT AND CHAIN", "SET LOCAL work_mem = '3MB'",
                                       "SET TRANSACTION READ ONLY", "DECLARE c CURSOR FOR SELECT 1",
                                       "LOCK TABLE thing"]), "lone_ends")

    def query(self):
        if self.chance(0.45):
            sql, values = self.pick(words.PARAMETER_QUERIES)
            name = self.pick(["", "", *words.STATEMENTS])
            return Step(self.extended(sql, values, name), "query/parameters")
        return self.carried(self.pick(words.QUERIES), "query")

    def errors(self):
        return self.carried(self.pick(words.ERRORS), "errors")

    def writes(self):
        return self.carried(self.pick(words.WRITES), "writes")

    def notices(self):
        return self.carried(self.pick(words.NOTICES), "notices")

    def sql_statements(self):
        name = self.pick(words.SQL_STATEMENTS)
        if self.chance(0.12):
            name = '"' + self.pick(words.STATEMENTS) + '"'
        sql = self.pick([
            f"PREPARE {name} AS SELECT place FROM thing ORDER BY id",
            f"PREPARE {name} (int) AS SELECT $1 + 1", f"PREPARE {name} AS SELECT current_user",
            f"PREPARE {name} AS INSERT INTO numbered (word) VALUES ('p')",
            f"EXECUTE {name}", f"EXECUTE {name}", f"EXECUTE {name}(4)", f"DEALLOCATE {name}",
            "DEALLOCATE ALL", f"DEALLOCATE PREPARE {name}",
            f"CREATE TEMP TABLE made_tt AS EXECUTE {name}", f"EXPLAIN (COSTS OFF) EXECUTE {name}",
            "SELECT name FROM pg_prepared_statements ORDER BY 1"])
        if self.chance(0.2):
            # A statement made by SQL, used by the protocol.
            return Step((("B", "", name.strip('"'), ()), ("E", "", 0), ("S",)),
                        "sql_statements/bind")
        return self.carried(sql, "sql_statements")

    def protocol_statements(self):
        name = self.pick(words.STATEMENTS)
        sql, values = self.pick(words.PARAMETER_QUERIES) if self.chance(0.5) else (
            self.pick([*words.QUERIES[:10], *words.OBSERVATIONS[:8]]), ())
        draw = self.random.random()
        if draw < 0.3:
            return Step((("P", name, sql), ("S",)), "protocol_statements/parse")
        if draw < 0.5:
            count = sql.count("$") and len(values)
            return Step((("B", "", name, tuple(values[:count])), ("DP", ""), ("E", "", 0), ("S",)),
                        "protocol_statements/execute")
        if draw < 0.6:
            return Step((("DS", name), ("S",)), "protocol_statements/describe")
        if draw < 0.7:
            return Step((("CS", name), ("S",)), "protocol_statements/close")
        if draw < 0.78:
            return self.carried(f'EXECUTE "{name}"', "protocol_statements/SQL execute", plain=True)
        if draw < 0.84:
            return self.carried(f'DEALLOCATE "{name}"', "protocol_statements/SQL deallocate")
        return Step(self.extended(sql, values, name), "protocol_statements/whole")

    def pipeline(self):
        """Batches in one write, some with an error in the middle."""
        operations = []
        for _ in range(self.random.randint(2, 5)):
            draw = self.random.random()
            if draw < 0.2:
                operations += self.extended(self.pick(words.ERRORS), sync=self.chance(0.6))
            elif draw < 0.4:
                operations += self.extended(self.setting_statement(), sync=self.chance(0.5))
            elif draw < 0.5:
                operations += self.extended(self.pick(["BEGIN", "COMMIT"]), sync=self.chance(0.5))
            elif draw < 0.6:
                operations += self.extended(self.pick(words.WRITES), sync=self.chance(0.5))
            else:
                sql, values = self.pick(words.PARAMETER_QUERIES)
                operations += self.extended(sql, values, self.pick(["", *words.STATEMENTS]),
                                            sync=self.chance(0.6))
            if self.chance(0.1):
                operations.append(("H",))
        if operations[-1][0] != "S":
            operations.append(("S",))
        return Step(tuple(operations), "pipeline")

    def flushes(self):
        """A batch that comes in parts: Flush first, Sync later."""
        sql, values = self.pick(words.PARAMETER_QUERIES)
        name = self.pick(["", *words.STATEMENTS])
        first = (("P", name, sql), ("DS", name), ("H",))
        rest = (("B", "", name, tuple(values)), ("E", "", 0))
        steps = [Step(first, "flushes/parse")]
        if self.chance(0.5):
            steps.append(Step((*rest, ("H",)), "flushes/execute"))
        else:
            steps.append(Step(rest, "flushes/unasked", wait=False))
        if self.chance(0.3):
            steps.append(Step((*self.extended(self.setting_statement(), sync=False), ("H",)),
                              "flushes/setting"))
        steps.append(Step((("S",),), "flushes/sync"))
        return steps

    def portals(self):
        portal = self.pick(words.PORTALS)
        sql = self.pick([one for one in words.QUERIES[:12] if one])
        opening = (("P", "", sql), ("B", portal, "", ()), ("E", portal, self.pick([1, 2, 0])))
        draw = self.random.random()
        if draw < 0.4:
            more = [("E", portal, self.pick([1, 3, 0]))] * self.random.randint(0, 2)
            return Step((*opening, *more, ("S",)), "portals/open")
        if draw < 0.7:
            return Step((("E", portal, self.pick([0, 1])), ("S",)), "portals/more")
        if draw < 0.8:
            return Step((("CP", portal), ("S",)), "portals/close")
        if draw < 0.9:
            return Step((("DP", portal), ("S",)), "portals/describe")
        return self.carried(f"FETCH 1 FROM {portal}", "portals/fetch")

    def cursors(self):
        name = self.pick(words.CURSORS)
        hold = self.pick(["", " WITH HOLD", " WITH HOLD", " SCROLL", " SCROLL CURSOR WITH HOLD"])
        cursor = f"DECLARE {name}{hold}" if "CURSOR" in hold else \
            f"DECLARE {name}{' SCROLL' if 'SCROLL' in hold else ''} CURSOR" \
            f"{' WITH HOLD' if 'HOLD' in hold else ''}"
        sql = self.pick([
            f"{cursor} FOR SELECT * FROM thing ORDER BY id", f"{cursor} FOR SELECT * FROM thing ORDER BY id",
            f"{cursor} FOR SELECT current_setting('work_mem'), n FROM generate_series(1, 9) n",
            f"FETCH 2 FROM {name}", f"FETCH {name}", f"FETCH ALL FROM {name}", f"MOVE 1 IN {name}",
            f"FETCH BACKWARD 1 FROM {name}", f"CLOSE {name}", "CLOSE ALL",
            f"UPDATE thing SET n = 0 WHERE CURRENT OF {name}",
            "SELECT name, is_holdable FROM pg_cursors WHERE name <> '' ORDER BY 1"])
        return self.carried(sql, "cursors")

    def temporary(self):
        name = self.pick(words.TEMPORARY)
        sql = self.pick([
            f"CREATE TEMP TABLE {name} (n int)", f"CREATE TEMPORARY TABLE {name} AS SELECT 1 AS n",
            f"SELECT 5 AS n INTO TEMP {name}", f"CREATE TABLE pg_temp.{name} (n int)",
            f"CREATE TEMP TABLE {name} (n serial)", f"CREATE TEMP TABLE IF NOT EXISTS {name} (n int)",
            f"CREATE TEMP TABLE {name} (n int) ON COMMIT DROP",
            f"CREATE TEMP TABLE {name} (n int) ON COMMIT DELETE ROWS",
            f"INSERT INTO {name} (n) VALUES (1), (2)", f"SELECT n FROM {name} ORDER BY n",
            f"SELECT count(*) FROM {name}", f"SELECT n FROM pg_temp.{name}",
            f"DROP TABLE {name}" if name != "thing" else "DROP TABLE pg_temp.thing",
            f"DROP TABLE IF EXISTS pg_temp.{name}", "CREATE TEMP VIEW work_area AS SELECT 1 AS n",
            "CREATE TEMP SEQUENCE temp_counter", "SELECT nextval('temp_counter')",
            "CREATE FUNCTION pg_temp.made_here() RETURNS int LANGUAGE sql AS 'SELECT 9'",
            "SELECT pg_temp.made_here()", f"SELECT make_temporary('{name}')",
            f"DO $$BEGIN CREATE TEMP TABLE {name} (n int); END$$", "DISCARD TEMP",
            "CREATE TYPE pg_temp.pair AS (a int, b int)", "SELECT (1, 2)::pg_temp.pair",
            f"TRUNCATE {name}", f"ANALYZE {name}", "SET search_path = one, pg_temp",
            f"CREATE INDEX ON {name} (n)"])
        return self.carried(sql, "temporary")

    def locks(self):
        key = self.pick(words.LOCKS)
        sql = self.pick([
            f"SELECT pg_advisory_lock({key})", f"SELECT pg_try_advisory_lock({key})",
            f"SELECT pg_advisory_lock_shared({key})", f"SELECT pg_advisory_unlock({key})",
            f"SELECT pg_advisory_unlock({key})", f"SELECT pg_advisory_unlock_shared({key})",
            "SELECT pg_advisory_unlock_all()", f"SELECT pg_advisory_xact_lock({key})",
            f"SELECT pg_try_advisory_xact_lock_shared({key})", "SELECT lock_it(7)",
            "SELECT count(*) FROM (SELECT pg_advisory_lock(n) FROM generate_series(7, 9) n) AS three",
            "SELECT objid, objsubid, mode FROM pg_locks WHERE locktype = 'advisory' "
            "AND pid = pg_backend_pid() ORDER BY 1, 2, 3"])
        return self.carried(sql, "locks")

    def listening(self):
        channel = self.pick(words.CHANNELS)
        self.listens = True
        bare = channel.strip('"')
        if self.chance(0.15):
            return Step((("outside", f"NOTIFY {channel}, 'from outside {self.random.randint(1, 99)}'"),
                         ("Q", "SELECT 1")), "listening/outside")
        sql = self.pick([
            f"LISTEN {channel}", f"LISTEN {channel}", f"UNLISTEN {channel}", "UNLISTEN *",
            f"NOTIFY {channel}", f"NOTIFY {channel}, 'payload {self.random.randint(1, 99)}'",
            f"SELECT pg_notify('{bare}', 'p{self.random.randint(1, 99)}')", f"SELECT hear('{bare}')",
            "SELECT * FROM pg_listening_channels() ORDER BY 1",
            f"NOTIFY {channel}, 'same'; NOTIFY {channel}, 'same'"])
        return self.carried(sql, "listening")

    def copying(self):
        rows = b"70\tcopied\t1\n71\t\\N\t2\n"
        bad = b"80\tgood\t1\nno number\tx\t2\n"
        draw = self.random.random()
        into = self.pick(["COPY thing (id, place, n) FROM STDIN", "COPY scratch FROM STDIN",
                          "COPY nosuch FROM STDIN", "COPY thing (id, place, n) FROM STDIN"])
        data = self.pick([rows, rows, bad, b"", b"5\twrong\n"])
        tail = self.pick([(("c",),)] * 4 + [(("f", "changed my mind"),)])
        pieces = [("d", data[:9]), ("d", data[9:])] if self.chance(0.4) else [("d", data)]
        if draw < 0.35:
            if self.chance(0.3):
                into = f"SELECT 1; {into}; {self.observation()}"
            return Step((("Q", into), *pieces, *tail), "copying/in")
        if draw < 0.5:
            return Step((("P", "", into), ("B", "", "", ()), ("E", "", 0), *pieces, *tail, ("S",)),
                        "copying/in extended")
        return self.carried(self.pick([
            "COPY (SELECT * FROM thing ORDER BY id) TO STDOUT", "COPY thing TO STDOUT (FORMAT csv)",
            "COPY (SELECT 1/(n - 3) FROM generate_series(1, 5) n) TO STDOUT",
            "COPY numbered TO STDOUT WITH (FORMAT binary)", "COPY nosuch TO STDOUT"]), "copying/out")

    def large_objects(self):
        if self.chance(0.25):
            oid, arguments = self.pick([(952, (4242, 0x60000)), (954, (0, 10)), (955, (0, b"abc")),
                                        (953, (0,)), (964, (4242,))])
            return Step((("F", oid, arguments),), "large_objects/function call")
        return self.carried(self.pick([
            "SELECT lo_create(4242)", "SELECT lo_from_bytea(4242, 'some text')",
            "SELECT lo_get(4242)", "SELECT lo_open(4242, 393216)", "SELECT loread(0, 4)",
            "SELECT lowrite(0, 'xyz')", "SELECT lo_close(0)", "SELECT lo_unlink(4242)",
            "SELECT lo_put(4242, 2, 'PUT')"]), "large_objects")

    def two_phases(self):
        gid = f"{LANE}_{self.pick('ab')}"
        if self.in_transaction or self.chance(0.3):
            self.in_transaction = False
            return self.carried(f"PREPARE TRANSACTION '{gid}'", "two_phases", plain=self.chance(0.7))
        return self.carried(self.pick([
            f"COMMIT PREPARED '{gid}'", f"ROLLBACK PREPARED '{gid}'",
            f"BEGIN; SET work_mem = '19MB'; UPDATE thing SET n = 9 WHERE id = 4; "
            f"PREPARE TRANSACTION '{gid}'"]), "two_phases")

    def discards(self):
        return self.carried(self.pick([
            "DISCARD ALL", "DISCARD ALL", "DISCARD PLANS", "DISCARD TEMP", "DISCARD SEQUENCES",
            "RESET ALL", "DEALLOCATE ALL", "UNLISTEN *", "CLOSE ALL"]), "discards")

    def random_numbers(self):
        texts = ["SELECT setseed(0.5)", "SET SEED TO 0.25", "SET SEED = 0.1", "SHOW seed"]
        if self.seeded:
            texts += ["SELECT floor(random() * 1000000)"] * 4
        return self.carried(self.pick(texts), "random_numbers")

    def sequences(self):
        return self.carried(self.pick([
            "SELECT nextval('counter')", "SELECT currval('counter')", "SELECT lastval()",
            "INSERT INTO numbered (word) VALUES ('w') RETURNING id", "SELECT setval('counter', 40)",
            "BEGIN; SELECT nextval('counter'); SELECT currval('counter'); COMMIT"]), "sequences")

    def long_answers(self):
        return self.carried(self.pick([
            "SELECT n, repeat('x', 400) FROM generate_series(1, 400) n",
            "SELECT repeat('long ', 20000)",
            "COPY (SELECT n, repeat('y', 100) FROM generate_series(1, 1000) n) TO STDOUT"]),
            "long_answers")


THEMES = {
    "settings": Generator.settings, "settings_seen": Generator.settings_seen,
    "observe": Generator.observe, "roles": Generator.roles,
    "characteristics": Generator.characteristics, "transaction": Generator.transaction,
    "lone_ends": Generator.lone_ends, "query": Generator.query, "errors": Generator.errors,
    "writes": Generator.writes, "notices": Generator.notices,
    "sql_statements": Generator.sql_statements,
    "protocol_statements": Generator.protocol_statements, "pipeline": Generator.pipeline,
    "flushes": Generator.flushes, "portals": Generator.portals, "cursors": Generator.cursors,
    "temporary": Generator.temporary, "locks": Generator.locks, "listening": Generator.listening,
    "copying": Generator.copying, "large_objects": Generator.large_objects,
    "two_phases": Generator.two_phases, "discards": Generator.discards,
    "random_numbers": Generator.random_numbers, "sequences": Generator.sequences,
    "long_answers": Generator.long_answers,
}


def generate(seed, themes=None):
    return Generator(seed, themes).program()
