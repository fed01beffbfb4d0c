# SPDX-License-Identifier: Apache-2.0
"""Direct connections that come back in any state, or whose descriptor somebody keeps."""

import threading
from contextlib import contextmanager

import pytest

from harness import direct, wire
from harness.postgres import Watcher
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"
HUGE = "SELECT repeat('x', 100000) FROM generate_series(1, 1000)"


@pytest.fixture
def narrow(make_broker):
    """A single server connection: what a return leaves behind meets the next lease."""
    return make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 5})


def pid(one):
    return int(one.value(PID))


def running(postgres, word):
    return [row[0] for row in postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' "
        "AND application_name <> 'harness'", (f"%{word}%",))]


def step_open_transaction(end, table):
    end.query("BEGIN")
    end.query(f"INSERT INTO {table} VALUES (1, 'x')")


def step_failed_transaction(end, table):
    step_open_transaction(end, table)
    end.query("SELECT 1/0")


def step_result_unread(end, table):
    end.send(wire.query(HUGE))


def step_result_half_read(end, table):
    end.send(wire.query(HUGE))
    assert end.next().kind == "T"


def step_result_unread_in_a_transaction(end, table):
    step_open_transaction(end, table)
    end.send(wire.query(HUGE), wire.query("COMMIT; SELECT 1/0"))


def step_several_results_unread(end, table):
    end.send(*(wire.query(f"SELECT {n}") for n in range(100)))


def step_copy_in(end, table):
    end.send(wire.query(f"COPY {table} FROM STDIN"))
    assert end.next().kind == "G"
    end.send(wire.copy_data(b"1\tx\n"))


def step_copy_in_unread(end, table):
    end.send(wire.query(f"COPY {table} FROM STDIN"))


def step_copy_in_in_a_transaction(end, table):
    step_open_transaction(end, table)
    end.send(wire.query(f"COPY {table} FROM STDIN"), wire.copy_data(b"2\tx\n"))


def step_extended_copy_in(end, table):
    end.send(wire.parse(f"COPY {table} FROM STDIN"), wire.bind(), wire.execute(),
             wire.copy_data(b"1\tx\n"), wire.flush())
    assert wire.kinds(end.until("G")) == "12G"


def step_failed_copy_in(end, table):
    end.send(wire.query(f"COPY {table} FROM STDIN"), wire.copy_data(b"no number\tx\n"))


def step_copy_out(end, table):
    end.send(wire.query(f"COPY ({HUGE}) TO STDOUT"))
    assert end.next().kind == "H"


def step_batch_without_sync(end, table):
    end.send(wire.parse(f"INSERT INTO {table} VALUES (1, 'x')"), wire.bind(), wire.execute(),
             wire.flush())
    assert wire.kinds(end.until("C")) == "12C"


def step_failed_batch_without_sync(end, table):
    end.send(wire.parse("SELECT nothing"), wire.bind(), wire.execute(), wire.flush())
    assert end.next().kind == "E"


def step_portal_suspended(end, table):
    end.query("BEGIN")
    end.send(wire.parse("SELECT generate_series(1, 1000)"), wire.bind(portal="p"),
             wire.execute("p", 10), wire.flush())
    end.until("s")


def step_half_a_header(end, table):
    end.send(wire.query("SELECT 1")[:3])


def step_half_a_message(end, table):
    end.send(wire.query(f"INSERT INTO {table} VALUES (1, 'half')")[:20])


def step_half_of_a_huge_message(end, table):
    end.send(wire.query("SELECT '" + "x" * 1000000 + "'")[:100000])


def step_half_of_a_copy_data(end, table):
    step_copy_in(end, table)
    end.send(wire.copy_data(b"2\tx\n" * 100)[:50])


def step_garbage(end, table):
    end.send(b"\xff" * 100)


def step_running_query(end, table):
    end.send(wire.query(f"SELECT pg_sleep(600) AS left_{table}"))


def step_running_in_a_transaction(end, table):
    step_open_transaction(end, table)
    end.send(wire.query(f"SELECT pg_sleep(600) AS left_{table}"))


def step_several_running(end, table):
    end.send(*(wire.query(f"SELECT pg_sleep(600) AS left_{table}") for _ in range(3)))


def step_terminate(end, table):
    end.send(wire.terminate())


def step_shut_down_for_writing(end, table):
    end.socket.shutdown(1)


