# SPDX-License-Identifier: Apache-2.0
"""One wish for a lease, and what the broker granted."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Optional

from . import _command
from ._policy import LOCAL_WAIT


class Grant(NamedTuple):
    """The row of the broker's answer; waited in seconds."""

    lease_id: int
    server_pid: int
    kind: str
    waited: float


class Request:
    """wait and hold in seconds; where: the place in the program that asks."""

    def __init__(self, *, wait: Optional[float], hold: Optional[float], purpose: Optional[str],
                 where: str, thread: str) -> None:
        for name, value in (("wait", wait), ("hold", hold)):
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a number of seconds, at least 0: {value!r}")
        self.wait = wait
        self.hold = hold
        # Whether the lease may be one that is parked later.
        self.parks = False
        self.purpose = purpose or where
        self.where = where
        self.thread = thread
        self.thread_name = threading.current_thread().name
        self.started = time.monotonic()
        self.deadline = self.started + (LOCAL_WAIT if wait is None else wait)

    @property
    def waited(self) -> float:
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds until the deadline, never less than 0."""
        return max(0.0, self.deadline - time.monotonic())

    def command(self, direct: bool) -> str:
        wait = None if self.wait is None else self.left
        park = self.parks and self.hold is None
        return _command.lease(direct=direct, park=park, wait=wait, hold=self.hold,
                              purpose=self.purpose, thread=self.thread)

    @property
    def answer_due(self) -> Optional[float]:
        """When the broker must have answered (it answers at the deadline, a little late at most).
        None when the broker alone knows the deadline."""
        return None if self.wait is None else self.deadline + ANSWER_GRACE


# Seconds that the broker may be late before it counts as gone.
ANSWER_GRACE = 5.0
