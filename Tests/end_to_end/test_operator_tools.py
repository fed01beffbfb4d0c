# SPDX-License-Identifier: Apache-2.0
"""pglease stat, leases and top, as an operator and as a script use them."""

import json
import os
import re
import signal
import subprocess
import threading

import pytest

from harness import wire
from harness.pooler import pglease_binary
from harness.terminal import Terminal
from harness.waiting import eventually, holds_for

pytestmark = pytest.mark.pglease_only

HOSTILE = "\x1b[31mred\x1b[0m \"q\\\" 日本語 \u202eevil e\u0301 \x01\x7f <b>'"


@pytest.fixture
def broker(make_broker):
    return make_broker({"default_pool_size": 3, "query_wait_timeout": 600,
                        "max_server_connections": 20},
                       groups={"pipeline-*": "max_leases=2", "backfill": "weight=2"}, tcp=True)


@pytest.fixture
def tool(run_program):
    """Runs a tool against a broker, as a script does."""
    def run(broker, name, *words, check=True, host=None, **named):
        return run_program(pglease_binary(), name, *words, "--host", host or broker.socket_folder,
                           "--port", broker.port, check=check, **named)
    return run


@pytest.fixture
def holder(broker):
    """Takes leases that last to the test's end: holder(application, purpose)."""
    opened = []

    def hold(application, purpose="work.unit"):
        one = broker.wire(timeout=600, application_name=application)
        opened.append(one)
        quoted = purpose.replace("'", "''")
        row, = wire.rows_of(one.query(f"LEASE FOR '{quoted}'"))
        wire.rows_of(one.query("BEGIN"))
        one.lease_id = int(row[0])
        return one

    yield hold
    for one in opened:
        one.close()


@pytest.fixture
def waiter(broker):
    """Asks for a lease that nobody gives back."""
    opened = []

    def wait(application, purpose="wanted.unit"):
        before = broker.waiting()
        one = broker.wire(timeout=600, application_name=application)
        opened.append(one)
        one.send(wire.query(f"LEASE FOR '{purpose}'"))
        eventually(lambda: broker.waiting() == before + 1)
        return one

    yield wait
    for one in opened:
        one.close()


def lease_ids(broker):
    return sorted(int(row["lease_id"]) for row in broker.console("SHOW LEASES"))


# stat


def test_stat_is_one_screen_of_text(broker, tool, holder, waiter):
    for number in range(3):
        holder(f"job-{number}")
    waiter("backfill")
    text = tool(broker, "stat").stdout
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["pglease", "0.1.0", "active"]
    assert str(broker.socket_path) in lines[0]
    assert "leases 3 of 3" in lines[1] and "waiting 1, oldest" in lines[1]
    assert "servers 3 of 20" in lines[1] and "of 500" in lines[1]
    rows = [line.split() for line in lines]
    assert ["app/app", "3", "3", "0", "-", "0", "4", "1"] in [row[:8] for row in rows]
    for group in ("job-0", "backfill"):
        assert any(row[:1] == [group] for row in rows)
    assert "\x1b" not in text


def test_stat_json_is_what_the_console_says(broker, tool, holder, waiter):
    for number in range(3):
        holder(HOSTILE + str(number), HOSTILE.replace("\x01", ""))
    waiter(HOSTILE)
    done = tool(broker, "stat", "--json")
    assert done.stdout.count("\n") == 1 and "\x1b" not in done.stdout
    seen = json.loads(done.stdout)
    for name in ("pools", "groups", "leases", "waiters", "stats"):
        rows = broker.console(f"SHOW {name.upper()}")
        assert [list(row) for row in seen[name]] == [list(row) for row in rows], name
    assert seen["state"] == {"active": "yes", "paused": "no", "suspended": "no"}
    assert isinstance(seen["locks"], list)
    first = seen["leases"][0]
    told = broker.console("SHOW LEASES")[0]
    assert first["application_name"] == told["application_name"] and "日本語" in first["purpose"]
    assert first["lease_id"] == int(told["lease_id"]) and isinstance(first["age_us"], int)
    assert first["kind"] == "explicit" and first["client_pid"] == os.getpid()
    assert seen["pools"][0]["load_balance_hosts"] is None
    assert seen["waiters"][0]["application_name"] == HOSTILE


