# SPDX-License-Identifier: Apache-2.0
"""A raw client of LEASE and LEASE DIRECT, and processes of their own that use it."""

import array
import ast
import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from typing import NamedTuple

from . import wire

COLUMNS = ["lease_id", "server_pid", "kind", "waited_us"]


class Lease(NamedTuple):
    """The row that answers LEASE."""

    lease_id: int
    server_pid: int
    kind: str
    waited_us: int


def granted(messages):
    """The lease that a LEASE of the simple protocol was answered with; an error raises Refused."""
    row, = wire.rows_of(messages)
    assert wire.kinds(messages) == "TDCZ", messages
    assert messages[0].columns == COLUMNS
    assert messages[2].tag == "LEASE" and messages[3].body == b"I", messages
    return Lease(int(row[0]), int(row[1]), row[2], int(row[3]))


def returned(messages, kinds="CZ"):
    """Checks the answer to LEASE RETURN; an error raises Refused."""
    wire.rows_of(messages)
    assert wire.kinds(messages) == kinds, messages
    assert messages[0].tag == "LEASE RETURN" and messages[-1].body == b"I", messages


def lease(one, options=""):
    return granted(one.query(f"LEASE {options}"))


def give_back(one):
    returned(one.query("LEASE RETURN"))


class ServerEnd(wire.Wire):
    """The server connection of a direct lease: speaks to PostgreSQL with no hop in between."""

    def __init__(self, descriptor, timeout=20.0):
        self.socket = socket.socket(fileno=descriptor)
        self.socket.settimeout(timeout)
        self.address, self.timeout, self.buffer = None, timeout, b""
        self.parameters, self.key, self.notices = {}, None, []

    def copy(self):
        """Another descriptor of the same connection, as an ill-behaved client keeps one."""
        return ServerEnd(os.dup(self.socket.fileno()), self.timeout)


class Client(wire.Wire):
    """A session with the broker that catches the descriptors it is sent."""

    def __init__(self, address, timeout=20.0):
        super().__init__(address, timeout)
        self.descriptors, self.end, self.granted = [], None, None

    @classmethod
    def on(cls, descriptor, timeout=20.0):
        """A session that is open already, on a descriptor of its own."""
        one = cls.__new__(cls)
        ServerEnd.__init__(one, descriptor, timeout)
        one.descriptors, one.end, one.granted = [], None, None
        return one

    def _fill(self, size=262144):
        integer = array.array("i").itemsize
        try:
            more, extras, flags, _ = self.socket.recvmsg(
                size, socket.CMSG_SPACE(4 * integer), socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            more, extras, flags = b"", [], 0
        assert not flags & socket.MSG_CTRUNC, "more descriptors than were asked for"
        for level, kind, raw in extras:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            self.descriptors += array.array("i", raw[: len(raw) // integer * integer])
        if not more:
            raise wire.Closed(f"connection closed; unread bytes: {self.buffer[:80]!r}")
        self.buffer += more

    def lease(self, options=""):
        """LEASE DIRECT: the connection to use; this session itself where the kind is relay."""
        return self.take_lease(self.query(f"LEASE DIRECT {options}"))

    def take_lease(self, messages):
        self.granted = granted(messages)
        descriptors, self.descriptors = self.descriptors, []
        if self.granted.kind == "relay":
            assert descriptors == [], "a descriptor came with a relayed lease"
            return self
        assert self.granted.kind == "direct" and len(descriptors) == 1, (self.granted, descriptors)
        self.end = ServerEnd(descriptors[0], self.timeout)
        return self.end

    @property
    def is_direct(self):
        return self.granted.kind == "direct"

    def close_end(self):
        if self.end:
            self.end.close()
            self.end = None

    def give_back(self):
        """Closes its descriptor and returns the lease."""
        self.close_end()
        give_back(self)

    def close(self):
        self.close_end()
        for one in self.descriptors:
            os.close(one)
        self.descriptors = []
        super().close()


def connect(broker, user="app", database="app", timeout=20.0, address=None, **parameters):
    return Client(address or broker.socket_path, timeout).start(user, database, **parameters)


SOURCE = """
import sys
sys.path.insert(0, {here!r})
from harness import direct
direct.serve({uid!r})
"""


class Failed(AssertionError):
    """An exception in a peer, with its traceback."""


class Peer:
    """Another process that does as it is told: `do` runs Python there, where `address` is the
    broker's, `wire` and `direct` are these modules, and names stay from one call to the next."""

    def __init__(self, address, uid=None, number=None):
        here = str(Path(__file__).resolve().parents[1])
        command = [sys.executable, "-c", SOURCE.format(here=here, uid=uid)]
        if number:
            command = [sys.executable, f"{here}/harness/numbered.py", str(number)] + command
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = number or self.process.pid
        self.do("address = %r" % (address,))

    def start(self, source):
        self.process.stdin.write(json.dumps(source) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"the peer ended with status {self.process.wait()}"
        answer = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["value"]

    def has_answered(self):
        """Looks without waiting; only for one answer at a time."""
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def do(self, source):
        """The value of the last line, if it is an expression that JSON can hold."""
        self.start(source)
        return self.answer()

    def kill(self):
        """As kill -9 does."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def fork(self, folder):
        """A child of it, with copies of all that it has."""
        return Forked(self, f"{folder}/forked")

    def close(self):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


class Forked(Peer):
    """The child of a peer, which goes on without it."""

    def __init__(self, parent, path):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            os.chmod(path, 0o777)
            listener.listen()
            parent.do(f"direct.fork_to({path!r}, globals())")
            self.socket, _ = listener.accept()
        os.unlink(path)
        self.lines = self.socket.makefile("r")

    def start(self, source):
        self.socket.sendall((json.dumps(source) + "\n").encode())

    def answer(self):
        answer = json.loads(self.lines.readline())
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["value"]

    def close(self):
        """It ends when nobody asks it any more."""
        self.lines.close()
        self.socket.close()


def fork_to(path, scope):
    if os.fork() != 0:
        return
    os.setsid()
    os.close(0)
    os.close(1)
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
        answer_all(one.makefile("r"), one.makefile("w"), scope)
    os._exit(0)


def serve(uid=None):
    """The other end of a Peer."""
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    answer_all(sys.stdin, sys.stdout, {"wire": wire, "direct": sys.modules[__name__], "os": os})


def answer_all(questions, answers, scope):
    for line in questions:
        try:
            answer = {"value": plain(evaluate(json.loads(line), scope))}
        except Exception:
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def evaluate(source, scope):
    """Runs it; the value of what it ends with, if that is an expression."""
    tree = ast.parse(textwrap.dedent(source))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "peer", "exec"), scope)
    return eval(compile(ast.Expression(last.value), "peer", "eval"), scope) if last else None


def plain(value):
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return None
    return value
