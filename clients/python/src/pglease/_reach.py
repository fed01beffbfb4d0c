# SPDX-License-Identifier: Apache-2.0
"""Was it the broker that refused a connection, or is there none?

A failed connect has no SQLSTATE in either driver: what it means is read from libpq's text.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

# The broker's words for a while that will pass.
_PASSING = ("shutting down", "starting up")
_FULL = ("too many clients already", "no more connections allowed", "client connections exceeded")
_LABELS = re.compile(r"^(DETAIL|HINT):\s+", re.MULTILINE)

SOCKET_HINT = ("This user may not use the broker's socket: see unix_socket_mode and unix_socket_group "
               "in the broker's configuration, and the mode of the socket's folder.")


class Refusal(NamedTuple):
    """What was said at a login that was refused."""

    message: str
    detail: Optional[str]
    hint: Optional[str]
    # It will pass: more clients than max_client_conn.
    is_full: bool


def never_answered(text: str) -> bool:
    """True when a failed connect found nobody, or one who is just going or coming; False when it was
    refused for a reason that trying again does not mend."""
    if _forbidden(text):
        return False
    return "FATAL:" not in text or any(words in text for words in _PASSING)


def refusal(text: str) -> Refusal:
    """Reads the text of a connect for which `never_answered` is False."""
    if _forbidden(text):
        return Refusal(text.strip().partition("\n")[0], None, SOCKET_HINT, False)
    said = text[text.rindex("FATAL:") + len("FATAL:"):].strip()
    message, *labelled = _LABELS.split(said)
    fields = {label: words.strip() for label, words in zip(labelled[::2], labelled[1::2])}
    return Refusal(message.strip(), fields.get("DETAIL"), fields.get("HINT"), any(words in message for words in _FULL))


def _forbidden(text: str) -> bool:
    """The kernel did not let us near the socket."""
    return "FATAL:" not in text and 'on socket "' in text and "failed: Permission denied" in text
