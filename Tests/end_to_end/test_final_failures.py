# SPDX-License-Identifier: Apache-2.0
"""Failures to reach the server that waiting cannot help are told at once, and end when they are mended."""

import pytest

from harness import wire
from harness.faucet import Faucet
from harness.waiting import Stopwatch, eventually

pytestmark = pytest.mark.pglease_only

MODES = ["transaction", "session"]
AT_ONCE = 5
"""Seconds: query_wait_timeout is 60."""


def failure(broker, user="app", database="app"):
    """The fields of the error at login, or else at the first query, which must come at once."""
    broker.errors_expected = True
    watch = Stopwatch()
    try:
        with broker.wire(user, database) as one:
            one.send(wire.query("SELECT 1"))
            error = wire.error_of(one.until("EZ")).fields
    except wire.Refused as refused:
        error = refused.fields
    assert watch.seconds < AT_ONCE
    return error


@pytest.fixture
def patient_broker(make_broker, postgres):
    def make(line, mode="transaction", **more):
        settings = {"pool_mode": mode, "query_wait_timeout": 60, "startup_attempts": 1} \
            | more.pop("settings", {})
        return make_broker(settings, databases={"app": line}, **more)
    return make


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_password_says_what_to_set_where(patient_broker, postgres, mode):
    broker = patient_broker(f"host=127.0.0.1 port={postgres.port} dbname=app", mode,
                            userlist={"secretive": "", "admin": ""})
    error = failure(broker, "secretive")
    assert error["C"] == "28P01" and "no password supplied" in error["M"]
    for word in ("password=", "[databases]", "auth_file", "DATABASE_URL_FILE", "RELOAD"):
        assert word in error["H"], error
    # Mended by the operator: clients get in at once.
    broker.userlist["secretive"] = "right horse"
    broker.write()
    broker.console("RELOAD")
    with broker.wire("secretive") as one:
        assert one.value("SELECT current_user") == "secretive"


def test_a_missing_password_of_a_forced_user_and_its_remedy_in_the_line(patient_broker, postgres):
    line = f"host=127.0.0.1 port={postgres.port} dbname=app user=secretive"
    broker = patient_broker(line, settings={"prewarm": 0})
    assert "no password supplied" in failure(broker)["M"]
    broker.databases["app"] = line + " password='right horse'"
    broker.write()
    broker.console("RELOAD")
    with broker.wire() as one:
        assert one.value("SELECT current_user") == "secretive"


def test_clients_that_wait_already_are_told_at_once(patient_broker, postgres):
    broker = patient_broker(
        f"host=127.0.0.1 port={postgres.port} dbname=app", userlist={"secretive": "", "admin": ""})
    broker.errors_expected = True
    for _ in range(5):
        assert failure(broker, "secretive")["C"] == "28P01"
    # Who comes meanwhile makes no attempt of its own.
    assert len([each for each in broker.console("SHOW EVENTS")
                if each["kind"] == "connect_failed"]) <= 3


@pytest.mark.parametrize("mode", MODES)
def test_what_is_mended_in_postgresql_is_found_by_the_next_client(
        patient_broker, postgres, mode):
    postgres.sql("CREATE ROLE barred NOLOGIN")
    try:
        broker = patient_broker(
            f"host=127.0.0.1 port={postgres.port} dbname=app", mode,
            userlist={"barred": "", "admin": ""},
            settings={"server_login_retry_min": 15, "server_login_retry": 15})
        assert "not permitted to log in" in failure(broker, "barred")["M"]
        postgres.sql("ALTER ROLE barred LOGIN")

        def enters():
            try:
                with broker.wire("barred") as one:
                    return one.value("SELECT current_user") == "barred"
            except wire.Refused:
                return False
        eventually(enters, 5, every=0.1)
    finally:
        broker.stop()
        postgres.gone(user="barred")
        postgres.sql("DROP ROLE barred")


@pytest.mark.parametrize("line, code, words", [
    ("sslmode=require", "08001", "server does not support SSL"),
    ("service=nowhere", "08001", "definition of service"),
    ("channel_binding=require user=secretive password='right horse'", "28000", "channel binding"),
    ("requirepeer=nobody-like-this", "28000", "requirepeer"),
], ids=["no TLS", "no service", "channel binding", "peer"])
def test_what_libpq_itself_refuses_is_final(patient_broker, postgres, line, code, words, tmp_path):
    host = postgres.host if "requirepeer" in line else "127.0.0.1"
    services = tmp_path / "services"
    services.write_text("[other]\nhost=127.0.0.1\n")
    broker = patient_broker(
        f"host={host} port={postgres.port} dbname=app {line}",
        environment={"PGSERVICEFILE": str(services)},
        settings={"server_tls_sslmode": "prefer", "prewarm": 0})
    error = failure(broker)
    assert error["C"] == code and words in error["M"] and error["H"], error


@pytest.mark.parametrize("line, words", [
    ("sslmode=verify-full sslrootcert=/nonexistent/root.crt", "root certificate file"),
    ("sslmode=verify-full sslrootcert={authority}", "does not match host name"),
    ("sslmode=require sslcert={authority} sslkey=/nonexistent/key", "private key file"),
], ids=["no root certificate", "another name", "no key"])
def test_certificates_that_do_not_fit_are_final(make_broker, tls_postgres, tls, line, words):
    broker = make_broker(
        {"query_wait_timeout": 60, "server_tls_sslmode": "prefer"}, on=tls_postgres,
        databases={"app": f"host=127.0.0.1 port={tls_postgres.port} dbname=app "
                          + line.format(authority=tls.authority)})
    error = failure(broker)
    assert error["C"] == "08001" and words in error["M"] and error["H"], error


def test_what_may_pass_is_waited_for(patient_broker, postgres):
    faucet = Faucet(postgres.socket_path)
    try:
        broker = patient_broker(
            f"host=127.0.0.1 port={faucet.port} dbname=app", settings={"server_login_retry": 0.3})
        broker.errors_expected = True
        for trouble in (faucet.refuse, lambda: faucet.answer("57P03", "starting up"),
                        lambda: faucet.answer("53200", "out of memory")):
            trouble()
            with broker.wire() as one:
                one.send(wire.query("SELECT 1"))
                eventually(lambda: broker.waiting() == 1)
                faucet.flow()
                assert wire.rows_of(one.until_ready()) == [["1"]]
    finally:
        faucet.close()
