# SPDX-License-Identifier: Apache-2.0
"""What a client that is gone left running: ended soon, and never so that a part of it runs alone."""

import pytest

from harness import wire
from harness.waiting import Stopwatch, eventually

pytestmark = [pytest.mark.broker_only, pytest.mark.pglease_only]


@pytest.fixture(scope="module", autouse=True)
def objects(postgres):
    postgres.sql("""
        CREATE TABLE vanished (word text);
        CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
            FOR turn IN 1..3 LOOP
                BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
            END LOOP; END $$;
        CREATE FUNCTION deaf() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
            FOR turn IN 1..100000 LOOP
                BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
            END LOOP; END $$;
        GRANT ALL ON vanished TO public;""", dbname="app")
    yield
    postgres.sql("DROP TABLE vanished; DROP FUNCTION stubborn, deaf", dbname="app")


@pytest.fixture
def narrow(make_broker):
    return make_broker({"default_pool_size": 1, "query_wait_timeout": 30})


def running(postgres, what):
    return postgres.sql("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s "
                        "AND pid <> pg_backend_pid()", (f"%{what}%",))


def in_extended(text):
    return wire.parse(text) + wire.bind() + wire.execute() + wire.sync()


@pytest.mark.parametrize("message", [
    wire.query("SELECT pg_sleep(60) /* left */"), in_extended("SELECT pg_sleep(60) /* left */"),
    # The batch is not ended: it cannot but fail.
    in_extended("SELECT pg_sleep(60) /* left */")[:-5],
    wire.query("SELECT 1; SELECT pg_sleep(60) /* left */; SELECT pg_sleep(60)"),
])
def test_its_place_is_free_at_once(narrow, postgres, message):
    one = narrow.wire()
    pid = one.value("SELECT pg_backend_pid()")
    one.send(message)
    eventually(lambda: running(postgres, "/* left */"))
    one.reset()
    # The same connection goes on.
    with narrow.wire() as other:
        assert other.value("SELECT pg_backend_pid()") == pid
    assert not narrow.logged("vanished client")


def test_one_cancel_is_not_enough(narrow, postgres):
    one = narrow.wire()
    pid = one.value("SELECT pg_backend_pid()")
    one.send(wire.query("SELECT stubborn()"))
    eventually(lambda: running(postgres, "stubborn"))
    one.reset()
    with narrow.wire() as other:
        assert other.value("SELECT pg_backend_pid()") == pid


def test_what_no_cancel_ends_frees_the_place_all_the_same(narrow, postgres):
    narrow.errors_expected = True
    one = narrow.wire()
    pid = int(one.value("SELECT pg_backend_pid()"))
    one.send(wire.query("SELECT deaf()"))
    eventually(lambda: running(postgres, "deaf"))
    one.reset()
    watch = Stopwatch()
    with narrow.wire() as other:
        assert other.value("SELECT pg_backend_pid()") != str(pid)
    assert watch.seconds < 8
    assert narrow.wait_logged("server did not end what a vanished client left running")
    postgres.terminate(pid)


def test_a_pipeline_is_not_torn_apart(narrow, postgres):
    """What was sent behind a BEGIN does not run without it."""
    one = narrow.wire()
    one.send(wire.query("BEGIN; SELECT pg_sleep(0.7) /* first */"),
             wire.query("INSERT INTO vanished VALUES ('in the transaction')"),
             wire.query("SELECT pg_sleep(60) /* last */"), wire.query("COMMIT"))
    eventually(lambda: running(postgres, "/* first */"))
    one.reset()
    with narrow.wire() as other:
        other.query("SELECT 1")
    # Nor does it go on for nobody.
    eventually(lambda: not running(postgres, "/* last */"))
    assert postgres.sql("SELECT word FROM vanished", dbname="app") == []


def test_the_last_of_a_pipeline_is_cancelled(narrow, postgres):
    one = narrow.wire()
    pid = one.value("SELECT pg_backend_pid()")
    one.send(wire.query("SELECT pg_sleep(0.5) /* first */"),
             wire.query("INSERT INTO vanished VALUES ('before')"),
             wire.query("SELECT pg_sleep(60) /* last */"))
    eventually(lambda: running(postgres, "/* first */"))
    one.reset()
    with narrow.wire() as other:
        assert other.value("SELECT pg_backend_pid()") == pid
        assert other.rows("DELETE FROM vanished RETURNING word") == [["before"]]
