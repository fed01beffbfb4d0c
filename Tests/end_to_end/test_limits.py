# SPDX-License-Identifier: Apache-2.0
"""Many clients in one process, and what each of them costs."""

import resource
import socket
import struct

import pytest

from harness import wire
from harness.waiting import eventually

pytestmark = pytest.mark.broker_only

MANY = 10_000


@pytest.fixture
def many_files():
    """Room for the sockets of this side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY + 500:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MANY + 5000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def enter_many(broker, count):
    """Logs `count` clients in, a hundred at a time."""
    startup = wire.startup({"user": "app", "database": "app", "application_name": "idle"})
    clients = []
    while len(clients) < count:
        batch = [wire.Wire(broker.socket_path) for _ in range(min(100, count - len(clients)))]
        for one in batch:
            one.send(startup)
        for one in batch:
            one.finish_login("app")
            one.parameters.clear()
        clients += batch
    return clients


@pytest.mark.pglease_only
def test_ten_thousand_idle_clients_and_what_each_costs(make_broker, many_files):
    broker = make_broker({"max_client_conn": MANY + 100, "log_connections": 0,
                          "log_disconnections": 0})
    clients = enter_many(broker, 200)
    clients[0].query("SELECT 1")
    before = broker.memory()
    clients += enter_many(broker, MANY - len(clients))
    after = broker.memory()
    each = (after - before) / (MANY - 200)
    print(f"{each:.0f} bytes for each idle client")
    assert each < 2048, f"{each:.0f} bytes for each idle client"
    for one in clients[::100]:
        assert one.value("SELECT 1") == "1"
    for one in clients:
        one.close()
    eventually(lambda: len(broker.console("SHOW CLIENTS")) <= 1, 30)
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"


@pytest.mark.pglease_only
def test_memory_does_not_grow_with_logins(make_broker):
    broker = make_broker({"log_connections": 0, "log_disconnections": 0})

    def visit(times):
        for _ in range(times):
            with broker.wire() as one:
                one.query("SELECT 1")
    visit(500)
    before = broker.memory()
    visit(2000)
    assert broker.memory() - before < 1 << 20


@pytest.mark.pglease_only
def test_memory_does_not_grow_with_statements(make_broker):
    broker = make_broker({"max_prepared_statements": 20})

    def prepare(first, count):
        with broker.wire() as one:
            for number in range(first, first + count):
                one.send(wire.parse(f"SELECT {number}", "s"), wire.bind((), "s"), wire.execute(),
                         wire.close_statement("s"), wire.sync())
                one.until_ready()
    prepare(0, 2000)
    before = broker.memory()
    prepare(10_000, 5000)
    assert broker.memory() - before < 2 << 20


@pytest.mark.pglease_only
def test_buffers_are_given_back_after_large_messages(make_broker):
    broker = make_broker()
    clients = [broker.wire(timeout=60) for _ in range(20)]
    before = broker.memory()
    for one in clients:
        one.query(f"SELECT length('{'x' * 2_000_000}'), repeat('y', 2000000)")
    assert broker.memory() - before < 16 << 20
    for one in clients:
        one.close()


@pytest.mark.pglease_only
def test_no_descriptor_is_left_behind(make_broker, postgres):
    broker = make_broker()
    with broker.wire() as one:
        one.query("SELECT 1")
    eventually(lambda: len(broker.console("SHOW CLIENTS")) <= 1)
    before = broker.open_files_now()
    for _ in range(100):
        one = broker.wire()
        one.query("SELECT 1")
        one.close()
        broker.raw().close()
        wire.cancel(broker.socket_path, (1, 2))
    postgres.terminate(*(row[0] for row in postgres.backends(dbname="app", user="app")))
    with broker.wire() as one:
        one.query("SELECT 1")
    eventually(lambda: broker.open_files_now() <= before + 1, 10,
               lambda: f"{before} before, {broker.open_files_now()} now")


@pytest.mark.pglease_only
def test_the_limit_of_open_files_refuses_with_a_clear_message(make_broker):
    broker = make_broker({"max_client_conn": 1000}, open_files=64, start=False)
    broker.errors_expected = True
    broker.launch()
    broker.wait_told("READY=1")
    clients, refusal = [], None
    for _ in range(100):
        one = broker.raw(timeout=5)
        try:
            clients.append(login(one))
        except wire.Refused as refused:
            refusal = refused
            break
        except (wire.Closed, TimeoutError, ConnectionError):
            break
    assert 10 < len(clients) < 64
    if refusal:
        assert refusal.code == "53300"
    assert clients[0].value("SELECT 1") == "1"
    eventually(lambda: broker.logged("files") or broker.logged("descriptors"))
    for one in clients:
        one.close()
    eventually(lambda: can_enter(broker))


def login(one):
    one.send(wire.startup({"user": "app", "database": "app"}))
    return one.finish_login("app")


def can_enter(broker):
    try:
        broker.wire(timeout=2).close()
        return True
    except (wire.Refused, wire.Closed, TimeoutError, ConnectionError):
        return False


def test_a_burst_of_connects_is_accepted(make_broker):
    broker = make_broker({"listen_backlog": 1024, "max_client_conn": 1000})
    sockets = []
    for _ in range(500):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(10)
        one.connect(broker.socket_path)
        one.sendall(struct.pack("!ii", 8, 80877103))
        sockets.append(one)
    for one in sockets:
        assert one.recv(1) == b"N"
        one.close()
