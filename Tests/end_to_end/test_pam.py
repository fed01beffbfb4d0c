# SPDX-License-Identifier: Apache-2.0
"""auth_type pam: PAM judges passwords, on a worker thread."""

import os
import shutil
from pathlib import Path

import psycopg
import pytest

from harness import wire
from harness.postgres import folder

pytestmark = [pytest.mark.pglease_only,
              pytest.mark.skipif(os.geteuid() != 0, reason="only root can set up PAM")]

PASSWORD = "pass wörd"
SERVICE = Path("/etc/pam.d/pglease")
# pam_exec hands it the password and a NUL. For `slow` it waits until somebody has written to the gate.
JUDGE = """#!/bin/sh
[ "$PAM_USER-$PAM_TYPE" != slow-auth ] || cat {gate} > /dev/null
[ "$PAM_USER" != expired ] || [ "$PAM_TYPE" != account ] || exit 1
[ "$PAM_TYPE" = account ] || [ "$(tr -d '\\0')" = '{password}' ]
"""


@pytest.fixture(scope="module")
def judge():
    """The service `pglease` of PAM, for the time of the module; a folder of its script."""
    if SERVICE.exists():
        pytest.skip(f"{SERVICE} is somebody else's")
    one = folder("pam")
    script = one / "judge"
    os.mkfifo(one / "gate")
    script.write_text(JUDGE.format(gate=one / "gate", password=PASSWORD))
    script.chmod(0o755)
    SERVICE.write_text(f"auth required pam_exec.so quiet expose_authtok {script}\n"
                       f"account required pam_exec.so quiet {script}\n")
    yield one
    SERVICE.unlink()
    shutil.rmtree(one)


@pytest.fixture
def start(make_broker, postgres, judge):
    def make(settings=None, **named):
        return make_broker(
            {"auth_type": "pam"} | (settings or {}), userlist={}, **named,
            databases={"app": f"host={postgres.host} port={postgres.port} dbname=app user=app"})
    return make


def login(broker, user="app", password=PASSWORD):
    return wire.Wire(broker.socket_path).start(user, "app", password)


def test_who_pam_knows_is_let_in_without_an_auth_file(start):
    broker = start()
    with login(broker) as one:
        assert one.value("SELECT current_user") == "app"
    with login(broker, "whoever") as one:
        assert one.value("SELECT 1") == "1"
    psycopg.connect(broker.dsn(), password=PASSWORD).close()
    for user, password in (("app", "wrong"), ("app", ""), ("app", "x" * 60_000), ("expired", PASSWORD)):
        with pytest.raises(wire.Refused) as refused:
            login(broker, user, password)
        assert refused.value.code == "28P01"
        assert refused.value.fields["M"] == f'PAM authentication failed for user "{user}"'
    assert broker.logged("PAM refuses a login")
    assert PASSWORD not in broker.log()


def test_a_rule_may_name_it(start, tmp_path):
    (tmp_path / "hba").write_text(
        "local all app trust\nlocal all elsewhere pam pamservice=nobodys-service\n"
        "local all named pam pamservice=pglease\nlocal all all pam\n")
    broker = start({"auth_type": "hba", "auth_hba_file": tmp_path / "hba", "auth_file": ""})
    wire.Wire(broker.socket_path).start("app", "app").close()
    login(broker, "other").close()
    login(broker, "named").close()
    with pytest.raises(wire.Refused):
        login(broker, "elsewhere")
    with pytest.raises(wire.Refused):
        login(broker, "other", "wrong")


def test_modules_that_take_their_time_hold_up_nobody_who_is_in(start, judge):
    broker = start()
    with login(broker) as one:
        waiting = broker.raw()
        waiting.send(wire.startup({"user": "slow", "database": "app"}))
        assert waiting.next().kind == "R"
        waiting.send(wire.message("p", PASSWORD.encode() + b"\0"))
        # Opens once the module waits for it.
        with (judge / "gate").open("w"):
            assert one.value("SELECT 'served'") == "served"
        waiting.finish_login("slow", PASSWORD)
        assert waiting.value("SELECT 1") == "1"
        waiting.close()
