# SPDX-License-Identifier: Apache-2.0
"""The status page of a real broker in a browser: what it shows, and that it stays current."""

import http.client
import json

import pytest

from harness import direct, status_server, wire
from harness.faucet import Faucet
from harness.postgres import free_port
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

HOSTILE = "<script>hacked = 1</script>\"' &amp; <img src=x onerror=hacked=1>"


@pytest.fixture
def watched(make_broker):
    """Starts a broker of three connections with a status page."""
    def make(**settings):
        one = make_broker({
            "default_pool_size": 3, "reserve_pool_size": 0, "metrics_listen": f"127.0.0.1:{free_port()}",
            **settings})
        one.page = f"http://{one.settings['metrics_listen']}/"
        return one
    return make


@pytest.fixture
def open_page(browser):
    tabs = []

    def open_one(broker, **look):
        tab = browser.open(broker.page, **look)
        tabs.append((tab, broker))
        tab.until("!document.getElementById('verdict').hidden")
        return tab

    yield open_one
    for tab, broker in tabs:
        tab.check(broker.page)
        tab.close()


@pytest.fixture
def faucet(postgres):
    one = Faucet(postgres.socket_path)
    yield one
    one.close()


@pytest.fixture
def peer():
    """Processes that hold and wait, each with an application_name and one connection."""
    made = []

    def make(broker, name):
        one = direct.Peer(broker.socket_path)
        made.append(one)
        one.do(f"one = wire.Wire(address).start('app', 'app', application_name={name!r})")
        return one

    yield make
    for one in made:
        one.close()


def column(tab, table, heading):
    """The texts of a column, from the top."""
    return tab.value(
        f"[...document.querySelectorAll('#{table} tbody tr')].map(row => [...row.children]"
        f".find(cell => cell.dataset.head === {json.dumps(heading)}).innerText)")


def ask(broker, method, path):
    host, port = broker.settings["metrics_listen"].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer, answer.read()


