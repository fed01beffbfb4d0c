# SPDX-License-Identifier: Apache-2.0
"""Commands that want a database for themselves, and idle connections of the broker's that would be in their way."""

import asyncio

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import postgres as database, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

COMMANDS = {
    "drop": "DROP DATABASE wanted",
    "drop if exists": 'drop database if exists "wanted";',
    "rename": "ALTER DATABASE wanted RENAME TO renamed",
    "template": "CREATE DATABASE renamed TEMPLATE wanted",
}


@pytest.fixture
def wanted(postgres):
    def clean():
        for name in ("wanted", "renamed"):
            postgres.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    clean()
    postgres.sql("CREATE DATABASE wanted")
    yield "wanted"
    clean()


def backends(postgres, name="wanted"):
    return postgres.sql(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")[0][0]


def use(broker, *users, dbname="wanted"):
    """Leaves an idle connection for each of these users."""
    for user in users:
        with broker.wire(user, dbname) as one:
            assert one.value("SELECT 1") == "1"


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("command", COMMANDS)
def test_idle_connections_give_way(make_broker, postgres, wanted, command, mode):
    broker = make_broker({"pool_mode": mode})
    use(broker, "app", "other")
    eventually(lambda: backends(postgres) == 2, 10)
    with broker.wire("postgres", "postgres") as one:
        assert not [each for each in one.query(COMMANDS[command]) if each.kind == "E"]
    if command == "template":
        use(broker, "app")


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("client", ["psycopg2", "psycopg", "extended", "named", "asyncpg"])
def test_by_every_client(make_broker, postgres, wanted, client, mode):
    broker = make_broker({"pool_mode": mode})
    use(broker, "app")
    eventually(lambda: backends(postgres) == 1, 10)
    dsn = broker.dsn("postgres", "postgres")
    if client == "psycopg2":
        one = psycopg2.connect(dsn)
        one.autocommit = True
        one.cursor().execute(COMMANDS["drop"])
        one.close()
    elif client == "psycopg":
        with psycopg.connect(dsn, autocommit=True) as one:
            one.execute(COMMANDS["drop"])
    elif client == "asyncpg":
        async def run():
            one = await asyncpg.connect(host=str(broker.socket_folder), port=broker.port,
                                        user="postgres", database="postgres")
            await one.fetch(COMMANDS["drop"])
            await one.close()
        asyncio.run(run())
    else:
        with broker.wire("postgres", "postgres") as one:
            name = "n" if client == "named" else ""
            assert not [each for each in one.extended(COMMANDS["drop"], name=name)
                        if each.kind == "E"]
    assert postgres.sql("SELECT count(*) FROM pg_database WHERE datname = 'wanted'")[0][0] == 0


def test_what_is_kept_warm_is_not_opened_in_between(make_broker, postgres, wanted):
    server = f"host={postgres.host} port={postgres.port}"
    broker = make_broker(databases={
        "wanted": f"{server} user=app min_pool_size=3", "alias": f"{server} dbname=wanted user=other",
        "postgres": server})
    use(broker, "app", dbname="alias")
    eventually(lambda: backends(postgres) == 4, 20)
    with broker.wire("postgres", "postgres") as one:
        assert not [each for each in one.query(COMMANDS["rename"]) if each.kind == "E"]
        assert not [each for each in one.query("ALTER DATABASE renamed RENAME TO wanted")
                    if each.kind == "E"]
    # It is again, later.
    eventually(lambda: backends(postgres) == 3, 30)


def test_leases_stay(make_broker, postgres, wanted):
    broker = make_broker()
    with broker.wire("app", "wanted") as holder, broker.wire("postgres", "postgres") as one:
        holder.query("BEGIN")
        error = wire.error_of(one.query(COMMANDS["drop"])).fields
        assert error["C"] == "55006"
        assert holder.value("SELECT 1") == "1"
        holder.query("COMMIT")
        assert not [each for each in one.query(COMMANDS["drop"]) if each.kind == "E"]


def test_its_own_database_and_others_stay(make_broker, postgres, wanted):
    broker = make_broker()
    use(broker, "app", dbname="app")
    before = broker.console("SHOW SERVERS")[0]["ptr"]
    with broker.wire("postgres", "postgres") as one:
        assert wire.error_of(one.query("DROP DATABASE postgres")).fields["C"] == "55006"
        assert not [each for each in one.query(COMMANDS["drop"]) if each.kind == "E"]
    assert before in [row["ptr"] for row in broker.console("SHOW SERVERS")]


# PREPARE TRANSACTION after another client's temporary table.


@pytest.fixture(scope="module")
def two_phase(postgres):
    """A PostgreSQL that has prepared transactions switched on."""
    one = database.Postgres(settings={"max_prepared_transactions": 5})
    yield one
    one.destroy()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_prepare_transaction_after_anothers_temporary_table(make_broker, two_phase, mode):
    broker = make_broker({"pool_mode": mode, "default_pool_size": 2}, on=two_phase)
    with broker.wire() as one:
        one.query("CREATE TEMP TABLE kept (x int)")
        one.query("INSERT INTO kept VALUES (1)")
    eventually(lambda: int(broker.pool()["sv_active"]) == 0, 10)
    with broker.wire() as two:
        two.query("BEGIN")
        two.query("CREATE TABLE IF NOT EXISTS prepared (x int)")
        assert not [each for each in two.query("PREPARE TRANSACTION 'p'") if each.kind == "E"]
        assert not [each for each in two.query("COMMIT PREPARED 'p'") if each.kind == "E"]
        # In its own temporary table it is refused, as directly.
        two.query("CREATE TEMP TABLE mine (x int)")
        two.query("BEGIN")
        two.query("INSERT INTO mine VALUES (1)")
        assert wire.error_of(two.query("PREPARE TRANSACTION 'q'")).fields["C"] == "0A000"
        two.query("ROLLBACK")
