# SPDX-License-Identifier: Apache-2.0
"""A process whose system refuses membarrier(2), as some containers' filters do.

As a program, it becomes the one that its arguments name, with the same filter."""

import ctypes
import os
import platform
import struct
import sys

MEMBARRIER = {"x86_64": 324, "aarch64": 283}[platform.machine()]
_NO_NEW_PRIVILEGES, _SET_FILTER, _MODE_FILTER = 38, 22, 2
# Of classic BPF: load the system call's number, go on or jump over one if it is another, answer.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL, _NO_SUCH_CALL = 0x7FFF0000, 0x00050000, 38


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_membarrier():
    """In force for this process, and for whatever it starts, to their ends (seccomp(2))."""
    steps = ((_LOAD, 0, 0, 0), (_JUMP_IF_EQUAL, 0, 1, MEMBARRIER),
             (_RETURN, 0, 0, _FAIL | _NO_SUCH_CALL), (_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    library = ctypes.CDLL(None, use_errno=True)
    for option, *rest in (
            (_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), ctypes.c_ulong(0)),
            (_SET_FILTER, ctypes.c_ulong(_MODE_FILTER),
             ctypes.byref(_Program(len(steps), code)))):
        if library.prctl(option, *rest, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    assert library.syscall(MEMBARRIER, 0, 0, 0) == -1


if __name__ == "__main__":
    refuse_membarrier()
    os.execvp(sys.argv[1], sys.argv[1:])