def test_the_page_is_served_with_its_hashes(watched):
    """When this fails since the page has changed: the right hashes go into StatusPage.swift."""
    broker = watched()
    answer, body = ask(broker, "GET", "/")
    assert answer.status == 200 and body == status_server.PAGE.read_bytes()
    assert answer.headers["Content-Security-Policy"] == status_server.policy()
    for name, value in {"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff",
                        "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}.items():
        assert answer.headers[name] == value
    head, nothing = ask(broker, "HEAD", "/")
    assert nothing == b"" and head.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_shows_who_holds_and_who_waits_as_it_changes(watched, open_page, peer, scheme, tmp_path):
    broker = watched(lease_warn_after="1")
    tab = open_page(broker, scheme=scheme)
    assert "All is well: no client has come yet" in tab.text("#verdict")
    copier, worker, hostile, other = (peer(broker, name) for name in ("copier", "worker", HOSTILE, "other"))
    copier.do("one.query(\"LEASE FOR 'backfill.copy' THREAD '11'\")")
    worker.do("one.query('BEGIN')")
    hostile.do("one.query('LEASE FOR \\'<b>purpose</b>\\'')")
    tab.until("document.querySelectorAll('#leases tbody tr').length === 3")
    assert "3 of 3 connections leased, nobody waits" in tab.text("#verdict") or "held for longer" in tab.text("#verdict")
    other.start("one.query('SELECT 1')")
    tab.until("document.querySelectorAll('#waiters tbody tr').length === 1")

    shown = {row["lease_id"]: row for row in broker.console("SHOW LEASES")}
    assert set(column(tab, "leases", "Lease")) == set(shown)
    assert dict(zip(column(tab, "leases", "Lease"), column(tab, "leases", "Server pid"))) == \
        {number: row["server_pid"] for number, row in shown.items()}
    assert column(tab, "leases", "Age") and column(tab, "leases", "Purpose")[0] == "backfill.copy"
    assert f"pid {copier.pid}" in column(tab, "leases", "Holder")[0]
    assert column(tab, "leases", "Application")[2].split("\n")[0] == HOSTILE
    assert column(tab, "leases", "Purpose")[2] == "<b>purpose</b>"
    assert "idle in transaction" in column(tab, "leases", "State")[1]
    assert column(tab, "waiters", "Application") == ["other"]
    # The top says who has held longest, and after a second that this is long.
    tab.until("document.getElementById('verdict').innerText.includes('1 waiter, oldest')")
    assert f"all 3 connections of app/app are leased; longest: pid {copier.pid} copier" in tab.text("#verdict")
    tab.until("[...document.querySelectorAll('#leases tbody tr')].every(e => e.innerText.includes('held long'))")
    assert "held for longer than lease_warn_after" in tab.text("#verdict")
    assert tab.value("document.title").endswith("1 waiting – pglease")
    assert "3 of 3 leased, 0 idle, 1 waiting" in tab.text(".plot .now")
    tab.screenshot(tmp_path / f"{scheme}.png")

    # A lease ends: the waiter has its turn; both are gone without a reload.
    copier.do("one.query('LEASE RETURN')")
    other.answer()
    tab.until("document.querySelectorAll('#leases tbody tr').length === 2"
              " && document.querySelectorAll('#waiters tbody tr').length === 0")
    worker.do("one.query('COMMIT')")
    hostile.do("one.query('LEASE RETURN')")
    tab.until("document.getElementById('verdict').innerText.includes('nobody waits')")
    assert tab.value("typeof hacked") == "undefined"
    assert tab.value("document.querySelectorAll('script').length") == 1


def test_it_says_that_the_broker_is_gone_and_sees_it_come_back(watched, open_page):
    broker = watched()
    with broker.wire(application_name="worker") as one:
        one.query("LEASE")
        tab = open_page(broker)
        tab.until("document.querySelectorAll('#leases tbody tr').length === 1")
        first = broker.pid
        assert f"pid {first}" in tab.text("#about") and tab.value("stale.hidden")
        broker.kill()
        tab.until("!document.getElementById('stale').hidden")
    assert "The broker has not answered for" in tab.text("#stale") and "(no connection)" in tab.text("#stale")
    assert tab.value("document.querySelector('[role=alert]').innerText") != ""
    # What was known stays to be read.
    assert len(column(tab, "leases", "Lease")) == 1
    broker.start()
    tab.until(f"document.getElementById('about').innerText.includes('pid {broker.pid}')")
    assert tab.value("document.getElementById('stale').hidden") and column(tab, "leases", "Lease") == []
    assert broker.pid != first
    # That nobody answered is the browser's own complaint, and the only one.
    assert all("ERR_CONNECTION_REFUSED" in each or "ERR_" in each for each in tab.complaints)
    tab.complaints.clear()


def test_a_groups_cap_is_told(watched, open_page, peer, postgres):
    broker = watched()
    broker.groups = {"pipeline-*": "max_leases=1 min_leases=1"}
    broker.write()
    broker.console("RELOAD")
    one, two = peer(broker, "pipeline-orders"), peer(broker, "pipeline-orders")
    one.do("one.query('BEGIN')")
    two.start("one.query('SELECT 1')")
    tab = open_page(broker)
    tab.until("document.querySelectorAll('#waiters tbody tr').length === 1")
    row, = [row for row in broker.console("SHOW GROUPS") if row["waiting"] == "1"]
    assert (row["leases"], row["max_leases"]) == ("1", "1")
    assert "1 of 1 ● at its cap" in tab.text("#groups").replace("\n", " ")
    tab.until("document.getElementById('verdict').innerText.includes('has all 1 leases it may have (max_leases)')")
    one.do("one.query('COMMIT')")
    two.answer()
    tab.until("document.querySelectorAll('#waiters tbody tr').length === 0")


def test_a_lock_its_cycle_and_what_became_of_it(watched, open_page, peer):
    broker = watched(default_pool_size=2)
    one, two = peer(broker, "one"), peer(broker, "two")
    for each, name in ((one, "one"), (two, "two")):
        each.do(f"inner = wire.Wire(address).start('app', 'app', application_name={name!r})")
        each.do(f"one.query(\"LEASE FOR 'outer.{name}' THREAD '7'\")")
    one.start("inner.query(\"LEASE FOR 'inner.one' THREAD '7'\")")
    tab = open_page(broker)
    tab.until("document.querySelectorAll('#waiters tbody tr').length === 1")
    # The youngest is refused with 40P01, and holds its outer lease still.
    assert "inner.two" in two.do("str(inner.query(\"LEASE FOR 'inner.two' THREAD '7'\")[0].fields)")
    tab.until("document.getElementById('verdict').innerText.includes('refused because of a pool lock (40P01)')")
    assert "pool_lock_rejected" in column(tab, "events", "Kind")
    # Refused is not locked any more: who was refused can give back.
    eventually(lambda: not broker.console("SHOW LOCKS"))
    tab.until("document.getElementById('locks-section').hidden")
    two.do("one.query('LEASE RETURN')")
    one.answer()
    tab.until("document.querySelectorAll('#waiters tbody tr').length === 0")
    # The kinds of event can be chosen.
    tab.value("kind.value = 'pool_lock_rejected'; kind.dispatchEvent(new Event('change'))")
    assert set(column(tab, "events", "Kind")) == {"pool_lock_rejected"}


def test_a_suspected_lock_is_drawn(watched, open_page, peer, tmp_path):
    broker = watched(default_pool_size=2)
    one, two = peer(broker, "one"), peer(broker, "two")
    for each in (one, two):
        each.do("inner = wire.Wire(address).start('app', 'app')")
        each.do("one.query('BEGIN')")
    for each in (one, two):
        each.start("inner.query('SELECT 1')")
    tab = open_page(broker)
    tab.until("document.querySelectorAll('.lock li').length === 2")
    assert "A pool lock is suspected in app/app" in tab.text("#verdict")
    for each in (one, two):
        assert f"pid {each.pid}" in tab.text(".lock")
    assert "suspected" in tab.text(".lock h3") and "and waits" in tab.text(".lock li")
    tab.screenshot(tmp_path / "lock.png")


def test_a_database_that_is_down(watched, open_page, faucet):
    broker = watched()
    broker.databases = {"app": f"host=127.0.0.1 port={faucet.port}"}
    broker.write()
    broker.console("RELOAD")
    with broker.wire() as one:
        one.query("SELECT 1")
        tab = open_page(broker)
        assert "All is well" in tab.text("#verdict")
        faucet.refuse()
        one.send(wire.query("SELECT 1"))
        tab.until("document.getElementById('verdict').innerText.includes('No connection to PostgreSQL for app/app')")
        assert tab.value("verdict.className") == "error" and tab.value("document.title").endswith("waiting – pglease")
        faucet.flow()
        one.until_ready()
        tab.until("document.getElementById('verdict').className !== 'error'")
        assert "connect_recovered" in column(tab, "events", "Kind")