def step_forged_marker(end, table):
    """Rows that look as the broker's own might; they must not settle anything."""
    end.send(wire.query(
        "SELECT 'pglease-' || g FROM generate_series(1, 1000) g; SELECT pg_sleep(0.05); "
        "SELECT 'pglease-1-1'"))


def step_notices_for_ever(end, table):
    end.send(wire.query("DO $$ BEGIN FOR i IN 1..20000 LOOP RAISE NOTICE '%', repeat('x', 1000); "
                        "END LOOP; END $$"))


def step_settings_that_hinder(end, table):
    for words in ("statement_timeout = 1", "lock_timeout = 1", "client_min_messages = debug5",
                  "default_transaction_read_only = on", "default_transaction_deferrable = on",
                  "default_transaction_isolation = serializable", "search_path = nowhere",
                  "client_encoding = 'SJIS'", "standard_conforming_strings = off",
                  "DateStyle = 'SQL, DMY'", "IntervalStyle = iso_8601"):
        end.query(f"SET {words}")


def step_an_idle_timeout(end, table):
    end.query("SET idle_session_timeout = 1")


def step_functions_that_pretend(end, table):
    """What the broker asks may not be answered by the client's own functions and operators."""
    end.query("SET log_min_error_statement = panic; CREATE TEMP TABLE now (x int); "
              "CREATE TEMP TABLE statement_timestamp (x int); SET search_path = pg_temp; "
              "BEGIN; CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS "
              "'SELECT pg_catalog.statement_timestamp()'; "
              "CREATE FUNCTION pg_temp.same(timestamptz, timestamptz) RETURNS boolean "
              "LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR pg_temp.= (FUNCTION = pg_temp.same,"
              " LEFTARG = timestamptz, RIGHTARG = timestamptz)")


def step_savepoints(end, table):
    step_open_transaction(end, table)
    for number in range(20):
        end.query(f"SAVEPOINT s{number}")
    end.query("SELECT 1/0")


def step_notifications_under_way(end, table):
    end.query("LISTEN flood")
    end.send(wire.query("SELECT pg_notify('flood', repeat('x', 7000) || g) "
                        "FROM generate_series(1, 200) g"))


def step_leases_asked_of_postgresql(end, table):
    end.query("LEASE RETURN")
    end.query("LEASE DIRECT")


def step_chained_transactions(end, table):
    step_open_transaction(end, table)
    end.send(wire.query("ROLLBACK AND CHAIN"), wire.query("SELECT 1"))


def step_statements_that_lock(end, table):
    end.query("SELECT pg_advisory_lock(99)")
    end.query("BEGIN")
    end.query(f"LOCK TABLE {table}")


# PostgreSQL closes the connection by itself, before the RETURN or after it.
ENDING = ("terminate", "shut down for writing", "garbage", "an idle timeout")
STEPS = {name[5:].replace("_", " "): value for name, value in dict(globals()).items()
         if name.startswith("step_")}


def next_leases_are_right(narrow, one, table):
    """The client itself, another one by the relay, and the next direct lease."""
    assert one.value(f"SELECT count(*) FROM {table}") == "0"
    assert one.query("SELECT 1")[-1].body == b"I"
    with narrow.wire() as other:
        for number in range(5):
            assert other.value(f"SELECT 'other {number}'") == f"other {number}"
    end = one.lease()
    assert one.is_direct
    for number in range(5):
        assert end.value(f"SELECT 'again {number}'") == f"again {number}"
    assert end.value("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() "
                     "AND locktype <> 'virtualxid' AND relation IS DISTINCT FROM "
                     "'pg_locks'::regclass") == "0"
    one.give_back()
    eventually(lambda: narrow.console("SHOW LEASES") == [])


# PostgreSQL waits for the rest, and the broker for PostgreSQL: a few seconds each.
SLOW = ("half a header", "half of a huge message", "half of a copy data", "several running")


@pytest.mark.parametrize("step, keep", [
    (step, keep) for step in STEPS for keep in (False, True) if not keep or step not in SLOW],
    ids=lambda value: ("kept" if value else "closed") if isinstance(value, bool) else value)
def test_what_is_returned_in_any_state(narrow, postgres, table, step, keep):
    with direct.connect(narrow) as one:
        end = one.lease(f"FOR '{step}'")
        STEPS[step](end, table)
        if not keep:
            one.close_end()
        seen = one.query("LEASE RETURN")
        if step in ENDING and wire.kinds(seen) == "EZ":
            assert wire.error_of(seen).code == "08006"
        else:
            direct.returned(seen)
        next_leases_are_right(narrow, one, table)
        eventually(lambda: not running(postgres, f"left_{table}"))


