# SPDX-License-Identifier: Apache-2.0
"""Each row of the table of what a client sees (DESIGN, section 7), and what stays afterwards."""

import os
import signal

import psycopg2
import pytest

from harness import wire
from harness.faucet import Faucet
from harness.waiting import Stopwatch, eventually

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def faucet(postgres):
    one = Faucet(postgres.socket_path)
    yield one
    one.close()


@pytest.fixture
def behind(make_broker, faucet):
    """A broker whose server is behind the faucet."""
    def make(settings=None, **named):
        base = {"query_wait_timeout": 5, "default_pool_size": 2, "reserve_pool_size": 0,
                "server_login_retry": 1, "startup_attempts": 1}
        named.setdefault("databases", {"*": f"host=127.0.0.1 port={faucet.port}"})
        one = make_broker(base | (settings or {}), **named)
        one.errors_expected = True
        return one
    return make


def refusal(broker, user="app", database="app"):
    """The code of the error at login, or else at the first query."""
    try:
        with broker.wire(user, database) as one:
            one.send(wire.query("SELECT 1"))
            return wire.error_of(one.until("EZ")).code
    except wire.Refused as refused:
        return refused.code


def test_unreachable_server_08001_with_its_own_message(behind, faucet):
    broker = behind({"query_wait_timeout": 1})
    faucet.refuse()
    with broker.wire() as one:
        watch = Stopwatch()
        error = wire.error_of(one.query("SELECT 1")).fields
        assert error["C"] == "08001", error
        assert "refused" in str(error).lower()
        assert watch.seconds < 3
        faucet.flow()
        eventually(lambda: wire.kinds(one.query("SELECT 1")) == "TDCZ", 15)


def test_unknown_database_3D000_at_once(behind):
    broker = behind()
    watch = Stopwatch()
    for _ in range(2):
        assert refusal(broker, database="no_such_database") == "3D000"
    assert watch.seconds < 3


def test_unknown_database_without_fallback_3D000(make_broker):
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server(dbname="app")}
    broker.write()
    broker.start()
    with pytest.raises(wire.Refused) as refused:
        broker.wire(database="elsewhere")
    assert refused.value.code == "3D000"
    assert "elsewhere" in refused.value.fields["M"]


def test_wrong_server_password_28P01_at_once(make_broker, postgres):
    broker = make_broker({"prewarm": 0}, databases={
        "app": f"host=127.0.0.1 port={postgres.port} dbname=app user=secretive password=wrong"})
    broker.errors_expected = True
    watch = Stopwatch()
    assert refusal(broker) == "28P01"
    assert watch.seconds < 3
    assert "wrong" not in broker.log().replace("went wrong", ""), "a password in the log"


def test_unknown_role_28000(behind):
    broker = behind(userlist={"nobody_there": "", "admin": "", "app": ""})
    assert refusal(broker, "nobody_there") == "28000"


def test_starting_up_keeps_waiters_within_their_deadline(behind, faucet):
    broker = behind({"query_wait_timeout": 20, "server_login_retry": 0.5})
    faucet.answer("57P03", "the database system is starting up")
    with broker.wire() as one:
        one.send(wire.query("SELECT 'it came up'"))
        eventually(lambda: faucet.accepted >= 2)
        faucet.flow()
        assert wire.rows_of(one.until_ready()) == [["it came up"]]


def test_too_many_connections_keeps_waiters_within_their_deadline(behind, faucet):
    broker = behind({"query_wait_timeout": 20, "server_login_retry": 0.5})
    faucet.answer("53300", "sorry, too many clients already")
    with broker.wire() as one:
        one.send(wire.query("SELECT 'there was room'"))
        eventually(lambda: faucet.accepted >= 2)
        faucet.flow()
        assert wire.rows_of(one.until_ready()) == [["there was room"]]


def test_a_server_that_hangs_costs_a_waiter_its_deadline_and_no_more(behind, faucet):
    broker = behind({"query_wait_timeout": 1, "server_connect_timeout": 30})
    faucet.hang()
    with broker.wire() as one:
        watch = Stopwatch()
        error = wire.error_of(one.query("SELECT 1")).fields
        assert error["C"] in ("08001", "53300")
        assert 0.9 < watch.seconds < 2


def test_server_connect_timeout_ends_a_connect_that_hangs(behind, faucet):
    broker = behind({"server_connect_timeout": 1, "query_wait_timeout": 20})
    faucet.hang()
    with broker.wire() as one:
        one.send(wire.query("SELECT 'at last'"))
        eventually(lambda: faucet.accepted >= 2)
        faucet.flow()
        assert wire.rows_of(one.until_ready()) == [["at last"]]


def test_a_dead_idle_connection_is_replaced_unseen(behind, faucet):
    broker = behind()
    with broker.wire() as one:
        for _ in range(5):
            assert one.value("SELECT 1") == "1"
            faucet.cut()
            assert one.value("SELECT 1") == "1"


def test_a_connection_that_died_silently_is_found_by_the_check(behind, faucet, postgres):
    """No EOF was seen, but the server does not answer: its check fails, the client is served."""
    broker = behind({"server_check_delay": 0, "server_connect_timeout": 1,
                     "query_wait_timeout": 15})
    with broker.wire() as one:
        pid = int(one.value("SELECT pg_backend_pid()"))
        os.kill(pid, signal.SIGSTOP)
        try:
            assert one.value("SELECT 'served by another'") == "served by another"
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_server_lost_in_a_transaction_08006_and_the_session_goes_on(behind, faucet):
    broker = behind()
    with broker.wire() as one:
        one.query("BEGIN")
        one.query("SELECT 1")
        faucet.cut()
        seen = one.query("SELECT 2")
        error = wire.error_of(seen)
        assert error.code == "08006" and seen[-1].body == b"I"
        assert one.value("SELECT 3") == "3"


