# SPDX-License-Identifier: Apache-2.0
"""Each limit on connections, as PostgreSQL sees it in pg_stat_activity."""

import os
import signal
import threading

import pytest

from harness import wire
from harness.postgres import Watcher
from harness.waiting import eventually, holds_for

pytestmark = pytest.mark.broker_only


@pytest.fixture
def quiet(postgres, shared):
    """A server on which only the test's own broker works in database `second`."""
    postgres.gone(dbname="second")
    return postgres


@pytest.fixture
def pool(make_broker, quiet):
    """A broker whose only database is `second`."""
    def make(settings, **named):
        base = {"reserve_pool_size": 0, "query_wait_timeout": 30}
        return make_broker(base | settings, **named)
    return make


class Load:
    """Clients that each run transactions of some length until they are stopped."""

    def __init__(self, broker, clients, user="app", database="second", **parameters):
        self.stop_asked, self.failures, self.done = threading.Event(), [], 0
        self.threads = [
            threading.Thread(target=self._work, args=(broker, user, database, parameters))
            for _ in range(clients)]
        for one in self.threads:
            one.start()

    def _work(self, broker, user, database, parameters):
        try:
            with broker.wire(user, database, timeout=60, **parameters) as one:
                while not self.stop_asked.is_set():
                    wire.rows_of(one.query("SELECT pg_sleep(0.005)"))
                    self.done += 1
        except Exception as error:
            self.failures.append(error)

    def stop(self):
        self.stop_asked.set()
        for one in self.threads:
            one.join(60)
        assert self.failures == []


def most_during(broker, postgres, loads, wanted, **which):
    """The most backends seen while the loads ran; checks that `wanted` was reached."""
    watcher = Watcher(postgres, **which)
    try:
        eventually(lambda: watcher.look() >= wanted and sum(one.done for one in loads) > 200, 30,
                   lambda: f"{wanted} backends; most seen: {watcher.most}")
        holds_for(lambda: watcher.look() <= wanted, 0.3)
    finally:
        for one in loads:
            one.stop()
        watcher.close()
    return watcher.most


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_default_pool_size_bounds_each_pool(pool, postgres, mode):
    broker = pool({"default_pool_size": 3, "pool_mode": mode})
    assert most_during(broker, postgres, [Load(broker, 12)], 3, dbname="second") == 3


def test_default_pool_size_bounds_sessions(pool, postgres):
    broker = pool({"default_pool_size": 2, "pool_mode": "session"})
    first, second = broker.wire(database="second"), broker.wire(database="second")
    assert first.value("SELECT 1") == second.value("SELECT 1") == "1"
    third = broker.raw()
    third.send(wire.startup({"user": "app", "database": "second"}))
    holds_for(lambda: len(postgres.backends(dbname="second")) == 2, 0.3)
    first.close()
    third.finish_login("app")
    assert third.value("SELECT 1") == "1"
    second.close()
    third.close()


def test_pool_size_of_a_database_comes_before_the_default(pool, postgres):
    broker = pool({"default_pool_size": 8}, start=False)
    broker.databases = {"second": broker.server(dbname="second", pool_size=2)}
    broker.write()
    broker.start()
    assert most_during(broker, postgres, [Load(broker, 8)], 2, dbname="second") == 2


@pytest.mark.pglease_only
def test_pool_size_of_a_user_comes_before_the_default(pool, postgres):
    broker = pool({"default_pool_size": 8}, users={"app": "pool_size=2"})
    assert most_during(broker, postgres, [Load(broker, 8)], 2, dbname="second") == 2


def test_max_db_connections_bounds_all_users_of_a_database(pool, postgres):
    broker = pool({"default_pool_size": 5, "max_db_connections": 4})
    loads = [Load(broker, 6, "app"), Load(broker, 6, "other")]
    assert most_during(broker, postgres, loads, 4, dbname="second") == 4


def test_max_user_connections_bounds_all_databases_of_a_user(pool, postgres):
    broker = pool({"default_pool_size": 5, "max_user_connections": 4})
    loads = [Load(broker, 6, "watcher", "app"), Load(broker, 6, "watcher", "second")]
    assert most_during(broker, postgres, loads, 4, user="watcher") == 4


