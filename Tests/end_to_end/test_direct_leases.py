# SPDX-License-Identifier: Apache-2.0
"""LEASE DIRECT: who gets the server connection itself, what works on it, and what is shown."""

import fcntl
import os
import socket
import struct

import psycopg2
import pytest

from harness import direct, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"
NOBODY = 65534


@pytest.fixture
def small(make_broker):
    return make_broker({"default_pool_size": 3, "reserve_pool_size": 0})


@pytest.fixture
def narrow(make_broker):
    return make_broker({"default_pool_size": 1, "reserve_pool_size": 0})


@pytest.fixture
def client(transaction_broker):
    """A client whose lease is direct."""
    with direct.connect(transaction_broker) as one:
        one.lease("FOR 'direct.test'")
        assert one.is_direct
        yield one


def pid(one):
    return int(one.value(PID))


def running(postgres, word):
    return [row[0] for row in postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' "
        "AND application_name <> 'harness'", (f"%{word}%",))]


# The descriptor.


def test_the_answer_says_direct_and_brings_one_descriptor(transaction_broker):
    with direct.connect(transaction_broker) as one:
        end = one.lease()
        assert one.granted.kind == "direct"
        assert pid(end) == one.granted.server_pid
        one.give_back()
        assert one.value("SELECT 'by the relay'") == "by the relay"


def test_it_comes_with_the_first_byte_of_the_row_description(transaction_broker):
    with direct.connect(transaction_broker) as one:
        one.send(wire.query("LEASE DIRECT"))
        kind = b""
        while not one.descriptors:
            one._fill(1)
            kind = one.buffer[-1:]
        assert kind == b"T", one.buffer
        one.take_lease(one.until_ready())
        one.give_back()


def test_a_peek_delivers_it_without_taking_bytes(transaction_broker):
    """What a module does that lets its driver read the answer."""
    with direct.connect(transaction_broker) as one:
        one.send(wire.query("LEASE DIRECT"))
        raw, extras, _, _ = one.socket.recvmsg(
            4096, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC | socket.MSG_PEEK)
        (_, _, packed), = extras
        end = direct.ServerEnd(struct.unpack("i", packed)[0])
        read = b""
        while len(read) < len(raw):
            read += one.socket.recv(len(raw) - len(read))
        assert read == raw
        one.buffer += read
        assert direct.granted(one.until_ready()).server_pid == pid(end)
        end.close()
        direct.give_back(one)


def test_it_is_a_quiet_idle_session_that_does_not_block(transaction_broker):
    with direct.connect(transaction_broker) as one:
        one.query("LEASE DIRECT")
        descriptor, = one.descriptors
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        one.descriptors = []
        with direct.ServerEnd(descriptor) as end:
            assert end.silent_for(0)
            end.send(wire.sync())
            seen = end.until_ready()
            assert wire.kinds(seen) == "Z" and seen[0].body == b"I"
        direct.give_back(one)


def test_by_the_extended_protocol(transaction_broker):
    with direct.connect(transaction_broker) as one:
        for _ in range(3):
            one.send(wire.parse("LEASE DIRECT FOR 'extended'"), wire.bind(),
                     wire.describe_portal(), wire.execute(), wire.sync())
            seen = one.until_ready()
            assert wire.kinds(seen) == "12TDCZ"
            number, backend, kind, _ = wire.rows_of(seen)[0]
            assert kind == "direct" and number
            with direct.ServerEnd(one.descriptors.pop()) as end:
                assert pid(end) == int(backend)
            seen = one.extended("LEASE RETURN")
            assert wire.kinds(seen) == "12CZ"


def test_many_leases_in_one_write_bring_a_descriptor_each(small):
    with direct.connect(small) as one:
        one.send(*(wire.query("LEASE DIRECT") + wire.query("LEASE RETURN") for _ in range(50)))
        seen = one.until_ready(100)
        assert wire.kinds(seen) == ("TDCZ" + "CZ") * 50
        kinds = [row[2] for row in wire.rows_of(seen)]
        assert kinds.count("direct") == len(one.descriptors)
        assert one.value("SELECT 1") == "1"


