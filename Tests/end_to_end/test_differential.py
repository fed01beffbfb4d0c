# SPDX-License-Identifier: Apache-2.0
"""Random client programs get the same answers on a connection of their own and through a pool.

Here a few hundred seeds, and proof that the comparison can fail; `scripts/differential` runs thousands.
"""

import os
import random
import socket
import subprocess
import sys
import threading
import zlib

import pytest

from harness import wire
from harness.pooler import REPOSITORY, pglease_binary
from harness.postgres import folder

sys.path.insert(0, str(REPOSITORY / "Tests"))

from differential.busy import Busy, SCRIPTS  # noqa: E402
from differential import compare, lane as lanes, shrink  # noqa: E402
from differential.generator import THEMES, generate  # noqa: E402
from differential.program import Program, Step  # noqa: E402
from differential.session import Record  # noqa: E402

pytestmark = pytest.mark.pglease_only


# Notifications have their own tests: whose PID one bears depends on who was first, on a connection of one's own, too.
THEMES_HERE = ",".join(theme for theme in THEMES if theme != "listening")


@pytest.mark.parametrize("mode, isolation", [
    ("session", None), ("transaction", "strict"), ("transaction", "tracked")])
def test_a_program_is_answered_as_on_a_connection_of_its_own(mode, isolation):
    given = ["--themes", THEMES_HERE, "--set", "pin_notice=0"]
    if isolation:
        given += ["--set", f"isolation={isolation}"]
    programs = 150
    environment = os.environ | {
        "PYTHONPATH": f"{REPOSITORY}/Tests:{REPOSITORY}/Tests/end_to_end"}
    done = subprocess.run(
        [sys.executable, "-m", "differential", "--mode", mode, "--seeds", "1-150",
         "--bin", pglease_binary(), *given],
        env=environment, capture_output=True, text=True, timeout=300, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"{programs} programs, 0 differ" in done.stdout


# The tool itself.

def record(kind, body=b"", step=0):
    return Record(step, kind, body)


def row(*values):
    body = len(values).to_bytes(2, "big")
    for one in values:
        body += b"\xff\xff\xff\xff" if one is None else len(one).to_bytes(4, "big") + one
    return record("D", body)


def column(name, table, kind):
    return record("T", b"\0\1" + name + b"\0" + table.to_bytes(4, "big") + b"\0\1"
                  + kind.to_bytes(4, "big") + b"\0\4\xff\xff\xff\xff\0\0")


def error(**fields):
    return record("E", b"".join(name.encode() + text.encode() + b"\0"
                                for name, text in fields.items()) + b"\0")


ONE_STEP = Program(1, "boss", (), (Step((("Q", "SHOW app.tenant"),)),))
READY = record("Z", ("I", (("TimeZone", "UTC"),)))

DIFFERENT = [
    ([row(b"1")], [row(b"2")]),
    ([row(b"1")], []),
    ([], [row(b"1")]),
    ([row(None)], [row(b"")]),
    ([row(b"pg_temp_3.x")], [row(b"pg_temp_3.y")]),
    ([error(S="ERROR", C="42P01", M="no")], [error(S="ERROR", C="42P02", M="no")]),
    ([error(S="ERROR", C="42P01", M="no", H="hint")], [error(S="ERROR", C="42P01", M="no")]),
    ([READY], [record("Z", ("T", READY.body[1]))]),
    ([READY], [record("Z", ("I", (("TimeZone", "Asia/Tokyo"),)))]),
    ([READY], [record("HANG")]),
    ([READY], [record("EOF")]),
    ([column(b"a", 0, 23)], [column(b"a", 0, 25)]),
    # Two tables of the one side are not one table of the other.
    ([column(b"a", 20001, 23), column(b"a", 20002, 23)],
     [column(b"a", 30001, 23), column(b"a", 30001, 23)]),
    ([record("C", b"SELECT 1\0")], [record("C", b"SELECT 2\0")]),
]


@pytest.mark.parametrize("direct, pooled", DIFFERENT)
def test_what_is_not_the_same_is_a_difference(direct, pooled):
    assert compare.first_difference(ONE_STEP, direct, pooled)


SAME = [
    ([row(b"1", None), READY], [row(b"1", None), READY]),
    ([row(b"pg_temp_3.x")], [row(b"pg_temp_14.x")]),
    ([error(S="ERROR", C="42P01", M="no", L="7")], [error(S="ERROR", C="42P01", M="no", L="9")]),
    ([column(b"a", 20001, 23), column(b"a", 20001, 23)],
     [column(b"a", 30001, 23), column(b"a", 30001, 23)]),
]


@pytest.mark.parametrize("direct, pooled", SAME)
def test_what_two_connections_cannot_have_in_common_is_no_difference(direct, pooled):
    assert compare.first_difference(ONE_STEP, direct, pooled) is None


def test_a_reason_covers_what_it_says_and_no_more():
    reasons = compare.load_reasons()
    told = [row(None), READY], [row(b""), READY]
    assert compare.first_difference(ONE_STEP, *told, reasons) is None
    assert compare.first_difference(ONE_STEP, [row(b"a")], [row(b"")], reasons)
    assert compare.first_difference(ONE_STEP, [row(None)], [row(b"a")], reasons)
    other = Program(1, "boss", (), (Step((("Q", "SHOW work_mem"),)),))
    assert compare.first_difference(other, *told, reasons)


def test_every_reason_is_told():
    for one in compare.load_reasons():
        assert len(one.reason) > 50, one.id
        assert one.patterns, f"{one.id} covers everything"


def test_notifications_are_compared_in_their_order():
    one, other = ("own", "news", "1"), ("own", "news", "2")
    assert compare.notification_difference([one, other], [one, other]) is None
    assert compare.notification_difference([one, other], [other, one])
    assert compare.notification_difference([one], [])
    assert compare.notification_difference([one], [("other", "news", "1")]).kind == "notifying PID"


def test_a_seed_is_one_program():
    assert [generate(seed) for seed in range(50)] == [generate(seed) for seed in range(50)]
    assert len({generate(seed).text() for seed in range(50)}) == 50


def test_the_programs_are_about_everything():
    seen = {step.label.split("/")[0] for seed in range(400) for step in generate(seed).steps}
    assert seen == {*THEMES, "marker"}


def test_a_program_shrinks_to_what_matters():
    steps = tuple(Step((("Q", f"SELECT {n}"),), "query") for n in range(20))
    guilty = Step((*(("P", "", f"SELECT {n}") for n in range(5)), ("P", "bad", "SELECT 0"), ("S",)))
    program = Program(1, "boss", (("TimeZone", "UTC"),) * 3, steps[:7] + (guilty,) + steps[7:], "close")
    smallest = shrink.shrink(program, lambda one: "'bad'" in one.text())
    assert smallest.steps == (Step((("P", "bad", "SELECT 0"), ("S",))),)
    assert smallest.ending == "terminate"


class Forger(threading.Thread):
    """Between a client and PostgreSQL: changes what the server says."""

    def __init__(self, upstream, forge):
        super().__init__(daemon=True)
        self.upstream, self.forge = upstream, forge
        self.folder = folder("forger")
        self.path = f"{self.folder}/s"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen()

    def run(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.upstream)
            for each in ((client, server, lambda raw: raw), (server, client, self.forge)):
                threading.Thread(target=self.copy, args=each, daemon=True).start()

    @staticmethod
    def copy(source, target, change):
        try:
            while raw := source.recv(1 << 16):
                target.sendall(change(raw))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listening.close()


@pytest.fixture(scope="module")
def clusters():
    made = lanes.cluster(), lanes.cluster()
    yield made
    for each in made:
        each.destroy()


@pytest.fixture
def lane(clusters, request):
    one = lanes.Lane(f"_{zlib.crc32(request.node.name.encode())}", clusters,
                     lanes.Options(mode="direct", busy=0, within=2.0), [])
    yield one
    one.destroy()


def program(*texts):
    return Program(1, "boss", (("application_name", "x"),),
                   tuple(Step((("Q", text),)) for text in texts))


FORGERIES = [
    (b"place is public", b"place is pubIic", "answer"), (b"CREATE TABLE", b"create table", "answer"),
    (b"SELECT 5\0Z\0\0\0\5I", b"SELECT 5\0Z\0\0\0\5T", "status"), (b"Asia/Tokyo", b"Asia/Kyoto", "parameters"),
    (b"Z\0\0\0\5I", b"", "hang")]


@pytest.mark.parametrize("honest, forged, kind", FORGERIES)
def test_a_forged_answer_is_found(lane, honest, forged, kind):
    tried = program("SELECT 'place is ' || place FROM thing", "CREATE TABLE made_one (a int)",
                    "SET TimeZone = 'Asia/Tokyo'")
    assert lane.run(tried) == []
    swallow = iter([False] + [True] * 50)

    def forge(raw):
        # The answer to the log-in stays as it is where a missing one is to be found.
        return raw if not forged and not next(swallow) else raw.replace(honest, forged)

    forger = Forger(lane.path, forge)
    forger.start()
    lane.path = forger.path
    try:
        assert [one.kind for one in lane.run(tried)] == [kind]
    finally:
        forger.close()


def test_what_was_left_behind_is_found(lane):
    path = lane.pooled.socket_path
    assert lane.clean.look(path, "boss", 2, [], "session") is None
    lane.pooled.sql(f"ALTER DATABASE {lane.database} SET work_mem = '9MB'")
    found = lane.clean.look(path, "boss", 2, [], "session")
    assert found.kind == "clean" and "work_mem" in found.pooled


def test_a_busy_client_that_is_answered_wrongly_says_so(lane):
    one = Busy(1, lane.pooled.socket_path, "boss", lane.database, random.Random(1))
    one.script = next(script for script in SCRIPTS if script.steps[0][0] == "SHOW work_mem")
    one.session.ask("SET work_mem = '7MB'")
    one.kick()
    assert one.wait(10)
    assert one.failure == "busy client 1: SHOW work_mem: [['7MB']], not [['11MB']]"
    with pytest.raises(wire.Refused):
        one.session.ask("SELECT nosuch")