@pytest.mark.pglease_only
def test_max_server_connections_bounds_the_whole_broker(pool, postgres):
    broker = pool({"default_pool_size": 5, "max_server_connections": 6})
    loads = [Load(broker, 5, "app"), Load(broker, 5, "other"), Load(broker, 5, "postgres")]
    assert most_during(broker, postgres, loads, 6, dbname="second") == 6
    assert all(one.done > 10 for one in loads), [one.done for one in loads]


@pytest.mark.pglease_only
def test_an_idle_connection_of_another_pool_is_evicted_for_a_waiter(pool, postgres):
    broker = pool({"default_pool_size": 3, "max_server_connections": 3})
    with broker.wire("app", "second") as one:
        clients = [broker.wire("app", "second") for _ in range(3)]
        for each in clients:
            each.query("BEGIN")
            each.query("SELECT 1")
        for each in clients:
            each.query("COMMIT")
        assert len(postgres.backends(dbname="second", user="app")) == 3
        with broker.wire("other", "second") as other:
            assert other.value("SELECT 1") == "1"
            assert len(postgres.backends(dbname="second")) <= 3
        assert one.value("SELECT 1") == "1"
        for each in clients:
            each.close()


@pytest.mark.pglease_only
def test_a_place_is_taken_again_only_when_postgresql_has_freed_it(make_broker, postgres):
    """PostgreSQL itself counts: a second backend of this role, even one that is about to end, is refused."""
    postgres.sql("DROP ROLE IF EXISTS counted")
    postgres.sql("CREATE ROLE counted LOGIN CONNECTION LIMIT 1")
    broker = make_broker(
        {"max_server_connections": 1, "reserve_pool_size": 0}, userlist={"counted": "", "admin": ""})
    for turn in range(20):
        # Each evicts the other's connection.
        with broker.wire("counted", ("app", "second")[turn % 2]) as one:
            backend = int(one.value("SELECT pg_backend_pid()"))
    with broker.wire("counted", "app") as one:
        # Told to end, it cannot yet.
        os.kill(backend, signal.SIGSTOP)
        try:
            one.send(wire.query("SELECT 1"))
            eventually(lambda: broker.waiting(user="counted") == 1)
        finally:
            os.kill(backend, signal.SIGCONT)
        assert wire.rows_of(one.until_ready()) == [["1"]]
    events = broker.console("SHOW EVENTS")
    assert [each["message"] for each in events if each["kind"] == "connect_failed"] == []
    broker.console("KILL app")
    postgres.gone(user="counted")


@pytest.mark.pglease_only
def test_min_pool_size_is_kept_open(pool, postgres):
    broker = pool({"default_pool_size": 5}, start=False)
    broker.databases = {"second": broker.server(dbname="second", user="app", min_pool_size=3)}
    broker.write()
    broker.start()
    eventually(lambda: len(postgres.backends(dbname="second")) == 3)
    postgres.terminate(*(row[0] for row in postgres.backends(dbname="second")))
    eventually(lambda: len(postgres.backends(dbname="second")) == 3)


@pytest.mark.pglease_only
def test_the_reserve_is_lent_after_its_timeout_only(pool, postgres):
    broker = pool({"default_pool_size": 1, "reserve_pool_size": 2, "reserve_pool_timeout": 1})
    clients = [broker.wire("app", "second") for _ in range(4)]
    # It is at work: a pool whose holders all rest would be taken for a locked one.
    clients[0].send(wire.query("SELECT pg_sleep(600)"))
    eventually(lambda: len(postgres.backends("second", state="active")) == 1)
    for number, each in enumerate(clients[1:]):
        each.send(wire.query("BEGIN"))
        eventually(lambda: broker.waiting("second") == number + 1)
    holds_for(lambda: len(postgres.backends(dbname="second")) == 1, 0.3)
    eventually(lambda: len(postgres.backends(dbname="second")) == 3)
    holds_for(lambda: len(postgres.backends(dbname="second")) <= 3, 0.5)
    for each in clients[1:3]:
        each.until_ready()
        each.query("COMMIT")
    for each in clients:
        each.close()


@pytest.mark.pglease_only
def test_the_reserve_stays_closed_without_a_timeout(pool, postgres):
    broker = pool({"default_pool_size": 1, "reserve_pool_size": 2, "reserve_pool_timeout": 0})
    load = Load(broker, 6)
    watcher = Watcher(postgres, dbname="second")
    watcher.watch_until(lambda: load.done > 100)
    load.stop()
    assert watcher.most == 1
    watcher.close()


