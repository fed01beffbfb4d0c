# SPDX-License-Identifier: Apache-2.0
"""auth_type = hba: which line is whose, what is refused, and what a reload does."""

import subprocess

import psycopg2
import pytest

from harness import wire
from harness.pooler import own_name, pglease_binary

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def ruled(make_broker):
    """Makes a broker with these lines of auth_hba_file."""
    def make(lines, ident=None, start=True, userlist=None, **more):
        broker = make_broker(start=False, tcp=True, userlist=userlist or {
            "app": "secret", "other": "x", "admin": ""}, **more)
        rules = broker.folder / "hba.conf"
        rules.write_text("\n".join(lines) + "\n")
        broker.set(auth_type="hba", auth_hba_file=rules)
        if ident is not None:
            (broker.folder / "ident.conf").write_text("\n".join(ident) + "\n")
            broker.set(auth_ident_file=broker.folder / "ident.conf")
        broker.rules = rules
        if start:
            broker.start()
        return broker
    return make


def come(broker, user="app", database="app", password=None, tcp=True):
    with wire.Wire(broker.tcp_address if tcp else broker.socket_path) as one:
        one.start(user, database, password)
        return one.value("SELECT current_user")


def refusal(broker, **words):
    with pytest.raises(wire.Refused) as caught:
        come(broker, **words)
    return caught.value.fields


def test_the_first_line_that_fits_decides(ruled):
    broker = ruled(["host app other all reject", "host app all 127.0.0.1/32 scram-sha-256",
                    "local app all trust",
                    "host second all 127.0.0.0 255.0.0.0 scram-sha-256"])
    assert come(broker, password="secret") == "app"
    assert come(broker, tcp=False) == "app"
    assert come(broker, database="second", password="secret") == "app"
    assert refusal(broker, password="wrong")["C"] == "28P01"


def test_who_is_rejected_or_has_no_line_is_told_what_was_looked_for(ruled):
    broker = ruled(["local app all trust", "host app other 127.0.0.1/32 reject"])
    rejected = refusal(broker, user="other")
    assert rejected["M"] == "login rejected" and rejected["C"] == "28000"
    assert rejected["H"] == "Line 2 of auth_hba_file rejects it."
    lost = refusal(broker)
    assert lost["M"] == "no authentication method is found"
    assert lost["D"] == ('The client came from 127.0.0.1 without TLS, for database "app"'
                         ' as user "app".')
    assert "over the Unix socket" in refusal(broker, database="second", tcp=False)["D"]


def test_names_come_from_files_beside_the_rules(ruled):
    broker = ruled(["local @dbs @users trust"], start=False)
    (broker.folder / "dbs").write_text('# those\n\napp "second"\n')
    (broker.folder / "users").write_text('app, "other\n')
    broker.launch()
    assert broker.wait() == 78
    assert "users:1: " in broker.log() and "not closed" in broker.log()
    (broker.folder / "users").write_text("app,\nadmin\n")
    broker.start()
    assert come(broker, tcp=False) == "app"
    assert come(broker, database="second", tcp=False) == "app"
    assert refusal(broker, user="other", tcp=False)["M"] == "no authentication method is found"


def test_a_map_says_who_may_come_as_whom(ruled):
    me = own_name()
    broker = ruled(["local app all peer map=workers", "local second all peer"],
                   ident=["# who comes as whom", f"workers {me} app"])
    assert come(broker, tcp=False) == "app"
    refused = refusal(broker, user="other", tcp=False)
    assert refused["M"] == "unix socket login rejected"
    assert f'runs as user "{me}"' in refused["D"]
    assert "workers system-username other" in refused["H"]
    assert "map" in refusal(broker, database="second", tcp=False)["H"]


@pytest.mark.parametrize("line, reason", [
    ("host app all 10.0.0.1/33 trust", "mask"), ("local app all nonsense", "nonsense"),
    ("hots app all all trust", "unknown type"), ("local app", "user is missing"),
    ('local "app all trust', "not closed"), ("local app @absent trust", "No such file"),
    ("local app +group trust", "members of roles"), ("local app all peer map=none", "none")])
