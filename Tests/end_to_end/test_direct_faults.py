# SPDX-License-Identifier: Apache-2.0
"""Direct leases whose client dies or hangs, whose server ends, or whose broker is gone."""

import os
import signal

import pytest

from harness import direct, wire
from harness.postgres import Postgres, Watcher
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"
LONG = 3600


@pytest.fixture
def narrow(make_broker):
    def make(settings=None, **named):
        base = {"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 20}
        return make_broker(base | (settings or {}), **named)
    return make


@pytest.fixture
def peer_of():
    """Starts processes that have a session of the broker, `one`."""
    started = []

    def start(broker, **named):
        peer = direct.Peer(broker.socket_path, **named)
        started.append(peer)
        peer.do("one = direct.connect(None, address=address)")
        return peer

    yield start
    for one in started:
        one.close()


@pytest.fixture
def own_postgres():
    one = Postgres()
    yield one
    one.destroy()


def alive(postgres, backend):
    return [row for row in postgres.backends() if row[0] == backend]


def usable(broker, one):
    """The session goes on, no RETURN is owed, and the pool serves it directly and not."""
    assert wire.error_of(one.query("LEASE RETURN")).code == "55000"
    assert one.value("SELECT 'goes on'") == "goes on"
    end = one.lease()
    assert one.is_direct and int(end.value(PID)) == one.granted.server_pid
    one.give_back()
    eventually(lambda: broker.console("SHOW LEASES") == [])


# Clients.

STEPS = {
    "idle": "",
    "in a transaction": "end.query('BEGIN'); end.query(insert)",
    "in a failed transaction": "end.query('BEGIN'); end.query('SELECT 1/0')",
    "in a query": "end.send(wire.query('SELECT pg_sleep(600)'))",
    "in a locked table": "end.query('BEGIN'); end.query(lock)",
    "in a result": "end.send(wire.query(\"SELECT repeat('x', 100000) FROM "
                   "generate_series(1, 1000)\")); end.next()",
    "in copy in": "end.send(wire.query(copy)); end.next(); end.send(wire.copy_data(b'1\\tx\\n'))",
    "in copy out": "end.send(wire.query(\"COPY (SELECT repeat('x', 100000) FROM "
                   "generate_series(1, 1000)) TO STDOUT\")); end.next()",
    "in half a message": "end.send(wire.query(insert)[:20])",
    "in a batch": "end.send(wire.parse(insert), wire.bind(), wire.execute(), wire.flush()); "
                  "end.until('C')",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_client_killed_with_9_in_its_direct_lease(narrow, peer_of, postgres, table, step):
    broker = narrow()
    peer = peer_of(broker)
    backend = peer.do(f"""
insert, copy = "INSERT INTO {table} VALUES (1, 'x')", "COPY {table} FROM STDIN"
lock = "LOCK TABLE {table} IN ACCESS SHARE MODE"
end = one.lease("FOR 'to be killed'")
{STEPS[step]}
one.granted.server_pid
""")
    peer.kill()
    with direct.connect(broker) as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"
        assert int(other.value(PID)) != backend
        other.lease()
        other.give_back()
    eventually(lambda: not alive(postgres, backend))


def test_a_waiter_is_served_when_the_holder_is_killed(narrow, peer_of):
    broker = narrow()
    peer = peer_of(broker)
    peer.do("end = one.lease(); end.query('BEGIN')")
    with direct.connect(broker) as one:
        one.send(wire.query("LEASE DIRECT"))
        eventually(lambda: broker.waiting() == 1)
        peer.kill()
        one.take_lease(one.until_ready())
        assert (one.end or one).value("SELECT 'served'") == "served"
        one.give_back()


def test_a_dead_client_whose_forked_child_holds_both_sockets(narrow, peer_of, postgres):
    """EOF never comes; the broker watches the process, and shuts the connection down."""
    broker = narrow()
    peer = peer_of(broker)
    backend = peer.do("""
end = one.lease()
end.query("BEGIN")
if os.fork() == 0:
    os.setsid()
    os.close(0); os.close(1)
    try: end.closed_by_peer(600)
    finally: os._exit(0)
one.granted.server_pid
""")
    peer.kill()
    with broker.wire() as other:
        assert int(other.value(PID)) != backend
    eventually(lambda: not alive(postgres, backend))


def test_a_stopped_client_loses_its_lease_at_hold(narrow, peer_of, postgres):
    broker = narrow()
    peer = peer_of(broker)
    peer.do("end = one.lease(\"HOLD '300ms'\"); end.query('BEGIN')")
    os.kill(peer.pid, signal.SIGSTOP)
    try:
        with broker.wire() as other:
            assert other.value("SELECT 'served'") == "served"
            assert not postgres.backends(dbname="app", state="idle in transaction")
    finally:
        os.kill(peer.pid, signal.SIGCONT)
    assert peer.do("end.closed_by_peer()") is True
    assert peer.do("wire.error_of(one.query('LEASE RETURN')).code") == "57P05"
    assert peer.do("one.value('SELECT 1')") == "1"


def test_a_client_that_closes_its_session_and_goes_on_with_the_descriptor(narrow, postgres):
    broker = narrow()
    with direct.connect(broker) as one, direct.connect(broker) as other:
        kept = one.lease().copy()
        kept.query("BEGIN")
        one.close()
        assert kept.closed_by_peer()
        assert other.value("SELECT 'served'") == "served"
        eventually(lambda: not alive(postgres, one.granted.server_pid))
        kept.close()


@pytest.mark.parametrize("step", ["idle", "in a transaction", "in a query", "in a result"])
@pytest.mark.parametrize("limit", ["HOLD", "lease_timeout"])
def test_a_limit_ends_a_direct_lease(narrow, postgres, limit, step):
    broker = narrow({"lease_timeout": "0.3"} if limit == "lease_timeout" else {})
    with direct.connect(broker) as one:
        end = one.lease("HOLD '300ms'" if limit == "HOLD" else "")
        backend = one.granted.server_pid
        if step == "in a transaction":
            end.query("BEGIN")
        elif step == "in a query":
            end.send(wire.query("SELECT pg_sleep(600)"))
        elif step == "in a result":
            end.send(wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 1000)"))
        assert end.closed_by_peer()
        eventually(lambda: not alive(postgres, backend))
        one.close_end()
        seen = one.query("LEASE RETURN")
        error = wire.error_of(seen)
        assert error.code == "57P05" and limit in error.fields["M"] and seen[-1].body == b"I"
        usable(broker, one)


@pytest.mark.parametrize("words", ["SELECT 1", "LEASE", "LEASE DIRECT"])
def test_whatever_comes_first_after_a_revocation_is_told(narrow, words):
    broker = narrow()
    with direct.connect(broker) as one:
        end = one.lease("HOLD '100ms'")
        assert end.closed_by_peer()
        assert wire.error_of(one.query(words)).code == "57P05"
        one.close_end()
        usable(broker, one)


def test_hold_counts_from_the_grant_and_ends_with_the_return(narrow):
    broker = narrow()
    with direct.connect(broker) as one:
        one.lease("HOLD '30s'")
        one.give_back()
        one.lease()
        one.give_back()
        assert not broker.logged("lease revoked")


# Servers.


@pytest.mark.parametrize("state", ["idle", "in a transaction", "in a query"])
def test_a_server_that_is_terminated(narrow, postgres, state):
    broker = narrow()
    with direct.connect(broker) as one:
        end = one.lease()
        if state == "in a transaction":
            end.query("BEGIN")
        elif state == "in a query":
            end.send(wire.query("SELECT pg_sleep(600)"))
        postgres.terminate(one.granted.server_pid)
        assert end.closed_by_peer()
        eventually(lambda: broker.console("SHOW LEASES") == [])
        one.close_end()
        seen = one.query("LEASE RETURN")
        assert wire.error_of(seen).code == "08006" and seen[-1].body == b"I", seen
        usable(broker, one)


def test_the_client_still_reads_the_servers_last_words(narrow, postgres):
    broker = narrow()
    with direct.connect(broker) as one:
        end = one.lease()
        postgres.terminate(one.granted.server_pid)
        eventually(lambda: broker.console("SHOW LEASES") == [])
        assert end.next().code == "57P01"
        one.close_end()
        assert wire.error_of(one.query("SELECT 1")).code == "08006"
        usable(broker, one)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_postgresql_is_restarted_during_direct_leases(make_broker, own_postgres, how):
    broker = make_broker({"default_pool_size": 3, "reserve_pool_size": 0, "server_login_retry": 1},
                         on=own_postgres)
    broker.errors_expected = True
    clients = [direct.connect(broker) for _ in range(3)]
    for one in clients:
        one.lease().query("BEGIN")
    own_postgres.restart(how)
    for one in clients:
        assert one.end.closed_by_peer()
        one.close_end()
        assert wire.error_of(one.query("LEASE RETURN")).code == "08006"
        usable(broker, one)
    assert len(own_postgres.backends(dbname="app")) <= 3
    for one in clients:
        one.close()


# The broker.


def test_a_broker_killed_with_9_leaves_the_descriptor_working_and_the_next_one_works(narrow):
    """Nobody is left to take the connection back: it serves its client until that closes it."""
    broker = narrow()
    with direct.connect(broker) as one:
        end = one.lease()
        end.query("CREATE TEMP TABLE mine AS SELECT 7 AS x")
        broker.kill()
        assert one.closed_by_peer()
        assert end.value("SELECT x FROM mine") == "7"
        broker.start()
        with direct.connect(broker) as other:
            other.lease()
            assert other.is_direct and other.end.value("SELECT to_regclass('mine') IS NULL") == "t"
            other.give_back()
        assert end.value("SELECT x FROM mine") == "7"


def test_a_backend_ends_once_broker_and_client_are_gone(narrow, postgres):
    broker = narrow()
    with direct.connect(broker) as one:
        one.lease().query("BEGIN")
        broker.kill()
        assert alive(postgres, one.granted.server_pid)
    eventually(lambda: not alive(postgres, one.granted.server_pid))


def test_sigterm_lets_a_direct_lease_come_to_its_end(narrow):
    broker = narrow({"shutdown_grace": LONG})
    with direct.connect(broker) as one:
        end = one.lease()
        broker.send_signal(signal.SIGTERM)
        broker.wait_told("STOPPING=1")
        assert end.value("SELECT 'goes on'") == "goes on"
        one.give_back()
        assert one.value("SELECT 'served'") == "served"
    assert broker.wait() == 0


def test_sigint_waits_for_the_return_of_a_direct_lease(narrow):
    broker = narrow({"shutdown_grace": LONG})
    with direct.connect(broker) as one:
        end = one.lease()
        broker.send_signal(signal.SIGINT)
        broker.wait_told("STOPPING=1")
        assert end.value("SELECT 'goes on'") == "goes on"
        one.close_end()
        one.send(wire.query("LEASE RETURN"))
        assert one.next().tag == "LEASE RETURN"
        assert broker.wait() == 0


def test_a_second_sigterm_shuts_the_connection_down(narrow, postgres):
    """The broker may not leave a session behind that nobody counts."""
    broker = narrow({"shutdown_grace": LONG})
    with direct.connect(broker) as one:
        end = one.lease()
        end.query("BEGIN")
        broker.send_signal(signal.SIGTERM)
        broker.wait_told("STOPPING=1")
        broker.send_signal(signal.SIGTERM)
        assert broker.wait() == 0
        assert one.until("E")[-1].code == "57P01"
        assert end.closed_by_peer()
        eventually(lambda: not alive(postgres, one.granted.server_pid))


def test_a_reload_that_replaces_the_pool_keeps_it_for_those_who_are_in_it(narrow, postgres):
    broker = narrow()
    with direct.connect(broker) as one:
        end = one.lease()
        broker.set(pool_mode="session")
        broker.console("RELOAD")
        assert end.value("SELECT 'goes on'") == "goes on"
        one.give_back()
        assert one.value("SELECT 1") == "1"
        with direct.connect(broker) as other:
            assert other.value("SELECT 1") == "1"
    eventually(lambda: not alive(postgres, one.granted.server_pid))


def test_a_reload_that_moves_the_database_closes_the_connection_at_its_return(narrow, postgres):
    broker = narrow()
    with direct.connect(broker) as one:
        end = one.lease()
        broker.databases = {"*": f"host=127.0.0.1 port={postgres.port}"}
        broker.write()
        broker.console("RELOAD")
        assert end.value("SELECT inet_server_addr() IS NULL") == "t"
        one.give_back()
        assert one.value("SELECT inet_server_addr() IS NULL") == "f"
        assert one.lease().value("SELECT inet_server_addr() IS NULL") == "f"
        one.give_back()


# All of it at once.

WORK = """
import random
dice = random.Random({seed})
kinds, wrong, codes = dict(direct=0, relay=0), [], dict()
# What such a process does to its own connections is its own affair: its answers may be wrong.
hostile = {hostile}

def connect(): return direct.connect(None, 'other', 'second', address=address, timeout=60)

def faulty(end):
    fault = dice.randrange(10)
    if fault == 0: end.query("BEGIN")
    elif fault == 1: end.query("BEGIN"); end.query("SELECT 1/0")
    elif fault == 2: end.send(wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 2000)"))
    elif fault == 3: end.send(wire.query("SELECT 'unread by {seed}'"))
    elif fault == 4: end.send(wire.parse("SELECT 'half'"), wire.bind(), wire.execute())
    elif fault == 5: end.query("SET my.mark = 'left'; CREATE TEMP TABLE left_over (x int)")
    elif fault == 6: end.send(wire.terminate())

def step(one, number):
    nonce = "{seed} %d %d" % (number, dice.getrandbits(60))
    mark = "coalesce(current_setting('my.mark', true), '')"
    question = "SELECT '" + nonce + "', " + mark + ", to_regclass('left_over') IS NULL, "
    end = one.lease("FOR '" + nonce + "' WAIT '60s'")
    kinds[one.granted.kind] += 1
    right = [[nonce, "", "t", str(one.granted.server_pid)]]
    for _ in range(dice.randrange(1, 4)):
        rows = end.rows(question + "pg_backend_pid()")
        if rows != right: wrong.append([rows, right])
    kept = hostile and one.is_direct and end.copy()
    if one.is_direct and dice.random() < {faults}: faulty(end)
    if dice.random() < {faults} / 10:
        # It leaves without a word; the lease is the broker's to end.
        one.close()
        one = connect()
    else:
        one.close_end()
        for m in one.query("LEASE RETURN"):
            if m.kind == "E": codes[m.code] = codes.get(m.code, 0) + 1
    if kept:
        try: kept.send(wire.query("SELECT 'written after the return'"))
        except OSError: pass
        kept.close()
    return one

one = connect()
for number in range({times}):
    try:
        one = step(one, number)
    except Exception:
        if not hostile: raise
        one.close()
        one = connect()
one.close()
dict(kinds=kinds, wrong=[] if hostile else wrong, codes={{}} if hostile else codes)
"""


def run_all(broker, postgres, peers, size, hostile=0, faults=0.0, times=200):
    """Lets every process do its work; returns how many leases of each kind there were."""
    watcher = Watcher(postgres, dbname="second", user="other")
    for number, one in enumerate(peers):
        one.do("one.close()")
        one.start(WORK.format(seed=number, hostile=number < hostile, times=times, faults=faults))
    answers, left = [], list(peers)
    while left:
        watcher.look()
        assert len(broker.console("SHOW LEASES")) <= size
        for one in [each for each in left if each.has_answered()]:
            answers.append(one.answer())
            left.remove(one)
    watcher.close()
    assert watcher.most <= size
    assert [one["wrong"] for one in answers] == [[]] * len(peers)
    assert {code for one in answers for code in one["codes"]} <= {"08006"}, answers
    eventually(lambda: broker.console("SHOW LEASES") == [])
    with broker.wire("other", "second") as last:
        assert last.value("SELECT 'all is well'") == "all is well"
    return {kind: sum(one["kinds"][kind] for one in answers) for kind in ("direct", "relay")}


@pytest.fixture
def crowd(make_broker, peer_of):
    def make(processes, size):
        broker = make_broker({"default_pool_size": size, "reserve_pool_size": 0,
                              "query_wait_timeout": 60})
        broker.errors_expected = True
        return broker, [peer_of(broker) for _ in range(processes)]
    return make


def test_many_processes_with_direct_leases_and_faults(crowd, postgres):
    """More processes than connections: they fall back to the relay, and nobody starves."""
    broker, peers = crowd(8, 3)
    kinds = run_all(broker, postgres, peers, 3, hostile=2, faults=0.3)
    assert kinds["direct"] > 0 and kinds["relay"] > 0, kinds


def test_few_processes_with_direct_leases_and_faults(crowd, postgres):
    broker, peers = crowd(4, 10)
    kinds = run_all(broker, postgres, peers, 10, hostile=1, faults=0.3)
    assert kinds["direct"] > 0, kinds


def test_as_many_processes_as_connections_are_all_direct(crowd, postgres):
    """None of them ever needs a connection that another has."""
    broker, peers = crowd(3, 3)
    kinds = run_all(broker, postgres, peers, 3)
    assert kinds == {"direct": 600, "relay": 0}
