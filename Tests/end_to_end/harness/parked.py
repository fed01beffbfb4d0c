# SPDX-License-Identifier: Apache-2.0
"""A raw client of LEASE DIRECT PARK: page and bell, as docs/parked.md has them."""

import ctypes
import mmap
import os
import platform
import sys

from . import direct, wire

ONE = (1).to_bytes(8, sys.byteorder)
WORD, TOKEN, THREAD = 0, 32, 64
USER = (THREAD, 128), (128, 384)
# membarrier(2), MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED.
MEMBARRIER, REGISTER = {"x86_64": 324, "aarch64": 283}[platform.machine()], 4


class Client(direct.Client):
    """A session with the broker that parks what it is handed."""

    def __init__(self, address, timeout=20.0):
        super().__init__(address, timeout)
        assert ctypes.CDLL(None).syscall(MEMBARRIER, REGISTER, 0, 0) == 0
        self.bell = self.memory = self.page = None

    def park_lease(self, options=""):
        """LEASE DIRECT PARK; the connection to use. `can_park` says whether it may be parked."""
        self.granted = direct.granted(self.query(f"LEASE DIRECT PARK {options}"))
        descriptors, self.descriptors = self.descriptors, []
        if self.granted.kind == "relay":
            assert descriptors == [], "descriptors came with a relayed lease"
            return self
        assert len(descriptors) in (1, 3), descriptors
        self.end = direct.ServerEnd(descriptors[0], self.timeout)
        self.forget_place()
        if len(descriptors) == 3:
            self.bell, self.memory = descriptors[1:]
            self.page = mmap.mmap(self.memory, 4096)
        return self.end

    @property
    def can_park(self):
        return self.bell is not None

    @property
    def may_park(self):
        """What the page says now."""
        return self.page[WORD] == 1

    def say_thread(self, thread):
        self.page[THREAD:THREAD + 64] = thread.encode().ljust(64, b"\0")

    @property
    def user(self):
        """The thread and what for, as the page has them."""
        return tuple(self.page[start:end].split(b"\0")[0].decode() for start, end in USER)

    def park(self):
        """The token goes in: the connection is whoever's takes it."""
        self.page[TOKEN] = 1
        if not self.may_park:
            self.ring()

    def take(self):
        """The token comes out; False if the broker has taken what lay there, or is about to."""
        self.page[TOKEN] = 0
        if self.may_park:
            return True
        self.page[TOKEN] = 1
        self.ring()
        return False

    def ring(self):
        assert os.write(self.bell, ONE) == 8

    def forget_place(self):
        if self.bell is not None:
            os.close(self.bell)
            self.page.close()
            os.close(self.memory)
            self.bell = self.memory = self.page = None

    def close(self):
        self.forget_place()
        super().close()


def connect(broker, user="app", database="app", timeout=20.0, address=None, **parameters):
    return Client(address or broker.socket_path, timeout).start(user, database, **parameters)


def give_back(one):
    one.close_end()
    direct.give_back(one)


__all__ = ["Client", "connect", "give_back", "wire"]
