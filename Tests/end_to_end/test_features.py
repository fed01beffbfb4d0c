# SPDX-License-Identifier: Apache-2.0
"""docs/features.md: each cell of its matrix is found out on a broker of each pool mode."""

import re

import pytest

from harness import direct, wire
from harness.pooler import REPOSITORY
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

MODES = ("session", "transaction", "statement")
DOCUMENT = (REPOSITORY / "docs/features.md").read_text()

# What a client does (each text is a message of its own), the question afterwards, the answer on a connection of one's own.
STATE = {
    "settings of the startup packet": ([], "SHOW work_mem", "1234kB"),
    "`SET`": (["SET statement_timeout = '71s'"], "SHOW statement_timeout", "71s"),
    "settings of classes (`app.tenant`)":
        (["SET app.tenant = 'seven'"], "SELECT current_setting('app.tenant', true)", "seven"),
    "settings made in functions":
        (["DO $$ BEGIN PERFORM set_config('lock_timeout', '72s', false); END $$"],
         "SHOW lock_timeout", "72s"),
    "`SET ROLE`": (["SET ROLE features_role"], "SELECT current_user", "features_role"),
    "SQL's `PREPARE`, `EXECUTE`": (["PREPARE seven AS SELECT 7"], "EXECUTE seven", "7"),
    "temporary tables": (["CREATE TEMP TABLE mine AS SELECT 7 AS x"], "SELECT x FROM mine", "7"),
    "cursors `WITH HOLD`":
        (["DECLARE held CURSOR WITH HOLD FOR SELECT 7"], "FETCH held", "7"),
    "session advisory locks":
        (["SELECT pg_advisory_lock(7701)"], "SELECT pg_advisory_unlock(7701)", "t"),
    "`lastval()` of an earlier transaction":
        (["SELECT nextval('features_numbers')"], "SELECT lastval() > 0", "t"),
}


# A database that nobody else uses: its connections are ended between a client's setting and its question.
DATABASE = "second"


@pytest.fixture(scope="module", autouse=True)
def sequence(postgres):
    postgres.sql("CREATE SEQUENCE features_numbers; GRANT ALL ON features_numbers TO app; "
                 "CREATE ROLE features_role; GRANT features_role TO app", dbname=DATABASE)
    yield
    postgres.sql("DROP SEQUENCE features_numbers; DROP ROLE features_role", dbname=DATABASE)


def matrix():
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in DOCUMENT.splitlines() if line.startswith("|")]
    assert rows[0] == ["what a client uses", *MODES]
    return {name: cells for name, *cells in rows[2:]}


def asked(one, text):
    """The first value, or the SQLSTATE of the refusal."""
    one.send(wire.query(text))
    seen = one.until("EZ")
    if seen[-1].kind == "E":
        if seen[-1].fields["S"] != "FATAL":
            one.until("Z")
        return f"refused, {seen[-1].code}"
    rows = wire.rows_of(seen)
    return rows[0][0] if rows else ""


def is_pinned(broker, one):
    """Once it is known: the broker looks at what is left behind the answer to the client."""
    name = one.parameters["application_name"]

    def leases():
        return [row["state"] for row in broker.console("SHOW LEASES")
                if row["application_name"] == name]
    eventually(lambda: set(leases()) <= {"pinned"})
    return bool(leases())


def state(broker, one, mode, feature):
    texts, question, expected = STATE[feature]
    for text in texts:
        answer = asked(one, text)
        if answer.startswith("refused"):
            return answer
    pinned = mode != "session" and is_pinned(broker, one)
    if mode != "session" and not pinned:
        end_connections(broker)
    answer = asked(one, question)
    if answer != expected:
        return "no"
    return "pins" if pinned else "yes"


def end_connections(broker):
    """The client's next statement is on another connection than its last."""
    broker.postgres.terminate(*(row[0] for row in broker.postgres.backends(dbname=DATABASE)))
    eventually(lambda: all(row["database"] != DATABASE for row in broker.console("SHOW SERVERS")))


def transactions(broker, one, mode):
    answer = asked(one, "BEGIN")
    return answer if answer.startswith("refused") else "yes" * (asked(one, "COMMIT") == "")


def several_in_one_message(broker, one, mode):
    return "yes" * (wire.rows_of(one.query("SELECT 1; SELECT 2")) == [["1"], ["2"]])


def named_statements(broker, one, mode):
    wire.rows_of(one.extended("SELECT 7", name="seven"))
    if mode != "session":
        end_connections(broker)
    one.send(wire.bind(statement="seven"), wire.execute(), wire.sync())
    return "yes" * (wire.rows_of(one.until_ready()) == [["7"]])


def copy(broker, one, mode):
    one.send(wire.query("COPY (SELECT 7) TO STDOUT"))
    return "yes" * ("d" in wire.kinds(one.until_ready()))


def listen(broker, one, mode):
    answer = asked(one, "LISTEN features")
    if answer.startswith("refused"):
        return answer
    with broker.wire(database=DATABASE) as other:
        other.query("NOTIFY features")
    return "yes" * (one.until("A")[-1].kind == "A")


def cancel(broker, one, mode):
    one.send(wire.query("SELECT pg_sleep(60)"))
    # PostgreSQL drops a cancel that comes before the statement.
    eventually(lambda: broker.postgres.backends(dbname=DATABASE, state="active"))
    wire.cancel(broker.socket_path, one.key)
    seen = one.until("E")[-1].code
    one.until("Z")
    return "yes" * (seen == "57014")


def lease(broker, one, mode):
    direct.lease(one)
    one.query("CREATE TEMP TABLE leased AS SELECT 7 AS x")
    seen = one.value("SELECT x FROM leased")
    direct.give_back(one)
    return "yes" * (seen == "7")


def lease_direct(broker, one, mode):
    with direct.connect(broker, database=DATABASE) as client:
        client.lease()
        kind = client.granted.kind
        client.give_back()
    return {"direct": "yes", "relay": "relayed"}[kind]


PROBES = {
    "`BEGIN` … `COMMIT`": transactions,
    "several statements in one message": several_in_one_message,
    "named prepared statements of the protocol": named_statements,
    "`COPY`": copy,
    "`LISTEN`, `NOTIFY`": listen,
    "cancel": cancel,
    "`LEASE`": lease,
    "`LEASE DIRECT`": lease_direct,
}


def test_every_row_is_tried():
    assert set(matrix()) == set(STATE) | set(PROBES)


@pytest.mark.parametrize("mode", MODES)
def test_each_cell_is_as_the_document_says(make_broker, mode):
    broker = make_broker({"pool_mode": mode})
    found = {}
    for number, feature in enumerate(matrix()):
        with broker.wire(database=DATABASE, application_name=f"feature-{number}",
                         options="-c work_mem=1234kB") as one:
            probe = PROBES.get(feature)
            found[feature] = probe(broker, one, mode) if probe else state(broker, one, mode, feature)
    said = {name: cells[MODES.index(mode)].split(" (")[0] for name, cells in matrix().items()}
    assert found == said


def test_the_words_of_the_cells_are_explained():
    words = {cell.split(" (")[0].split(",")[0] for cells in matrix().values() for cell in cells}
    for word in words:
        assert re.search(rf"^- \*\*{word}\*\*", DOCUMENT, re.MULTILINE), word
