# SPDX-License-Identifier: Apache-2.0
"""A tiny PostgreSQL frontend that sends exactly the bytes it is told to."""

import base64
import hashlib
import hmac
import os
import select
import socket
import struct


class Closed(Exception):
    """The other side closed the connection."""


class Message:
    """One message of the backend."""

    def __init__(self, kind, body):
        self.kind, self.body = kind, body

    @property
    def fields(self):
        """The fields of an ErrorResponse or NoticeResponse, by their letter."""
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {part[:1].decode(): part[1:].decode() for part in parts if part}

    @property
    def code(self):
        return self.fields["C"]

    @property
    def tag(self):
        return self.body.rstrip(b"\0").decode()

    @property
    def row(self):
        """The values of a DataRow as bytes; None for NULL."""
        count, at, values = struct.unpack_from("!h", self.body)[0], 2, []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", self.body, at)
            at += 4
            values.append(None if length < 0 else self.body[at : at + length])
            at += max(length, 0)
        return values

    @property
    def columns(self):
        """The names in a RowDescription."""
        count, at, names = struct.unpack_from("!h", self.body)[0], 2, []
        for _ in range(count):
            end = self.body.index(b"\0", at)
            names.append(self.body[at:end].decode())
            at = end + 19
        return names

    def __repr__(self):
        if self.kind in "EN":
            return f"{self.kind}{self.fields}"
        return f"{self.kind}({self.body[:60]!r})"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def text(value):
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def as_bytes(value):
    return value if isinstance(value, bytes) else value.encode()


def md5_hash(user, password):
    """What PostgreSQL keeps of a password with password_encryption = md5."""
    return "md5" + hashlib.md5(as_bytes(password) + user.encode()).hexdigest()


def md5_answer(user, password, salt):
    return "md5" + hashlib.md5(md5_hash(user, password)[3:].encode() + salt).hexdigest()


def query(sql):
    return message("Q", text(sql))


def parse(sql, name="", types=()):
    body = text(name) + text(sql) + struct.pack("!h", len(types))
    return message("P", body + b"".join(struct.pack("!I", oid) for oid in types))


