# SPDX-License-Identifier: Apache-2.0
"""so_reuseport and [peers]: several processes on one port, and cancels that arrive at the wrong one."""

import os
import socket
import subprocess

import pytest

from harness import wire
from harness.postgres import free_port, unprivileged_user
from harness.waiting import eventually, pause

pytestmark = pytest.mark.pglease_only

PGBOUNCER = "/work/bin/pgbouncer126"


@pytest.fixture
def group(make_broker):
    """Brokers on one TCP port, with a folder each; the peers are named by their sockets, or by `places`."""
    def make(count, settings=None, places=None, ids=None, **named):
        port = free_port()
        made = []
        ids = ids or range(1, count + 1)
        for number in ids:
            one = make_broker({"so_reuseport": 1, "peer_id": number, **(settings or {})}, start=False,
                              tcp=True, **named)
            one.port = port
            one.set(listen_port=port)
            made.append(one)
        lines = {number: (places or {}).get(number) or f"host={one.socket_folder} port={port}"
                 for number, one in zip(ids, made)}
        for one in made:
            add_peers(one, lines)
            one.start()
        return made
    return make


def add_peers(one, lines):
    sections = one.sections
    one.sections = lambda: [("peers", {str(key): value for key, value in lines.items()}),
                            *sections()]
    one.write()


def own_port(broker):
    return wire.Wire(broker.tcp_address)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_fifty_cancels_each_end_their_own(group, mode):
    brokers = group(3, {"pool_mode": mode, "default_pool_size": 30})
    clients = [wire.Wire(brokers[0].tcp_address).start("app", "app") for _ in range(50)]
    homes = [one.key[0] >> 16 & 0xff | (one.key[0] >> 8 & 0xff) << 8 for one in clients]
    assert set(homes) == {1, 2, 3}, "the kernel spreads them"
    running = clients[::2]
    for one in running:
        one.send(wire.query("SELECT pg_sleep(600)"))
    for one in running:
        eventually(lambda: sum(broker.active() for broker in brokers) >= 25)
        wire.cancel(brokers[0].tcp_address, one.key, 15)
        assert wire.error_of(one.until_ready()).code == "57014"
        one.send(wire.query("SELECT pg_sleep(600)"))
    for one in clients[1::2]:
        wire.cancel(brokers[0].tcp_address, one.key, 15)
        assert one.value("SELECT 'goes on'") == "goes on"
    for one in running:
        assert one.silent_for(0)
    told = brokers[0].console("SHOW PEERS")
    assert [(row["peer_id"], row["pool_size"]) for row in told] == \
        [("1", "30"), ("2", "30"), ("3", "30")]
    assert {row["sv_active_cancel"] for row in brokers[0].console("SHOW PEER_POOLS")} == {"0"}


def test_a_second_process_without_a_socket_of_its_own_is_refused(group, make_broker):
    one, _ = group(2)
    other = make_broker({"so_reuseport": 1}, start=False, tcp=True)
    other.errors_expected = True
    other.set(listen_port=one.port, unix_socket_dir=one.socket_folder)
    other.launch()
    assert other.wait(20) == 73
    other.set(so_reuseport=0, unix_socket_dir=other.socket_folder)
    other.launch()
    assert other.wait(20) == 73


def test_no_loops(group):
    """Two that each believe a third is the other: a request is passed on three times, and dropped."""
    one, two = group(2)
    lines = {"3": f"host={two.socket_folder} port={two.port}"}
    other = {"3": f"host={one.socket_folder} port={one.port}"}
    add_peers(one, lines)
    add_peers(two, other)
    for broker in (one, two):
        broker.console("RELOAD")
    key = (5 << 24 | 3 << 16 | 7, 0x12345600 | 3)
    wire.cancel(one.socket_path, key, 15)
    eventually(lambda: two.logged("passed on too often") or one.logged("passed on too often"))
    assert len(one.logged("passed on too often") + two.logged("passed on too often")) == 1


