"""Who asks: the place in the program, and the thread or task."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import threading
from typing import Optional

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# site-packages often lies inside the standard library's folder, but is not of it.
_LIBRARY = tuple(
    {path + os.sep for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))})
_SITE = ("site-packages", "dist-packages")
_DEPTH = 24


def place() -> str:
    """`core/repository.py:40`, or `core/repository.py:40 via core/database.py:88`.

    The first frame outside this package takes the lease. In a program with a database layer of its
    own that is always the same line, so the first frame outside that file goes along as well.
    """
    taker: Optional[str] = None
    text = ""
    frame = sys._getframe(1)
    for _ in range(_DEPTH):
        name = frame.f_code.co_filename
        if name != taker and not _is_hidden(name):
            here = f"{_short(name)}:{frame.f_lineno}"
            if taker is not None:
                return f"{here} via {text}"
            taker, text = name, here
        if frame.f_back is None:
            break
        frame = frame.f_back
    return text


def thread() -> str:
    """The kernel's number of this thread."""
    native = threading.get_native_id()
    if "gevent" in sys.modules or "eventlet" in sys.modules:
        # Many green threads share one of the kernel's: one may wait while another gives back.
        return f"{native}:{threading.get_ident():x}"
    return str(native)


def task() -> str:
    """This asyncio task: it waits alone, as a thread does."""
    return f"{threading.get_native_id()}:{id(asyncio.current_task()):x}"


_hidden: dict[str, bool] = {}


def _is_hidden(name: str) -> bool:
    known = _hidden.get(name)
    if known is None:
        known = name.startswith((_PACKAGE, "<frozen")) or (
            name.startswith(_LIBRARY) and not any(site in name for site in _SITE))
        _hidden[name] = known
    return known


def _short(name: str) -> str:
    return os.sep.join(name.split(os.sep)[-2:])