def test_behind_a_large_unread_answer_the_lease_is_right_in_either_kind(small):
    with direct.connect(small) as one:
        for _ in range(5):
            one.send(wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 100)"),
                     wire.query("LEASE DIRECT"))
            eventually(lambda: small.active() == 1)
            assert wire.kinds(one.until_ready()) == "T" + "D" * 100 + "CZ"
            end = one.take_lease(one.until_ready())
            assert pid(end) == one.granted.server_pid
            one.give_back()


def test_two_databases_of_one_process(small):
    with direct.connect(small) as one, direct.connect(small, database="second") as two:
        assert one.lease().value("SELECT current_database()") == "app"
        assert two.lease().value("SELECT current_database()") == "second"
        assert one.is_direct and two.is_direct
        one.give_back()
        two.give_back()


def test_the_answer_to_a_waiting_lease_brings_it_too(narrow):
    with direct.connect(narrow) as one, direct.connect(narrow) as other:
        direct.lease(other)
        one.send(wire.query("LEASE DIRECT"))
        eventually(lambda: narrow.waiting() == 1)
        direct.give_back(other)
        end = one.take_lease(one.until_ready())
        assert one.is_direct and pid(end) == one.granted.server_pid
        one.give_back()


def test_no_descriptor_of_the_brokers_is_lost(narrow):
    with direct.connect(narrow) as one:
        one.lease()
        one.give_back()
        before = narrow.open_files_now()
        for _ in range(50):
            one.lease()
            one.give_back()
        assert narrow.open_files_now() <= before


# Who gets none.


def relayed(broker, **named):
    """A lease that was asked for as direct and is not; it works through the relay all the same."""
    with direct.connect(broker, **named) as one:
        end = one.lease("FOR 'fallback'")
        assert end is one and one.granted.kind == "relay"
        assert pid(one) == one.granted.server_pid
        one.query("CREATE TEMP TABLE mine AS SELECT 7 AS x")
        assert one.value("SELECT x FROM mine") == "7"
        direct.give_back(one)
        assert one.value("SELECT to_regclass('mine') IS NULL") == "t"


def test_over_tcp_it_is_relayed(make_broker):
    broker = make_broker(tcp=True)
    relayed(broker, address=broker.tcp_address)


def test_switched_off_it_is_relayed(make_broker):
    relayed(make_broker({"direct_lease": "off"}))


def test_same_uid_is_the_default_and_a_reload_changes_it(make_broker):
    broker = make_broker()
    with direct.connect(broker) as one:
        one.lease()
        assert one.is_direct
        broker.set(direct_lease="off")
        broker.console("RELOAD")
        assert one.end.value("SELECT 'still direct'") == "still direct"
        one.give_back()
        relayed(broker)
        broker.set(direct_lease="same_uid")
        broker.console("RELOAD")
        one.lease()
        assert one.is_direct
        one.give_back()


def test_in_a_session_pool_it_is_relayed(session_broker):
    with direct.connect(session_broker) as one:
        backend = pid(one)
        assert one.lease() is one and one.granted.kind == "relay"
        assert pid(one) == backend == one.granted.server_pid
        direct.give_back(one)


def test_in_a_statement_pool_it_is_direct(statement_broker):
    with direct.connect(statement_broker) as one:
        end = one.lease()
        assert one.is_direct
        end.query("BEGIN")
        assert end.query("COMMIT")[0].tag == "COMMIT"
        one.give_back()


def test_over_tls_to_the_server_it_is_relayed(make_broker, tls_postgres, tls):
    broker = make_broker(
        {"server_tls_sslmode": "verify-full", "server_tls_ca_file": tls.authority}, on=tls_postgres,
        databases={"app": f"host=localhost port={tls_postgres.port} dbname=app"})
    relayed(broker)


