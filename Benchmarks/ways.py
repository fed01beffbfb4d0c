# SPDX-License-Identifier: Apache-2.0
"""The ways from a client to PostgreSQL that are compared: each is a pooler of the tests, told the same in its own words.

`direct` is none at all. `lease` is a psycopg2 worker whose pool leases directly from the broker, which no pgbench can
do: it takes part in the loads of psycopg2 workers, and the others do the same loads with a connection each.
"""

import contextlib
from pathlib import Path

from figures import memory, version
from harness.pooler import Direct, Pgbouncer, Pooler, pglease_binary
from harness.postgres import binaries
from peers import NewerPgbouncer, Odyssey, Pgagroal, Peer
from worker_runs import Ways, address, connect

from pglease.psycopg2_pool import LeasePool

OPEN_FILES = 20_000
COMMON = {
    "pool_mode": "transaction", "max_client_conn": 12_000, "max_waiting": 12_000, "query_wait_timeout": 120,
    "log_connections": 0, "log_disconnections": 0, "log_stats": 0, "log_pooler_errors": 0, "log_format": "text",
}


class Way:
    """One of them. `fresh` starts one of its own, `start` the one that the loads share."""

    kind = Pooler
    has_process = has_console = True
    has_groups = False

    def __init__(self, key, title, kind=None):
        self.key, self.title = key, title
        self.kind = kind or type(self).kind
        self.pooler = None
        self.made = None

    def fresh(self, postgres, settings=None, databases=None, **named):
        """A pooler of this kind, not yet started."""
        return self.kind(postgres, COMMON | {"default_pool_size": 10} | (settings or {}), databases=databases,
                         open_files=OPEN_FILES, **named)

    def start(self, postgres, settings):
        self.made = lambda: self.fresh(postgres, settings)
        self.again()
        return self

    def again(self):
        """Another in its place, behind a run that went wrong."""
        self.stop()
        pooler = self.made()
        try:
            self.pooler = pooler.start()
        except BaseException:
            pooler.destroy()
            raise

    def stop(self):
        if self.pooler:
            self.pooler.destroy()
            self.pooler = None

    def memory(self):
        return memory(self.pooler.pid) if self.has_process else None

    def workers(self, work):
        """What crew.run enters: psycopg2 workers that do this work this way."""
        return lambda _threads: Connected(self.pooler, work)

    def version(self):
        return version([pglease_binary()])


class Broker(Way):
    has_groups = True


class NoPooler(Way):
    kind = Direct
    has_process = has_console = False

    def version(self):
        return version([binaries() / "postgres"])


class Leased(Broker):
    def workers(self, work):
        return lambda threads: Leasing(self.pooler, threads, work)


class DebianPgbouncer(Way):
    kind = Pgbouncer

    def version(self):
        return version([self.kind.binary])


class OfSid(Way):
    """A pooler of Debian sid."""

    @property
    def has_console(self):
        return self.key == "pgbouncer"

    def version(self):
        return version(Peer.peers.command(self.key))


# What a process of psycopg2 workers is.

class Connected:
    """Each thread has a connection."""

    def __init__(self, pooler, work):
        self.pooler, self.work = pooler, work

    @contextlib.contextmanager
    def client(self):
        ways = Ways({"own": connect(self.pooler)})
        with ways.worker("own", self.work) as repeat:
            yield repeat
        ways.close()

    def close(self):
        pass


class Leasing:
    """Each thread takes a connection from the process's pool for each piece of work."""

    def __init__(self, pooler, threads, work, **named):
        self.pool = LeasePool(0, threads, wait=60, **named, **address(pooler))
        self.work = work

    @contextlib.contextmanager
    def client(self):
        with Ways({}, each={"each": (self.pool, {})}).worker("each", self.work) as repeat:
            yield repeat

    def close(self):
        self.pool.closeall()


# Which there are.

def find(peers=None, pgbouncer=None):
    """All ways that this machine has, by their stable names."""
    found = [NoPooler("direct", "a connection of its own"), Broker("pglease", "pglease, relayed"),
             Leased("lease", "pglease, leased directly")]
    if peers:
        Peer.peers = NewerPgbouncer.peers = peers
    if pgbouncer:
        Pgbouncer.binary = pgbouncer
    if peers and not pgbouncer:
        found.append(OfSid("pgbouncer", "pgbouncer", NewerPgbouncer))
    elif Path(Pgbouncer.binary).exists():
        found.append(DebianPgbouncer("pgbouncer", "pgbouncer"))
    if peers:
        found += [OfSid("odyssey", "Odyssey", Odyssey), OfSid("pgagroal", "pgagroal", Pgagroal)]
    return {one.key: one for one in found}
