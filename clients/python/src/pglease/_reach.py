"""Was it the broker that refused a connection, or is there none?"""

from __future__ import annotations

# The broker's words for a while that will pass: SQLSTATEs do not reach us from a failed connect.
_PASSING = ("shutting down", "starting up")


def never_answered(text: str) -> bool:
    """True when a failed connect found nobody, or one who is just going or coming; False when it was
    refused for a reason that trying again does not mend."""
    return "FATAL:" not in text or any(words in text for words in _PASSING)