def test_over_tcp_to_the_server_it_is_direct(make_broker, postgres):
    broker = make_broker(databases={"app": f"host=127.0.0.1 port={postgres.port} dbname=app"})
    with direct.connect(broker) as one:
        end = one.lease()
        assert one.is_direct and end.socket.family == socket.AF_INET
        assert pid(end) == one.granted.server_pid
        one.give_back()


@pytest.fixture
def mapped(make_broker):
    """A broker that the user nobody is a worker of."""
    return make_broker({"default_pool_size": 3, "reserve_pool_size": 0, "peer_map": "nobody:app"})


@pytest.fixture
def act_as_nobody():
    """Clients of another uid: act_as_nobody(broker, user="app")."""
    opened = []

    def act(broker, user="app"):
        one = direct.Peer(broker.socket_path, uid=NOBODY)
        opened.append(one)
        one.do(f"one = direct.connect(None, {user!r}, address=address)")
        return one

    yield act
    for one in opened:
        one.close()


several_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")


def kind_for(peer):
    """Takes a lease in the other process, uses it, and gives it back."""
    kind = peer.do("end = one.lease(); one.granted.kind")
    assert peer.do(f"end.value({PID!r})") == str(peer.do("one.granted.server_pid"))
    peer.do("one.give_back()")
    return kind


@several_users
def test_a_uid_that_peer_would_not_let_in_as_the_role_is_relayed(small, act_as_nobody):
    """Though auth_type trust lets it in: direct_lease is same_uid."""
    assert kind_for(act_as_nobody(small)) == "relay"
    with direct.connect(small) as one:
        one.lease()
        assert one.is_direct
        one.give_back()


@several_users
@pytest.mark.parametrize("pair", ["nobody:app", f"{NOBODY}:app", "nobody:*", "*:app"])
def test_peer_map_lets_a_uid_have_direct_leases_after_a_reload(small, act_as_nobody, pair):
    stranger = act_as_nobody(small)
    assert kind_for(stranger) == "relay"
    small.set(peer_map=f"daemon:app, {pair}")
    small.console("RELOAD")
    assert kind_for(stranger) == "direct"
    small.set(peer_map="nobody:other, daemon:app")
    small.console("RELOAD")
    assert kind_for(stranger) == "relay"


@several_users
def test_the_user_of_the_roles_name_has_direct_leases(small, act_as_nobody, postgres):
    postgres.sql("DROP ROLE IF EXISTS nobody; CREATE ROLE nobody LOGIN")
    small.userlist["nobody"] = ""
    small.write_userlist()
    small.console("RELOAD")
    assert kind_for(act_as_nobody(small, "nobody")) == "direct"


@several_users
def test_another_uid_than_the_one_that_has_direct_leases_is_relayed(mapped, act_as_nobody):
    stranger = act_as_nobody(mapped)
    with direct.connect(mapped) as one:
        one.lease()
        assert one.is_direct
        assert kind_for(stranger) == "relay"
        one.give_back()
        assert kind_for(stranger) == "relay"
    eventually(lambda: kind_for(stranger) == "direct")


@several_users
def test_the_uid_that_comes_first_need_not_be_the_brokers(mapped, act_as_nobody):
    assert kind_for(act_as_nobody(mapped)) == "direct"
    relayed(mapped)


# What works on it.


def test_large_values_go_both_ways(client):
    value = os.urandom(5 << 20).hex()
    assert wire.rows_of(client.end.extended("SELECT $1::text", [value])) == [[value]]
    assert wire.rows_of(client.end.query(f"SELECT '{value}'")) == [[value]]
    client.give_back()


def test_copy_goes_both_ways(client, table):
    end = client.end
    end.send(wire.query(f"COPY {table} FROM STDIN"))
    assert end.next().kind == "G"
    end.send(*(wire.copy_data(f"{n}\tx\n".encode()) for n in range(50000)), wire.copy_done())
    assert end.until_ready()[0].tag == "COPY 50000"
    end.send(wire.query(f"COPY (SELECT id FROM {table} ORDER BY id) TO STDOUT"))
    seen = [int(one.body) for one in end.until_ready() if one.kind == "d"]
    assert seen == list(range(50000))
    client.give_back()
    assert client.value(f"SELECT count(*) FROM {table}") == "50000"