def test_stat_watches_through_a_restart(broker):
    process = subprocess.Popen(
        [pglease_binary(), "stat", "--json", "--watch", "0.1", "--host",
         str(broker.socket_folder), "--port", str(broker.port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    errors = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    try:
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert first["time"] < second["time"]
        broker.kill()
        eventually(lambda: any("trying again" in line for line in errors), 30)
        assert process.poll() is None
        broker.start()
        eventually(lambda: any("answers again" in line for line in errors), 30)
        assert json.loads(process.stdout.readline())["version"] == first["version"]
        # Said once, however often it tried.
        assert sum("trying again" in line for line in errors) == 1
    finally:
        process.kill()
        process.communicate()


def test_a_reader_that_leaves_ends_the_watch(broker):
    process = subprocess.Popen(
        [pglease_binary(), "stat", "--watch", "0.1", "--host", str(broker.socket_folder),
         "--port", str(broker.port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("pglease")
    process.stdout.close()
    assert process.wait(60) == -signal.SIGPIPE


@pytest.mark.parametrize("name", ["stat", "leases", "top"])
def test_nobody_answers(tool, broker, tmp_path, name):
    done = tool(broker, name, check=False, host=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert f"{tmp_path}/.s.PGSQL.{broker.port} (--host): No such file" in done.stderr
    assert "--host" in done.stderr


@pytest.mark.parametrize("name", ["stat", "leases", "top"])
def test_a_wrong_option_is_told_from_an_answer(tool, broker, name):
    assert tool(broker, name, "--colour", check=False).returncode == 3
    assert tool(broker, name, "--timeout", "0", check=False).returncode == 3


def test_the_console_refuses_strangers(tool, broker):
    """Over TCP nobody is the broker's own user."""
    done = tool(broker, "stat", "--user", "app", check=False, host="127.0.0.1")
    assert done.returncode == 1 and done.stdout == ""
    assert "says no: not allowed" in done.stderr
    assert "admin_users or stats_users" in done.stderr
    assert tool(broker, "stat", "--user", "watcher", host="127.0.0.1").stdout.startswith("pglease")


def test_a_broker_that_hangs_is_no_answer(tool, broker):
    broker.send_signal(signal.SIGSTOP)
    try:
        done = tool(broker, "stat", "--timeout", "0.3", check=False)
    finally:
        broker.send_signal(signal.SIGCONT)
    assert done.returncode == 2 and "no answer in time" in done.stderr


def test_the_place_comes_from_the_configuration(run_program, broker):
    done = run_program(pglease_binary(), "stat", "--config", broker.config_path)
    assert str(broker.socket_path) in done.stdout
    named = os.environ | {"PGLEASE_CONFIG": str(broker.config_path)}
    assert run_program(pglease_binary(), "leases", env=named).stdout.strip() == "no leases"


# leases


def test_leases_are_listed_by_age_with_their_holders(broker, tool, holder):
    held = [holder("pipeline-a", "apply.chunk"), holder("backfill", "copy.rows"),
            holder("pipeline-b")]
    lines = tool(broker, "leases").stdout.splitlines()
    assert [int(line.split()[0]) for line in lines[1:]] == [one.lease_id for one in held]
    first = lines[1].split()
    assert str(os.getpid()) in first and "pipeline-a" in first and "apply.chunk" in first
    assert "idle in xact" in lines[1] and "app/app" in first
    seen = json.loads(tool(broker, "leases", "--json").stdout)
    assert [row["lease_id"] for row in seen] == [one.lease_id for one in held]

    def shown(*words):
        rows = json.loads(tool(broker, "leases", "--json", *words).stdout)
        return [row["lease_id"] for row in rows]

    assert shown("--group", "backfill") == [held[1].lease_id]
    assert shown("--pid", os.getpid()) == [one.lease_id for one in held]
    assert shown("--pid", "1") == shown("--database", "other") == []
    assert tool(broker, "leases", "--pid", "1").stdout == "no leases\n"


def test_a_lease_that_is_held_too_long_is_marked(make_broker, tool):
    broker = make_broker({"lease_warn_after": "100ms"})
    with broker.wire() as one:
        one.query("LEASE")
        eventually(lambda: broker.console("SHOW LEASES")[0]["warned"] == "yes")
        assert tool(broker, "leases").stdout.splitlines()[1].startswith("!")
        assert "warned 1" in tool(broker, "stat").stdout


@pytest.mark.parametrize("answer", ["", "n\n", "no\n", "\n", "kill\n"])
def test_kill_leaves_the_lease_alone_without_a_yes(broker, tool, holder, answer):
    one = holder("backfill", "copy.rows")
    done = tool(broker, "leases", "--kill", one.lease_id, input=answer, check=False)
    assert done.returncode == 1
    question = f"End lease {one.lease_id}, pid {os.getpid()}"
    assert done.stderr.startswith(question) and "'copy.rows'" in done.stderr
    assert lease_ids(broker) == [one.lease_id]


@pytest.mark.parametrize("words, answer", [([], "y\n"), ([], "YES\n"), (["--yes"], "")])
def test_kill_ends_the_lease(broker, tool, holder, words, answer):
    one, other = holder("backfill"), holder("other")
    done = tool(broker, "leases", "--kill", one.lease_id, *words, input=answer)
    assert f"lease {one.lease_id}" in done.stdout and "is ended" in done.stdout
    assert lease_ids(broker) == [other.lease_id]
    assert wire.error_of(one.query("SELECT 1")).code == "57P01"


def test_kill_of_no_lease(broker, tool, holder):
    one = holder("backfill")
    done = tool(broker, "leases", "--kill", one.lease_id + 1000, "--yes", check=False)
    assert done.returncode == 1 and f"no lease {one.lease_id + 1000}" in done.stderr


def test_who_may_only_look_may_not_kill(broker, tool, holder):
    one = holder("backfill")
    done = tool(broker, "leases", "--user", "watcher", "--kill", one.lease_id, "--yes", check=False)
    assert done.returncode == 1 and "admin access needed" in done.stderr
    assert lease_ids(broker) == [one.lease_id]


# On a terminal


@pytest.fixture
def terminal(tmp_path, request):
    """A terminal of 80 columns and 24 rows; terminal(**environment) makes another one."""
    opened = []

    def make(**named):
        folder = tmp_path / f"terminal{len(opened)}"
        folder.mkdir()
        opened.append(Terminal(folder, **named))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def command(broker, name, *words):
    return [pglease_binary(), name, *words, "--host", broker.socket_folder, "--port", broker.port]


@pytest.fixture
def top(broker, terminal):
    """pglease top of the broker, on the screen."""
    one = terminal()
    one.type("echo before-$((40 + 2)); stty -a > before\n")
    one.wait("before-42")
    one.run(*command(broker, "top", "--interval", "0.2"))
    one.wait("pglease 0.1.0", "active")
    return one


def check_restored(one):
    """The shell's screen, cursor and modes are as they were before."""
    one.wait("before-42")
    eventually(lambda: one.state("alternate_on") == "0")
    assert one.state("cursor_flag") == "1" and one.state("wrap_flag") == "1"
    one.type("stty -a > after; cmp before after && echo modes-$((40 + 2))\n")
    one.wait("modes-42")


def leases_on(one):
    """The numbers in the rows below LEASE, from above."""
    lines = one.screen()
    start = next((n for n, line in enumerate(lines) if " LEASE " in line), None)
    if start is None:
        return None
    numbers = []
    for line in lines[start + 1:]:
        words = line.strip("▸ !").split()
        if len(words) < 2 or not words[0].isdigit():
            break
        numbers.append(int(words[0]))
    return numbers


def test_lines_are_cut_to_the_terminals_width(broker, terminal, holder):
    holder("a" * 300, "p" * 300)
    holder("日本語" * 40, "目的" * 60)
    one = terminal()
    one.run(*command(broker, "leases"))
    one.wait("LEASE", "…", "日本語")
    assert len([line for line in one.screen() if "app" in line or "xact" in line]) == 2
    for line in one.tmux("capture-pane", "-p", "-J").split("\n"):
        if "$" not in line and "--host" not in line:
            assert len(line.rstrip()) <= 80, "a line was wrapped"


def test_no_more_leases_than_the_terminal_has_rows(make_broker, terminal):
    broker = make_broker({"default_pool_size": 12})
    opened = [broker.wire(application_name=f"job-{n}") for n in range(12)]
    for one in opened:
        wire.rows_of(one.query("LEASE"))
    screen = terminal(rows=10)
    screen.run(*command(broker, "leases"))
    screen.wait("and 5 more: --all")
    screen.run(*command(broker, "leases", "--all"))
    screen.wait("job-11")
    for one in opened:
        one.close()


@pytest.mark.parametrize("environment, coloured", [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(make_broker, terminal, environment, coloured):
    broker = make_broker({"lease_warn_after": "100ms"})
    with broker.wire() as holder:
        holder.query("LEASE")
        eventually(lambda: broker.console("SHOW LEASES")[0]["warned"] == "yes")
        for name in ("leases", "top"):
            one = terminal(**environment)
            one.run(*command(broker, name))
            one.wait("LEASE", "explicit" if name == "leases" else "pglease 0.1.0")
            seen = "\n".join(one.screen(colours=True))
            assert ("\x1b[33m" in seen or "[32m" in seen) is coloured, seen


def test_stat_watch_on_a_terminal_draws_over_itself(broker, terminal, holder):
    one = terminal()
    one.run(*command(broker, "stat", "--watch", "0.1"))
    one.wait("leases 0 of")
    holder("late-comer")
    one.wait("leases 1 of 3", "late-comer")
    assert one.text().count("pglease 0.1.0") == 1
    one.press("C-c")
    one.wait("$")


def test_top_shows_who_holds_and_who_waits(broker, top, holder, waiter):
    held = [holder("pipeline-a", "apply.chunk"), holder("backfill"), holder(HOSTILE, "日本語の目的")]
    waiter("patient", "wanted.most")
    top.wait("leases 3/3", "waiting 1, oldest", "patient", "wanted.most", "apply.chunk")
    assert leases_on(top) == [one.lease_id for one in held]
    assert top.line("app/app").split()[1:3] == ["3", "3"]
    for group in ("pipeline-a", "backfill"):
        assert top.line(group)
    assert top.line("日本語の目的") and "�[31mred" in top.text()
    assert any(bar in top.line("used ") for bar in "▁▂▃▄▅▆▇█")
    held[0].close()
    top.wait_gone("apply.chunk")


def test_top_sorts_and_filters(broker, top, holder):
    first, second, third = (holder(name) for name in ("zebra", "monkey", "ant"))
    numbers = [one.lease_id for one in (first, second, third)]
    eventually(lambda: leases_on(top) == numbers)
    top.press("g")
    top.wait("by group")
    eventually(lambda: leases_on(top) == numbers[::-1])
    top.press("a", "a")
    top.wait("by age, reversed")
    eventually(lambda: leases_on(top) == numbers[::-1])
    top.press("a")
    eventually(lambda: leases_on(top) == numbers)
    top.type("/monk")
    eventually(lambda: leases_on(top) == [second.lease_id])
    top.press("Enter")
    top.wait('only "monk"')
    top.press("Escape")
    eventually(lambda: leases_on(top) == numbers)


def test_top_shows_all_of_one_lease(broker, top, holder):
    holder("first")
    one = holder("backfill", "copy.rows")
    eventually(lambda: len(leases_on(top) or []) == 2)
    top.press("Down", "Enter")
    top.wait("all fields", "copy.rows", f"lease_id           {one.lease_id}", "idle in transaction")
    one.close()
    top.wait("This lease is over")
    top.press("Escape")
    top.wait(" LEASE ", "first")


def test_top_ends_a_lease_after_a_yes(broker, top, holder):
    kept, ended = holder("kept"), holder("ended")
    eventually(lambda: leases_on(top) == [kept.lease_id, ended.lease_id])
    top.press("Down", "K")
    top.wait(f"End lease {ended.lease_id}, pid {os.getpid()}", "y/n")
    top.press("n")
    top.wait("left alone")
    assert lease_ids(broker) == [kept.lease_id, ended.lease_id]
    top.press("K")
    top.wait(f"End lease {ended.lease_id}", "y/n")
    top.press("y")
    top.wait(f"lease {ended.lease_id} is ended")
    eventually(lambda: lease_ids(broker) == [kept.lease_id])
    eventually(lambda: leases_on(top) == [kept.lease_id])
    assert wire.error_of(ended.query("SELECT 1")).code == "57P01"


def test_top_that_may_only_look_says_so(broker, terminal, holder):
    one = holder("held")
    screen = terminal()
    screen.run(*command(broker, "top", "--user", "watcher"))
    screen.wait("held")
    screen.press("K", "y")
    screen.wait("admin access needed")
    assert lease_ids(broker) == [one.lease_id]


def test_top_waits_for_a_broker_that_restarts(broker, top, holder):
    one = holder("before")
    top.wait("before ")
    one.close()
    broker.kill()
    top.wait("no answer for", "trying again")
    top.press("?")
    top.wait("Keys")
    top.press("Escape")
    broker.start()
    top.wait_gone("no answer for")
    holder("afterwards")
    top.wait("afterwards")


def test_top_obeys_its_keys_while_the_broker_hangs(broker, top):
    broker.send_signal(signal.SIGSTOP)
    try:
        top.press("?")
        top.wait("Keys", "Shift-Tab")
        top.press("Escape")
        top.wait("no answer for", "no answer in time")
        top.press("q")
        check_restored(top)
    finally:
        broker.send_signal(signal.SIGCONT)


def test_top_fits_every_size(broker, top, holder, waiter):
    for number in range(3):
        holder(f"job-{number}")
    waiter("patient")
    for columns, rows in ((132, 40), (20, 5), (80, 24), (40, 12)):
        top.resize(columns, rows)
        # The last line is the program's own, and nothing was wrapped into the line before.
        eventually(lambda: "by age" in top.screen()[rows - 1], 30, top.text)
        eventually(lambda: leases_on(top), 30, top.text)
        assert top.state("alternate_on") == "1"
        assert all(len(line) <= columns for line in top.screen())


@pytest.mark.parametrize("way", ["q", "C-c", "SIGTERM", "SIGINT", "SIGHUP"])
def test_top_gives_the_terminal_back(broker, top, way):
    assert top.state("alternate_on") == "1" and top.state("cursor_flag") == "0"
    assert "before-42" not in top.text()
    if way.startswith("SIG"):
        pids = subprocess.run(["pgrep", "-f", f"top --interval 0.2 --host {broker.socket_folder}"],
                              capture_output=True, text=True, check=True).stdout.split()
        os.kill(int(pids[0]), getattr(signal, way))
    else:
        top.press(way)
    check_restored(top)


def test_top_stops_and_comes_back(broker, top, holder):
    holder("held")
    top.wait("held")
    top.press("C-z")
    top.wait("Stopped")
    check_restored(top)
    top.type("fg\n")
    eventually(lambda: top.state("alternate_on") == "1")
    top.wait("pglease 0.1.0", "held")
    holder("another")
    top.wait("another")
    top.press("q")
    check_restored(top)


def test_top_holds_the_screen(broker, top, holder):
    top.press("Space")
    top.wait("held (space goes on)")
    holder("newcomer")
    holds_for(lambda: "newcomer" not in top.text(), 1)
    top.press("Space")
    top.wait("newcomer")


def test_top_without_a_terminal_prints_once(broker, tool, holder):
    one = holder("backfill", "copy.rows")
    text = tool(broker, "top").stdout
    assert "\x1b" not in text and text.startswith("pglease 0.1.0  active")
    assert text.count("copy.rows") == 1 and str(one.lease_id) in text


def test_top_of_a_terminal_without_utf8_keeps_to_ascii(broker, terminal, holder):
    holder("日本語", "目的")
    one = terminal(LC_ALL="C")
    one.run(*command(broker, "top"))
    one.wait("pglease 0.1.0", "???")
    assert all(ord(letter) < 128 for line in one.screen()[:23] for letter in line)


# What the console tells beyond leases: locks, events, programs


def test_a_lock_is_shown_and_can_be_broken(broker, tool, top, holder, waiter):
    """Every lease rests in its transaction, and the process that holds them waits for another."""
    for number in range(3):
        holder(f"outer-{number}")
    waiter("inner", "inner.unit")
    top.wait("LOCKS 1", "suspected", "inner.unit")
    seen = eventually(lambda: json.loads(tool(broker, "stat", "--json").stdout)["locks"])
    assert {row["grade"] for row in seen} == {"suspected"} and len(seen) == 3
    assert {row["lease_id"] for row in seen} == set(lease_ids(broker))
    text = tool(broker, "stat").stdout
    assert "LOCKS 1" in text and text.count("suspected") == 3
    top.press("Tab", "Tab")
    eventually(lambda: "▸" in (top.line("suspected") or ""))
    top.press("K")
    top.wait("End lease", f"pid {os.getpid()}", "y/n")
    number = int(re.search(r"End lease (\d+)", top.text()).group(1))
    assert number in lease_ids(broker)
    top.press("y")
    top.wait(f"lease {number} is ended")
    top.wait_gone("LOCKS", "suspected")
    assert number not in lease_ids(broker)


def test_the_program_the_uptime_and_the_newest_event(make_broker, tool, terminal):
    broker = make_broker({"lease_warn_after": "100ms"})
    with broker.wire(application_name="forgetful") as one:
        one.query("LEASE FOR 'long.work'")
        broker.wait_logged("lease is held")
        record, = json.loads(tool(broker, "leases", "--json").stdout)
        program = record["program"]
        assert program and program in tool(broker, "leases").stdout.splitlines()[1].split()
        assert tool(broker, "stat").stdout.splitlines()[0].split()[3] == "up"
        screen = terminal()
        screen.run(*command(broker, "top"))
        screen.wait("ago: lease is held for", "up ", program)
