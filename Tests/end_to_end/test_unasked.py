# SPDX-License-Identifier: Apache-2.0
"""What a server says while nothing is asked of it reaches nobody: its connection is closed, with an event."""

import struct

import pytest

from harness import wire
from harness.faucet import Faucet
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


def fields(severity, code, text):
    return b"".join(key + value.encode() + b"\0" for key, value in (
        (b"S", severity), (b"V", severity), (b"C", code), (b"M", text))) + b"\0"


STRAY = b"stray"
ROW = wire.message("D", struct.pack("!hi", 1, len(STRAY)) + STRAY)
WORDS = {
    "row": ROW,
    "error": wire.message("E", fields("ERROR", "XX000", "stray")),
    "fatal": wire.message("E", fields("FATAL", "57P01", "stray")),
    "command complete": wire.message("C", b"stray\0"),
    "ready": wire.message("Z", b"I"),
    "parse complete": wire.message("1"),
    "row description": wire.message("T", struct.pack("!h", 1) + b"stray\0" + bytes(18)),
    "copy": wire.message("G", b"\0\0\0"),
    "unknown": wire.message("!", STRAY),
    "half a row": ROW[:7],
    "a byte": b"D",
}


@pytest.fixture
def liar(postgres):
    one = Faucet(postgres.socket_path)
    yield one
    one.close()


@pytest.fixture
def lying(make_broker, liar):
    """lying(settings): a broker with one connection, to a server that can be made to lie."""
    def make(settings=None):
        return make_broker({"default_pool_size": 1, "server_check_delay": "3600"} | (settings or {}),
                           databases={"app": f"host=127.0.0.1 port={liar.port}"})
    return make


def pid(one):
    return one.value("SELECT pg_backend_pid()")


def lost(broker):
    return [row for row in broker.console("SHOW EVENTS") if row["kind"] == "server_lost"]


@pytest.mark.parametrize("what", WORDS)
def test_behind_an_answer(lying, liar, what):
    broker = lying()
    with broker.wire() as one, broker.wire() as next_one:
        before = pid(one)
        liar.lie(b"asked", WORDS[what])
        assert wire.kinds(one.query("SELECT 'asked'")) == "TDCZ"
        assert pid(next_one) != before
        assert wire.rows_of(one.query("SELECT 'again'")) == [["again"]]
        assert not one.buffer and not next_one.buffer
    eventually(lambda: lost(broker))


@pytest.mark.parametrize("what", ["row", "fatal", "half a row"])
@pytest.mark.parametrize("sql", ["SELECT 'asked'; SET statement_timeout = 9000", "asked in a batch"])
def test_behind_an_answer_that_leaves_something(lying, liar, what, sql):
    broker = lying()
    with broker.wire() as one, broker.wire() as next_one:
        before = pid(one)
        liar.lie(b"asked", WORDS[what])
        seen = one.extended("SELECT 'asked'") if "batch" in sql else one.query(sql)
        assert "E" not in wire.kinds(seen)
        assert pid(next_one) != before
        assert not one.buffer


@pytest.mark.parametrize("what", WORDS)
def test_behind_the_brokers_own_query(lying, liar, what):
    broker = lying({"server_reset_query_always": 1})
    with broker.wire() as one, broker.wire() as next_one:
        before = pid(one)
        # The tag of the last text that cleans a connection.
        liar.lie(b"SELECT 0\0", WORDS[what])
        assert wire.kinds(one.query("SELECT 1")) == "TDCZ"
        eventually(lambda: not liar.lies)
        assert pid(next_one) != before
        assert not one.buffer and not next_one.buffer
    eventually(lambda: lost(broker))


@pytest.mark.parametrize("what", ["row", "error", "ready", "half a row"])
@pytest.mark.parametrize("lease", ["LEASE", "session"])
def test_in_a_lease_that_goes_on(lying, liar, what, lease):
    broker = lying({"pool_mode": "session"} if lease == "session" else {})
    with broker.wire() as one:
        if lease == "LEASE":
            one.query("LEASE")
        liar.lie(b"asked", WORDS[what])
        assert wire.kinds(one.query("SELECT 'asked'")) == "TDCZ"
        if lease == "session":
            error = one.next()
            assert error.kind == "E" and error.code == "08006"
            assert "session goes on" not in error.fields["H"]
            assert one.closed_by_peer()
        else:
            assert wire.error_of(one.query("SELECT 1")).code == "08006"
            assert one.value("SELECT 1") == "1"
    eventually(lambda: lost(broker))


def test_in_a_transaction_the_next_statement_is_told(lying, liar):
    broker = lying()
    with broker.wire() as one:
        one.query("BEGIN")
        liar.lie(b"COMMIT", ROW)
        one.query("COMMIT")
        assert one.value("SELECT 1") == "1"
        assert not one.buffer


ASYNCHRONOUS = {
    "notice": wire.message("N", fields("NOTICE", "00000", "mind")),
    "parameter": wire.message("S", b"IntervalStyle\0iso_8601\0"),
    "notification": wire.message("A", struct.pack("!i", 1) + b"c\0p\0"),
}


@pytest.mark.parametrize("what", ASYNCHRONOUS)
def test_what_may_come_at_any_time_is_passed_to_who_asked(lying, liar, what):
    broker = lying()
    with broker.wire() as one, broker.wire() as next_one:
        before = pid(one)
        liar.lie(b"asked", ASYNCHRONOUS[what])
        one.query("SELECT 'asked'")
        heard = one.read()
        assert heard.kind == chr(ASYNCHRONOUS[what][0])
        assert pid(next_one) == before
        assert not next_one.notices


@pytest.mark.parametrize("what", ["notice", "parameter"])
def test_a_notice_or_parameter_does_not_end_an_idle_connection(lying, liar, what):
    broker = lying({"server_reset_query_always": 1})
    with broker.wire() as one, broker.wire() as next_one:
        before = pid(one)
        liar.lie(b"SELECT 0\0", ASYNCHRONOUS[what])
        one.query("SELECT 1")
        eventually(lambda: not liar.lies)
        assert pid(next_one) == before
        assert pid(next_one) == before
        if what == "parameter":
            assert next_one.parameters["IntervalStyle"] == "iso_8601"
    assert not lost(broker)