def test_transactions_pipelines_and_prepared_statements(client, table):
    end = client.end
    end.query("BEGIN")
    end.extended(f"INSERT INTO {table} VALUES ($1::int, $2)", ["1", "x"], name="insert")
    end.send(*(wire.bind([str(n), "x"], "insert") + wire.execute() for n in range(2, 200)),
             wire.sync())
    assert wire.kinds(end.until_ready()) == "2C" * 198 + "Z"
    assert end.query("COMMIT")[0].tag == "COMMIT"
    client.give_back()
    assert client.value(f"SELECT count(*) FROM {table}") == "199"
    client.send(wire.bind(["500", "x"], "insert"), wire.execute(), wire.sync())
    assert wire.error_of(client.until_ready()).code == "26000"


def test_statements_prepared_through_the_relay_are_not_known_on_it_but_are_after(narrow):
    with direct.connect(narrow) as one:
        one.extended("SELECT 'relayed ' || $1::text", ["x"], name="named")
        end = one.lease()
        assert one.is_direct
        end.extended("SELECT 'direct ' || $1::text", ["x"], name="named")
        end.send(wire.bind(["y"], "named"), wire.execute(), wire.sync())
        assert wire.rows_of(end.until_ready()) == [["direct y"]]
        one.give_back()
        one.send(wire.bind(["z"], "named"), wire.execute(), wire.sync())
        assert wire.rows_of(one.until_ready()) == [["relayed z"]]


STARTUP = {"options": "-c statement_timeout=31s -c my.mark=seven", "application_name": "worker 7",
           "TimeZone": "Asia/Tokyo", "client_encoding": "LATIN1", "search_path": "pg_catalog"}
IN_FORCE = {"statement_timeout": "31s", "my.mark": "seven", "application_name": "worker 7",
            "TimeZone": "Asia/Tokyo", "client_encoding": "LATIN1", "search_path": "pg_catalog"}


def test_the_clients_settings_are_in_force_from_its_first_query(narrow):
    with narrow.wire() as plain, direct.connect(narrow, **STARTUP) as one:
        one.query("SET work_mem = '9MB'")
        for _ in range(2):
            assert plain.value("SHOW statement_timeout") == "0"
            end = one.lease()
            assert one.is_direct
            assert {name: end.value(f"SHOW {name}") for name in IN_FORCE} == IN_FORCE
            assert end.value("SHOW work_mem") == "9MB"
            end.query("SET statement_timeout = '1h'; SET work_mem = '5MB'; DISCARD ALL")
            end.query("SET my.mark = 'eight'; SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'")
            one.give_back()
            assert {name: one.value(f"SHOW {name}") for name in IN_FORCE} == IN_FORCE
            assert one.value("SHOW work_mem") == "9MB"


def test_return_tells_again_what_a_direct_session_may_have_changed(narrow):
    """The driver heard of the change on the direct connection; nobody told it of the way back."""
    with direct.connect(narrow, client_encoding="LATIN1", TimeZone="Asia/Tokyo",
                        application_name="teller") as one:
        one.lease().query("SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'")
        one.close_end()
        one.parameters = {}
        direct.give_back(one)
        told = one.parameters
        assert (told["client_encoding"], told["TimeZone"], told["application_name"]) == \
            ("LATIN1", "Asia/Tokyo", "teller"), told
        assert one.extended("SELECT $1::text = U&'\\00E4'", [b"\xe4"])[2].row == [b"t"]


