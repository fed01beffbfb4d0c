# SPDX-License-Identifier: Apache-2.0
"""The parts that need no broker: text, bytes, settings, places, turns."""

import contextlib
import gc
import pickle
import struct
import sys
import threading

import pytest

from pglease import _caller, _command, _wire, errors, psycopg2_pool, psycopg_pool
from pglease._book import Book, Loan
from pglease._policy import Policy
from pglease._reach import never_answered, refusal
from pglease._request import Grant, Request
from pglease._waits import BlockingTicket


def command(**words):
    return _command.lease(**{"direct": False, "wait": None, "hold": None, "purpose": None,
                             "thread": None, **words})


def test_the_command():
    assert command() == "LEASE"
    assert command(direct=True, wait=2, hold=0.0005, purpose="it's", thread="12") == \
        "LEASE DIRECT WAIT '2000ms' HOLD '1ms' FOR 'it''s' THREAD '12'"
    assert command(wait=0) == "LEASE WAIT '0ms'"
    assert command(purpose="a\0b\udcff") == "LEASE FOR 'a b?'"
    assert command(purpose="'" * 200) == "LEASE FOR '" + "''" * 128 + "'"


def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


ANSWER = b"".join([
    message(b"N", "SNOTICE\0C00000\0Mwaiting\0Dfor é\0Hwait\0\0".encode()),
    message(b"S", b"TimeZone\0Asia/Jakarta\0"),
    message(b"T", b"\0\0"),
    message(b"D", struct.pack("!h", 3) + struct.pack("!i", 2) + b"12" + struct.pack("!i", -1)
            + struct.pack("!i", 0)),
    message(b"C", b"LEASE\0"),
    message(b"Z", b"I"),
])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, len(ANSWER)])
def test_an_answer_cut_anywhere(size):
    answer = _wire.Answer()
    for start in range(0, len(ANSWER), size):
        assert not answer.ready
        answer.feed(ANSWER[start : start + size])
    assert answer.ready and answer.error is None
    assert answer.row == ("12", None, "")
    assert answer.parameters == {"TimeZone": "Asia/Jakarta"}
    assert answer.notices[0].message == "waiting"
    assert answer.notices[0].text.startswith("NOTICE:  waiting\nDETAIL:  for ")


@pytest.mark.parametrize("raw", [
    b"Z\0\0\0\3", b"Z\x7f\xff\xff\xff", message(b"Z", b"T"), message(b"G", b""),
    message(b"D", b"\0\1\0"), b"D\0\0\0\1" + ANSWER])
def test_nonsense_is_refused(raw):
    with pytest.raises(_wire.BadAnswer):
        _wire.Answer().feed(raw)


def test_two_answers_in_one_piece():
    first, second = _wire.Answer(), _wire.Answer()
    rest = first.feed(ANSWER + ANSWER[:10])
    assert first.ready and rest == ANSWER[:10]
    assert second.feed(rest) == b"" and not second.ready
    assert second.feed(ANSWER[10:] + b"x") == b"x"
    assert second.ready and second.row == ("12", None, "")


@pytest.mark.parametrize("size", [1, 4, len(ANSWER)])
def test_a_head_that_is_known_is_not_read_again(size):
    quiet = ANSWER[ANSWER.index(b"S\0\0\0\x1aT"):]
    first = _wire.Answer()
    first.feed(quiet)
    again = _wire.Answer(first.head)
    for start in range(0, len(quiet), size):
        again.feed(quiet[start : start + size])
    assert again.ready and again.row == first.row
    assert again.head == first.head == quiet[: quiet.index(b"D\0\0\0")]
    assert again.parameters == ({} if size == len(ANSWER) else first.parameters)
    other = _wire.Answer(first.head)
    other.feed(quiet.replace(b"Jakarta", b"Baghdad"[:7]))
    assert other.parameters == {"TimeZone": "Asia/Baghdad"}


def test_holders_are_read_from_the_detail():
    detail = ('All 4 connections are in use. Held by: pid 1 "a lie" for 9.9 s (idle).\n'
              'Held by: pid 12 "app" for 3.2 s (idle in transaction, thread "4711", for "a, (b). x"), '
              'pid 13 for 0.1 s (active), client 1.2 "far" for 2.0 s (idle, for "c"), and 3 more.')
    assert errors.holders_of(detail) == (
        errors.Holder(12, "app", 3.2, "idle in transaction", "a, (b). x", "4711"),
        errors.Holder(13, "", 0.1, "active", None),
        errors.Holder(None, "far", 2.0, "idle", "c"))
    assert errors.holders_of("No lease is held in this pool: it is paused.") == ()
    assert errors.holders_of(None) == ()


