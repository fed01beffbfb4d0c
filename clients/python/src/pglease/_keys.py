# SPDX-License-Identifier: Apache-2.0
"""psycopg2's keys: who asks for a key that is taken gets the connection that it stands for."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Hashable

from . import _fork

# Seconds after which a thread that waits for a key looks whether its taker was interrupted.
LOOK_AGAIN = 0.5


class Claim:
    """The right to take a connection for a key, for as long as this object exists: as with a `Turn`,
    an exception at any step ends the claim together with the frame that had it."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        # Held until the claim ends; whoever waits for that knows the lock only.
        self.lock = threading.Lock()
        self.lock.acquire()


class Keys:
    """Lets one thread at a time take a connection for a key; others wait for that one only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.claims: dict[Hashable, weakref.ref[Claim]] = {}
        _fork.register(self)

    def claim(self, claim: Claim, key: Hashable, timeout: float) -> bool:
        """Waits until the key is this claim's; False when another still has it after `timeout` seconds."""
        due = time.monotonic() + min(timeout, threading.TIMEOUT_MAX)
        mine = weakref.ref(claim)
        while True:
            found = self.claims.setdefault(key, mine)
            # A claim has one weak reference, whoever asks for it.
            if found is mine:
                return True
            other = found()
            if other is None:
                self._strike(key, found)
                continue
            lock, other = other.lock, None
            left = due - time.monotonic()
            if left <= 0:
                return False
            if lock.acquire(timeout=min(left, LOOK_AGAIN)):
                # The next one that waits for the same claim.
                lock.release()

    def end(self, claim: Claim, key: Hashable) -> None:
        """Lets the next thread have the key, if this claim has it."""
        mine = weakref.ref(claim)
        if self.claims.get(key) is mine:
            self._strike(key, mine)
            claim.lock.release()

    def _strike(self, key: Hashable, claim: weakref.ref[Claim]) -> None:
        with self._lock:
            # Of two that strike the same claim out, the second must not strike the next one.
            if self.claims.get(key) is claim:
                del self.claims[key]
            # Claims that were interrupted, and whose key nobody has asked for since.
            for other, reference in list(self.claims.items()):
                if reference() is None:
                    del self.claims[other]

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self.claims = {}
