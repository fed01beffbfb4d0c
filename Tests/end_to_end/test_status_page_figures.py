# SPDX-License-Identifier: Apache-2.0
"""The status page in a browser, beside figures that are made up: what no real broker shows in a test."""

import json
import math
import re
import time

import pytest

from harness import readable, status_server
from harness.status_server import event, group, lease, link, pool, share, stats, waiter

pytestmark = pytest.mark.pglease_only

HOSTILE = "\u202eevil\u202c שלום <script>hacked = 1</script><img src=x onerror=hacked=1>\"' &amp; {{x}}\n"


class Figures:
    """What the page's server answers; a test changes it."""

    def __init__(self, **values):
        self.values = values

    def __call__(self):
        return stats(**self.values) if "body" not in self.values else self.values["body"]


@pytest.fixture
def figures():
    return Figures()


@pytest.fixture
def open_page(browser, figures):
    """Opens the page; at the end it must have complained of nothing and asked nobody else."""
    server, tabs = status_server.StatusServer(figures), []

    def open_one(until="document.getElementById('verdict').innerText", before=None, **look):
        tab = browser.open("about:blank", **look)
        tabs.append(tab)
        tab.server = server
        if before:
            tab.before(before)
        tab.go(server.address)
        tab.until(until)
        return tab

    yield open_one
    for tab in tabs:
        tab.check(server.address)
        tab.close()
    server.close()


def rows(tab, table, heading):
    """The texts of a column, from the top."""
    return tab.value(
        f"[...document.querySelectorAll('#{table} tbody tr')].map(row => [...row.children]"
        f".find(cell => cell.dataset.head === {json.dumps(heading)}).innerText)")


def everything():
    """Figures in which each part of the page has something to show."""
    now = time.time()
    samples = [
        {"time": now - 5 * n, "pools": {"app/app": {
            "leased": n % 11, "waiting": n % 7 if n % 11 == 10 else 0, "total": 10, "size": 10}}}
        for n in range(118, 0, -1) if not 50 < n < 60]
    return {
        "pools": [pool(sv_active=10, sv_idle=0, sv_total=12, cl_waiting=3, maxwait=4, maxwait_us=200000),
                  pool("app", HOSTILE), pool("pgbouncer", "pgbouncer", pool_size=None)],
        "leases": [lease(1, age_us=45000000, warned="yes"),
                   lease(2, state="idle in transaction", idle_us=9000000, thread="77"),
                   lease(3, state="direct", kind="direct", transactions=None),
                   lease(4, application_name=HOSTILE, purpose=HOSTILE, group=HOSTILE, program=HOSTILE,
                         arguments=HOSTILE, thread=HOSTILE),
                   lease(5, application_name="x" * 10000, purpose="y" * 10000, group="z" * 10000,
                         arguments="w" * 10000, database="v" * 10000)],
        "waiters": [waiter(1), waiter(2, deadline_us=900000), waiter(3, application_name=HOSTILE, purpose=HOSTILE)],
        "groups": [group("backfill", min_leases=2, max_leases=9, leases=6), group(HOSTILE),
                   group("pipeline-orders", max_leases=4, leases=4, waiting=3, maxwait_us=4200000)],
        "shares": [share(), share(HOSTILE, state="failing", error=HOSTILE, share=None, total=None)],
        "locks": [link(1), link(2, purpose=HOSTILE, thread=HOSTILE), link(3, waits_for="u" * 10000)],
        "events": [event(1), event(2, "started", "notice"), event(3, "leak", "warning", age_us=9000000, message=HOSTILE),
                   event(4, "exhausted", "error", age_us=8000000, count=5, message="x" * 10000, database="app", user="app",
                         client_pid=7, application_name=HOSTILE)],
        "history": {"period": 5, "samples": samples},
    }


def test_the_page_is_small_and_builds_no_markup_from_figures():
    text = status_server.PAGE.read_text()
    assert len(text.encode()) < 60_000
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                 "new Function", "srcdoc", "DOMParser", "import("):
        assert word not in text, word
    # Nothing from elsewhere: the only addresses are names of XML.
    assert set(re.findall(r"https?://[^'\" ]+", text)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 900, 1400])
def test_everything_can_be_read(open_page, figures, scheme, width, tmp_path):
    figures.values = everything()
    tab = open_page(width=width, scheme=scheme)
    tab.until("document.querySelectorAll('#leases tbody tr').length === 5")
    tab.screenshot(tmp_path / "page.png")
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert readable.too_wide(tab) == []
    # Between, the widest tables scroll in their own boxes.
    if width != 900:
        assert tab.value("[...document.querySelectorAll('.scroll')].every(e => e.scrollWidth <= e.clientWidth)")
    found = readable.contrasts(tab)
    assert len(found) > 150
    assert found[0][0] >= 4.5, found[:5]
    # Greyed because the broker is away, too.
    figures.values = {"body": b"nonsense"}
    tab.until("!document.getElementById('stale').hidden")
    found = readable.contrasts(tab)
    assert found[0][0] >= 4.5, found[:5]