@pytest.mark.parametrize("step", STEPS)
def test_what_a_client_that_leaves_was_in_the_middle_of(narrow, postgres, table, step):
    with direct.connect(narrow) as one, direct.connect(narrow) as other:
        STEPS[step](one.lease(f"FOR '{step}'"), table)
        one.close()
        next_leases_are_right(narrow, other, table)
        eventually(lambda: not running(postgres, f"left_{table}"))


def test_a_good_return_leaves_no_word_in_postgresqls_log(narrow, postgres):
    with direct.connect(narrow) as one:
        before = len(postgres.log())
        for number in range(10):
            end = one.lease()
            end.query("CREATE TEMP TABLE left_over (x int)")
            if number % 2:
                end.query("BEGIN")
                end.query("COMMIT")
            one.give_back()
            one.query("SELECT 1")
        lines = [line for line in postgres.log()[before:].splitlines() if " LOG: " not in line]
        assert lines == []


def test_a_return_while_another_thread_still_reads_and_writes(narrow, table):
    """The descriptor is used by one thread and returned by another."""
    with direct.connect(narrow) as one:
        for _ in range(10):
            copy = one.lease().copy()
            stop = threading.Event()

            def work():
                try:
                    while not stop.is_set():
                        copy.query("SELECT 'stolen'")
                except (OSError, wire.Closed):
                    pass

            thread = threading.Thread(target=work)
            thread.start()
            one.give_back()
            stop.set()
            copy.socket.shutdown(0)
            thread.join(20)
            copy.close()
            assert not thread.is_alive()
            with direct.connect(narrow) as other:
                assert other.value("SELECT 'unharmed'") == "unharmed"


# A descriptor that is kept.


@pytest.fixture
def peer(narrow):
    one = direct.Peer(narrow.socket_path)
    one.do("one = direct.connect(None, address=address)")
    yield one
    one.close()


ASK = """
wrong = []
for number in range({times}):
    nonce = "{name} %d" % number
    if number % 3 == 0:
        rows = wire.rows_of(one.query("SELECT '" + nonce + "', pg_backend_pid()"))
    elif number % 3 == 1:
        rows = wire.rows_of(one.extended("SELECT $1::text, pg_backend_pid()", [nonce]))
    else:
        end = one.lease("FOR '" + nonce + "'")
        rows = wire.rows_of(end.query("SELECT '" + nonce + "', pg_backend_pid()"))
        one.give_back()
    if len(rows) != 1 or rows[0][0] != nonce or int(rows[0][1]) in {forbidden}:
        wrong.append(rows)
wrong
"""


@contextmanager
def kept_descriptors(broker, count):
    """Copies of the connections of so many direct leases that were returned since."""
    clients = [direct.connect(broker) for _ in range(count)]
    kept = [one.lease().copy() for one in clients]
    backends = {one.granted.server_pid for one in clients}
    assert len(backends) == count
    for one in clients:
        one.give_back()
    try:
        yield clients, kept, backends
    finally:
        for one in (*clients, *kept):
            one.close()


@pytest.mark.parametrize("words", ["SELECT 'stolen'", "BEGIN", "COPY items FROM STDIN",
                                   "SET my.mark = 'stolen'", "half"])
def test_words_written_after_the_return_reach_no_other_process(make_broker, words):
    """Its own process may hurt itself; the connection is not given to another."""
    broker = make_broker({"default_pool_size": 4, "reserve_pool_size": 0})
    peer = direct.Peer(broker.socket_path)
    raw = wire.query("SELECT 'stolen'")[:9] if words == "half" else wire.query(words)
    try:
        peer.do("one = direct.connect(None, address=address)")
        with kept_descriptors(broker, 4) as (clients, kept, backends):
            peer.start(ASK.format(times=60, name="of the peer", forbidden=backends))
            for number in range(200):
                try:
                    kept[number % 4].send(raw)
                except OSError:
                    pass
            assert peer.answer() == []
            assert clients[0].query("SELECT 'goes on'")[-1].kind == "Z"
    finally:
        peer.close()


