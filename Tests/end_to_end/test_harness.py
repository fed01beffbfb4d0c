# SPDX-License-Identifier: Apache-2.0
"""The harness tries itself: a raw client that reads wrongly would prove nothing."""

import socket
from pathlib import Path

import pytest

from harness import wire
from harness.faucet import Faucet


def test_the_raw_client_reads_rows_and_errors(postgres):
    with wire.Wire(postgres.socket_path).start("app", "app") as one:
        assert one.rows("SELECT 1, NULL, 'x'") == [["1", None, "x"]]
        assert wire.error_of(one.query("SELECT 1/0")).code == "22012"
        assert wire.kinds(one.extended("SELECT $1::int", ["7"])) == "12DCZ"
        assert one.parameters["server_encoding"] == "UTF8"


def test_the_raw_client_knows_scram(postgres):
    address = ("127.0.0.1", postgres.port)
    with wire.Wire(address).start("secretive", "app", "right horse") as one:
        assert one.value("SELECT current_user") == "secretive"
    with pytest.raises(wire.Refused) as refused:
        wire.Wire(address).start("secretive", "app", "wrong horse")
    assert refused.value.code == "28P01"


def test_the_faucet_flows_refuses_cuts_hangs_and_lies(postgres):
    faucet = Faucet(postgres.socket_path)
    address = ("127.0.0.1", faucet.port)
    try:
        one = wire.Wire(address).start("app", "app")
        assert one.value("SELECT 1") == "1"
        faucet.cut()
        assert one.closed_by_peer()
        faucet.refuse()
        with pytest.raises(ConnectionRefusedError):
            wire.Wire(address)
        faucet.answer("57P03", "the database system is starting up")
        with pytest.raises(wire.Refused) as refused:
            wire.Wire(address).start("app", "app")
        assert refused.value.code == "57P03"
        faucet.hang()
        with pytest.raises((TimeoutError, socket.timeout)):
            wire.Wire(address, timeout=0.3).start("app", "app")
        faucet.flow()
        with wire.Wire(address).start("app", "app") as one:
            assert one.value("SELECT 2") == "2"
    finally:
        faucet.close()


def test_nothing_here_sleeps():
    here = Path(__file__).parent
    word = "time." + "sleep"
    guilty = [path.name for path in here.rglob("*.py") if word in path.read_text()]
    assert guilty == []