def bind(values=(), statement="", portal="", results=()):
    body = text(portal) + text(statement) + struct.pack("!hh", 0, len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            raw = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack("!i", len(raw)) + raw
    return message("B", body + struct.pack("!h", len(results)) + b"".join(
        struct.pack("!h", one) for one in results))


def describe_statement(name=""):
    return message("D", b"S" + text(name))


def describe_portal(name=""):
    return message("D", b"P" + text(name))


def execute(portal="", limit=0):
    return message("E", text(portal) + struct.pack("!i", limit))


def close_statement(name=""):
    return message("C", b"S" + text(name))


def sync():
    return message("S")


def flush():
    return message("H")


def function_call(oid, arguments):
    body = struct.pack("!Ihhh", oid, 1, 1, len(arguments))
    for one in arguments:
        body += struct.pack("!i", len(one)) + one
    return message("F", body + struct.pack("!h", 1))


def copy_data(raw):
    return message("d", raw)


def copy_done():
    return message("c")


def copy_fail(reason="no more"):
    return message("f", text(reason))


def terminate():
    return message("X")


def startup(parameters, version=196608):
    body = struct.pack("!i", version)
    for name, value in parameters.items():
        body += text(name) + text(value)
    body += b"\0"
    return struct.pack("!i", len(body) + 4) + body


class Wire:
    """One connection. `address` is a path of a Unix socket or a (host, port)."""

    def __init__(self, address, timeout=20.0):
        self.address, self.timeout = address, timeout
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.buffer = b""
        self.parameters, self.key, self.notices = {}, None, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes as the kernel does for a killed process over TCP: with RST where there is one."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *raw):
        self.socket.sendall(b"".join(raw))

    def _fill(self):
        try:
            more = self.socket.recv(262144)
        except ConnectionResetError:
            more = b""
        if not more:
            raise Closed(f"connection closed; unread bytes: {self.buffer[:80]!r}")
        self.buffer += more

    def read(self):
        """The next message."""
        while len(self.buffer) < 5:
            self._fill()
        (length,) = struct.unpack_from("!i", self.buffer, 1)
        if len(self.buffer) < length + 1:
            parts = [self.buffer]
            missing = length + 1 - len(self.buffer)
            while missing > 0:
                more = self.socket.recv(min(missing, 1 << 20))
                if not more:
                    raise Closed("connection closed inside a message")
                parts.append(more)
                missing -= len(more)
            self.buffer = b"".join(parts)
        kind, body = chr(self.buffer[0]), self.buffer[5 : length + 1]
        self.buffer = self.buffer[length + 1 :]
        return Message(kind, body)

    def silent_for(self, seconds):
        """True when nothing arrives during `seconds`."""
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]

    def next(self):
        """The next message that is not a notice or a parameter's new value (both are kept)."""
        while True:
            one = self.read()
            if one.kind == "N":
                self.notices.append(one)
            elif one.kind == "S":
                name, value = one.body.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            else:
                return one

    def until_ready(self, times=1):
        """All messages up to and with the `times`-th ReadyForQuery."""
        seen = []
        while times:
            seen.append(self.next())
            times -= seen[-1].kind == "Z"
        return seen

    def until(self, kinds):
        """All messages up to and with the first whose kind is in `kinds`."""
        seen = [self.next()]
        while seen[-1].kind not in kinds:
            seen.append(self.next())
        return seen

    def start(self, user, database=None, password=None, end_point=None, **parameters):
        """Logs in; returns self. A refusal raises Refused. `end_point` is what SCRAM is bound to over
        TLS: True for that of this connection."""
        values = {"user": user, "database": database or user, **parameters}
        self.send(startup(values))
        return self.finish_login(user, password, end_point)

    def finish_login(self, user, password=None, end_point=None):
        while True:
            one = self.next()
            if one.kind == "E":
                raise Refused(one)
            if one.kind == "K":
                self.key = struct.unpack("!iI", one.body[:8])
            elif one.kind == "R":
                self._authenticate(one.body, user, password, end_point)
            elif one.kind == "Z":
                return self
            else:
                raise AssertionError(f"unexpected during login: {one}")

    def _authenticate(self, body, user, password, end_point):
        (kind,) = struct.unpack_from("!i", body)
        if kind == 0:
            return
        if kind == 3:
            self.send(message("p", text(password or "")))
            return
        if kind == 5:
            self.send(message("p", text(md5_answer(user, password or "", body[4:8]))))
            return
        if kind == 10:
            assert b"SCRAM-SHA-256\0" in body[4:]
            self._scram(user, password or "", end_point)
            return
        raise AssertionError(f"authentication method {kind} is not known to this client")

    def _scram(self, user, password, end_point):
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        mechanism, header, binding = "SCRAM-SHA-256", "n,,", b""
        if end_point:
            mechanism, header = "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"
            binding = self.end_point if end_point is True else end_point
        initial = f"{header}{first}".encode()
        self.send(message("p", text(mechanism) + struct.pack("!i", len(initial)) + initial))
        challenge = self.next()
        if challenge.kind == "E":
            raise Refused(challenge)
        server_first = challenge.body[4:].decode()
        parts = dict(part.split("=", 1) for part in server_first.split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", as_bytes(password), base64.b64decode(parts["s"]), int(parts["i"]))
        channel = base64.b64encode(header.encode() + binding).decode()
        final = f"c={channel},r={parts['r']}"
        signed = f"{first},{server_first},{final}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.send(message("p", f"{final},p={base64.b64encode(proof).decode()}".encode()))
        answer = self.next()
        if answer.kind == "E":
            raise Refused(answer)
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        assert answer.body[4:] == b"v=" + base64.b64encode(expected), "the server's proof is wrong"

    def query(self, sql):
        """Sends a simple query and returns its messages, ReadyForQuery included."""
        self.send(query(sql))
        return self.until_ready()

    def rows(self, sql):
        """The rows of a simple query as lists of str; an error raises Refused."""
        return rows_of(self.query(sql))

    def value(self, sql):
        return self.rows(sql)[0][0]

    def extended(self, sql, values=(), name=""):
        """Parse, Bind, Execute and Sync in one write."""
        self.send(parse(sql, name), bind(values, name), execute(), sync())
        return self.until_ready()

    def closed_by_peer(self, within=10.0):
        """Reads on until the peer closes; True when it did in time."""
        self.socket.settimeout(within)
        try:
            while True:
                self._fill()
        except Closed:
            return True
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(self.timeout)


class Refused(Exception):
    """An ErrorResponse where success was needed."""

    def __init__(self, error):
        super().__init__(repr(error))
        self.error, self.code, self.fields = error, error.code, error.fields


def told(messages):
    """What a client was told, to compare two connections: errors without the source file they name."""
    return [(one.kind, {key: text for key, text in one.fields.items() if key not in "FLR"})
            if one.kind in "EN" else (one.kind, one.body) for one in messages]


def rows_of(messages):
    for one in messages:
        if one.kind == "E":
            raise Refused(one)
    return [
        [None if value is None else value.decode() for value in one.row]
        for one in messages if one.kind == "D"
    ]


def error_of(messages):
    """The only ErrorResponse among the messages."""
    errors = [one for one in messages if one.kind == "E"]
    assert len(errors) == 1, f"one error expected: {messages}"
    return errors[0]


def kinds(messages):
    return "".join(one.kind for one in messages)


def cancel(address, key, timeout=5.0):
    """Sends a CancelRequest and waits until the other side closes."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(timeout)
        one.connect(address)
        one.sendall(struct.pack("!iiiI", 16, 80877102, *key))
        try:
            one.recv(1)
        except ConnectionResetError:
            pass

