# SPDX-License-Identifier: Apache-2.0
"""What a pool's leases are asked with: arguments first, then the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

# Bounds a wait inside this process when nothing else does: the broker's own default.
LOCAL_WAIT = 120.0

_OFF = {"off", "no", "false", "0"}
_ON = {"on", "yes", "true", "1", ""}


@dataclass(frozen=True)
class Policy:
    """wait, hold, delay in seconds; wait None: the broker's query_wait_timeout decides."""

    wait: Optional[float]
    hold: Optional[float]
    direct: bool
    attempts: int
    delay: float
    factor: float
    # Direct leases are kept between uses until somebody else wants them.
    park: bool = False

    @classmethod
    def make(cls, *, wait: Optional[float] = None, hold: Optional[float] = None,
             direct: Optional[bool] = None, attempts: Optional[int] = None,
             delay: Optional[float] = None, factor: Optional[float] = None,
             default_wait: Optional[float] = None, park: Optional[bool] = None,
             default_park: bool = False) -> Policy:
        """An argument that is None is looked for in the environment, then has its default."""
        if wait is None:
            wait = _number("PGLEASE_LEASE_WAIT", default_wait)
        if attempts is None:
            attempts = int(_number("PGLEASE_LEASE_ATTEMPTS", 3) or 0)
        if delay is None:
            delay = _number("PGLEASE_LEASE_DELAY", 0.5)
        if factor is None:
            factor = _number("PGLEASE_LEASE_FACTOR", 2.0)
        assert delay is not None and factor is not None
        for name, value in (("wait", wait), ("hold", hold), ("delay", delay), ("factor", factor)):
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a number of seconds, at least 0: {value!r}")
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1: {attempts!r}")
        if direct is None:
            direct = _switch("PGLEASE_DIRECT", True)
        if park is None:
            park = _switch("PGLEASE_PARK", default_park)
        return cls(wait, hold, direct, attempts, delay, factor, park and direct)


def _number(name: str, default: Optional[float]) -> Optional[float]:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number: {text!r}") from None


def _switch(name: str, default: bool) -> bool:
    text = os.environ.get(name, "").strip().lower()
    if text not in _OFF | _ON:
        raise ValueError(f"{name} must be on or off: {text!r}")
    return text not in _OFF if text else default
