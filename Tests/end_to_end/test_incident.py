# SPDX-License-Identifier: Apache-2.0
"""The incident, short: the first user's workers through the broker (Tests/incident has them whole)."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "incident"))

import incident  # noqa: E402
from incident import Size  # noqa: E402
from ways import WAYS  # noqa: E402
from world import CONFIG_ROLE, start_postgres  # noqa: E402

pytestmark = pytest.mark.pglease_only


@pytest.fixture(scope="module")
def cluster():
    one = start_postgres()
    yield one
    one.destroy()


def run(cluster, tmp_path, way, size, **more):
    log = tmp_path / "workers.log"
    seen = incident.run(cluster, way, WAYS[way], size, limit=90, quiet=40, ending="kill",
                        log_path=log, **more)
    assert seen.judge() == [], f"{seen}\n{log.read_text()[-4000:]}"
    return seen


def test_the_workers_take_as_many_leases_as_the_first_users(cluster, tmp_path):
    """15 leases for a job of one batch and one destination, each of four queries (measured there)."""
    cluster.sql(f"ALTER ROLE {CONFIG_ROLE} SET log_statement = 'all'")
    mark = len(cluster.log())
    try:
        run(cluster, tmp_path, "own-large", Size(pool=10, pipelines=1, jobs=1, rows=50, paused=True))
    finally:
        cluster.sql(f"ALTER ROLE {CONFIG_ROLE} RESET log_statement")
    statements = [line.split("statement: ", 1)[1] for line in cluster.log()[mark:].splitlines()
                  if f"{CONFIG_ROLE}@" in line and "statement: " in line]
    begun = statements.count("BEGIN")
    assert statements.count("SELECT 1") == begun
    assert statements.count("COMMIT") + statements.count("ROLLBACK") == begun
    others = sum(1 for one in statements if one.startswith(OF_THE_MANAGERS))
    assert begun - others - MIGRATION == 15, statements


MIGRATION = 1
OF_THE_MANAGERS = (
    "SELECT * FROM pipelines ORDER BY id", "SELECT q.*", "SELECT id, pipeline_id, count_record")


# The unmodified workers (spawn: a forked pool spoils jobs whatever is behind it), and the client module.
@pytest.mark.parametrize("way", ["pglease-spawn", "pglease-within", "pglease-module"])
def test_ten_jobs_with_three_leases_a_thread_finish_on_five_connections(cluster, tmp_path, way):
    run(cluster, tmp_path, way, Size(pool=5, pipelines=1, jobs=10, rows=500))


@pytest.mark.parametrize("way", ["pglease-spawn", "pglease-module"])
def test_the_incident_thirty_jobs_and_four_pipelines_on_ten_connections(cluster, tmp_path, way):
    seen = run(cluster, tmp_path, way, Size(pool=10, pipelines=4, jobs=30, rows=500))
    assert seen.most_connections <= seen.limit
