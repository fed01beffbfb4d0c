# SPDX-License-Identifier: Apache-2.0
"""Waiting for conditions. Nothing here waits for a length of time for its own sake."""

import select
import time


class NotInTime(AssertionError):
    """A condition did not come true before its deadline."""


def pause(seconds=0.02):
    """Gives others the processor between two looks at a condition."""
    select.select([], [], [], seconds)


def eventually(condition, within=10.0, what=None, every=0.02):
    """Returns the first truthy value of `condition()`; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            shown = what() if callable(what) else what
            raise NotInTime(f"not within {within} s: {shown or condition}; last value: {value!r}")
        pause(every)


def holds_for(condition, seconds, what=None):
    """Checks that `condition()` stays true during `seconds`: for promises that nothing happens."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what or f"{condition} became false"
        pause()


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self.start = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.start
