# SPDX-License-Identifier: Apache-2.0
"""Another server takes over: promotion, demotion, a host that answers nothing, one that turns read-only."""

import signal
import time
import urllib.request

import pytest

from harness import direct, wire
from harness.cluster import Frozen, Server, pair
from harness.postgres import free_port
from harness.waiting import eventually
from harness.acknowledged import Writers

pytestmark = pytest.mark.pglease_only


def hosts(*servers):
    return (f"host={','.join(['127.0.0.1'] * len(servers))} "
            f"port={','.join(str(one.port) for one in servers)}")


def port(one):
    return int(one.value("SELECT current_setting('port')"))


def events(broker, kind):
    return [row for row in broker.console("SHOW EVENTS") if row["kind"] == kind]


def ports_in_use(broker):
    return {int(row["port"]) for row in broker.console("SHOW SERVERS")}


MODES = {"app": "transaction", "sessions": "session", "statements": "statement"}


def lines(*servers, attributes="target_session_attrs=read-write", size=8):
    """One list of hosts in three pool modes."""
    return {name: f"{hosts(*servers)} dbname=app pool_mode={mode} {attributes} "
                  f"pool_size={8 if mode == 'session' else size}"
            for name, mode in MODES.items()}


@pytest.fixture
def cluster():
    """A primary and a standby that has each COMMIT before it is answered: without that, a failover may lose some."""
    primary, standby = pair(synchronous=True)
    primary.sql("CREATE TABLE written (writer int, number int)", dbname="app", user="app")
    primary.sql("CREATE ROLE guest LOGIN PASSWORD 'anything'")
    yield primary, standby
    for one in (primary, standby):
        one.destroy()


def twenty(broker):
    """Twenty writers of pools of all modes, and of two roles."""
    names = list(MODES)
    dsns = [broker.dsn("app", names[index % 3], connect_timeout=30) for index in range(20)]
    return Writers(dsns, "written", lambda index: index % 3 == 0)


# A role that auth_file does not have is looked up, by a pool of its own.
ASKS = {"auth_user": "postgres"}


def guest(broker):
    """Logs in as one who is looked up; to which server it came, and after how long."""
    began = time.monotonic()
    with broker.wire("guest") as one:
        return port(one), time.monotonic() - began


def check_promotion(broker, writers, standby, promoted):
    took = writers.first_after(promoted)
    assert took < 3, f"{took} s"
    writers.all_write(time.monotonic())
    eventually(lambda: ports_in_use(broker) == {standby.port}, 10,
               lambda: str(broker.console("SHOW SERVERS")))
    event, = events(broker, "failover")
    assert f"127.0.0.1:{standby.port} has taken over from 127.0.0.1:" in event["message"], event
    assert broker.logged("failover", f"127.0.0.1:{standby.port}")


def test_writers_go_on_after_a_promotion(make_broker, cluster):
    primary, standby = cluster
    metrics = f"127.0.0.1:{free_port()}"
    broker = make_broker(
        {"metrics_listen": metrics} | ASKS, databases=lines(primary, standby))
    with twenty(broker) as writers:
        writers.all_write(time.monotonic())
        assert guest(broker)[0] == primary.port
        assert ports_in_use(broker) == {primary.port}
        primary.stop(signal.SIGQUIT)
        standby.promote()
        promoted = time.monotonic()
        came_to, took = guest(broker)
        assert came_to == standby.port and took < 5, (came_to, took)
        check_promotion(broker, writers, standby, promoted)
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=30) as answer:
        assert 'pglease_failovers_total{cause="refused"} 1' in answer.read().decode()
    writers.check(standby)


