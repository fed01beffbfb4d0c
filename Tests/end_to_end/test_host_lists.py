# SPDX-License-Identifier: Apache-2.0
"""Lists of hosts: which one a new connection goes to, and names that lead elsewhere."""

import contextlib
import socket
import threading

import pytest

from harness import wire
from harness.cluster import Server
from harness.names import NAME, MovingName
from harness.postgres import free_port
from harness.waiting import Stopwatch, eventually

pytestmark = pytest.mark.pglease_only


class Mute:
    """Takes connections, and says nothing on them."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.taken = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(self.listener.accept()[0])

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in self.taken:
            one.close()


@pytest.fixture
def mute():
    one = Mute()
    yield one
    one.close()


@pytest.fixture(scope="module")
def two():
    first = Server({"cluster_name": "first"})
    second = Server({"cluster_name": "second", "listen_addresses": "127.0.0.2"}, port=first.port)
    yield first, second
    first.destroy()
    second.destroy()


def where(one):
    return one.value("SELECT current_setting('cluster_name')")


def held(broker, count, database="app"):
    """Where so many new connections lead, each while the others are held."""
    clients = []
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            clients.append(stack.enter_context(broker.wire(database=database)))
            clients[-1].query("BEGIN")
        return [where(one) for one in clients]


def line(port, words="", addresses="127.0.0.1,127.0.0.2"):
    return f"host={addresses} port={port} dbname=app {words}"


def test_new_connections_go_to_each_host_in_turn(make_broker, two):
    broker = make_broker(databases={
        "app": line(two[0].port), "by_word": line(two[0].port, "load_balance_hosts=round-robin"),
        "sticky": line(two[0].port, "load_balance_hosts=disable"),
        "one": line(two[0].port, addresses="127.0.0.1")})
    for database in ("app", "by_word"):
        assert sorted(held(broker, 4, database)) == ["first"] * 2 + ["second"] * 2
    assert held(broker, 4, "sticky") == ["first"] * 4
    shown = {row["name"]: row["load_balance_hosts"] for row in broker.console("SHOW DATABASES")}
    assert (shown["app"], shown["sticky"], shown["one"]) == ("round-robin", "disable", None)


def test_disable_stays_at_a_host_until_it_fails_then_takes_the_next(make_broker, two):
    first, second = two
    broker = make_broker(databases={"app": line(first.port, "load_balance_hosts=disable")})
    assert held(broker, 2) == ["first"] * 2
    first.stop()
    assert eventually(lambda: held(broker, 2)) == ["second"] * 2
    first.start()
    assert held(broker, 4) == ["second"] * 4
    second.restart()
    assert eventually(lambda: held(broker, 2)) in (["first"] * 2, ["second"] * 2)


def test_a_host_that_is_away_is_not_asked_each_time(make_broker, two, mute):
    for attributes in ("", "target_session_attrs=read-write", "target_session_attrs=prefer-standby"):
        asked = len(mute.taken)
        broker = make_broker(databases={
            "app": f"host=127.0.0.1,127.0.0.1 port={mute.port},{two[0].port} dbname=app "
                   f"{attributes}"})
        watch = Stopwatch()
        assert held(broker, 9) == ["first"] * 9
        assert watch.seconds < 5
        assert 1 <= len(mute.taken) - asked <= 3, attributes


def test_standbys_are_shared_and_a_primary_is_taken_for_want_of_one(make_broker, two):
    first, second = two
    second.set("default_transaction_read_only", "on")
    try:
        broker = make_broker(databases={
            "app": line(first.port, "target_session_attrs=read-only"),
            "preferred": line(first.port, "target_session_attrs=prefer-standby"),
            "none": line(first.port, "target_session_attrs=standby") + " query_wait_timeout=1"})
        assert held(broker, 4) == ["second"] * 4
        assert sorted(held(broker, 4, "preferred")) == ["first"] * 2 + ["second"] * 2
        with broker.wire(database="none") as one:
            error = wire.error_of(one.query("SELECT 1"))
            assert error.code == "08001"
            # What each of them said.
            assert "127.0.0.1" in error.fields["D"] and "127.0.0.2" in error.fields["D"]
    finally:
        second.set("default_transaction_read_only", "off")


def test_a_silent_only_host_has_all_the_time_of_a_connect(make_broker, mute):
    broker = make_broker({"server_connect_timeout": 2, "query_wait_timeout": 3,
                          "startup_attempts": 1}, databases={
        "app": f"host=127.0.0.1 port={mute.port} dbname=app"})
    with broker.wire() as one:
        error = wire.error_of(one.query("SELECT 1"))
        assert error.code == "08001" and "did not answer within 2.0 s" in error.fields["M"]


def test_a_name_that_leads_elsewhere_is_followed(make_broker, two):
    first, second = two
    name = MovingName("127.0.0.1")
    databases = {database: f"host={NAME} port={first.port} dbname=app pool_mode={mode}"
                 for database, mode in (("app", "transaction"), ("sessions", "session"))}
    broker = make_broker({"dns_max_ttl": "0.2"}, databases=databases,
                         environment=name.environment)
    with broker.wire() as busy, broker.wire(database="sessions") as session, broker.wire() as one:
        busy.query("BEGIN")
        assert where(busy) == where(session) == where(one) == "first"
        # What has no address at the moment is left where it is.
        name.lead_to("")
        eventually(lambda: where(one) == "first")
        name.lead_to("127.0.0.2")
        eventually(lambda: where(one) == "second")
        assert where(busy) == "first"
        busy.query("COMMIT")
        assert where(busy) == "second"
        assert session.until("E")[-1].code == "57P01"
        eventually(lambda: {row["addr"] for row in broker.console("SHOW SERVERS")} == {"127.0.0.2"})
        left = [row["message"] for row in broker.console("SHOW EVENTS")
                if row["kind"] == "server_left"]
        assert any(NAME in one and "127.0.0.2 now" in one for one in left), left


def test_a_refused_host_of_a_list_is_left_by_those_that_it_still_serves(make_broker, two):
    """New connections cannot be made there any more: what is open goes on to its end, and no further."""
    first, _ = two
    gone = free_port()
    relay = Relay(gone, first.port)
    broker = make_broker(databases={
        "app": f"host=127.0.0.1,127.0.0.2 port={gone},{first.port} dbname=app "
               "load_balance_hosts=disable"})
    with broker.wire() as one, broker.wire() as other:
        one.query("BEGIN")
        assert where(one) == "first"
        relay.refuse()
        assert where(other) == "second"
        assert where(one) == "first"
        one.query("COMMIT")
        assert where(one) == "second"
        eventually(lambda: {row["addr"] for row in broker.console("SHOW SERVERS")} == {"127.0.0.2"})
    relay.close()


class Relay:
    """Passes bytes on to a port; once it refuses, those that are connected go on."""

    def __init__(self, port, to):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.to, self.pairs = to, []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        with contextlib.suppress(OSError):
            while True:
                near = self.listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.to))
                self.pairs.append((near, far))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def refuse(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def close(self):
        for pair in self.pairs:
            for one in pair:
                one.close()
