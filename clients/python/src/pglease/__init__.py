# SPDX-License-Identifier: Apache-2.0
"""Connection pools that lease from a pglease broker: `pglease.psycopg2_pool` for psycopg2,
`pglease.psycopg_pool` for psycopg 3, `pglease.asyncpg_pool` for asyncpg. The errors here are the common part
of all."""

from .errors import (
                     BrokerAway,
                     Holder,
                     LeaseError,
                     LeaseExhausted,
                     LeaseRefused,
                     LeaseRevoked,
                     PoolLock,
                     ServerLost,
                     ServerUnreachable,
)

__version__ = "0.1.0"

__all__ = [
    "BrokerAway", "Holder", "LeaseError", "LeaseExhausted", "LeaseRefused", "LeaseRevoked",
    "PoolLock", "ServerLost", "ServerUnreachable",
]