def test_a_host_that_answers_nothing_is_left(make_broker, cluster):
    """Its sockets stay open: no query that is under way on it will ever be answered."""
    primary, standby = cluster
    broker = make_broker(ASKS, databases=lines(primary, standby, size=4))
    with twenty(broker) as writers:
        writers.all_write(time.monotonic())
        assert guest(broker)[0] == primary.port
        with Frozen(primary):
            standby.promote()
            promoted = time.monotonic()
            came_to, took = guest(broker)
            assert came_to == standby.port and took < 5, (came_to, took)
            check_promotion(broker, writers, standby, promoted)
            writers.stop()
            writers.check(standby)


def test_a_demoted_server_is_left_and_not_asked_again(make_broker, cluster):
    """A switch by plan: the old primary comes back as a standby of the new one, and may become primary again."""
    primary, standby = cluster
    broker = make_broker(databases=lines(primary, standby))
    with twenty(broker) as writers:
        writers.all_write(time.monotonic())
        primary.stop()
        standby.promote()
        check_promotion(broker, writers, standby, time.monotonic())
        primary.follow(standby)
        primary.start()
        assert primary.is_standby()
        writers.all_write(time.monotonic())
        assert ports_in_use(broker) == {standby.port}
        # And back.
        eventually(lambda: primary.sql(
            "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"), 20)
        standby.set("synchronous_standby_names", "*")
        eventually(lambda: standby.sql(
            "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"), 20)
        standby.stop()
        primary.set("synchronous_standby_names", "")
        primary.promote()
        took = writers.first_after(time.monotonic())
        assert took < 3, f"{took} s"
        writers.all_write(time.monotonic())
        assert ports_in_use(broker) == {primary.port}
    writers.check(primary)


@pytest.fixture(scope="module")
def two():
    """Two servers that know nothing of each other: which one is right is a matter of what they say."""
    servers = Server(), Server()
    for one in servers:
        one.sql("CREATE TABLE ours (i int)", dbname="app", user="app")
    yield servers
    for one in servers:
        one.destroy()


@pytest.fixture
def both(two):
    for one in two:
        one.set("default_transaction_read_only", "off")
    yield two
    for one in two:
        one.set("default_transaction_read_only", "off")


def turn_read_only(server):
    server.set("default_transaction_read_only", "on")


WRITE = "UPDATE ours SET i = i"


@pytest.mark.parametrize("database", list(MODES))
@pytest.mark.parametrize("extended", [False, True])
def test_a_server_that_turns_read_only_is_left_at_the_transactions_end(
        make_broker, both, database, extended):
    old, new = both
    broker = make_broker(databases=lines(old, new))
    with broker.wire(database=database) as busy, broker.wire(database=database) as one:
        if database != "statements":
            busy.query("BEGIN")
        assert port(busy) == port(one) == old.port
        turn_read_only(old)
        seen = one.extended(WRITE) if extended else one.query(WRITE)
        assert [each.code for each in seen if each.kind == "E"] == ["25006"]
        if database == "sessions":
            # It is between two transactions, and what it has in its session is on the old server.
            error = one.until("E")[-1]
            assert error.code == "57P01" and "another server" in error.fields["M"]
        with broker.wire(database=database) as another:
            assert port(another) == new.port
        if database != "statements":
            # An open transaction keeps its connection to its end.
            assert port(busy) == old.port
            seen = busy.query("COMMIT")
        if database == "sessions":
            error = busy.until("E")[-1]
            assert error.code == "57P01"
        else:
            assert port(busy) == new.port
        left, = events(broker, "server_left")
        assert f"127.0.0.1:{old.port}" in left["message"] and "read-only" in left["message"]
        assert len(events(broker, "failover")) == 1
        eventually(lambda: ports_in_use(broker) == {new.port})


def test_a_clients_own_read_only_transaction_is_no_failover(make_broker, both):
    old, new = both
    broker = make_broker(databases=lines(old, new))
    for database in ("app", "sessions"):
        with broker.wire(database=database) as one:
            for begin in ("BEGIN READ ONLY", "SET default_transaction_read_only = on"):
                one.query(begin)
                assert any(each.kind == "E" and each.code == "25006" for each in one.query(WRITE))
                one.query("ROLLBACK")
            assert port(one) == old.port
            one.query("RESET default_transaction_read_only")
            assert one.query(WRITE)[0].kind == "C"
            assert port(one) == old.port
    assert not events(broker, "server_left") and not events(broker, "failover")