@pytest.mark.parametrize("width", [360, 1400])
def test_names_are_never_markup(open_page, figures, width):
    figures.values = everything()
    tab = open_page(width=width)
    tab.until("document.querySelectorAll('#leases tbody tr').length === 5")
    assert tab.value("typeof hacked") == "undefined"
    assert tab.value("document.querySelectorAll('script').length") == 1
    assert tab.value("document.images.length") == 0
    said = tab.text("#leases")
    assert "<script>hacked = 1</script><img src=x onerror=hacked=1>\"' &amp; {{x}}" in said
    # What would turn the text around, or hide, is shown by its number.
    assert "\\u202eevil\\u202c" in said and "\u202e" not in tab.value("document.documentElement.outerHTML")
    # Too long a name is cut where it is seen, and in its title.
    assert max(tab.value("[...document.querySelectorAll('td > span')].map(e => e.innerText.length)")) < 700
    assert max(tab.value("[...document.querySelectorAll('[title]')].map(e => e.title.length)")) < 3000


def test_sorting_by_click_and_by_key(open_page, figures):
    figures.values = {"leases": [lease(1, age_us=5, idle_us=2000000), lease(2, age_us=70000000),
                                 lease(3, age_us=900000, idle_us=1000000)]}
    tab = open_page()
    sorted_by = "[...document.querySelectorAll('#leases th[aria-sort]')].map(e => [e.innerText.slice(0, -2), e.ariaSort])"
    assert rows(tab, "leases", "Age") == ["1.2 min", "900 ms", "5 µs"]
    assert tab.value(sorted_by) == [["Age", "descending"]]
    heading = "[...document.querySelectorAll('#leases th button')].find(e => e.innerText.startsWith('%s'))"
    tab.value((heading % "Age") + ".click()")
    assert rows(tab, "leases", "Age") == ["5 µs", "900 ms", "1.2 min"]
    assert tab.value(sorted_by) == [["Age", "ascending"]]
    # By the keyboard; what has no value comes last, whichever way.
    tab.value((heading % "Idle") + ".focus()")
    tab.key("Enter", "\r", 13)
    tab.until("document.querySelector('#leases th[aria-sort]').innerText === 'Idle ▼'")
    assert rows(tab, "leases", "Lease") == ["1", "3", "2"]
    tab.key("Enter", "\r", 13)
    tab.until("document.querySelector('#leases th[aria-sort]').innerText === 'Idle ▲'")
    assert rows(tab, "leases", "Lease") == ["3", "1", "2"]
    # It stays so when new figures come.
    figures.values["leases"].append(lease(4, idle_us=1500000))
    tab.until("document.querySelectorAll('#leases tbody tr').length === 4")
    assert rows(tab, "leases", "Lease") == ["3", "4", "1", "2"]


def test_filter_and_kinds(open_page, figures):
    figures.values = everything()
    tab = open_page()
    tab.value("document.getElementById('filter').focus()")
    tab.type("4002 BACK")
    tab.until("document.querySelector('#leases .head p').innerText === '1 of 5 match'")
    assert rows(tab, "leases", "Lease") == ["2"]
    assert tab.text("#groups .head p") == "0 of 3 match"
    tab.value("filter.value = ''; filter.dispatchEvent(new Event('input'))")
    assert len(rows(tab, "leases", "Lease")) == 5
    assert rows(tab, "events", "Kind") == ["exhausted ×5", "leak", "started", "reload"]
    assert tab.value("[...document.querySelectorAll('#kind option')].map(e => e.value)") == \
        ["", "exhausted", "leak", "reload", "started"]
    tab.value("kind.value = 'leak'; kind.dispatchEvent(new Event('change'))")
    assert rows(tab, "events", "Kind") == ["leak"]
    # A kind that is chosen stays chosen, even when there is no such event any more.
    figures.values["events"] = [event(9)]
    tab.until("document.querySelector('#events .head p').innerText === '0 of 1 match'")
    assert tab.value("kind.value") == "leak"


