# SPDX-License-Identifier: Apache-2.0
"""Much data over TLS, by programs and drivers: nothing is lost, and nothing waits that need not."""

import hashlib
import threading

import psycopg
import psycopg2
import pytest

from harness import wire
from harness.encrypted import EncryptedWire
from harness.postgres import has_tls
from harness.waiting import eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]


@pytest.fixture(scope="module", params=["transaction", "session"])
def broker(request, postgres, certificates):
    from harness import pooler
    one = pooler.make(postgres, {
        "pool_mode": request.param, "client_tls_sslmode": "require", "default_pool_size": 20,
        "client_tls_key_file": certificates.path("server.key"),
        "client_tls_cert_file": certificates.path("server.crt")}, tcp=True)
    one.start()
    yield one
    one.check()
    one.stop()
    one.destroy()


def dsn(broker, **more):
    words = {"host": "127.0.0.1", "port": broker.port, "user": "app", "dbname": "app",
             "sslmode": "require"} | more
    return " ".join(f"{key}='{value}'" for key, value in words.items())


ROWS = 50_000


def test_copy_both_ways(broker, table):
    lines = [f"{number}\t{hashlib.md5(str(number).encode()).hexdigest() * 8}\n"
             for number in range(ROWS)]
    with psycopg.connect(dsn(broker), autocommit=True) as one:
        with one.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for line in lines:
                copy.write(line)
        with one.cursor().copy(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT") as copy:
            assert b"".join(bytes(block) for block in copy) == "".join(lines).encode()


def test_copy_in_great_blocks(broker, table):
    """Records of 16 KB, one behind the other, and an answer that waits for all of them."""
    blocks = [b"".join(b"%d\t%s\n" % (number, b"x" * 900)
                       for number in range(at, at + 1000)) for at in range(0, 20_000, 1000)]
    with EncryptedWire(broker.tcp_address).start("app") as one:
        one.send(wire.query(f"COPY {table} FROM STDIN"))
        one.until("G")
        for block in blocks:
            one.send(wire.copy_data(block))
        one.send(wire.copy_done())
        one.until_ready()
        assert one.value(f"SELECT count(*) FROM {table}") == "20000"


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 65_535, 65_536, 1 << 20, 30 << 20])
def test_values_of_every_size(broker, size):
    with psycopg2.connect(dsn(broker)) as one, one.cursor() as cursor:
        value = "v" * size
        cursor.execute("SELECT %s, length(%s)", (value, value))
        assert cursor.fetchone() == (value, size)


def test_several_at_once(broker):
    """Each has its own rows, whatever the others do."""
    failures = []

    def work(number):
        try:
            with psycopg2.connect(dsn(broker)) as one, one.cursor() as cursor:
                for turn in range(10):
                    cursor.execute(
                        "SELECT %s, repeat(%s, 2000) FROM generate_series(1, 500)",
                        (number, str(turn)))
                    rows = cursor.fetchall()
                    one.commit()
                    assert len(rows) == 500
                    assert all(row == (number, str(turn) * 2000) for row in rows)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []


def need_programs_with_tls():
    if not has_tls():
        pytest.skip("this build of PostgreSQL has no TLS")


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench(broker, postgres, run_program, tool, protocol):
    need_programs_with_tls()
    run_program(tool("pgbench"), "-i", "-q", "-h", postgres.host, "-p", postgres.port, "-U",
                "app", "app")
    done = run_program(tool("pgbench"), "-n", "-M", protocol, "-c", 8, "-j", 2, "-t", 50,
                       dsn(broker))
    assert "number of transactions actually processed: 400/400" in done.stdout


def test_dump_and_restore(broker, table, postgres, run_program, tool, tmp_path):
    need_programs_with_tls()
    postgres.sql(f"INSERT INTO {table} SELECT i, md5(i::text) FROM generate_series(1, 20000) i",
                 dbname="app")
    path = tmp_path / "dump.sql"
    run_program(tool("pg_dump"), "-t", table, "-f", path, dsn(broker))
    postgres.sql(f"DROP TABLE {table}", dbname="app")
    run_program(tool("psql"), "-q", "-v", "ON_ERROR_STOP=1", "-f", path, dsn(broker))
    assert postgres.sql(f"SELECT count(*) FROM {table}", dbname="app") == [(20000,)]


def test_notifications_arrive_between_queries(broker):
    with EncryptedWire(broker.tcp_address).start("app") as one:
        one.query("LISTEN over_tls")
        broker.postgres.sql("NOTIFY over_tls, 'x'", dbname="app")
        assert one.next().kind == "A"


def test_the_end_of_a_server_is_told(broker):
    with EncryptedWire(broker.tcp_address).start("app") as one:
        one.query("BEGIN")
        pid = int(one.value("SELECT pg_backend_pid()"))
        broker.postgres.terminate(pid)
        eventually(lambda: broker.postgres.sql(
            "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", (pid,)))
        one.send(wire.query("SELECT 1"))
        assert one.next().kind == "E"