def test_a_direct_lease_of_a_server_that_is_left_goes_with_its_return(make_broker, both):
    old, new = both
    broker = make_broker(databases=lines(old, new))
    with direct.connect(broker) as holder, broker.wire() as one:
        assert port(holder.lease()) == old.port and holder.is_direct
        turn_read_only(old)
        one.query(WRITE)
        eventually(lambda: port(one) == new.port)
        assert port(holder.end) == old.port
        holder.give_back()
        eventually(lambda: ports_in_use(broker) == {new.port})
        assert port(holder.lease()) == new.port
        holder.give_back()


def test_a_lease_by_hand_and_a_pin_are_taken_between_transactions(make_broker, both):
    old, new = both
    broker = make_broker(databases=lines(old, new))
    with broker.wire() as leased, broker.wire() as pinned, broker.wire() as one:
        direct.lease(leased)
        pinned.query("CREATE TEMP TABLE mine (i int)")
        pinned.query("BEGIN")
        turn_read_only(old)
        one.query(WRITE)
        eventually(lambda: port(one) == new.port)
        assert port(pinned) == old.port
        pinned.query("COMMIT")
        error = pinned.until("E")[-1]
        assert error.code == "57P01"
        seen = leased.query("SELECT 1")
        assert [each.code for each in seen if each.kind == "E"] == ["57P01"], seen
        assert port(leased) == new.port


def test_listeners_hear_from_the_new_server(make_broker, both):
    old, new = both
    broker = make_broker(databases=lines(old, new))
    with broker.wire() as one, broker.wire() as listener:
        listener.query("LISTEN news")
        turn_read_only(old)
        one.query(WRITE)
        eventually(lambda: port(one) == new.port)
        eventually(lambda: ports_in_use(broker) == {new.port}, 10,
                   lambda: str(broker.console("SHOW SERVERS")))
        new.sql("NOTIFY news, 'from there'", dbname="app")
        heard = eventually(lambda: [each for each in listener.query("") if each.kind == "A"])
        assert b"from there" in heard[0].body


def test_who_has_one_host_or_asks_for_any_keeps_it(make_broker, both):
    old, new = both
    broker = make_broker(databases={
        "app": f"{hosts(old)} dbname=app",
        "any": f"{hosts(old, new)} dbname=app load_balance_hosts=disable"})
    turn_read_only(old)
    for database in ("app", "any"):
        with broker.wire(database=database) as one:
            one.query(WRITE)
            pid = one.value("SELECT pg_backend_pid()")
            one.query(WRITE)
            assert one.value("SELECT pg_backend_pid()") == pid
            assert port(one) == old.port
    assert not events(broker, "server_left")


def test_all_pools_of_a_list_share_what_one_finds_out(make_broker, cluster):
    """One attempt finds the new server: the others go straight there."""
    primary, standby = cluster
    for one in cluster:
        one.set("log_connections", "on")
    broker = make_broker({"min_pool_size": 0}, databases={
        f"app{index}": f"{hosts(primary, standby)} dbname=app user=app "
                       "target_session_attrs=primary" for index in range(8)})
    clients = [broker.wire(database=f"app{index}") for index in range(8)]
    for one in clients:
        assert port(one) == primary.port
    primary.stop(signal.SIGQUIT)
    standby.promote()
    before = standby.log().count("connection authorized: user=app")
    for one in clients:
        one.send(wire.query("SELECT current_setting('port')"))
    for one in clients:
        assert wire.rows_of(one.until_ready()) == [[str(standby.port)]]
        one.close()
    # The one that finds out, and one for each pool.
    assert standby.log().count("connection authorized: user=app") - before <= 9
    assert len(events(broker, "failover")) == 1
