# SPDX-License-Identifier: Apache-2.0
"""psycopg2's keys: who asks for a key that is taken gets the connection that it stands for."""

from __future__ import annotations

import contextlib
import threading
from typing import Hashable, Iterator

from . import _fork


class Keys:
    """Lets one thread at a time take a connection for a key; others wait for that one only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The lock of a key, and how many threads use it.
        self._locks: dict[Hashable, tuple[threading.Lock, int]] = {}
        _fork.register(self)

    @contextlib.contextmanager
    def one_at_a_time(self, key: Hashable, timeout: float) -> Iterator[bool]:
        """Yields False when another still has the key after `timeout` seconds."""
        with self._lock:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = lock, users + 1
        mine = lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        try:
            yield mine
        finally:
            if mine:
                lock.release()
            with self._lock:
                _, users = self._locks[key]
                if users == 1:
                    del self._locks[key]
                else:
                    self._locks[key] = lock, users - 1

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._locks = {}
