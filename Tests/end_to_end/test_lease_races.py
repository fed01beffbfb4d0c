# SPDX-License-Identifier: Apache-2.0
"""Leases whose end comes from two sides at once, and limits that must not end them."""

import os
import random
import threading

import pytest

from harness import direct, wire
from harness.waiting import eventually, holds_for

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"
SHOWS = ["CLIENTS", "SERVERS", "POOLS", "LEASES", "WAITERS", "GROUPS", "LISTS", "STATS", "TOTALS",
         "MEM", "SOCKETS", "ACTIVE_SOCKETS", "FDS", "DATABASES", "USERS", "STATE"]


@pytest.fixture
def narrow(make_broker):
    def make(settings=None):
        base = {"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 20}
        return make_broker(base | (settings or {}))
    return make


@pytest.fixture(params=["", "DIRECT"], ids=["relay", "direct"])
def word(request):
    """What is written behind LEASE."""
    return request.param


def begin(one, options):
    """A lease of either kind; answers where to speak to PostgreSQL."""
    return one.take_lease(one.query(f"LEASE {options}"))


def end_of(one):
    """Returns the lease: None, or the code of the error."""
    one.close_end()
    seen = one.query("LEASE RETURN")
    assert seen[-1].kind == "Z" and seen[-1].body == b"I", seen
    return next((m.code for m in seen if m.kind == "E"), None)


def still_right(broker, one, number=0):
    assert one.rows(f"SELECT {number}, 'right'") == [[str(number), "right"]]
    eventually(lambda: broker.console("SHOW LEASES") == [])


@pytest.mark.parametrize("milliseconds", [1, 3, 6])
def test_hold_that_ends_while_the_lease_is_returned(narrow, word, milliseconds):
    """Either the RETURN came in time or it is told 57P05; nothing in between."""
    broker = narrow()
    codes = set()
    with direct.connect(broker) as one:
        for number in range(40):
            begin(one, f"{word} HOLD '{milliseconds}ms'")
            for _ in range(number % 8):
                wire.cancel(broker.socket_path, (1, 1))
            codes.add(end_of(one))
            assert one.rows(f"SELECT {number}") == [[str(number)]]
        assert codes <= {None, "57P05"}
        still_right(broker, one)


def test_cancels_that_come_with_the_return(narrow, word, postgres):
    broker = narrow()
    with direct.connect(broker) as one, direct.connect(broker) as other:
        stop = threading.Event()

        def harass():
            while not stop.is_set():
                wire.cancel(broker.socket_path, one.key)

        thread = threading.Thread(target=harass)
        thread.start()
        try:
            for number in range(60):
                begin(one, word)
                assert end_of(one) is None
                # Another client's statement is not the one that is cancelled.
                assert other.rows(f"SELECT {number}, pg_sleep(0.001)::text") == [[str(number), ""]]
        finally:
            stop.set()
            thread.join(20)
        still_right(broker, other)


def test_a_server_that_ends_while_the_lease_is_returned(narrow, word, postgres):
    broker = narrow({"server_login_retry": 1})
    killer = postgres.connect().cursor()
    codes = set()
    with direct.connect(broker) as one:
        for number in range(25):
            begin(one, word)
            killer.execute("SELECT pg_terminate_backend(%s)", (one.granted.server_pid,))
            codes.add(end_of(one))
            seen = one.query(f"SELECT {number}")
            while any(m.kind == "E" for m in seen):
                assert wire.error_of(seen).code in ("08006", "57P01"), seen
                seen = one.query(f"SELECT {number}")
            assert wire.rows_of(seen) == [[str(number)]]
        assert codes <= {None, "08006"}
        still_right(broker, one)


def kill(broker, one):
    broker.console(f"KILL LEASE {one.granted.lease_id}")


def leave(broker, one):
    one.close()


def give_back(broker, one):
    end_of(one)


@pytest.mark.parametrize("word, how", [
    ("", kill), ("", leave), ("DIRECT", kill), ("DIRECT", leave), ("DIRECT", give_back)])
def test_a_query_just_sent_ends_with_its_lease(narrow, word, postgres, how):
    """A cancel that overtakes its query is no cancel: the backend would go on, counted by nobody."""
    broker = narrow()
    mark = f"just_sent_{how.__name__}_{word}"
    running = ("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND "
               f"application_name <> 'harness' AND query LIKE '%{mark}'")
    try:
        for _ in range(6 if how is give_back else 20):
            with direct.connect(broker) as one:
                begin(one, word).send(wire.query(f"SELECT pg_sleep(600) AS {mark}"))
                how(broker, one)
        eventually(lambda: not postgres.sql(running), 10, lambda: postgres.sql(running))
    finally:
        postgres.terminate(*(row[0] for row in postgres.sql(running)))


def test_clients_that_leave_while_their_lease_is_on_its_way(narrow, word):
    broker = narrow()
    dice = random.Random(5)
    with direct.connect(broker) as holder:
        for number in range(60):
            direct.lease(holder)
            leavers = [direct.connect(broker) for _ in range(3)]
            for one in leavers:
                one.send(wire.query(f"LEASE {word} FOR 'leaving'"))
            dice.shuffle(leavers)
            leavers[0].close()
            direct.give_back(holder)
            for one in leavers[1:]:
                one.close()
            still_right(broker, holder, number)


def test_the_lease_is_asked_for_and_the_client_reads_no_descriptor(narrow):
    """Without room for it the kernel throws it away: the lease is direct all the same."""
    broker = narrow()
    with broker.wire() as one:
        seen = one.query("LEASE DIRECT")
        assert wire.rows_of(seen)[0][2] == "direct"
        error = wire.error_of(one.query("SELECT 1"))
        assert error.code == "55000" and "LEASE RETURN" in error.fields["H"]
        direct.give_back(one)
        still_right(broker, one)


def test_garbage_on_the_brokers_socket_while_direct_ends_both(narrow, postgres):
    broker = narrow()
    dice = random.Random(7)
    with broker.wire() as other:
        for number in range(30):
            with direct.connect(broker) as one:
                end = one.lease()
                if number % 5:
                    one.send(dice.randbytes(dice.randrange(1, 200)))
                else:
                    one.send(wire.query("LEASE RETURN")[: dice.randrange(1, 17)])
                assert end.value("SELECT 'mine'") == "mine" if number % 5 == 0 else True
            still_right(broker, other, number)


def test_fuzzed_words_on_the_descriptor_harm_nobody(make_broker):
    broker = make_broker({"default_pool_size": 4, "reserve_pool_size": 0,
                          "query_wait_timeout": 20})
    dice = random.Random(11)
    good = [wire.query("SELECT 1"), wire.parse("SELECT 2"), wire.bind(), wire.execute(),
            wire.sync(), wire.flush(), wire.copy_data(b"x"), wire.copy_done(), wire.copy_fail(),
            wire.query("COPY (SELECT 3) TO STDOUT"), wire.query("BEGIN"), wire.query("SELECT 1/0"),
            wire.describe_portal(), wire.close_statement(), wire.query("COMMIT"),
            wire.query("COPY items FROM STDIN"), wire.query("DISCARD ALL"),
            wire.query("SET client_min_messages = 'debug5'"), wire.query("LISTEN fuzz"),
            wire.query("NOTIFY fuzz, 'word'"), wire.query("SELECT pg_notify('fuzz', 'x')")]
    with direct.connect(broker) as one, broker.wire() as other:
        for number in range(150):
            end = begin(one, "DIRECT")
            end.send(*(dice.choice(good) for _ in range(dice.randrange(8))))
            code = end_of(one)
            assert code in (None, "08006"), code
            assert other.rows(f"SELECT {number}, 'other'") == [[str(number), "other"]]
            assert one.rows(f"SELECT {number}, 'own'") == [[str(number), "own"]]
            assert one.value("SELECT count(*) FROM pg_listening_channels()") == "0"
        still_right(broker, one)


# Limits that are about something else.


def test_limits_of_queries_and_idle_clients_do_not_end_a_direct_lease(narrow):
    """The broker does not see what runs on it; HOLD and lease_timeout are what ends it."""
    limits = ("query_timeout", "transaction_timeout", "idle_transaction_timeout",
              "client_idle_timeout", "server_idle_timeout", "server_lifetime")
    broker = narrow(dict.fromkeys(limits, "0.2"))
    with direct.connect(broker) as one:
        end = one.lease()
        end.query("BEGIN")
        holds_for(lambda: end.value(PID) == str(one.granted.server_pid), 0.6)
        end.query("COMMIT")
        one.give_back()
        assert one.value("SELECT 1") == "1"


def test_an_idle_explicit_lease_is_no_idle_client(narrow):
    broker = narrow({"client_idle_timeout": "0.2", "server_idle_timeout": "0.2",
                     "server_lifetime": "0.2", "idle_transaction_timeout": "0.2"})
    with broker.wire() as one:
        held = direct.lease(one)
        holds_for(lambda: one.silent_for(0), 0.6)
        assert int(one.value(PID)) == held.server_pid
        direct.give_back(one)


def test_a_long_lease_is_warned_about_with_its_purpose(narrow, word):
    broker = narrow({"lease_warn_after": "0.1"})
    with direct.connect(broker) as one:
        begin(one, f"{word} FOR 'the long one'")
        broker.wait_logged("lease is held for long")
        assert broker.console("SHOW LEASES")[0]["warned"] == "yes"
        assert end_of(one) is None


def test_every_show_works_while_leases_are_held(make_broker):
    broker = make_broker()
    with direct.connect(broker) as one, broker.wire() as two:
        one.lease("FOR 'shown'")
        direct.lease(two, "FOR 'shown'")
        for what in SHOWS:
            broker.console(f"SHOW {what}")
        kinds = {row["kind"] for row in broker.console("SHOW LEASES")}
        assert kinds == {"direct", "explicit"}
        assert one.end.value("SELECT 1") == "1"
        one.give_back()
        direct.give_back(two)
        for what in SHOWS:
            broker.console(f"SHOW {what}")


# Other ways to clean a connection.


def test_statements_dropped_on_a_direct_connection_are_made_again(narrow):
    """With a reset that keeps prepared statements the broker must not trust what it knew."""
    broker = narrow({"server_reset_query": "RESET ALL"})
    with direct.connect(broker) as one:
        one.extended("SELECT 'relayed ' || $1::text", ["x"], name="named")
        end = one.lease()
        end.query("DEALLOCATE ALL")
        one.give_back()
        one.send(wire.bind(["again"], "named"), wire.execute(), wire.sync())
        assert wire.rows_of(one.until_ready()) == [["relayed again"]]


@pytest.mark.parametrize("reset", ["RESET ALL", "", "SELECT 1; SELECT 2", "DISCARD ALL",
                                   "UNLISTEN *; RESET ALL"])
def test_every_reset_query_brings_a_direct_connection_back(narrow, reset):
    broker = narrow({"server_reset_query": reset})
    with direct.connect(broker) as one, broker.wire() as other:
        for number in range(6):
            end = one.lease()
            end.query("BEGIN" if number % 2 else "SELECT 1")
            one.give_back()
            assert other.rows(f"SELECT {number}") == [[str(number)]]
        still_right(broker, one)


def test_a_failing_reset_query_closes_what_was_direct(narrow, postgres):
    broker = narrow({"server_reset_query": "SELECT no_such_function()"})
    broker.errors_expected = True
    with direct.connect(broker) as one:
        for _ in range(3):
            one.lease().query("CREATE TEMP TABLE IF NOT EXISTS left_over (x int)")
            backend = one.granted.server_pid
            one.give_back()
            assert one.value("SELECT to_regclass('left_over') IS NULL") == "t"
            assert one.value(PID) != str(backend)


def test_many_sessions_of_one_process_at_once(make_broker):
    """Threads of one worker: each its own session, all the leases of either kind."""
    broker = make_broker({"default_pool_size": 4, "reserve_pool_size": 0,
                          "query_wait_timeout": 60})
    wrong = []

    def work(name):
        try:
            with direct.connect(broker, timeout=60) as one:
                for number in range(60):
                    nonce = f"{name} {number} {os.urandom(4).hex()}"
                    kind = "DIRECT" if number % 3 else ""
                    end = begin(one, f"{kind} FOR '{nonce}' THREAD '{name}'")
                    row = [[nonce, str(one.granted.server_pid)]]
                    for _ in range(3):
                        if end.rows(f"SELECT '{nonce}', pg_backend_pid()") != row:
                            wrong.append(nonce)
                    if end_of(one) is not None:
                        wrong.append(nonce)
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(10)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(90)
    assert wrong == []
    eventually(lambda: broker.console("SHOW LEASES") == [])
