# SPDX-License-Identifier: Apache-2.0
"""Starts a program as the process of a given number: python -m harness.numbered NUMBER PROGRAM …

Needs root, or CAP_CHECKPOINT_RESTORE, and a number that is free. Ends with the program, as it did.
"""

import ctypes
import os
import signal
import struct
import sys

CLONE3 = 435


def clone(number):
    """fork(2) with the child's number given: clone3(2), set_tid."""
    numbers = (ctypes.c_int * 1)(number)
    arguments = ctypes.create_string_buffer(struct.pack(
        "<11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(numbers), 1, 0))
    system = ctypes.CDLL(None, use_errno=True)
    child = system.syscall(CLONE3, arguments, len(arguments) - 1)
    if child < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return child


def can_number():
    """Whether this process may choose numbers."""
    number = os.fork()
    if number == 0:
        os._exit(0)
    os.waitpid(number, 0)
    try:
        child = clone(number)
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def main():
    child = clone(int(sys.argv[1]))
    if child == 0:
        os.execv(sys.argv[2], sys.argv[2:])
    os.close(0)
    os.close(1)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xff)


if __name__ == "__main__":
    main()
