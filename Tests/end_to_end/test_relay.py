# SPDX-License-Identifier: Apache-2.0
"""The relay moves bytes complete, in order, and to the right client."""

import os
import socket
import struct
import threading

import pytest

from harness import wire
from harness.waiting import eventually, holds_for


def test_several_syncs_in_one_write_are_answered_in_order(broker):
    with broker.wire() as one:
        part = lambda n: wire.parse(f"SELECT {n}") + wire.bind() + wire.execute() + wire.sync()
        one.send(*(part(n) for n in range(100)))
        seen = one.until_ready(100)
        assert [int(row[0]) for row in wire.rows_of(seen)] == list(range(100))
        assert wire.kinds(seen) == "12DCZ" * 100


def test_simple_queries_in_one_write_are_answered_in_order(broker):
    with broker.wire() as one:
        one.send(*(wire.query(f"SELECT {n}") for n in range(100)))
        assert [int(row[0]) for row in wire.rows_of(one.until_ready(100))] == list(range(100))


def test_an_error_in_a_pipeline_skips_to_its_sync_only(broker):
    with broker.wire() as one:
        good = lambda n: wire.parse(f"SELECT {n}") + wire.bind() + wire.execute()
        bad = wire.parse("SELECT 1 / g FROM generate_series(0, 0) g") + \
            wire.bind() + wire.execute()
        one.send(good(1), wire.sync(), bad, good(2), wire.sync(), good(3), wire.sync())
        assert wire.kinds(one.until_ready(3)) == "12DCZ" + "12EZ" + "12DCZ"


def test_a_pipeline_within_a_transaction_keeps_its_server(broker):
    with broker.wire() as one:
        steps = ["BEGIN", "SELECT pg_backend_pid()", "SELECT pg_backend_pid()", "COMMIT"]
        one.send(*(wire.parse(step) + wire.bind() + wire.execute() + wire.sync()
                   for step in steps))
        pids = wire.rows_of(one.until_ready(4))
        assert pids[0] == pids[1]


def test_ready_for_query_tells_the_state_of_the_transaction(broker):
    with broker.wire() as one:
        assert one.query("BEGIN")[-1].body == b"T"
        assert one.query("SELECT 1/0")[-1].body == b"E"
        assert wire.error_of(one.query("SELECT 1")).code == "25P02"
        assert one.query("ROLLBACK")[-1].body == b"I"


def test_flush_brings_answers_without_a_sync(broker):
    with broker.wire() as one:
        one.send(wire.parse("SELECT 7"), wire.bind(), wire.execute(), wire.flush())
        assert wire.kinds(one.until("C")) == "12DC"
        one.send(wire.sync())
        assert one.next().kind == "Z"


def test_an_empty_query_is_answered_as_one(broker):
    with broker.wire() as one:
        assert wire.kinds(one.query("")) == "IZ"
        assert wire.kinds(one.extended("")) == "12IZ"


def test_a_sync_alone_is_answered(broker):
    with broker.wire() as one:
        one.send(wire.sync())
        assert wire.kinds(one.until_ready()) == "Z"


def test_a_portal_with_a_row_limit_is_suspended_and_resumed(broker):
    with broker.wire() as one:
        one.query("BEGIN")
        one.send(wire.parse("SELECT generate_series(1, 5)"), wire.bind(portal="p"),
                 wire.execute("p", 2), wire.flush())
        assert wire.kinds(one.until("s")) == "12DDs"
        one.send(wire.execute("p", 2), wire.sync())
        assert wire.kinds(one.until_ready()) == "DDsZ"
        one.send(wire.execute("p"), wire.sync())
        assert wire.kinds(one.until_ready()) == "DCZ"
        one.query("COMMIT")


def test_a_function_call_is_relayed(broker, postgres):
    (oid,), = postgres.sql("SELECT 'int4pl'::regproc::oid::int", dbname="app")
    with broker.wire() as one:
        one.send(wire.function_call(oid, [struct.pack("!i", 40), struct.pack("!i", 2)]))
        seen = one.until_ready()
        assert wire.kinds(seen) == "VZ"
        assert seen[0].body == struct.pack("!ii", 4, 42)


def test_one_byte_at_a_time_is_understood(broker):
    with broker.wire() as one:
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for byte in wire.query("SELECT 'slowly'") + wire.parse("SELECT 2") + wire.bind() + \
                wire.execute() + wire.sync():
            one.send(bytes([byte]))
        assert wire.rows_of(one.until_ready(2)) == [["slowly"], ["2"]]


def test_half_a_message_holds_back_nobody_else(broker):
    with broker.wire() as half, broker.wire() as other:
        raw = wire.query("SELECT 'whole'")
        half.send(raw[:9])
        for _ in range(20):
            assert other.value("SELECT 1") == "1"
        half.send(raw[9:])
        assert wire.rows_of(half.until_ready()) == [["whole"]]