def test_a_mistake_refuses_the_start_and_a_reload_by_its_line(ruled, line, reason):
    broker = ruled(["# one", "", line], start=False)
    checked = subprocess.run(
        [pglease_binary(), "check-config", "--config", broker.config_path],
        capture_output=True, text=True, timeout=60)
    assert checked.returncode == 78 and "hba.conf:3: " in checked.stderr
    broker.launch()
    assert broker.wait() == 78
    assert "hba.conf:3: " in broker.log() and reason in broker.log()
    broker.rules.write_text("local all all trust\n")
    broker.start()
    broker.errors_expected = True
    broker.rules.write_text(f"local app all reject\n{line}\n")
    with broker.wire("admin", "pglease") as console:
        error = wire.error_of(console.query("RELOAD")).fields
        assert error["C"] == "F0000" and "hba.conf:2: " in error["D"] and reason in error["D"]
    assert come(broker, tcp=False) == "app", "the old rules are in force"
    broker.rules.write_text("local app all reject\nlocal all all trust\n")
    broker.console("RELOAD")
    assert refusal(broker, tcp=False)["M"] == "login rejected"


def test_a_reload_by_signal_with_a_mistake_keeps_the_rules_and_says_so(ruled):
    broker = ruled(["local all all trust"])
    broker.errors_expected = True
    broker.rules.write_text("nonsense\n")
    broker.send_signal(1)
    broker.wait_logged("configuration refused", "hba.conf:1: ")
    assert come(broker, tcp=False) == "app"


def test_set_puts_rules_in_force(ruled):
    broker = ruled(["local all all trust"])
    other = broker.folder / "other.conf"
    other.write_text("local app all reject\nlocal all all trust\n")
    broker.console(f"SET auth_hba_file = '{other}'")
    assert refusal(broker, tcp=False)["M"] == "login rejected"
    other.write_text("nonsense\n")
    with broker.wire("admin", "pglease") as console:
        error = wire.error_of(console.query(f"SET auth_hba_file = '{other}'")).fields
        assert error["C"] == "08P01" and error["M"] == "SET failed" and "other.conf:1" in error["D"]
    broker.console("SET auth_type = trust")
    assert come(broker, tcp=False) == "app"


def test_what_lets_nobody_in_is_warned_of(ruled):
    broker = ruled(["host all all all peer", "local all all trust", "host all all 10.1.1.1/8 trust"])
    broker.wait_logged("hba.conf:1", "peer lets nobody in")
    broker.wait_logged("hba.conf:3", "whole network")
    assert refusal(broker)["M"] == "unix socket login rejected"


def test_the_rules_are_not_read_without_hba(ruled):
    broker = ruled(["nonsense"], start=False)
    broker.set(auth_type="trust")
    broker.start()
    broker.wait_logged("auth_hba_file", "is not read")
    assert come(broker, tcp=False) == "app"


def test_the_console_is_the_brokers_own_users_whatever_the_rules_say(ruled):
    broker = ruled(["local app all trust"])
    for database in ("pglease", "pgbouncer"):
        assert broker.console("SHOW CONFIG", user="pgbouncer", database=database)
        broker.console("RELOAD", user="pgbouncer", database=database)


@pytest.mark.parametrize("line, reason", [
    ("workers app", "column is missing"), ("workers root app more", "more than three"),
    ("workers /^r(.*)$ \\1", "regular expression"), ('workers "root app', "not closed")])
def test_a_mistake_in_a_map_refuses_start_and_reload_by_its_line(ruled, line, reason):
    broker = ruled(["local all all trust"], ident=["workers root app", line], start=False)
    broker.launch()
    assert broker.wait() == 78
    assert "ident.conf:2: " in broker.log() and reason in broker.log()
    ident = broker.folder / "ident.conf"
    ident.write_text("workers root app\n")
    broker.start()
    broker.errors_expected = True
    ident.write_text(f"{line}\n")
    with broker.wire("admin", "pglease") as console:
        error = wire.error_of(console.query("RELOAD")).fields
        assert error["C"] == "F0000" and "ident.conf:1: " in error["D"] and reason in error["D"]
    assert come(broker, tcp=False) == "app"


def test_passwords_are_asked_for_as_the_rule_says(ruled):
    broker = ruled(["host app all all password", "host second all all md5",
                    "host postgres all all scram-sha-256"])
    for database in ("app", "second", "postgres"):
        for password in ("secret", "wrong"):
            try:
                psycopg2.connect(host="127.0.0.1", port=broker.port, user="app", dbname=database,
                                 password=password).close()
                assert password == "secret"
            except psycopg2.OperationalError as error:
                assert password == "wrong" and "authentication failed" in str(error)


def test_a_certificate_needs_tls(ruled):
    broker = ruled(["host app all all cert", "local all all trust"])
    assert "certificate" in refusal(broker)["M"]
