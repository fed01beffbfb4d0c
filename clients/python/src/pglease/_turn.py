# SPDX-License-Identifier: Apache-2.0
"""The right to a lease in this process, and a place in the queue for one."""

from __future__ import annotations

from typing import Optional, Protocol


class Turn:
    """The right to have one lease in this process, for as long as this object exists.

    A signal handler, a cancelled thread or the debugger may raise between any two steps of a program.
    So no step gives a turn back that an exception could skip: the book counts the turns that exist,
    and one that nobody refers to any more ends by itself.
    """

    __slots__ = ("__weakref__",)


class Ticket(Protocol):
    """A place in the queue. The queue knows it weakly: one that its waiter dropped is passed over."""

    # Its turn, once it was granted.
    turn: Optional[Turn]

    def grant(self) -> bool:
        """Wakes its waiter, who has a turn now. Called under the book's lock, perhaps twice: must not
        wait. False when nobody waits with this ticket any more."""