def test_a_peer_that_is_away_or_silent(group):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        one, = group(1, places={1: "host=/nowhere"})
        add_peers(one, {"8": f"host=127.0.0.1 port={free_port()}",
                        "9": f"host=localhost port={silent.getsockname()[1]} pool_size=1"})
        one.console("RELOAD")
        wire.cancel(one.socket_path, (8 << 16 | 1, 3), 5)
        eventually(lambda: one.logged("a peer cannot be reached"))
        waiting = []
        for _ in range(2):
            waiting.append(one.raw())
            waiting[-1].socket.sendall(
                b"\0\0\0\x10\x04\xd2\x16\x2e" + (9 << 16 | 1).to_bytes(4, "big") + b"\0\0\0\x03")
        eventually(lambda: [(row["cl_active_cancel_req"], row["cl_waiting_cancel_req"])
                            for row in one.console("SHOW PEER_POOLS") if row["peer_id"] == "9"]
                   == [("1", "1")])
        assert silent.accept()[0].recv(16) == \
            b"\0\0\0\x10\x04\xd2\x16\x2e" + (9 << 16 | 1).to_bytes(4, "big") + b"\0\0\0\x02"
        for number in (4, 16383):
            wire.cancel(one.socket_path, ((number & 0xff) << 16 | number >> 8 << 8, 3), 5)
        with one.wire() as client:
            assert client.value("SELECT 1") == "1"


@pytest.mark.parametrize("line", ["0 = host=x", "16384 = host=x", "one = host=x", "1 = port=1",
                                  "1 = host=x port=0", "1 = host=x pool_size=none",
                                  "1 = host=x dbname=y"])
def test_wrong_lines(make_broker, line):
    broker = make_broker(start=False, config_text=f"[peers]\n{line}\n[pglease]\n")
    broker.launch()
    assert broker.wait(20) == 78
    assert "peers." in broker.log() and ":2:" in broker.log()


def test_one_of_them_is_replaced(group):
    """Its number stays: a cancel finds its client in the old one, from whichever peer it comes."""
    one, two = group(2, {"drain_idle_clients": 0})
    client = one.wire()
    client.send(wire.query("SELECT pg_sleep(600)"))
    eventually(lambda: one.active() == 1)
    former = one.replace()
    wire.cancel(two.socket_path, client.key, 15)
    assert wire.error_of(client.until_ready()).code == "57014"
    client.send(wire.message("X", b""))
    assert former.wait(15) == 0


@pytest.mark.skipif(not os.path.exists(PGBOUNCER), reason="pgbouncer 1.26 is not on this machine")
def test_beside_pgbouncer(group, postgres, make_broker):
    """The keys are pgbouncer's: each passes on to the other what is the other's."""
    account = unprivileged_user()
    one, = group(1, account=account)
    folder = one.folder / "bouncer"
    folder.mkdir()
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={postgres.host} port={postgres.port}\n"
        f"[peers]\n1 = host={one.socket_folder} port={one.port}\n2 = host={folder} port={one.port}\n"
        f"[pgbouncer]\nlisten_port={one.port}\nlisten_addr=127.0.0.1\nunix_socket_dir={folder}\n"
        f"auth_type=trust\nauth_file={one.userlist_path}\nso_reuseport=1\npeer_id=2\n"
        f"pool_mode=transaction\nuser={account.pw_name}\n")
    folder.chmod(0o777)
    one.folder.chmod(0o755)
    add_peers(one, {"2": f"host={folder} port={one.port}"})
    one.console("RELOAD")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PGBOUNCER, str(config)], stdout=log, stderr=log)
    try:
        path = f"{folder}/.s.PGSQL.{one.port}"
        eventually(lambda: os.path.exists(path), 10, lambda: (folder / "log").read_text())
        theirs = eventually(lambda: wire.Wire(path).start("app", "app"))
        ours = one.wire()
        for client in (theirs, ours):
            client.send(wire.query("SELECT pg_sleep(600)"))
        pause(0.3)
        wire.cancel(one.socket_path, theirs.key, 15)
        assert wire.error_of(theirs.until_ready()).code == "57014"
        assert ours.silent_for(0.1)
        wire.cancel(path, ours.key, 15)
        assert wire.error_of(ours.until_ready()).code == "57014"
    finally:
        process.kill()
        process.wait()
