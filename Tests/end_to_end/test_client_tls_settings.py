# SPDX-License-Identifier: Apache-2.0
"""The client_tls_* settings: what is refused at start, what RELOAD puts in force and what it leaves."""

import os
import re
import shutil
import ssl

import pytest

from harness import wire
from harness.encrypted import SSL_REQUEST, EncryptedWire, trusting
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]


@pytest.fixture
def files(certificates, tmp_path_factory):
    """A folder with `server.key`, `server.crt` and `ca.crt` that the test may spoil."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server.key", "server.crt", "ca.crt"):
        shutil.copy(certificates.path(name), folder / name)
    (folder / "server.key").chmod(0o600)
    return folder


@pytest.fixture
def encrypted(make_broker, files):
    def make(mode="require", settings=None, **named):
        own = {"client_tls_sslmode": mode, "client_tls_key_file": files / "server.key",
               "client_tls_cert_file": files / "server.crt"}
        own |= settings or {}
        return make_broker({key: value for key, value in own.items() if value is not None},
                           tcp=True, **named)
    return make


def connect(broker, **named):
    return EncryptedWire(broker.tcp_address, **named)


def certificate(broker):
    with connect(broker) as one:
        return one.socket.getpeercert(binary_form=True)


def versions(lowest, highest):
    return trusting(minimum_version=lowest, maximum_version=highest)


def refused_start(broker):
    """Starts it, and what it says."""
    broker.launch()
    status = broker.wait()
    broker.errors_expected = True
    assert status == 78, broker.log_tail()
    return broker.log()


SPOILT = {
    "no key file": (lambda folder: (folder / "server.key").unlink(),
                    "client_tls_key_file", "No such file or directory"),
    "no certificate file": (lambda folder: (folder / "server.crt").unlink(),
                            "client_tls_cert_file", "No such file or directory"),
    "an empty key": (lambda folder: (folder / "server.key").write_text(""),
                     "client_tls_key_file", "PEM is expected"),
    "a certificate that is none": (
        lambda folder: (folder / "server.crt").write_bytes(b"\xff\0garbage"),
        "client_tls_cert_file", "PEM is expected"),
    "a folder": (lambda folder: ((folder / "server.key").unlink(), (folder / "server.key").mkdir()),
                 "client_tls_key_file", "directory"),
}


def spoil(name, files):
    change, setting, words = SPOILT[name]
    change(files)
    return setting, words


@pytest.mark.parametrize("name", SPOILT)
def test_files_that_keep_the_broker_from_starting(encrypted, files, name):
    setting, words = spoil(name, files)
    log = refused_start(encrypted(start=False))
    assert setting in log and words in log
    assert re.search(rf"\.ini:\d+: {setting}", log)


def test_a_key_of_another_certificate(encrypted, files, certificates):
    certificates.make("another", "/CN=localhost")
    shutil.copy(certificates.path("another.key"), files / "server.key")
    log = refused_start(encrypted(start=False))
    assert "client_tls_key_file" in log and "does not belong to the certificate" in log


def test_a_key_with_a_passphrase(encrypted, files, run_program):
    """Nobody is asked on a terminal."""
    locked = files / "locked.key"
    run_program("openssl", "pkey", "-in", files / "server.key", "-aes256", "-passout", "pass:x",
                "-out", locked)
    log = refused_start(encrypted(settings={"client_tls_key_file": locked}, start=False))
    assert "client_tls_key_file" in log and "passphrase" in log


@pytest.mark.parametrize("settings, words", [
    ({"client_tls_key_file": None}, "needs client_tls_key_file"),
    ({"client_tls_cert_file": None}, "needs client_tls_cert_file"),
    ({"client_tls_sslmode": "verify-ca"}, "needs client_tls_ca_file"),
    ({"client_tls_sslmode": "verify-full"}, "needs client_tls_ca_file"),
    ({"client_tls_sslmode": "required"}, "is not one of disable, allow"),
    ({"client_tls_ca_file": "/nowhere/at/all"}, "/nowhere/at/all: No such file"),
    ({"client_tls_protocols": "tlsv1.4"}, "tlsv1.4"),
    ({"client_tls_protocols": "all, !all"}, "leaves no version"),
    ({"client_tls_ciphers": "NOT-A-CIPHER"}, "client_tls_ciphers: no cipher match"),
    ({"client_tls13_ciphers": "NOT_A_CIPHER"}, "client_tls13_ciphers"),
    ({"client_tls_dheparams": "4096"}, "none, auto, legacy"),
    ({"client_tls_ecdhcurve": "curve1"}, "client_tls_ecdhcurve: OpenSSL has no curve"),
])
def test_settings_that_keep_the_broker_from_starting(encrypted, settings, words):
    assert words in refused_start(encrypted(settings=settings, start=False))


def test_check_config_looks_into_the_files(encrypted, files, run_program):
    broker = encrypted(start=False)
    command = [broker.command()[0], "check-config", "--config", broker.config_path]
    good = run_program(*command)
    assert "client_tls_sslmode = require" in good.stdout
    (files / "server.crt").write_text("nothing")
    bad = run_program(*command, check=False)
    assert bad.returncode == 78
    assert "client_tls_cert_file" in bad.stderr


@pytest.mark.parametrize("mode, warned", [(0o600, False), (0o640, True), (0o604, True)])
def test_a_key_that_others_can_read_is_warned_of(encrypted, files, mode, warned):
    if os.geteuid() == 0:
        # Of root's a group may read it.
        shutil.chown(files / "server.key", 65534)
    (files / "server.key").chmod(mode)
    broker = encrypted()
    assert bool(broker.logged("client_tls_key_file", "others than its owner")) == warned
    certificate(broker)


def test_a_certificate_that_has_expired_is_warned_of(encrypted, certificates):
    crt, key = certificates.make("late", "/CN=localhost", days=-1)
    broker = encrypted(settings={"client_tls_cert_file": crt, "client_tls_key_file": key})
    assert broker.logged("client_tls_cert_file", "has expired", "warn")
    with connect(broker).start("app") as one:
        assert one.value("SELECT 1") == "1"


# RELOAD.


def reload(broker, good=True):
    with wire.Wire(broker.socket_path).start("admin", broker.console_database) as one:
        seen = one.query("RELOAD")
    error = wire.error_of(seen) if any(each.kind == "E" for each in seen) else None
    if good:
        assert error is None, error
    else:
        broker.errors_expected = True
        assert error is not None
    return error


def test_reload_takes_new_files(encrypted, files, certificates):
    broker = encrypted()
    before = certificate(broker)
    with connect(broker).start("app") as kept:
        crt, key = certificates.make("renewed", "/CN=localhost", names="DNS:localhost")
        shutil.copy(crt, files / "server.crt")
        shutil.copy(key, files / "server.key")
        assert certificate(broker) == before
        reload(broker)
        after = certificate(broker)
        assert after != before
        assert kept.value("SELECT 1") == "1"
    # SIGHUP does the same.
    shutil.copy(certificates.path("server.crt"), files / "server.crt")
    shutil.copy(certificates.path("server.key"), files / "server.key")
    broker.send_signal(1)
    eventually(lambda: certificate(broker) == before)


@pytest.mark.parametrize("name", SPOILT)
def test_reload_of_broken_files_keeps_the_old_ones(encrypted, files, name):
    broker = encrypted()
    before = certificate(broker)
    setting, words = spoil(name, files)
    broker.set(default_pool_size=7)
    error = reload(broker, good=False)
    assert setting in str(error.fields)
    assert broker.wait_logged("configuration refused, the old one stays", setting, words)
    assert certificate(broker) == before
    sizes = {row["key"]: row["value"] for row in broker.console("SHOW CONFIG")}
    assert sizes["default_pool_size"] == "10"


def test_reload_of_an_expired_certificate_keeps_the_old_one(encrypted, files, certificates):
    broker = encrypted()
    before = certificate(broker)
    crt, key = certificates.make("late", "/CN=localhost", days=-1)
    shutil.copy(crt, files / "server.crt")
    shutil.copy(key, files / "server.key")
    reload(broker, good=False)
    assert broker.wait_logged("the old one stays", "has expired")
    assert certificate(broker) == before


def test_reload_beside_a_certificate_that_has_expired_in_force(encrypted, files, certificates):
    """Nothing better is at hand: other settings can still be changed."""
    crt, key = certificates.make("late", "/CN=localhost", days=-1)
    broker = encrypted(settings={"client_tls_cert_file": crt, "client_tls_key_file": key})
    broker.set(default_pool_size=7)
    reload(broker)
    assert len(broker.logged("has expired")) == 2


def test_reload_of_an_authority(encrypted, files, certificates):
    certificates.authority("second")
    pair = certificates.make("ofsecond", "/CN=app", by="second")
    broker = encrypted("verify-full", {"client_tls_ca_file": files / "ca.crt"})
    context = trusting(certificate=pair)
    with pytest.raises((ssl.SSLError, wire.Closed)):
        connect(broker, context=context).start("app")
    shutil.copy(certificates.path("second.crt"), files / "ca.crt")
    reload(broker)
    with connect(broker, context=context).start("app"):
        pass
    (files / "ca.crt").write_text("no certificate at all")
    reload(broker, good=False)
    with connect(broker, context=context).start("app"):
        pass


def test_reload_changes_the_mode(encrypted):
    broker = encrypted("require")
    with connect(broker).start("app") as kept:
        broker.set(client_tls_sslmode="disable")
        reload(broker)
        one = wire.Wire(broker.tcp_address)
        one.send(SSL_REQUEST)
        assert one.socket.recv(1) == b"N"
        with one.start("app"):
            assert one.value("SELECT 1") == "1"
        assert kept.value("SELECT 1") == "1"
        broker.set(client_tls_sslmode="require")
        reload(broker)
        with pytest.raises(wire.Refused):
            wire.Wire(broker.tcp_address).start("app")


def test_set_changes_the_mode(encrypted):
    broker = encrypted("prefer")
    broker.console("SET client_tls_sslmode = 'require'")
    with pytest.raises(wire.Refused, match="SSL required"):
        wire.Wire(broker.tcp_address).start("app")
    certificate(broker)
    with wire.Wire(broker.socket_path).start("admin", broker.console_database) as one:
        assert wire.error_of(one.query("SET client_tls_key_file = '/nowhere'"))
        assert wire.error_of(one.query("SET client_tls_key_file = ''"))
        assert wire.error_of(one.query("SET client_tls_ciphers = 'NOT-A-CIPHER'"))
        one.query("SET client_tls_protocols = 'tlsv1.2'")
    certificate(broker)
    with connect(broker) as one:
        assert one.socket.version() == "TLSv1.2"


# What is negotiated.


@pytest.mark.parametrize("protocols, lowest, highest", [
    ("secure", "TLSv1.2", "TLSv1.3"), ("tlsv1.3", "TLSv1.3", "TLSv1.3"),
    ("tlsv1.2", "TLSv1.2", "TLSv1.2"), ("all", "TLSv1.2", "TLSv1.3"),
    ("tlsv1.0, tlsv1.3", "TLSv1.3", "TLSv1.3")])
def test_client_tls_protocols(encrypted, protocols, lowest, highest):
    broker = encrypted(settings={"client_tls_protocols": protocols})
    known = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
    for name, version in known.items():
        context = versions(version, version)
        if lowest <= name <= highest:
            with connect(broker, context=context) as one:
                assert one.socket.version() == name
        else:
            with pytest.raises(ssl.SSLError, match="(?i)protocol.version|handshake.failure"):
                connect(broker, context=context)


@pytest.mark.parametrize("settings, version, expected", [
    ({"client_tls_ciphers": "ECDHE-RSA-AES128-GCM-SHA256"}, ssl.TLSVersion.TLSv1_2,
     "ECDHE-RSA-AES128-GCM-SHA256"),
    ({"client_tls_ciphers": "fast"}, ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384"),
    ({"client_tls_ciphers": "all"}, ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384"),
    ({"client_tls13_ciphers": "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"},
     ssl.TLSVersion.TLSv1_3, "TLS_CHACHA20_POLY1305_SHA256"),
    ({"client_tls_ecdhcurve": "none"}, ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES256-GCM-SHA384"),
    ({"client_tls_ecdhcurve": "none", "client_tls_dheparams": "none"}, ssl.TLSVersion.TLSv1_2,
     "AES256-GCM-SHA384"),
])
def test_ciphers_and_key_exchange(encrypted, settings, version, expected):
    broker = encrypted(settings=settings)
    context = versions(version, version)
    context.set_ciphers("ALL")
    with connect(broker, context=context).start("app") as one:
        assert one.socket.cipher()[0] == expected


@pytest.mark.parametrize("curve, good, bad", [
    ("prime256v1", "P-256", "X25519"), ("X25519:secp384r1", "P-384", "P-256")])
def test_client_tls_ecdhcurve(encrypted, curve, good, bad, run_program):
    broker = encrypted(settings={"client_tls_ecdhcurve": curve})
    host, port = broker.tcp_address

    def shake_hands(group):
        return run_program("openssl", "s_client", "-starttls", "postgres", "-connect",
                           f"{host}:{port}", "-groups", group, input="", check=False)

    assert shake_hands(good).returncode == 0
    assert shake_hands(bad).returncode != 0


def test_a_handshake_that_fails_is_an_event(encrypted):
    broker = encrypted("prefer")
    with connect(broker), wire.Wire(broker.tcp_address) as other:
        other.send(SSL_REQUEST)
        assert other.socket.recv(1) == b"S"
        other.send(b"no hello")
        assert other.closed_by_peer()
    events = broker.console("SHOW EVENTS")
    assert any("TLS handshake failed" in row["message"] for row in events), events