def test_max_client_conn_refuses_with_53300(pool):
    broker = pool({"max_client_conn": 3})
    clients = [broker.wire(database="second") for _ in range(3)]
    with pytest.raises(wire.Refused) as refused:
        broker.wire(database="second")
    if broker.program == "pglease":
        assert refused.value.code == "53300"
        assert "max_client_conn" in str(refused.value.fields)
    clients.pop().close()
    eventually(lambda: can_enter(broker))
    for one in clients:
        one.close()


def can_enter(broker, user="app", database="second"):
    try:
        broker.wire(user, database).close()
        return True
    except wire.Refused:
        return False


@pytest.mark.pglease_only
def test_the_console_is_open_when_max_client_conn_is_reached(pool):
    broker = pool({"max_client_conn": 2})
    clients = [broker.wire(database="second") for _ in range(2)]
    assert broker.console("SHOW VERSION")
    for one in clients:
        one.close()


@pytest.mark.pglease_only
def test_max_db_client_connections(pool):
    broker = pool({"max_db_client_connections": 2})
    clients = [broker.wire(user, "second") for user in ("app", "other")]
    with pytest.raises(wire.Refused) as refused:
        broker.wire("postgres", "second")
    assert refused.value.code == "53300"
    assert "max_db_client_connections" in str(refused.value.fields)
    broker.wire("postgres", "app").close()
    clients.pop().close()
    eventually(lambda: can_enter(broker))
    clients[0].close()


@pytest.mark.pglease_only
def test_max_user_client_connections(pool):
    broker = pool({"max_user_client_connections": 2})
    clients = [broker.wire("app", database) for database in ("app", "second")]
    with pytest.raises(wire.Refused) as refused:
        broker.wire("app", "second")
    assert refused.value.code == "53300"
    assert "max_user_client_connections" in str(refused.value.fields)
    broker.wire("other", "second").close()
    clients.pop().close()
    eventually(lambda: can_enter(broker))
    clients[0].close()


def test_the_number_of_servers_does_not_grow_with_the_workers(pool, postgres):
    """What the whole program is for: 60 clients, 4 connections, no error."""
    broker = pool({"default_pool_size": 4})
    assert most_during(broker, postgres, [Load(broker, 60)], 4, dbname="second") == 4


@pytest.mark.pglease_only
def test_connect_parallelism_bounds_the_connects_in_progress(make_broker, postgres):
    from harness.faucet import Faucet
    faucet = Faucet(postgres.socket_path)
    try:
        broker = make_broker(
            {"default_pool_size": 8, "connect_parallelism": 2, "server_connect_timeout": 60,
             "startup_attempts": 1},
            databases={"second": f"host=127.0.0.1 port={faucet.port} dbname=second"})
        holder = broker.wire(database="second")
        holder.query("BEGIN")
        faucet.hang()
        clients = [broker.wire(database="second") for _ in range(6)]
        for one in clients:
            one.send(wire.query("SELECT 1"))
        eventually(lambda: len(faucet.hanging) == 2)
        holds_for(lambda: len(faucet.hanging) <= 2, 0.5)
        faucet.flow()
        broker.errors_expected = True
        for one in (holder, *clients):
            one.close()
    finally:
        faucet.close()


def test_every_lease_comes_back_when_clients_are_killed(pool, postgres):
    broker = pool({"default_pool_size": 3})
    for _ in range(10):
        clients = [broker.wire(database="second") for _ in range(3)]
        for one in clients:
            one.query("BEGIN")
            one.query("SELECT 1")
        for one in clients:
            one.socket.close()
    with broker.wire(database="second") as one:
        assert one.value("SELECT 1") == "1"
    eventually(lambda: int(broker.pool("second")["sv_active"]) == 0)
    assert len(postgres.backends(dbname="second")) <= 3


@pytest.mark.pglease_only
def test_a_surplus_after_a_reload_is_closed(pool, postgres):
    broker = pool({"default_pool_size": 6})
    clients = [broker.wire(database="second") for _ in range(6)]
    for one in clients:
        one.query("BEGIN")
    broker.set(default_pool_size=2)
    broker.console("RELOAD")
    for one in clients:
        one.query("COMMIT")
    eventually(lambda: len(postgres.backends(dbname="second")) <= 2)
    for one in clients:
        assert one.value("SELECT 1") == "1"
        one.close()
