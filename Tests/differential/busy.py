# SPDX-License-Identifier: Apache-2.0
"""Other clients of the same pool. They have settings and objects of their own, and check that these are right."""

from harness import wire

from .program import Step
from .session import Late, Session


class Script:
    """Statements with the answers that they must get; `holds`: after which of them a server is kept."""

    def __init__(self, theme, *steps):
        self.theme, self.steps = theme, steps


# {b} is the number of the client. An answer is the rows, or a command tag, or an SQLSTATE.
SCRIPTS = [
    Script("settings", ("SHOW work_mem", [["{b}1MB"]]), ("SHOW application_name", [["busy {b}"]]),
           ("SHOW TimeZone", [["Etc/GMT+{b}"]])),
    Script("settings", ("SET work_mem = '{b}2MB'", "SET"), ("SHOW work_mem", [["{b}2MB"]]),
           ("SET work_mem = '{b}1MB'", "SET"), ("SHOW work_mem", [["{b}1MB"]])),
    Script("settings", ("SET search_path = two, one", "SET"),
           ("SELECT 'thing'::regclass = 'two.thing'::regclass", [["t"]]),
           ("SET search_path = public", "SET"), ("SHOW search_path", [["public"]])),
    Script("settings", ("SET statement_timeout = '{b}1s'; SET lock_timeout = '{b}2s'", "SET"),
           ("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')",
            [["{b}1s", "{b}2s"]]), ("RESET statement_timeout", "RESET"), ("RESET lock_timeout", "RESET"),
           ("SHOW statement_timeout", [["0"]])),
    Script("settings", ("SET app.tenant = 'busy {b}'", "SET"), ("SELECT tenant FROM seen", [["busy {b}"]]),
           ("SET app.tenant = ''", "SET")),
    Script("transaction", ("BEGIN", "BEGIN", True), ("SET LOCAL work_mem = '{b}3MB'", "SET", True),
           ("SHOW work_mem", [["{b}3MB"]], True), ("SELECT 1 / 0", "22012", True),
           ("SELECT 1", "25P02", True), ("ROLLBACK", "ROLLBACK"), ("SHOW work_mem", [["{b}1MB"]])),
    Script("transaction", ("BEGIN", "BEGIN", True), ("SELECT {b}", [["{b}"]], True),
           ("SHOW work_mem", [["{b}1MB"]], True), ("SAVEPOINT a", "SAVEPOINT", True),
           ("SELECT current_user = session_user", [["t"]], True), ("COMMIT", "COMMIT")),
    Script("transaction", ("BEGIN; SELECT 1", "SELECT 1", True), ("SELECT 2", [["2"]], True),
           ("COMMIT", "COMMIT")),
    Script("roles", ("SET ROLE steady", "SET"), ("SELECT current_user", [["steady"]]),
           ("RESET ROLE", "RESET"), ("SELECT current_user = session_user", [["t"]])),
    Script("characteristics", ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET"),
           ("SHOW transaction_read_only", [["on"]]), ("CREATE TABLE made_busy (a int)", "25006"),
           ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SET"),
           ("SHOW transaction_read_only", [["off"]])),
    Script("temporary", ("CREATE TEMP TABLE scratch AS SELECT {b} AS n, 'busy' AS whose", "SELECT 1", True),
           ("SELECT n, whose FROM scratch", [["{b}", "busy"]], True),
           ("INSERT INTO scratch VALUES (5, 'more')", "INSERT 0 1", True),
           ("SELECT count(*) FROM scratch", [["2"]], True), ("DROP TABLE scratch", "DROP TABLE"),
           ("SELECT to_regclass('pg_temp.scratch')", [[None]])),
    Script("locks", ("SELECT pg_advisory_lock(9{b})", [[""]], True),
           ("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            [["1"]], True), ("SELECT pg_advisory_unlock(9{b})", [["t"]]),
           ("SELECT pg_advisory_unlock(9{b})", [["f"]])),
    Script("cursors", ("DECLARE h1 CURSOR WITH HOLD FOR SELECT {b} UNION ALL SELECT 77", "DECLARE CURSOR",
                       True), ("FETCH h1", [["{b}"]], True), ("FETCH h1", [["77"]], True),
           ("CLOSE h1", "CLOSE CURSOR")),
    Script("sql_statements", ("PREPARE p1 AS SELECT 'busy {b}'", "PREPARE"), ("EXECUTE p1", [["busy {b}"]]),
           ("DEALLOCATE p1", "DEALLOCATE"), ("EXECUTE p1", "26000")),
    Script("listening", ("LISTEN busy_{b}", "LISTEN", True), ("NOTIFY busy_{b}, 'x'", "NOTIFY", True),
           ("UNLISTEN *", "UNLISTEN")),
    Script("query", ("SELECT count(*) FROM generate_series(1, 500)", [["500"]])),
    Script("errors", ("SELECT nosuch", "42703"), ("SELECT {b}", [["{b}"]])),
]
ALWAYS = {"query", "errors", "transaction"}


class Busy:
    """One of them: it plays scripts one after the other, a step at a time, as it is told to."""

    def __init__(self, number, path, user, database, random, themes=None):
        self.number, self.random = number, random
        self.scripts = [one for one in SCRIPTS
                        if themes is None or one.theme in themes or one.theme in ALWAYS]
        self.script, self.at, self.asked = None, 0, None
        self.failure, self.last = None, ""
        self.session = Session(path, user, database, (("application_name", f"busy {number}"),
                                                      ("search_path", "public")))
        self.session.wait(20)
        for sql in (f"SET work_mem = '{number}1MB'", f"SET TimeZone = 'Etc/GMT+{number}'"):
            self.session.ask(sql)

    @property
    def outstanding(self):
        return self.asked is not None

    @property
    def at_rest(self):
        return self.script is None and not self.outstanding

    @property
    def holds(self):
        """It keeps a server between its statements, as far as its script says."""
        return self.script is not None and self.at > 0 and len(self.script.steps[self.at - 1]) > 2

    def would_hold(self):
        """Whether its next statement begins to keep a server."""
        if self.script is None:
            self._choose()
        return not self.holds and len(self.script.steps[self.at]) > 2

    def _choose(self):
        self.script, self.at = self.random.choice(self.scripts), 0

    def kick(self):
        """Sends its next statement."""
        if self.script is None:
            self._choose()
        sql = self.script.steps[self.at][0].replace("{b}", str(self.number))
        self.asked = self.last = sql
        self.session.records.clear()
        self.session.send(Step((("Q", sql),)), 0)

    def feed(self):
        """Reads what came; checks the answer when it is complete."""
        self.session.read()
        if self.outstanding and self.session.idle:
            self._answered()

    def wait(self, within):
        try:
            self.session.wait(within)
        except Late:
            return False
        if self.outstanding:
            self._answered()
        return True

    def _answered(self):
        rows, said = [], None
        for one in self.session.records:
            if one.kind == "D":
                rows.append([None if value is None else value.decode()
                             for value in wire.Message("D", one.body).row])
            elif one.kind == "C":
                said = one.body.rstrip(b"\0").decode()
            elif one.kind == "E":
                said = wire.Message("E", one.body).code
                break
            elif one.kind == "EOF":
                said = "the connection is closed"
                break
        expected = self._own(self.script.steps[self.at][1])
        failed = said is None or said[0].isdigit() or said.startswith("the ")
        given = said if failed or isinstance(expected, str) else rows
        if given != expected:
            self.failure = f"busy client {self.number}: {self.asked}: {given}, not {expected}"
        self.asked = None
        self.at += 1
        if self.at == len(self.script.steps):
            self.script, self.at = None, 0

    def _own(self, expected):
        """What is expected, with this client's number."""
        if isinstance(expected, str):
            return expected.replace("{b}", str(self.number))
        return [[value and value.replace("{b}", str(self.number)) for value in row]
                for row in expected]
