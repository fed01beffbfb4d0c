# SPDX-License-Identifier: Apache-2.0
"""psql, pgbench, pg_dump and pg_restore work through the broker as they do directly."""

import pytest


@pytest.fixture
def psql(run_program, tool):
    def run(broker, *words, check=True, **named):
        return run_program(tool("psql"), broker.dsn(), "-XAt", "-v", "ON_ERROR_STOP=1", *words,
                           check=check, **named)
    return run


def test_psql_runs_several_statements_of_one_string(broker, psql):
    done = psql(broker, "-c", "SELECT 1; SELECT 2; SELECT 'three'")
    assert done.stdout.split() == ["1", "2", "three"]


def test_psql_runs_a_script_with_a_transaction(broker, psql, table):
    script = f"""
        BEGIN;
        INSERT INTO {table} SELECT g, 'n' || g FROM generate_series(1, 100) g;
        SAVEPOINT here;
        DELETE FROM {table};
        ROLLBACK TO here;
        COMMIT;
        SELECT count(*) FROM {table};
    """
    assert psql(broker, "-q", input=script).stdout.split() == ["100"]


def test_psql_shows_the_servers_error_and_ends_with_3(broker, psql):
    done = psql(broker, check=False, input="SELECT 1/0;\nSELECT 'never';\n")
    assert done.returncode == 3
    assert "division by zero" in done.stderr
    assert "never" not in done.stdout


def test_psql_goes_on_after_an_error(broker, psql):
    done = psql(broker, "-v", "ON_ERROR_STOP=0", input="SELECT nothing;\nSELECT 'after';\n")
    assert "after" in done.stdout
    assert "does not exist" in done.stderr


def test_psql_copies_in_and_out(broker, psql, table, tmp_path):
    source, target = tmp_path / "in.tsv", tmp_path / "out.tsv"
    source.write_text("".join(f"{n}\tname {n}\n" for n in range(5000)))
    psql(broker, "-c", f"\\copy {table} FROM '{source}'")
    psql(broker, "-c", f"\\copy (SELECT * FROM {table} ORDER BY id) TO '{target}'")
    assert target.read_text() == source.read_text()


def test_psql_names_the_bad_row_of_a_copy(broker, psql, table, tmp_path):
    source = tmp_path / "in.tsv"
    source.write_text("1\tone\nnonsense\ttwo\n3\tthree\n")
    done = psql(broker, check=False,
                input=f"\\set ON_ERROR_STOP 0\n\\copy {table} FROM '{source}'\n"
                      f"SELECT 'rows', count(*) FROM {table};\n")
    assert "invalid input syntax" in done.stderr and "line 2" in done.stderr
    assert "rows|0" in done.stdout


def test_psql_describes_tables(broker, psql, table):
    assert "id|integer" in psql(broker, "-c", f"\\d {table}").stdout
    assert table in psql(broker, "-c", "\\dt").stdout


def test_psql_prepares_with_gdesc_and_binds(broker, psql):
    done = psql(broker, input="SELECT 1 AS one, 'x'::text AS two \\gdesc\n")
    assert done.stdout.split() == ["one|integer", "two|text"]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("reconnect", [False, True], ids=["stay", "reconnect"])
def test_pgbench_runs_without_an_error(broker, run_program, tool, protocol, reconnect):
    pgbench(broker, run_program, tool, protocol, reconnect)


@pytest.mark.pglease_only
@pytest.mark.parametrize("reconnect", [False, True], ids=["stay", "reconnect"])
def test_pgbench_runs_prepared_without_an_error(broker, run_program, tool, reconnect):
    pgbench(broker, run_program, tool, "prepared", reconnect)


def pgbench(broker, run_program, tool, protocol, reconnect):
    run_program(tool("pgbench"), "-i", "-q", "-s", "1", broker.dsn())
    words = ["-n", "-c", "8", "-j", "2", "-M", protocol, "-t", "20" if reconnect else "200"]
    done = run_program(tool("pgbench"), *words, *(["-C"] if reconnect else []), broker.dsn())
    wanted = 8 * (20 if reconnect else 200)
    assert f"number of transactions actually processed: {wanted}/{wanted}" in done.stdout
    assert "number of failed transactions: 0 (" in done.stdout


def test_pgbench_pipelines(broker, run_program, tool, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text("\\startpipeline\nSELECT 1;\nSELECT 2;\nSELECT 3;\n\\endpipeline\n")
    done = run_program(tool("pgbench"), "-n", "-M", "extended", "-c", "4", "-t", "100",
                       "-f", script, broker.dsn())
    assert "actually processed: 400/400" in done.stdout


SCHEMA = """
    CREATE SCHEMA dumped;
    CREATE TABLE dumped.parent (id serial PRIMARY KEY, payload bytea, at timestamptz);
    CREATE TABLE dumped.child (id int PRIMARY KEY, parent int REFERENCES dumped.parent);
    CREATE VIEW dumped.both AS SELECT p.id, c.id AS child FROM dumped.parent p
        JOIN dumped.child c ON c.parent = p.id;
    CREATE FUNCTION dumped.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n';
    INSERT INTO dumped.parent (payload, at) SELECT decode(md5(g::text), 'hex'), now()
        FROM generate_series(1, 2000) g;
    INSERT INTO dumped.child SELECT g, g FROM generate_series(1, 2000) g;
"""


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_what_pg_dump_writes_pg_restore_brings_back(
        broker, postgres, run_program, tool, tmp_path, form):
    postgres.sql("DROP SCHEMA IF EXISTS dumped CASCADE", dbname="app", user="app")
    postgres.sql(SCHEMA, dbname="app", user="app")
    content = ("SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM dumped.parent p",
               "SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM dumped.both b",
               "SELECT dumped.twice(21)")
    before = [postgres.sql(one, dbname="app", user="app") for one in content]
    target = tmp_path / "dump"
    run_program(tool("pg_dump"), "-F", form[0], "-n", "dumped", "-f", target, broker.dsn())
    postgres.sql("DROP SCHEMA dumped CASCADE", dbname="app", user="app")
    if form == "custom":
        run_program(tool("pg_restore"), "-e", "-d", broker.dsn(), target)
    else:
        run_program(tool("psql"), broker.dsn(), "-Xq", "-v", "ON_ERROR_STOP=1", "-f", target)
    assert [postgres.sql(one, dbname="app", user="app") for one in content] == before
    postgres.sql("DROP SCHEMA dumped CASCADE", dbname="app", user="app")