def test_ten_thousand_of_each(open_page, figures):
    """What is drawn is bounded; what is not drawn is told, and found by the filter."""
    figures.values = {
        "pools": [pool("app", f"u{n}", cl_waiting=n % 3) for n in range(300)],
        "leases": [lease(n, application_name=f"worker-{n}") for n in range(1, 10001)],
        "waiters": [waiter(n) for n in range(1, 10001)],
        "groups": [group(f"g{n}") for n in range(1000)],
        "events": [event(n) for n in range(1, 513)],
        "history": {"period": 5, "samples": [
            {"time": time.time() - 5 * n, "pools": {f"app/u{m}": {"leased": m % 5, "waiting": 0, "total": 5, "size": 5}
                                                    for m in range(300)}} for n in range(100, 0, -1)]},
    }
    tab = open_page(until="document.querySelectorAll('#waiters tbody tr').length")
    assert tab.text("#leases .head p") == "10,000; 9,800 more are not shown: sort, or filter, to see them"
    assert rows(tab, "leases", "Lease") == [str(n) for n in range(10000, 9800, -1)]
    figures.values["not_listed"] = {"leases": 0, "waiters": 4000}
    tab.until("document.querySelector('#waiters .head p').innerText.endsWith("
              "'the broker has 4,000 more: SHOW WAITERS in the console lists all')")
    assert tab.value("document.querySelectorAll('*').length") < 60_000
    assert tab.value("document.querySelectorAll('.plot').length") == 8
    tab.value("filter.value = 'worker-77'; filter.dispatchEvent(new Event('input'))")
    assert tab.text("#leases .head p") == "111 of 10,000 match"
    tab.value("filter.value = 'app/u299'; filter.dispatchEvent(new Event('input'))")
    assert tab.text(".plot h3") == "app/u299"


def test_pause_holds_the_page_still(open_page, figures):
    tab = open_page()
    tab.value("document.getElementById('pause').click()")
    assert tab.value("pause.ariaPressed") == "true" and tab.text("#pause") == "Go on"
    assert "paused, as it was at" in tab.text("#about")
    tab.until("!page.isAsking")
    asked = tab.server.asked
    figures.values["leases"] = []
    tab.value("new Promise(done => setTimeout(done, 2500))")
    assert tab.server.asked == asked and len(rows(tab, "leases", "Lease")) == 4
    tab.value("pause.click()")
    tab.until("document.querySelectorAll('#leases tbody tr').length === 0")


def test_it_asks_less_often_when_nobody_looks(open_page, figures):
    tab = open_page(before="""
        let isHidden = false; const waits = [], timer = setTimeout;
        Object.defineProperty(document, 'hidden', {get: () => isHidden});
        setTimeout = (work, wait) => { waits.push(wait); return timer(work, wait); };
    """)
    tab.until("waits.length > 2")
    assert tab.value("Math.min(...waits)") >= 1000
    tab.until("!page.isAsking")
    tab.value("isHidden = true, waits.length = 0, document.dispatchEvent(new Event('visibilitychange'))")
    tab.until("waits.length > 0")
    assert tab.value("Math.min(...waits)") >= 10000
    # Who comes back sees new figures at once.
    asked = tab.server.asked
    tab.value("isHidden = false, waits.length = 0, document.dispatchEvent(new Event('visibilitychange'))")
    tab.until("waits.length > 0")
    assert tab.server.asked > asked


@pytest.mark.parametrize("body, reason", [
    (b"nonsense", "the answer is not JSON"), (b"[]", "the answer is not what it should be"),
    (b'{"now": 1, "pools": 7, "leases": [null, 3]}', None), (b"null", "the answer is not what it should be")])
def test_answers_that_are_none(open_page, figures, body, reason):
    """Told, not fatal: the next good one is shown again."""
    tab = open_page()
    figures.values = {"body": body}
    if reason:
        tab.until("!document.getElementById('stale').hidden")
        assert f"({reason})" in tab.text("#stale") and "What is shown is of" in tab.text("#stale")
        assert len(rows(tab, "leases", "Lease")) == 4
    else:
        tab.until("document.querySelectorAll('#leases tbody tr').length === 0")
    figures.values = {"leases": [lease(9)]}
    tab.until("document.querySelectorAll('#leases tbody tr').length === 1")
    assert tab.value("document.getElementById('stale').hidden")


