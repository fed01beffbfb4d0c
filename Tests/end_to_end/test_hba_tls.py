# SPDX-License-Identifier: Apache-2.0
"""Rules of auth_hba_file that look at TLS and at certificates, and auth_type = cert."""

import pytest

from harness import wire
from harness.encrypted import EncryptedWire, trusting

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def ruled(make_broker, certificates):
    def make(lines, ident=(), **settings):
        files = {"client_tls_sslmode": "allow",
                 "client_tls_key_file": certificates.path("server.key"),
                 "client_tls_cert_file": certificates.path("server.crt"),
                 "client_tls_ca_file": certificates.path("ca.crt")}
        broker = make_broker(files, tcp=True, start=False)
        (broker.folder / "hba.conf").write_text("\n".join(lines) + "\n")
        (broker.folder / "ident.conf").write_text("\n".join(ident) + "\n")
        broker.set(auth_type="hba", auth_hba_file=broker.folder / "hba.conf",
                   auth_ident_file=broker.folder / "ident.conf")
        broker.set(**settings)
        return broker.start()
    return make


def encrypted(broker, user="app", database="app", pair=None):
    with EncryptedWire(broker.tcp_address, trusting(certificate=pair)) as one:
        return one.start(user, database).value("SELECT current_user")


def plain(broker, user="app", database="app"):
    with wire.Wire(broker.tcp_address) as one:
        return one.start(user, database).value("SELECT current_user")


def refused(call, *arguments, **named):
    with pytest.raises(wire.Refused) as caught:
        call(*arguments, **named)
    return caught.value.fields


def test_rules_of_connections_with_and_without_tls(ruled):
    broker = ruled(["hostssl app all all trust", "hostnossl second all all trust"])
    assert encrypted(broker) == "app"
    assert plain(broker, database="second") == "app"
    assert "with TLS" in refused(encrypted, broker, database="second")["D"]
    lost = refused(plain, broker)
    assert lost["M"] == "no authentication method is found" and "without TLS" in lost["D"]


def test_a_certificate_is_of_the_role_or_a_map_says_of_whom(ruled, certificates):
    broker = ruled(["hostssl app all all cert", "hostssl second all all cert map=people"],
                   ident=["people somebody other", "people app all"])
    own, somebody = (certificates.make(name, f"/CN={name}") for name in ("app", "somebody"))
    assert encrypted(broker, pair=own) == "app"
    assert refused(encrypted, broker, user="other", pair=own)["C"] == "28000"
    assert refused(encrypted, broker)["C"] == "28000"
    assert encrypted(broker, "other", "second", pair=somebody) == "other"
    assert refused(encrypted, broker, "app", "second", pair=somebody)["C"] == "28000"
    assert encrypted(broker, "other", "second", pair=own) == "other"


def test_the_type_of_all_clients_may_be_the_certificate(ruled, certificates):
    broker = ruled([], auth_type="cert", client_tls_sslmode="verify-full")
    own = certificates.make("app", "/CN=app")
    assert encrypted(broker, pair=own) == "app"
    assert "app" in refused(encrypted, broker, user="other", pair=own)["D"]
    assert refused(plain, broker)["M"] == "SSL required"


def test_the_log_says_how_the_client_is_encrypted(ruled):
    broker = ruled(["host all all all trust"], log_format="text")
    assert encrypted(broker) == "app"
    broker.wait_logged("login attempt: db=app user=app tls=TLSv1")
