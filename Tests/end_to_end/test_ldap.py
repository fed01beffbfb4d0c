# SPDX-License-Identifier: Apache-2.0
"""auth_type ldap: a directory judges passwords, on worker threads, and is asked nothing but what is meant."""

import select

import psycopg
import pytest

from harness import wire
from harness.directory import BASE, Directory, Mute, person
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PASSWORD = "pass wörd, \"quoted\""


@pytest.fixture(scope="module")
def directory(certificates):
    one = Directory(certificates, [
        person("joe", PASSWORD), person("secretive", "right horse"), person("o(*)o", "odd"),
        person("veiled", "under veil", unit="hidden")])
    yield one
    one.destroy()


@pytest.fixture
def mute():
    made = []

    def make(*words):
        made.append(Mute(*words))
        return made[-1]

    yield make
    for one in made:
        one.destroy()


@pytest.fixture
def start(make_broker, postgres, directory):
    """A broker whose rules are these options of ldap, by the name of the database that they are for."""
    def make(rules=None, settings=None, first="", **named):
        broker = make_broker(start=False, userlist={"known": "its own"}, **named, databases={
            "*": f"host={postgres.host} port={postgres.port} dbname=app user=app",
            "own": f"host=127.0.0.1 port={postgres.port} dbname=app"})
        if rules is not None:
            lines = [f"local {name} all ldap {options}\n" for name, options in rules.items()]
            (broker.folder / "hba").write_text(first + "".join(lines))
            settings = {"auth_type": "hba", "auth_hba_file": broker.folder / "hba"} | (settings or {})
        broker.environment["LDAPTLS_CACERT"] = directory.authority
        broker.set(**settings)
        return broker.start()
    return make


def login(broker, database, user="joe", password=PASSWORD):
    wire.Wire(broker.socket_path).start(user, database, password).close()


def refused(broker, database, user="joe", password=PASSWORD, code="28P01"):
    with pytest.raises(wire.Refused) as caught:
        login(broker, database, user, password)
    assert caught.value.code == code
    assert caught.value.fields["M"] == f'LDAP authentication failed for user "{user}"'
    return caught.value.fields


def test_the_setting_names_a_directory(start, directory):
    secret = "asker's, \"one\"".replace('"', '""')
    broker = start(settings={
        "auth_type": "ldap", "auth_file": "",
        "auth_ldap_options": f'ldapserver=127.0.0.1 ldapport={directory.port} ldapbasedn="{BASE}" '
                             f'ldapbinddn="cn=asker,{BASE}" ldapbindpasswd="{secret}"'})
    psycopg.connect(broker.dsn("joe"), password=PASSWORD).close()
    login(broker, "app", "veiled", "under veil")
    # What was proven goes on to a server that asks for it.
    with wire.Wire(broker.socket_path).start("secretive", "own", "right horse") as one:
        assert one.value("SELECT current_user") == "secretive"
    for user, password in (("joe", "wrong"), ("joe", ""), ("joe", "x" * 65_000), ("nobody", PASSWORD)):
        refused(broker, "app", user, password)
    for body in (b"", b"a", b"a\0b\0", b"SCRAM-SHA-256\0\0\0\0\1x"):
        with broker.raw() as one:
            one.send(wire.startup({"user": "joe", "database": "app"}))
            assert one.next().kind == "R"
            one.send(wire.message("p", body))
            assert one.next().code == "08P01"
    shown = {row["key"]: row["value"] for row in broker.console("SHOW CONFIG", user="root")}
    assert "ldapbindpasswd=***" in shown["auth_ldap_options"]
    for secret in ("asker's", "quoted", "under veil"):
        assert secret not in broker.log() and secret not in str(shown)
    assert broker.logged("LDAP refuses a login", "no such entry")
    assert broker.logged("LDAP refuses a login", "invalid credentials")
    # Six of the logins were asked for.
    eventually(lambda: directory.log().count("UNBIND") == 6, what=directory.log)


def test_names_of_users_are_only_names(start, directory):
    server = f"ldapserver=localhost ldapport={directory.port}"
    broker = start({
        "people": f'{server} ldapprefix="uid=" ldapsuffix=",ou=people,{BASE}"',
        "units": f'{server} ldapprefix="uid=" ldapsuffix=",{BASE}"',
        "plain": f"{server} ldapsuffix=@example.net",
        "found": f"{server} ldapbasedn={BASE!r}".replace("'", '"'),
        "mail": f'ldapurl="ldap://localhost:{directory.port}/{BASE}??sub?'
                f'(|(mail=$username)(uid=$username))"',
        "smiths": f'{server} ldapbasedn="{BASE}" ldapsearchfilter="(&(sn=Smith)(!(cn=$username)))"',
        "base": f"ldapurl=ldap://localhost:{directory.port}/ou=people,{BASE}".replace(",", "%2c"),
    })
    for database in ("people", "found", "mail"):
        login(broker, database)
    login(broker, "mail", "joe@example.net")
    login(broker, "found", "o(*)o", "odd")
    login(broker, "people", "o(*)o", "odd")
    for database, user in (
            ("units", "joe,ou=people"), ("units", "joe"), ("people", "joe,"), ("plain", "joe"),
            ("plain", f"uid=joe,ou=people,{BASE}"), ("found", "jo*"), ("found", "*"),
            ("found", "joe)(uid=joe"), ("found", "x)(|(uid=*"), ("found", "jo\\65"),
            ("smiths", "nobody"), ("base", "joe"), ("found", "veiled")):
        refused(broker, database, user)
    refused(broker, "found", "o*", "odd")
    assert broker.logged("LDAP refuses a login", "more than one such entry")