def test_the_history_fills_the_plots(open_page, figures):
    figures.values = everything()
    tab = open_page(until="document.querySelector('.plot .leased')")
    # A stretch before the ten samples that are missing, and one after.
    path = tab.value("document.querySelector('.plot .leased').getAttribute('d')")
    assert path.count("M") == 2 and path.count("H") > 90
    label = tab.value("document.querySelector('.plot svg').ariaLabel")
    assert "app/app: 10 of 10 leased, 0 idle, 2 being opened or cleaned, 3 waiting" in label and "at most 10 leased" in label
    # By the keyboard back in time, into the gap and before it.
    tab.value("document.querySelector('.plot svg').focus()")
    for _ in range(55):
        tab.key("ArrowLeft")
    assert "nothing is known" in tab.text(".plot .now")
    for _ in range(20):
        tab.key("ArrowLeft")
    assert re.search(r"\d\d:\d\d:\d\d UTC: \d+ of 10 leased", tab.text(".plot .now"))
    tab.key("Escape")
    assert tab.text(".plot .now").startswith("10 of 10 leased")


def test_without_scripts_it_leads_to_the_figures(browser, figures):
    server = status_server.StatusServer(figures)
    tab = browser.open("about:blank")
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.go(server.address)
    assert "needs JavaScript" in tab.text() and tab.text("noscript a") == "stats.json"
    tab.close()
    server.close()


def test_all_controls_and_tables_have_names(open_page, figures):
    figures.values = everything()
    for width in (360, 1400):
        tab = open_page(width=width)
        tab.until("document.querySelectorAll('#leases tbody tr').length === 5")
        tab.call("Accessibility.enable")
        found = {}
        for node in tab.call("Accessibility.getFullAXTree")["nodes"]:
            if not node["ignored"]:
                name = node.get("name", {}).get("value", "")
                found.setdefault(node["role"]["value"], []).append(name)
        for role in ("button", "searchbox", "combobox", "image", "table", "region", "columnheader"):
            assert found.get(role) and all(found[role]), (role, found.get(role))
        assert found["searchbox"] == ["Filter"] and found["combobox"] == ["Kind"]
        assert set(found["table"]) == {
            "Waiters", "Leases", "Pools", "Shared bounds", "Groups", "Events"}
        assert len(found["row"]) == 3 + 5 + 2 + 2 + 3 + 4 + 6 and len(found["columnheader"]) > 40


def full(**values):
    return pool(sv_active=10, sv_idle=0, sv_total=10) | values


