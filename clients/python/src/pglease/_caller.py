# SPDX-License-Identifier: Apache-2.0
"""Who asks: the place in the program, and the thread or task."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import threading
from types import FrameType
from typing import Optional

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# site-packages often lies inside the standard library's folder, but is not of it.
_LIBRARY = tuple(
    {path + os.sep for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))})
_SITE = ("site-packages", "dist-packages")
_DEPTH = 24


def place() -> str:
    """`core/worker.py:40`, or `core/database.py:88 from core/repository.py:40`.

    The first frame outside this package takes the lease. In a program with a database layer of its
    own that is always the same line, so the program's next file goes along as well.
    """
    taker = ""
    text = ""
    frame: Optional[FrameType] = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None:
            break
        name = frame.f_code.co_filename
        owner, short = _files.get(name) or _look_at(name)
        if not text:
            if owner != _HIDDEN:
                taker, text = name, f"{short}:{frame.f_lineno}"
        elif owner == _PROGRAM and name != taker:
            return f"{text} from {short}:{frame.f_lineno}"
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


_HIDDEN, _INSTALLED, _PROGRAM = range(3)
_files: dict[str, tuple[int, str]] = {}


def _look_at(name: str) -> tuple[int, str]:
    """Whose a file is, and its name with its folder's. Hidden: this package, the standard library."""
    if name.startswith((_PACKAGE, "<frozen")):
        owner = _HIDDEN
    elif any(site in name for site in _SITE):
        owner = _INSTALLED
    else:
        owner = _HIDDEN if name.startswith(_LIBRARY) else _PROGRAM
    _files[name] = owner, os.sep.join(name.split(os.sep)[-2:])
    return _files[name]