@pytest.mark.parametrize("size", [100, 8000, 65536, 1 << 20, 30 << 20])
def test_values_of_every_size_go_both_ways(broker, size):
    with broker.wire(timeout=60) as one:
        value = os.urandom(size // 2).hex()
        seen = one.extended("SELECT $1::text", [value])
        assert wire.rows_of(seen) == [[value]]
        assert wire.rows_of(one.query(f"SELECT '{value}'")) == [[value]]


def test_notices_come_between_the_rows_they_belong_to(broker):
    with broker.wire() as one:
        seen = one.query(
            "DO $$ BEGIN FOR i IN 1..500 LOOP RAISE NOTICE 'number %', i; END LOOP; END $$")
        assert wire.kinds(seen) == "CZ"
        assert [note.fields["M"] for note in one.notices] == [f"number {n}" for n in range(1, 501)]


def test_copy_in_by_the_simple_protocol(broker, table):
    with broker.wire() as one:
        one.send(wire.query(f"COPY {table} FROM STDIN"))
        assert one.next().kind == "G"
        one.send(*(wire.copy_data(f"{n}\tx\n".encode()) for n in range(1000)), wire.copy_done())
        seen = one.until_ready()
        assert wire.kinds(seen) == "CZ" and seen[0].tag == "COPY 1000"


def test_copy_in_by_the_extended_protocol(broker, table):
    with broker.wire() as one:
        one.send(wire.parse(f"COPY {table} FROM STDIN"), wire.bind(), wire.execute(), wire.flush())
        assert wire.kinds(one.until("G")) == "12G"
        one.send(wire.copy_data(b"1\tx\n"), wire.copy_done(), wire.sync())
        assert wire.kinds(one.until_ready()) == "CZ"
        one.send(wire.parse(f"COPY {table} FROM STDIN"), wire.bind(), wire.execute(), wire.sync())
        assert wire.kinds(one.until("G")) == "12G"
        one.send(wire.copy_data(b"2\tx\n"), wire.copy_done(), wire.sync())
        assert wire.kinds(one.until_ready()) == "CZ"
        assert one.value(f"SELECT count(*) FROM {table}") == "2"


def test_copy_fail_ends_the_copy_with_the_clients_reason(broker, table):
    with broker.wire() as one:
        one.send(wire.query(f"COPY {table} FROM STDIN"))
        assert one.next().kind == "G"
        one.send(wire.copy_data(b"1\tx\n"), wire.copy_fail("given up"))
        error = wire.error_of(one.until_ready())
        assert error.code == "57014" and "given up" in error.fields["M"]
        assert one.value(f"SELECT count(*) FROM {table}") == "0"


def test_the_rest_of_a_failed_copy_is_ignored(broker, table):
    with broker.wire() as one:
        one.send(wire.query(f"COPY {table} FROM STDIN"))
        assert one.next().kind == "G"
        one.send(wire.copy_data(b"no number\tx\n"))
        one.send(*(wire.copy_data(f"{n}\tx\n".encode()) for n in range(20000)), wire.copy_done())
        assert wire.error_of(one.until_ready()).code == "22P02"
        for _ in range(3):
            assert one.value(f"SELECT count(*) FROM {table}") == "0"


def test_the_rest_of_a_failed_copy_never_reaches_another_lease(broker, table):
    """The late data of a COPY whose error already gave the server back."""
    with broker.wire() as one, broker.wire() as other:
        one.send(wire.query(f"COPY {table} FROM STDIN"))
        assert one.next().kind == "G"
        one.send(wire.copy_data(b"no number\tx\n"))
        one.until_ready()
        for _ in range(5):
            assert other.value("SELECT 1") == "1"
        one.send(*(wire.copy_data(b"1\tx\n") for _ in range(100)), wire.copy_done())
        for _ in range(5):
            assert other.value("SELECT 1") == "1"
        assert one.value("SELECT 'mine'") == "mine"


def test_the_rest_of_a_failed_extended_copy_is_skipped_to_the_sync(broker, table):
    with broker.wire() as one:
        one.send(wire.parse(f"COPY {table} FROM STDIN"), wire.bind(), wire.execute(), wire.flush())
        assert wire.kinds(one.until("G")) == "12G"
        one.send(wire.copy_data(b"no number\tx\n"), *(wire.copy_data(b"1\tx\n") for _ in range(50)),
                 wire.copy_done(), wire.sync())
        seen = one.until_ready()
        assert wire.error_of(seen).code == "22P02"
        assert one.value("SELECT 5") == "5"


def test_copy_data_outside_a_copy_is_ignored_as_postgresql_does(broker):
    with broker.wire() as one:
        one.send(wire.copy_data(b"stray"), wire.copy_done(), wire.query("SELECT 1"))
        assert wire.rows_of(one.until_ready()) == [["1"]]


def test_copy_out_of_a_large_table_is_complete(broker):
    with broker.wire(timeout=60) as one:
        one.send(wire.query("COPY (SELECT g, repeat('x', 200) FROM generate_series(1, 100000) g) "
                            "TO STDOUT"))
        expected, seen = 1, one.next()
        while seen.kind != "Z":
            if seen.kind == "d":
                assert seen.body.startswith(b"%d\t" % expected) and len(seen.body) > 200
                expected += 1
            seen = one.next()
        assert expected == 100001


@pytest.mark.broker_only
def test_a_client_that_reads_slowly_does_not_fill_the_brokers_memory(broker):
    with broker.wire(timeout=120) as slow:
        before = broker.memory()
        slow.send(wire.query("SELECT repeat('x', 10000) FROM generate_series(1, 20000)"))
        with broker.wire() as other:
            for _ in range(200):
                assert other.value("SELECT 1") == "1"
        assert broker.memory() - before < 8 << 20
        assert wire.kinds(slow.until_ready())[-2:] == "CZ"


@pytest.mark.broker_only
def test_a_server_that_reads_slowly_does_not_fill_the_brokers_memory(broker, table):
    with broker.wire(timeout=120) as one, broker.wire() as other, broker.wire() as locker:
        locker.query("BEGIN")
        locker.query(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        before = broker.memory()
        sent = threading.Thread(target=one.send, args=(
            wire.query(f"SELECT count(*) FROM {table}"),
            *(wire.query(f"SELECT length('{'x' * 1000000}')") for _ in range(50))))
        sent.start()
        for _ in range(200):
            assert other.value("SELECT 1") == "1"
        assert broker.memory() - before < 8 << 20
        locker.query("COMMIT")
        seen = one.until_ready(51)
        sent.join(30)
        assert wire.kinds(seen) == "TDCZ" * 51


def test_one_large_stream_leaves_others_quick(broker):
    with broker.wire(timeout=120) as large, broker.wire() as small:
        large.send(wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"))
        reader = threading.Thread(target=large.until_ready)
        reader.start()
        done = 0
        while reader.is_alive() and done < 2000:
            small.value("SELECT 1")
            done += 1
        reader.join(60)
        assert done > 20


def test_a_terminate_in_the_middle_of_a_transaction_rolls_back(broker, postgres, table):
    one = broker.wire()
    one.query("BEGIN")
    one.query(f"INSERT INTO {table} VALUES (1, 'x')")
    one.send(wire.terminate())
    assert one.closed_by_peer()
    with broker.wire() as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"
    assert postgres.backends(state="idle in transaction") == []


def test_a_query_and_terminate_in_one_write_leaves_nothing_open(broker, postgres, table):
    one = broker.wire()
    one.send(wire.query(f"INSERT INTO {table} VALUES (1, 'x')"), wire.terminate())
    assert one.closed_by_peer()
    with broker.wire() as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "1"
    # Of this test's own: the cluster is shared, and others may have left a query running.
    running = (f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
               f" AND query LIKE 'INSERT INTO {table}%'")
    eventually(lambda: str(postgres.sql(running)[0][0]) == "0")


def test_two_processes_on_one_socket_get_answers_in_order(broker):
    """A forked pool: both write to the same socket; the broker counts queries, not clients."""
    with broker.wire() as one:
        copy = socket.socket(fileno=os.dup(one.socket.fileno()))
        raw = wire.query("SELECT 'ab'")
        one.send(raw)
        copy.sendall(raw)
        one.send(raw)
        assert wire.rows_of(one.until_ready(3)) == [["ab"]] * 3
        copy.close()


@pytest.mark.broker_only
def test_a_terminate_of_a_forked_child_ends_the_session_cleanly(broker):
    with broker.wire() as one:
        copy = socket.socket(fileno=os.dup(one.socket.fileno()))
        one.query("BEGIN")
        copy.sendall(wire.terminate())
        assert one.closed_by_peer()
        copy.close()
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_listen_delivers_while_the_session_is_idle(session_broker):
    with session_broker.wire() as listener, session_broker.wire() as teller:
        listener.query("LISTEN relay")
        teller.query("NOTIFY relay, 'now'")
        heard = listener.next()
        assert heard.kind == "A" and heard.body[4:] == b"relay\0now\0"


@pytest.mark.broker_only
def test_between_transactions_no_server_is_held(transaction_broker):
    with transaction_broker.wire() as one:
        one.query("SELECT 1")
        eventually(lambda: int(transaction_broker.pool()["sv_active"]) == 0)
        one.query("BEGIN")
        assert int(transaction_broker.pool()["sv_active"]) == 1
        holds_for(lambda: int(transaction_broker.pool()["sv_active"]) == 1, 0.2)
        one.query("COMMIT")
        eventually(lambda: int(transaction_broker.pool()["sv_active"]) == 0)


def test_multi_statement_with_copy_and_error(broker, table):
    with broker.wire() as one:
        seen = one.query(f"INSERT INTO {table} VALUES (1, 'x'); SELECT 1/0; SELECT 'never'")
        assert wire.kinds(seen) == "CEZ"
        assert one.value(f"SELECT count(*) FROM {table}") == "0"
        one.send(wire.query(f"COPY {table} FROM STDIN; SELECT 'after'"))
        assert one.next().kind == "G"
        one.send(wire.copy_data(b"1\tx\n"), wire.copy_done())
        assert wire.rows_of(one.until_ready()) == [["after"]]