def test_a_server_lost_under_an_idle_transaction_tells_at_the_next_message(behind, postgres):
    broker = behind()
    with broker.wire() as one:
        one.query("BEGIN")
        pid = int(one.value("SELECT pg_backend_pid()"))
        postgres.terminate(pid)
        eventually(lambda: pid not in [row[0] for row in postgres.backends()])
        errors = [m.code for m in one.query("SELECT 2") if m.kind == "E"]
        assert errors and set(errors) <= {"08006", "57P01"}
        assert one.value("SELECT 3") == "3"


def test_a_backend_terminated_in_a_query_gives_the_servers_57P01_or_08006(behind, postgres):
    broker = behind()
    with broker.wire() as one:
        one.send(wire.query("SELECT pg_sleep(60) AS terminated"))
        (pid,), = eventually(lambda: postgres.sql(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '%AS terminated%' "
            "AND state = 'active' AND application_name <> 'harness'"))
        postgres.terminate(pid)
        seen = one.until_ready()
        assert wire.error_of(seen).code in ("57P01", "08006") and seen[-1].body == b"I"
        assert one.value("SELECT 1") == "1"


def test_a_server_lost_in_the_middle_of_a_message_ends_the_session(behind, faucet):
    broker = behind({"server_check_delay": 30})
    with broker.wire(timeout=30) as one:
        one.send(wire.query("SELECT repeat('x', 20000000)"))
        one._fill()
        faucet.cut()
        broken = False
        try:
            while one.next().kind != "Z":
                pass
        except wire.Closed:
            broken = True
        assert broken
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_a_server_lost_in_a_copy_in_08006(behind, faucet, table):
    broker = behind()
    with broker.wire() as one:
        one.send(wire.query(f"COPY {table} FROM STDIN"))
        assert one.next().kind == "G"
        faucet.cut()
        one.send(wire.copy_data(b"1\tx\n"), wire.copy_done())
        seen = one.until_ready()
        assert wire.error_of(seen).code == "08006"
        assert one.value("SELECT 1") == "1"


@pytest.mark.parametrize("limit, code", [
    ("transaction_timeout", "57P05"), ("idle_transaction_timeout", "57P05"),
    ("lease_timeout", "57P05")])
def test_a_revoked_lease_57P05_names_the_limit(make_broker, limit, code, postgres):
    broker = make_broker({limit: 1})
    with broker.wire() as one:
        one.query("BEGIN")
        one.query("SELECT 1")
        eventually(lambda: not postgres.backends(user="app", state="idle in transaction"))
        errors = []
        try:
            one.send(wire.query("SELECT 1"))
            errors = [m.fields for m in one.until_ready() if m.kind == "E"]
        except (wire.Closed, ConnectionError):
            pass
        assert errors and errors[0]["C"] == code
        assert limit in str(errors[0])
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_a_revoked_lease_in_the_middle_of_a_query_57P05(make_broker):
    broker = make_broker({"query_timeout": 1})
    with broker.wire() as one:
        one.send(wire.query("SELECT pg_sleep(60)"))
        fields = next(m.fields for m in iter(one.next, None) if m.kind == "E")
        assert fields["C"] in ("57P05", "57014")
        assert "query_timeout" in str(fields)
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_login_errors_have_their_codes(make_broker):
    broker = make_broker({"auth_type": "scram-sha-256", "max_client_conn": 2},
                         userlist={"app": "right", "admin": "x"})
    for user, password, codes in (
            ("app", "wrong", {"28P01"}), ("stranger", "any", {"28P01", "28000"})):
        with pytest.raises(wire.Refused) as refused:
            wire.Wire(broker.socket_path).start(user, "app", password)
        assert refused.value.code in codes
        assert refused.value.fields["S"] == "FATAL"


def test_shutdown_57P01(make_broker, request):
    broker = make_broker({"shutdown_grace": 1})
    one = broker.wire()
    one.query("BEGIN")
    broker.send_signal(signal.SIGTERM)
    codes = []
    try:
        while True:
            seen = one.read()
            if seen.kind == "E":
                codes.append(seen.code)
    except wire.Closed:
        pass
    assert codes == ["57P01"]
    assert broker.wait() == 0


def test_every_message_of_ours_says_what_to_do(make_broker):
    broker = make_broker({"query_wait_timeout": 0.3, "default_pool_size": 1,
                          "reserve_pool_size": 0, "max_client_conn": 2})
    with broker.wire() as holder, broker.wire() as waiter:
        holder.query("BEGIN")
        error = wire.error_of(waiter.query("SELECT 1")).fields
        assert error["H"] and error["M"] and error["S"] == "ERROR" and error["V"] == "ERROR"
        with pytest.raises(wire.Refused) as refused:
            broker.wire()
        assert refused.value.fields.get("H")


def test_psycopg2_sees_the_class_of_the_error(make_broker, connect):
    broker = make_broker({"query_wait_timeout": 0.3, "default_pool_size": 1,
                          "reserve_pool_size": 0})
    with broker.wire() as holder:
        holder.query("BEGIN")
        connection = connect(broker)
        with pytest.raises(psycopg2.errors.TooManyConnections):
            connection.cursor().execute("SELECT 1")
        holder.query("COMMIT")
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