LEFT = {
    "temporary tables": ("CREATE TEMP TABLE left_direct (x int)",
                         "SELECT count(*) FROM pg_class WHERE relname = 'left_direct'"),
    "advisory locks": ("SELECT pg_advisory_lock(4712)",
                       "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712"),
    "channels": ("LISTEN left_direct", "SELECT count(*) FROM pg_listening_channels()"),
    "prepared statements": ("PREPARE left_direct AS SELECT 1",
                            "SELECT count(*) FROM pg_prepared_statements"),
    "cursors": ("DECLARE left_direct CURSOR WITH HOLD FOR SELECT 1",
                "SELECT count(*) FROM pg_cursors"),
    "roles": ("SET ROLE other", "SELECT count(*) WHERE current_user <> 'postgres'"),
    "settings": ("SET my.remains = 'x'",
                 "SELECT count(*) WHERE coalesce(current_setting('my.remains', true), '') <> ''"),
}


def test_nothing_of_a_direct_session_is_left(narrow):
    with direct.connect(narrow, user="postgres") as one, narrow.wire("postgres") as other:
        for _ in range(2):
            end = one.lease()
            for statement, _ in LEFT.values():
                wire.rows_of(end.query(statement))
            one.give_back()
            for each in (one, other):
                for what, (_, question) in LEFT.items():
                    assert each.value(question) == "0", what


def test_notifications_arrive_on_it(client, transaction_broker):
    client.end.query("LISTEN direct_word")
    with transaction_broker.wire() as teller:
        teller.query("NOTIFY direct_word, 'now'")
        heard = client.end.next()
        assert heard.kind == "A" and heard.body[4:] == b"direct_word\0now\0"
        client.give_back()
        teller.query("NOTIFY direct_word, 'too late'")
        assert "A" not in wire.kinds(client.query("SELECT 1"))


def test_psycopg2_goes_on_in_place(small, connect):
    """As the modules do it: the driver's socket is exchanged below its feet, and back."""
    connection = connect(small)
    cursor = connection.cursor()
    number = connection.fileno()
    for count in range(5):
        cursor.execute("SELECT %s", (count,))
        with direct.Client.on(os.dup(number)) as aside:
            end = aside.lease("FOR 'psycopg2'")
            assert aside.is_direct
            os.dup2(end.socket.fileno(), number, inheritable=False)
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchone() == (aside.granted.server_pid,)
            cursor.execute("CREATE TEMP TABLE mine AS SELECT generate_series(1, 1000) AS x")
            cursor.execute("SELECT sum(x) FROM mine")
            assert cursor.fetchone() == (500500,)
            with pytest.raises(psycopg2.errors.DivisionByZero):
                cursor.execute("SELECT 1/0")
            os.dup2(aside.socket.fileno(), number, inheritable=False)
            os.set_blocking(number, False)
        cursor.execute("LEASE RETURN")
        cursor.execute("SELECT to_regclass('mine') IS NULL")
        assert cursor.fetchone() == (True,)


# What the broker goes on to do and show.


def test_the_console_shows_it_as_direct_and_counts_it(small, postgres):
    with direct.connect(small, application_name="shown") as one:
        end = one.lease("FOR 'it''s größer'")
        before, = small.console("SHOW LEASES")
        assert (before["kind"], before["purpose"], before["application_name"]) == \
            ("direct", "it's größer", "shown")
        assert (before["server_pid"], before["client_pid"]) == \
            (str(one.granted.server_pid), str(os.getpid()))
        end.query("SELECT 1")
        later, = small.console("SHOW LEASES")
        assert later["lease_id"] == before["lease_id"] == str(one.granted.lease_id)
        assert int(later["age_us"]) > int(before["age_us"])
        pool = small.pool()
        assert (pool["cl_active"], pool["cl_waiting"], pool["sv_active"], pool["sv_idle"]) == \
            ("1", "0", "1", "0")
        server, = small.console("SHOW SERVERS")
        assert (server["state"], server["remote_pid"]) == ("active", str(one.granted.server_pid))
        assert [row[0] for row in postgres.backends(user="app") if row[0] ==
                one.granted.server_pid] == [one.granted.server_pid]
        one.give_back()
        eventually(lambda: small.console("SHOW LEASES") == [])
        eventually(lambda: (small.pool()["sv_active"], small.pool()["sv_idle"]) == ("0", "1"))