def test_encryption_is_begun_or_nobody_gets_in(start, directory):
    by_name = f'ldapprefix="uid=" ldapsuffix=",ou=people,{BASE}"'
    broker = start({
        "started": f"ldapserver=127.0.0.1 ldapport={directory.port} ldaptls=1 {by_name}",
        "whole": f"ldapurl=ldaps://127.0.0.1:{directory.tls_port}/{BASE}?uid?sub".replace(
            f"/{BASE}", f"/{BASE}".replace(",", "%2c")),
        "other": f"ldapserver=127.0.0.2 ldapport={directory.port} ldaptls=1 {by_name}",
        "deaf": f"ldapserver=127.0.0.1 ldapport={directory.tls_port} ldaptls=1 {by_name}",
    })
    login(broker, "started")
    login(broker, "whole")
    # The certificate is that of 127.0.0.1.
    assert "could not be asked" in refused(broker, "other", code="57P03")["D"]
    before = directory.log().count("BIND")
    refused(broker, "other", code="57P03")
    refused(broker, "deaf", code="57P03")
    assert directory.log().count("BIND") == before
    assert not [line for line in broker.logged("as they are typed") if "ldap" in line]


def test_other_servers_are_asked_and_silent_ones_hold_up_nobody(start, directory, mute):
    silent, half, noise = mute(), mute(b"\x30"), mute(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    # It is ready for TLS, as it says.
    ready = mute(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", True)
    by_name = f'ldapprefix="uid=" ldapsuffix=",ou=people,{BASE}"'
    broker = start({
        "away": f'ldapserver="localhost:1 localhost:{directory.port}" {by_name}',
        "noise": f'ldapserver="127.0.0.1:{noise.port} localhost:{directory.port}" {by_name}',
        "second": f'ldapserver="127.0.0.1:{silent.port} localhost:{directory.port}" {by_name}',
        "silent": f"ldapserver=127.0.0.1:{silent.port} {by_name}",
        "half": f"ldapserver=127.0.0.1:{half.port} {by_name}",
        "encrypted": f"ldapserver=127.0.0.1:{silent.port} ldapscheme=ldaps {by_name}",
        "started": f"ldapserver=127.0.0.1:{ready.port} ldaptls=1 {by_name}",
        "closed": f"ldapserver=localhost:1 {by_name}",
        "healthy": f"ldapserver=localhost:{directory.port} {by_name}",
    }, {"client_login_timeout": 60}, first="local all known scram-sha-256\n")
    login(broker, "away")
    refused(broker, "closed", code="57P03")
    names = ["second", "noise", "half", "encrypted", "started"] + 5 * ["silent"]
    waiting = []
    for name in names:
        one = broker.raw(timeout=40)
        one.send(wire.startup({"user": "joe", "database": name}))
        assert one.next().kind == "R"
        one.send(wire.message("p", ("x" * 65_000 if name == "silent" else PASSWORD).encode() + b"\0"))
        waiting.append(one)
    login(broker, "healthy")
    login(broker, "app", "known", "its own")
    # The last one has its turn when another has had its five seconds.
    assert not select.select([waiting[-1].socket], [], [], 0)[0]
    ends = [one.next() for one in waiting]
    assert [one.kind for one in ends[:2]] == ["R", "R"], ends[:2]
    assert {one.code for one in ends[2:]} == {"57P03"}
    assert len(broker.logged("an LDAP server is of no use")) == 6
    # A server that did not answer is asked last.
    asked = len(silent.accepted)
    login(broker, "second")
    assert len(silent.accepted) == asked


def test_a_mistake_keeps_what_is_in_force(start, directory):
    good = f'ldapurl="ldap://localhost:{directory.port}/{BASE}?uid?sub"'
    broker = start({"app": ""}, {"auth_ldap_options": good})
    login(broker, "app")
    broker.errors_expected = True
    rules = broker.folder / "hba"
    for line, reason in (("ldap ldapserver=x", "none of ldapbasedn"), ("ldap ldaptls=1,", "ldapbasedn"),
                         ("ldap ldapurl=http://x", "neither ldap://"), ("ldap secret=x", "no option")):
        rules.write_text(f"local all all {line}\n")
        with pytest.raises(wire.Refused) as caught:
            broker.console("RELOAD", user="root")
        assert f"{rules}:1" in caught.value.fields["D"] and reason in caught.value.fields["D"]
        assert "secret" not in caught.value.fields["D"]
        login(broker, "app")
    with pytest.raises(wire.Refused) as caught:
        broker.console("SET auth_ldap_options = 'ldapserver=x'", user="root")
    assert "none of ldapbasedn" in str(caught.value.fields)
    rules.write_text("local all all ldap\n")
    broker.set(auth_ldap_options="")
    with pytest.raises(wire.Refused) as caught:
        broker.console("RELOAD", user="root")
    assert "ldap needs options" in caught.value.fields["D"]
    login(broker, "app")