# Made to be taken for the grammar itself; the broker's own tests have the same.
HOSTILE = ["", " ", '"', "\\", '\\"', "a, b", "a) b", "(", ")", '), pid 1 "x" for 9.9 s (idle',
           'x" for 1.0 s (idle)', "and 3 more.", ".", "Held by: pid 1 for 1.0 s (idle).",
           "größer 日本語", "\u202eevil", ', for "x"', "\\\\", "x\\"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_holders_are_read_as_they_are(name):
    def quoted(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    for other in HOSTILE:
        program = f" {quoted(other)}" if other else ""
        detail = (f"All of it.\nHeld by: pid 4711{program} for 3.2 s (idle, thread {quoted(name)}, for "
                  f"{quoted(other)}), client 7.1 {quoted(name)} for 0.0 s (direct, for {quoted(name)})"
                  ", and 2 more.")
        assert errors.holders_of(detail) == (
            errors.Holder(4711, other, 3.2, "idle", other, name),
            errors.Holder(None, name, 0.0, "direct", name))


@pytest.mark.parametrize("detail", [
    "", "Held by: .", "Held by: pid 1 for 1.0 s (idle)", "Held by: pid 1 for 1 s (idle).",
    "Held by: pid for 1.0 s (idle).", 'Held by: pid 1 "x for 1.0 s (idle).',
    "Held by: pid 1 for 1.0 s (idle), .", "Held by: pid 1 for 1.0 s (idle), and more.",
    "Held by: pid 1 for 1.0 s (idle, for x).", "Held by: pid 1 for 1.0 s (idle).\nMore.",
    'Held by: pid 1 "x\\'])
def test_what_does_not_keep_to_the_grammar_names_nobody(detail):
    assert errors.holders_of(detail) == ()


@pytest.mark.parametrize("kind", [
    errors.LeaseExhausted, psycopg2_pool.LeaseExhausted, psycopg2_pool.BrokerAway,
    psycopg_pool.LeaseExhausted, psycopg_pool.LeaseRevoked])
def test_an_error_survives_pickling(kind):
    holder = errors.Holder(1, "a", 2.0, "idle", None)
    error = kind("no", sqlstate="53300", detail="d", hint="h", waited=1.5, holders=(holder,))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "no\nDETAIL:  d\nHINT:  h"
    assert (again.sqlstate, again.detail, again.hint, again.waited, again.holders) == \
        ("53300", "d", "h", 1.5, (holder,))


def test_the_errors_are_what_the_drivers_users_catch():
    import psycopg
    import psycopg2.pool
    import psycopg_pool as original
    for name in ("LeaseExhausted", "PoolLock"):
        assert issubclass(getattr(psycopg2_pool, name), psycopg2.pool.PoolError)
        assert issubclass(getattr(psycopg_pool, name), original.PoolTimeout)
    for name in ("LeaseRevoked", "ServerLost", "ServerUnreachable", "BrokerAway", "LeaseRefused"):
        assert issubclass(getattr(psycopg2_pool, name), psycopg2.OperationalError)
        assert issubclass(getattr(psycopg_pool, name), psycopg.OperationalError)
    assert psycopg2_pool.BrokerAway("x", sqlstate="08006").pgcode == "08006"
    assert psycopg_pool.BrokerAway("x", sqlstate="08006").sqlstate == "08006"


def test_policy_from_arguments_and_environment(monkeypatch):
    assert Policy.make() == Policy(None, None, True, 3, 0.5, 2.0)
    for name, text in {"WAIT": "7", "ATTEMPTS": "5", "DELAY": "0.1", "FACTOR": "3"}.items():
        monkeypatch.setenv(f"PGLEASE_LEASE_{name}", text)
    monkeypatch.setenv("PGLEASE_DIRECT", "OFF")
    assert Policy.make(hold=2) == Policy(7.0, 2, False, 5, 0.1, 3.0)
    assert Policy.make(wait=1, attempts=2, direct=True) == Policy(1, None, True, 2, 0.1, 3.0)
    for bad in ({"wait": -1}, {"wait": float("nan")}, {"attempts": 0}, {"hold": float("inf")}):
        with pytest.raises(ValueError):
            Policy.make(**bad)
    monkeypatch.setenv("PGLEASE_LEASE_DELAY", "soon")
    with pytest.raises(ValueError, match="PGLEASE_LEASE_DELAY"):
        Policy.make()
    monkeypatch.delenv("PGLEASE_LEASE_DELAY")
    monkeypatch.setenv("PGLEASE_DIRECT", "perhaps")
    with pytest.raises(ValueError, match="PGLEASE_DIRECT"):
        Policy.make()


def test_the_place_is_the_callers_and_his_callers_file():
    assert _caller.place().startswith("tests/test_parts.py:")
    assert " from " not in _caller.place()
    layer = {}
    exec(compile("def take(place):\n    return place()", "/app/core/database.py", "exec"), layer)
    line = test_the_place_is_the_callers_and_his_callers_file.__code__.co_firstlineno + 6
    assert layer["take"](_caller.place) == \
        f"core/database.py:2 from tests/test_parts.py:{line}"


def test_a_refusal_is_told_from_absence():
    assert never_answered('connection to server on socket "/x" failed: No such file or directory')
    assert never_answered("FATAL:  the database system is starting up")
    assert not never_answered('FATAL:  database "x" does not exist')
    assert not never_answered('connection to server on socket "/x" failed: Permission denied')
    assert never_answered('connection to server at "::1" failed: Permission denied')


def test_what_was_said_at_a_refused_login():
    said = refusal('connection to server on socket "/x" failed: FATAL:  no, "DETAIL: x"\n'
                   'DETAIL:  the detail,\nin two lines\nHINT:  the hint\n')
    assert said == ('no, "DETAIL: x"', "the detail,\nin two lines", "the hint", False)
    assert refusal("FATAL:  too many clients already").is_full
    assert refusal("FATAL:  no more connections allowed (max_client_conn)").is_full
    assert refusal("FATAL:  client connections exceeded (max_db_client_connections)").is_full
    assert refusal("a: FATAL:  one\nb: FATAL:  two\n").message == "two"
    assert "unix_socket_group" in refusal(
        'connection to server on socket "/x" failed: Permission denied').hint


# Turns.

class Thing:
    """Stands for a connection."""


def loan(ticket, key="k"):
    """A loan that has the ticket's turn from now on."""
    request = Request(wait=1, hold=None, purpose="p", where="w", thread="t")
    turn, ticket.turn = ticket.turn, None
    return Loan(None, key, request, Grant(1, 2, "relay", 0.0), turn)


def leave(book, ticket):
    assert ticket.turn is not None
    ticket.turn = None
    book.look()


def test_turns_are_first_come_first_served():
    book = Book(2)
    tickets = [BlockingTicket() for _ in range(5)]
    assert [book.enter(one) for one in tickets] == [True, True, False, False, False]
    assert book.waiting == 3
    leave(book, tickets[0])
    assert [not one.lock.locked() for one in tickets] == [False, False, True, False, False]
    assert book.give_up(tickets[3])
    assert not book.give_up(tickets[2])
    leave(book, tickets[1])
    assert not tickets[4].lock.locked()
    assert book.taken == 2
    late = BlockingTicket()
    assert not book.enter(late)
    book.resize(3)
    assert not late.lock.locked()


def test_a_ticket_that_nobody_waits_for_is_passed_over():
    class Gone:
        turn = None

        def grant(self):
            return False

    book = Book(1)
    first, gone, dropped, last = BlockingTicket(), Gone(), BlockingTicket(), BlockingTicket()
    for one in (first, gone, dropped, last):
        book.enter(one)
    del one, dropped
    leave(book, first)
    assert not last.lock.locked() and book.taken == 1


def test_closing_lets_all_who_wait_go():
    book = Book(1)
    tickets = [BlockingTicket() for _ in range(3)]
    for one in tickets:
        book.enter(one)
    book.close()
    assert [one.lock.locked() for one in tickets] == [True, False, False]
    assert book.enter(BlockingTicket())


def test_a_collected_connection_gives_its_turn_back_even_under_the_lock():
    book = Book(1)
    first = BlockingTicket()
    book.enter(first)
    thing = Thing()
    told = []
    book.lend(thing, loan(first), told.append)
    waiter = BlockingTicket()
    book.enter(waiter)
    # As when the collector runs inside a locked step of this very thread.
    with book.lock:
        del thing
        gc.collect()
    assert len(told) == 1
    assert waiter.lock.locked()
    book.take_idle()
    assert not waiter.lock.locked()
    assert book.loans() == [] and book.loan_with("k") is None


def test_a_warning_that_is_an_error_costs_no_turn():
    book = Book(1)
    first = BlockingTicket()
    book.enter(first)
    thing = Thing()

    def complain(_):
        raise ResourceWarning("as with python -W error")

    book.lend(thing, loan(first), complain)
    with catching():
        del thing
        gc.collect()
    assert book.taken == 0


@contextlib.contextmanager
def catching():
    """What a weak reference's callback raises goes to sys.unraisablehook."""
    seen, hook = [], sys.unraisablehook
    sys.unraisablehook = seen.append
    try:
        yield
    finally:
        sys.unraisablehook = hook
    assert len(seen) == 1


def test_of_two_who_give_back_one_gets_the_loan():
    book = Book(1)
    for _ in range(200):
        first = BlockingTicket()
        assert book.enter(first)
        thing = Thing()
        book.lend(thing, loan(first), lambda _: None)
        start = threading.Barrier(2)
        got = []

        def give():
            start.wait()
            got.append(book.settle(thing))

        threads = [threading.Thread(target=give) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert sum(one is not None for one in got) == 1
        got.clear()
        assert book.taken == 0


def test_only_the_expected_loan_is_settled():
    book = Book(2)
    tickets = BlockingTicket(), BlockingTicket()
    assert [book.enter(one) for one in tickets] == [True, True]
    thing, first = Thing(), loan(tickets[0], "a")
    book.lend(thing, first, lambda _: None)
    assert book.settle(thing, loan(tickets[1], "b")) is None
    assert book.settle(thing, first) is first
    assert book.settle(thing) is None
