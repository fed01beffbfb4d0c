# SPDX-License-Identifier: Apache-2.0
"""The errors of the pools for psycopg 3; psycopg_pool's own are their bases where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from . import errors
from ._outcome import Family

if TYPE_CHECKING:
    class PoolClosed(psycopg.OperationalError):
        """The pool is not open."""

    class PoolTimeout(psycopg.OperationalError):
        """No connection in time."""

    class TooManyRequests(psycopg.OperationalError):
        """`max_waiting` wait already."""
else:
    try:
        from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests
    except ImportError:
        class PoolClosed(psycopg.OperationalError):
            """The pool is not open."""

        class PoolTimeout(psycopg.OperationalError):
            """No connection in time."""

        class TooManyRequests(psycopg.OperationalError):
            """`max_waiting` wait already."""


class _PsycopgError(errors.LeaseError, psycopg.OperationalError):
    """`sqlstate` is the broker's."""


class LeaseExhausted(_PsycopgError, errors.LeaseExhausted, PoolTimeout):
    """No lease was free by the deadline; `holders` has them."""


class PoolLock(_PsycopgError, errors.PoolLock, PoolTimeout):
    """Every holder of a lease also waits for one."""


class LeaseRevoked(_PsycopgError, errors.LeaseRevoked):
    """The broker took the lease back: a limit was reached."""


class ServerLost(_PsycopgError, errors.ServerLost):
    """PostgreSQL's connection broke during the lease."""


class ServerUnreachable(_PsycopgError, errors.ServerUnreachable):
    """The broker cannot reach PostgreSQL."""


class BrokerAway(_PsycopgError, errors.BrokerAway, PoolTimeout):
    """The broker cannot be reached. psycopg_pool, too, answers PoolTimeout then."""


class LeaseRefused(_PsycopgError, errors.LeaseRefused):
    """Another refusal, with its own code."""


FAMILY: Family[_PsycopgError] = Family(
    exhausted=LeaseExhausted, pool_lock=PoolLock, revoked=LeaseRevoked, server_lost=ServerLost,
    unreachable=ServerUnreachable, broker_away=BrokerAway, refused=LeaseRefused)
