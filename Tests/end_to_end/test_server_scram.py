# SPDX-License-Identifier: Apache-2.0
"""SCRAM with servers that ask for many rounds of hashing, or do not keep to its order."""

import base64
import hashlib
import hmac
import os
import struct

import pytest

from harness import wire
from harness.scram_server import ScramServer
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

MOST = 2**31 - 1


@pytest.fixture
def hostile(make_broker, postgres, tls, request):
    """A broker in front of PostgreSQL (`app`) and of such a server (`bad`)."""
    def make(iterations=MOST, encrypted=False, settings=None, **named):
        server = ScramServer(iterations, tls if encrypted else None, **named)
        request.addfinalizer(server.close)
        mode = "require" if encrypted else "disable"
        broker = make_broker(
            {"query_wait_timeout": 20, "prewarm": 0, "startup_attempts": 1} | (settings or {}),
            databases={
                "app": f"host={postgres.host} port={postgres.port}",
                "bad": f"host=127.0.0.1 port={server.port} user=app password=x sslmode={mode}"})
        broker.errors_expected = True
        return broker, server
    return make


def ask(broker):
    """A client of the bad server that waits for its answer."""
    one = broker.raw()
    one.send(wire.startup({"user": "app", "database": "bad"}))
    return one


def refusal(one):
    """The fields of the error that it gets: at its login, or else at its first statement."""
    messages = one.until("EZ")
    if messages[-1].kind == "Z":
        one.send(wire.query("SELECT 1"))
        messages = one.until("EZ")
    return messages[-1].fields


def serves(broker):
    with broker.wire(timeout=5) as one:
        assert one.value("SELECT 'served'") == "served"


# The beginning of the challenge, with the length that it will have.
EARLY = b"R" + struct.pack("!ii", 8 + len("r=,s=,i=") + 40 + 8 + len(str(MOST)), 11) + b"r="
HALVES = lambda message: [message[:-6], message[-6:]]
BYTES = lambda message: [bytes([byte]) for byte in message]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("pieces", [lambda message: [message], HALVES, BYTES],
                         ids=["whole", "halves", "bytes"])
def test_a_server_that_asks_for_too_many_iterations_is_refused(hostile, encrypted, pieces):
    broker, server = hostile(encrypted=encrypted, pieces=pieces)
    one = ask(broker)
    eventually(lambda: server.challenged)
    serves(broker)
    server.go_on.set()
    error = refusal(one)
    assert (error["C"], error["M"].endswith(f"the server asks for {MOST} SCRAM iterations")) \
        == ("28000", True), error
    assert "scram_iterations_max is 1000000" in error["D"] and "scram_iterations_max" in error["H"]
    serves(broker)


@pytest.mark.parametrize("named", [
    # libpq makes 2147483647 of it.
    {"iterations": 3 * 2**31 - 1}, {"iterations": " 2147483647"},
    {"before": [wire.message("R", struct.pack("!i", 5) + b"salt")]},
    {"early": EARLY, "pieces": lambda message: [message[len(EARLY):]]},
    {"early": EARLY, "pieces": lambda message: [message[len(EARLY):]], "encrypted": True},
], ids=["33 bits", "blank", "MD5 first", "begun early", "begun early, TLS"])
def test_a_server_that_plays_tricks_with_the_challenge_is_refused(hostile, named):
    # Where the trick comes before the challenge, the broker does not wait for that.
    broker, _ = hostile(**named, settings={"query_wait_timeout": 1})
    one = ask(broker)
    serves(broker)
    assert refusal(one)["C"] in ("08P01", "28000", "08001")
    serves(broker)


def test_half_a_challenge_ends_with_the_connect_and_not_before_others_are_served(hostile):
    broker, server = hostile(
        pieces=HALVES, settings={"server_connect_timeout": 1, "query_wait_timeout": 1})
    one = ask(broker)
    eventually(lambda: server.challenged)
    serves(broker)
    assert refusal(one)["C"] == "08001"


def secret(password, iterations):
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    keys = [hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest(),
            hmac.digest(salted, b"Server Key", "sha256")]
    stored, server = (base64.b64encode(key).decode() for key in keys)
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{server}"


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_many_iterations_up_to_the_bound_are_made(make_broker, postgres, tls_postgres, encrypted):
    on = tls_postgres if encrypted else postgres
    broker = make_broker(
        {"scram_iterations_max": 60000, "prewarm": 0, "query_wait_timeout": 20,
         "server_tls_sslmode": "require" if encrypted else "disable"}, on=on,
        databases={"app": f"host=127.0.0.1 port={on.port} user=secretive password='right horse'"})
    try:
        on.sql(f"ALTER ROLE secretive PASSWORD '{secret('right horse', 60000)}'")
        with broker.wire() as one:
            assert one.value("SELECT current_user") == "secretive"
        on.sql(f"ALTER ROLE secretive PASSWORD '{secret('right horse', 60001)}'")
        broker.console("RECONNECT")
        broker.errors_expected = True
        with broker.wire() as one:
            assert eventually(lambda: "60001" in str(wire.error_of(one.query("SELECT 1"))))
    finally:
        on.sql("ALTER ROLE secretive PASSWORD 'right horse'")
