# SPDX-License-Identifier: Apache-2.0
"""A question to the broker over its own socket, past the driver."""

from __future__ import annotations

import socket
from typing import Optional

from ._channel import LOOK, Channel
from ._descriptors import Received
from ._outcome import Gone
from ._waits import Waits, seconds_until
from ._wire import Answer, BadAnswer, query

# A plain number: the enumeration's own is slow to combine.
_NO_SIGNAL = int(socket.MSG_NOSIGNAL)


async def exchange(channel: Channel, text: str, waits: Waits, due: Optional[float],
                   received: Received, *answers: Answer) -> None:
    """Sends one simple query and reads the answers that are owed, its own as the last.

    Only while libpq is idle: nothing is left in its buffers, and nothing of the answers is left for
    it. due: a value of time.monotonic(). A session that ends, is silent or talks nonsense is Gone:
    the connection must then be closed, as it must after a cancellation.
    """
    tell(channel, text)
    number = channel.keeper.fileno()
    data = b""
    for answer in answers:
        try:
            data = answer.feed(data)
            while not answer.ready:
                if not await waits.readable(number, seconds_until(due)):
                    raise Gone("the broker does not answer")
                data = answer.feed(_receive(channel, received, answer))
        except BadAnswer as error:
            raise Gone(str(error)) from None
    if data:
        raise Gone("bytes after the answer's end")


def tell(channel: Channel, text: str) -> None:
    """Sends one simple query; somebody must read its answer before libpq does anything."""
    message = query(text)
    try:
        if channel.keeper.send(message, _NO_SIGNAL) != len(message):
            raise Gone("the broker does not read")
    except BlockingIOError:
        raise Gone("the broker does not read") from None
    except OSError:
        # The session has ended. Its last words may still be there to be read.
        pass


def _receive(channel: Channel, received: Received, answer: Answer) -> bytes:
    try:
        data = received.receive(channel.keeper)
    except BlockingIOError:
        return b""
    except OSError as error:
        raise Gone(str(error), answer.error) from None
    if not data:
        raise Gone("the broker closed the connection", answer.error)
    return data


def is_silent(channel: Channel) -> bool:
    """True when an idle session has neither ended nor said anything."""
    try:
        channel.keeper.recv(1, LOOK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
