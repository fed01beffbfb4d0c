# SPDX-License-Identifier: Apache-2.0
"""The ways in which the workers reach the config database, each with the limit that it promises."""

from harness.pooler import Pgbouncer, Pooler
from python_workers import PythonWorkers
from swift_workers import SwiftWorkers
from world import CONFIG, CONFIG_ROLE

# A process's own pool is no longer the bound once a broker is: it only has to be large enough.
LARGE = 200
RESERVE = 3
PIPELINE_CAP = 9


class Way:
    """One way: what is started besides PostgreSQL, and the workers' environment.

    `roles`: whose connections are watched, each against the limit. `groups`: the broker's.
    `feeds`: rows have to be put into the sources for the pipelines; Python's make their own.
    """

    roles = (CONFIG_ROLE,)
    groups = {}
    feeds = False

    def __init__(self, title, own_max=LARGE, module="psycopg2", start_method=None):
        self.title, self.own_max = title, own_max
        self.module, self.start_method = module, start_method

    def limit(self, size):
        """The most connections of the config role that PostgreSQL may see; None: not promised."""

    def full(self, size):
        """With so many connections the pooler's pool is full; None without one."""

    def pooler(self, postgres, size):
        """The pooler, not yet started, or None."""

    @property
    def shares_pools(self):
        """Defect D1: a pipeline's process and the main process use one pool and its connections."""
        return self.module == "psycopg2" and self.start_method is None

    def start_workers(self, postgres, pooler, size, log_path):
        place = (pooler.dsn_host, pooler.dsn_port) if pooler else (postgres.host, postgres.port)
        values = {
            "ROSETTA_DB_HOST": str(place[0]), "ROSETTA_DB_PORT": str(place[1]),
            "ROSETTA_DB_NAME": CONFIG, "ROSETTA_DB_USER": CONFIG_ROLE,
            "MAIN_POOL_MAX_CONN": str(self.own_max or size.pool),
            "ROSETTA_POOL_MODULE": self.module, "BACKFILL_BATCH_SIZE": str(size.batch),
        }
        if self.start_method:
            values["ROSETTA_START_METHOD"] = self.start_method
        return PythonWorkers(values, log_path)


class OwnPools(Way):
    pass


class ThroughPgbouncer(Way):
    def limit(self, size):
        return size.pool

    full = limit

    def pooler(self, postgres, size):
        return Pgbouncer(
            postgres, {"default_pool_size": size.pool, "max_client_conn": 1000},
            userlist=userlist())


class ThroughPglease(Way):
    """`within`: the reserve is taken out of the pool's size, so that the sum is the size."""

    def __init__(self, title, within=False, **more):
        super().__init__(title, **more)
        self.within = within

    def limit(self, size):
        return self.full(size) + RESERVE

    def full(self, size):
        return size.pool - (RESERVE if self.within else 0)

    def pooler(self, postgres, size):
        return Pooler(
            postgres,
            {"default_pool_size": self.full(size), "reserve_pool_size": RESERVE,
             "max_client_conn": 1000, "log_format": "text"},
            groups=self.groups, userlist=userlist())


class BySwiftWorkers(ThroughPglease):
    """The Swift managers. Sources and destinations are reached through the broker as well."""

    roles = (CONFIG_ROLE, "reader", "writer")
    groups = {"pipeline-*": f"max_leases={PIPELINE_CAP}"}
    feeds = True

    def start_workers(self, postgres, pooler, size, log_path):
        return SwiftWorkers(pooler.dsn(CONFIG_ROLE, CONFIG),
                            f"{pooler.dsn_host}:{pooler.dsn_port}", size.batch, log_path)


def userlist():
    return dict.fromkeys((CONFIG_ROLE, "reader", "writer", "admin", "watcher"), "")


WAYS = {
    "own": OwnPools("own pools", own_max=None),
    "own-large": OwnPools(f"own pools, at most {LARGE} each"),
    "own-spawn": OwnPools("own pools, start method spawn", own_max=None, start_method="spawn"),
    "pgbouncer": ThroughPgbouncer("pgbouncer, transaction mode"),
    "pglease": ThroughPglease("pglease, only the address changed"),
    "pglease-spawn": ThroughPglease("pglease, start method spawn", start_method="spawn"),
    "pglease-within": ThroughPglease(
        "pglease, spawn, reserve inside the limit", within=True, start_method="spawn"),
    "pglease-small-own": ThroughPglease("pglease, own pools left small", own_max=None),
    "pglease-module": ThroughPglease("pglease, pglease.psycopg2_pool", module="pglease"),
    "pglease-swift": BySwiftWorkers("pglease, the Swift workers", module=None),
}