def test_it_counts_in_the_pools_size(narrow):
    with direct.connect(narrow) as one, narrow.wire() as other:
        one.lease("FOR 'the only one'")
        fields = wire.error_of(other.query("LEASE WAIT '10ms'")).fields
        assert fields["C"] == "53300" and 'for "the only one"' in fields["D"]
        other.send(wire.query("SELECT 'served'"))
        eventually(lambda: narrow.waiting() == 1)
        one.give_back()
        assert wire.rows_of(other.until_ready()) == [["served"]]


def test_cancel_by_the_brokers_key_ends_the_direct_query(client, transaction_broker, postgres):
    for _ in range(3):
        client.end.send(wire.query("SELECT pg_sleep(600) AS direct_cancel"))
        eventually(lambda: running(postgres, "direct_cancel"))
        wire.cancel(transaction_broker.socket_path, client.key)
        assert wire.error_of(client.end.until_ready()).code == "57014"
    assert client.end.value("SELECT 1") == "1"
    client.give_back()
    assert client.value("SELECT 2") == "2"


def test_a_late_cancel_hits_neither_the_return_nor_the_next(client, transaction_broker):
    for _ in range(20):
        client.end.query("SELECT 1")
        wire.cancel(transaction_broker.socket_path, client.key)
        client.give_back()
        assert client.value("SELECT 'unharmed'") == "unharmed"
        client.lease()
    client.give_back()


@pytest.mark.parametrize("raw", [
    wire.query("SELECT 1"), wire.query("LEASE"), wire.query("LEASE DIRECT"), wire.query("BEGIN"),
    wire.query(""), wire.query("LEASE FOO"), wire.function_call(1, []),
    wire.parse("SELECT 1") + wire.bind() + wire.execute() + wire.sync(),
    wire.parse("LEASE") + wire.bind() + wire.execute() + wire.sync(),
    wire.bind((), "nothing") + wire.sync(),
], ids=lambda raw: raw[:1].decode() + str(len(raw)))
def test_the_brokers_socket_refuses_everything_but_return(client, raw):
    client.send(raw)
    seen = client.until_ready()
    error = wire.error_of(seen)
    assert error.code == ("42601" if b"FOO" in raw else "55000"), error
    assert seen[-1].body == b"I"
    assert client.end.value("SELECT 'unharmed'") == "unharmed"
    client.give_back()
    assert client.value("SELECT 'after'") == "after"


def test_the_brokers_socket_answers_syncs(client):
    client.send(wire.sync(), wire.sync(), wire.flush(), wire.copy_data(b"stray"), wire.sync())
    assert wire.kinds(client.until_ready(3)) == "ZZZ"
    assert client.end.value("SELECT 1") == "1"
    client.give_back()


def test_terminate_on_the_brokers_socket_ends_both(client, postgres):
    backend = client.granted.server_pid
    client.end.query("BEGIN")
    client.send(wire.terminate())
    assert client.closed_by_peer()
    assert client.end.closed_by_peer()
    eventually(lambda: backend not in [row[0] for row in postgres.backends()])


def test_a_return_twice(client):
    client.close_end()
    client.send(wire.query("LEASE RETURN"), wire.query("LEASE RETURN"))
    seen = client.until_ready(2)
    assert wire.kinds(seen) == "CZEZ" and wire.error_of(seen).code == "55000"
    assert client.value("SELECT 1") == "1"


def test_lease_query_and_return_without_ever_using_it(small):
    with direct.connect(small) as one:
        for _ in range(30):
            one.send(wire.query("LEASE DIRECT"), wire.query("LEASE RETURN"), wire.query(PID))
            seen = one.until_ready(3)
            assert wire.kinds(seen) == "TDCZ" + "CZ" + "TDCZ"
            os.close(one.descriptors.pop())