def test_a_reader_of_a_kept_descriptor_sees_nothing_of_another_process(make_broker):
    """It may swallow the answer that the broker waits for: then the connection is closed."""
    broker = make_broker({"default_pool_size": 4, "reserve_pool_size": 0,
                          "query_wait_timeout": 5})
    peer = direct.Peer(broker.socket_path)
    try:
        peer.do("one = direct.connect(None, address=address)")
        with kept_descriptors(broker, 4) as (_, kept, backends):
            heard = []
            readers = [threading.Thread(target=lambda: heard.append(drain(one))) for one in kept]
            for one in readers:
                one.start()
            assert peer.do(ASK.format(times=30, name="secret", forbidden=backends)) == []
            for one in kept:
                one.socket.shutdown(2)
            for one in readers:
                one.join(20)
            assert len(heard) == 4 and b"secret" not in b"".join(heard)
    finally:
        peer.close()


def test_an_answer_that_another_thread_swallows_blocks_other_processes_for_a_moment_only(
        narrow, peer):
    with direct.connect(narrow) as one:
        kept = one.lease().copy()
        reader = threading.Thread(target=drain, args=(kept,))
        reader.start()
        one.give_back()
        assert peer.do("one.value(\"SELECT 'served'\")") == "served"
        kept.socket.shutdown(2)
        reader.join(20)
        kept.close()


def drain(one):
    heard = b""
    try:
        while more := one.socket.recv(65536):
            heard += more
    except OSError:
        pass
    return heard


def test_a_kept_descriptor_hurts_only_its_own_process(narrow, peer):
    """What the own process says to a connection that is not its own any more breaks that
    connection, or one answer of its own; it never goes unnoticed in another's."""
    with direct.connect(narrow) as one, direct.connect(narrow) as two:
        kept = one.lease().copy()
        one.give_back()
        try:
            kept.send(wire.query("SELECT 'stray'"))
        except OSError:
            pass
        for number in range(20):
            seen = two.query(f"SELECT 'two {number}'")
            assert seen[-1].kind == "Z"
        assert peer.do(ASK.format(times=9, name="peer", forbidden="()")) == []
        kept.close()


def test_a_backend_that_one_process_had_directly_is_never_seen_by_another(make_broker, postgres):
    """Neither directly nor through the relay, from then on."""
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0,
                          "query_wait_timeout": 60})
    peers = [direct.Peer(broker.socket_path) for _ in range(4)]
    watcher = Watcher(postgres, dbname="second", user="other")
    try:
        for one in peers:
            one.do("one = direct.connect(None, 'other', 'second', address=address)")
        owner = {}
        for turn in range(40):
            number = turn * 7 % 4
            kind, backend = peers[number].do(f"""
nonce = os.urandom(8).hex()
end = one.lease("FOR 'turn {turn}'")
row, = end.rows("SELECT '" + nonce + "', pg_backend_pid()")
assert row == [nonce, str(one.granted.server_pid)], row
one.give_back()
[one.granted.kind, one.granted.server_pid]
""")
            assert owner.get(backend, number) == number, (turn, owner, backend, number)
            if kind == "direct":
                owner[backend] = number
            row, = peers[turn % 4].do("one.rows('SELECT pg_backend_pid()')")
            assert owner.get(int(row[0]), turn % 4) == turn % 4
            assert watcher.look() <= 2
        assert len(set(owner.values())) > 1, "more than one process had a turn"
    finally:
        watcher.close()
        for one in peers:
            one.close()


def test_a_forked_child_with_a_copy_harms_nobody_after_its_parent_is_done(narrow, peer, postgres):
    """The child has the descriptor by inheritance, and another process number."""
    with direct.connect(narrow) as one:
        peer.do("""
end = one.lease()
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.read(read, 1)
    try:
        for _ in range(100): end.socket.send(wire.query("SELECT 'stolen'"))
    except OSError:
        pass
    os._exit(0)
one.give_back()
""")
        backend = peer.do("one.granted.server_pid")
        assert one.value("SELECT 'mine'") == "mine"
        peer.do("os.write(write, b'.')")
        for number in range(50):
            row, = one.rows(f"SELECT 'mine {number}', pg_backend_pid()")
            assert row[0] == f"mine {number}" and int(row[1]) != backend
        assert peer.do("os.waitpid(child, 0)[1]") == 0


def test_a_forked_child_that_exits_with_the_descriptor_open_changes_nothing(narrow, peer):
    peer.do("""
end = one.lease()
child = os.fork()
if child == 0: os._exit(0)
os.waitpid(child, 0)
""")
    assert peer.do(f"end.value({PID!r}) == str(one.granted.server_pid)") is True
    peer.do("one.give_back()")
    assert peer.do("one.value('SELECT 1')") == "1"
