# SPDX-License-Identifier: Apache-2.0
"""After a fork: the child never touches its parent's connections."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol


class Inherited(Protocol):
    """What must change in the child."""

    def after_fork(self) -> None: ...


_all: weakref.WeakSet[Any] = weakref.WeakSet()


def register(one: Inherited) -> None:
    _all.add(one)


def _in_child() -> None:
    # Only the forking thread lives on. Locks of the parent's other threads stay held for ever, and
    # nothing here takes one: what has a lock is given a new one.
    for one in list(_all):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
