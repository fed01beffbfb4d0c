# SPDX-License-Identifier: Apache-2.0
"""The raw client over TLS, by Python's own ssl, and what no driver would do with it."""

import ctypes
import hashlib
import ssl
import struct

from . import wire

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def trusting(alpn=None, certificate=None, authority=None, **attributes):
    """A context that takes every server, or that asks for one that `authority` has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        context.load_verify_locations(authority)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(*certificate)
    if alpn:
        context.set_alpn_protocols(alpn)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


class EncryptedWire(wire.Wire):
    """A connection with TLS, after an SSLRequest or from its first byte."""

    def __init__(self, address, context=None, direct=False, timeout=20.0):
        super().__init__(address, timeout)
        if direct:
            context = context or trusting(alpn=["postgresql"])
        else:
            self.send(SSL_REQUEST)
            answer = self.socket.recv(1)
            if answer != b"S":
                raise wire.Closed(f"no TLS, but {answer!r}")
        self.socket = (context or trusting()).wrap_socket(
            self.socket, server_hostname="localhost")

    def silent_for(self, seconds):
        return not self.socket.pending() and super().silent_for(seconds)

    def _fill(self):
        try:
            super()._fill()
        except ssl.SSLError as error:
            raise wire.Closed(f"connection closed by TLS: {error}") from error

    @property
    def end_point(self):
        """`tls-server-end-point` of a certificate that is signed with SHA-256."""
        return hashlib.sha256(self.socket.getpeercert(binary_form=True)).digest()


class Memory:
    """The client's side of a session whose records the test moves by itself."""

    def __init__(self, connection, context=None):
        self.socket, self.plain = connection, b""
        self.received, self.made = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = (context or trusting()).wrap_bio(
            self.received, self.made, server_hostname="localhost")

    def shake_hands(self):
        while True:
            try:
                self.session.do_handshake()
                self.socket.sendall(self.made.read())
                return
            except ssl.SSLWantReadError:
                self.socket.sendall(self.made.read())
                self.received.write(self.socket.recv(65536))

    def received_messages(self):
        """Reads the socket once; the kinds of the messages that are whole now, each told once."""
        more = self.socket.recv(65536)
        assert more, "the other side has closed"
        self.received.write(more)
        while True:
            try:
                self.plain += self.session.read(65536)
            except ssl.SSLWantReadError:
                break
        kinds = b""
        while len(self.plain) >= 5:
            (length,) = struct.unpack_from("!i", self.plain, 1)
            if len(self.plain) < length + 1:
                break
            kinds += self.plain[:1]
            self.plain = self.plain[length + 1 :]
        # What TLS itself has to answer.
        if waiting := self.made.read():
            self.socket.sendall(waiting)
        return kinds

    def records(self, raw):
        """What `raw` is sent as."""
        self.session.write(raw)
        return self.made.read()

    def key_update(self, wants_answer):
        """A record that changes this side's keys (SSL_key_update, which Python does not have)."""
        library = ctypes.CDLL("libssl.so.3")
        # PySSLSocket: the object's header, a weak reference, the SSL.
        own = ctypes.c_void_p.from_address(id(self.session._sslobj) + 24)
        pointer = ctypes.c_void_p(own.value)
        assert library.SSL_key_update(pointer, int(wants_answer)) == 1
        assert library.SSL_do_handshake(pointer) == 1
        return self.made.read()