VERDICTS = {
    "nobody came": ({"pools": [], "leases": []}, "good", ["All is well: no client has come yet"]),
    "well": ({}, "good", ["✓ All is well: 4 of 10 connections leased, nobody waits."]),
    "a burst": (
        {"pools": [full(cl_waiting=3, maxwait_us=200000)], "waiters": [waiter(1)]},
        "notice", ["3 waiters, oldest 200 ms: all 10 connections of app/app are leased; longest: pid 4004 backfill, 4.0 ms"]),
    "held long": (
        {"pools": [full(cl_waiting=3, maxwait=4, maxwait_us=200000)], "waiters": [waiter(1)],
         "leases": [lease(7, client_pid=4711, purpose="backfill.copy", age_us=45000000), lease(8)]},
        "warning", ["3 waiters, oldest 4.2 s", "longest: pid 4711 backfill for 'backfill.copy', 45 s",
                    "KILL LEASE 7", "next deadline is in 26 s"]),
    "idle in transaction": (
        {"pools": [full(cl_waiting=1, maxwait=2)], "waiters": [waiter(1)],
         "leases": [lease(7, age_us=45000000, state="idle in transaction", idle_us=41000000)]},
        "warning", ["has been idle in transaction for 41 s", "KILL LEASE 7"]),
    "a group at its cap": (
        {"pools": [pool(cl_waiting=1, maxwait=2)], "waiters": [waiter(1)],
         "groups": [group("pipeline-orders", max_leases=4, leases=4, waiting=1)]},
        "warning", ["group pipeline-orders has all 4 leases it may have", "Raise max_leases"]),
    "a share that cannot be asked for": (
        {"shares": [share(state="failing", error="permission denied for schema pglease")]},
        "warning", ["The table of shared bound orders cannot be asked: permission denied", "none is opened until"]),
    "all servers in use": (
        {"pools": [pool(cl_waiting=1, maxwait=2)], "servers": {"connected": 40, "max": 40}},
        "warning", ["all 40 connections of the broker are in use (max_server_connections)"]),
    "database down": (
        {"pools": [pool(sv_active=0, sv_idle=0, sv_total=0, cl_waiting=2, maxwait=3)], "leases": [], "ready": False,
         "events": [event(1, "connect_failed", "warning", age_us=1500000, database="app", user="app",
                          message="connection refused")]},
        "error", ["No connection to PostgreSQL for app/app could be made, last tried 1.5 s ago: connection refused",
                  "has no connection to PostgreSQL yet"]),
    "database back": (
        {"events": [event(1, "connect_failed", "error", age_us=9500000, database="app", user="app"),
                    event(2, "connect_recovered", "info", age_us=500000, database="app", user="app")]},
        "good", ["All is well"]),
    "database down again": (
        {"events": [event(1, "connect_failed", "warning", age_us=500000, count=9, database="app", user="app"),
                    event(2, "connect_recovered", "info", age_us=9500000, database="app", user="app")]},
        "warning", ["No connection to PostgreSQL for app/app could be made"]),
    "a client's mistake": (
        {"pools": [pool(), pool("typo", sv_active=0, sv_idle=0, sv_total=0)],
         "events": [event(1, "connect_failed", "error", age_us=500000, database="typo", user="app", message="3D000")]},
        "warning", ["for typo/app could be made, last tried 500 ms ago: 3D000"]),
    "refused": (
        {"events": [event(1, "exhausted", "error", age_us=9000000, count=5, message="10 of 10 leased")]},
        "error", ["5 requests refused because the deadline passed or the queue was full (53300), the last 9.0 s ago: 10 of 10"]),
    "a leak": ({"leases": [lease(3, warned="yes", age_us=95000000)]},
               "warning", ["1 lease held for longer than lease_warn_after; longest: pid 4003 backfill, 1.6 min"]),
    "a certain lock": ({"locks": [link(1), link(2)]}, "error", ["Pool lock in app/app for 12 s", "raise reserve_pool_size"]),
    "a suspected lock": ({"locks": [link(1, grade="suspected", group="etl")]},
                         "warning", ["A pool lock is suspected in group etl of app/app"]),
    "many clients": ({"clients": {"connected": 950, "max": 1000}}, "warning", ["950 of 1,000 clients are connected."]),
    "no more clients": ({"clients": {"connected": 1000, "max": 1000}}, "error", ["new ones are refused"]),
    "a refused reload": ({"events": [event(1), event(2, "reload_failed", "error", age_us=80000000, message="line 7")]},
                         "warning", ["The last RELOAD was refused", "line 7"]),
    "paused": ({"phase": "paused"}, "warning", ["Paused: clients wait until RESUME."]),
    "a paused database": (
        {"pools": [pool(cl_waiting=2, maxwait=3, paused=True), pool("other")]}, "warning",
        ["Database app is paused: its clients wait until RESUME.", "2 waiters, oldest 3.0 s: app/app is paused"]),
    "a disabled database": (
        {"pools": [pool(disabled=True)]}, "warning", ["Database app is disabled: new clients are refused until ENABLE."]),
    "draining": ({"phase": "draining", "ready": False}, "warning", ["Draining: no new clients"]),
    "not ready": ({"ready": False}, "error", ["Not ready to serve."]),
}


def test_the_top_says_in_words_what_is_the_matter(open_page, figures):
    tab = open_page()
    for name, (values, level, words) in VERDICTS.items():
        figures.values = values | {"version": f"pglease {name}"}
        tab.until(f"document.getElementById('about').innerText.startsWith({json.dumps('pglease ' + name + ',')})")
        said = tab.text("#verdict")
        assert tab.value("verdict.className") == level, (name, said)
        for each in words:
            assert each in said, (name, each, said)
        assert level == "good" or level in said.lower(), name


def test_the_cycle_of_a_lock_is_readable(open_page, figures):
    figures.values = {"locks": [link(2, client_pid=4712), link(1)]}
    tab = open_page(until="document.querySelector('.lock')")
    assert tab.text(".lock li").split("\n") == [
        "pid 4001 backfill thread 11 for 'outer' holds server pid 90001 (lease 1) for 15 s, "
        "and waits 12 s for one more, for 'inner' (client 501)",
        "pid 4712 backfill thread 12 for 'outer' holds server pid 90002 (lease 2) for 15 s, "
        "and waits 12 s for one more, for 'inner' (client 502)"]
    assert "2 of 3 lent" in tab.text(".lock")
    figures.values = {}
    tab.until("document.getElementById('locks-section').hidden")


def test_figures_are_two_digits_and_exact_in_the_title(open_page):
    tab = open_page()
    cases = {0: "0 s", 7: "7 µs", 999: "1.0 ms", 1234: "1.2 ms", 9960: "10 ms", 320000: "320 ms", 996000: "1.0 s",
             1234567: "1.2 s", 45e6: "45 s", 59.8e6: "1.0 min", 204123456: "3.4 min", 7200e6: "2.0 h", 3e11: "3.5 d"}
    assert {n: tab.value(f"duration({n})") for n in cases} == cases
    assert tab.value("exactTime(204123456)") == "204.123456 s"
    assert not math.isnan(len(tab.value("duration(1e300)")))
