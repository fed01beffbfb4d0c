# SPDX-License-Identifier: Apache-2.0
"""A server that asks for SCRAM with any number of iterations, and answers in any pieces."""

import base64
import os
import socket
import ssl
import struct
import threading

from . import wire


class ScramServer:
    """Listens on a port of 127.0.0.1. Whoever logs in is challenged with `iterations`, in the pieces that
    `pieces` makes of the message; all but the first of them wait for `go_on`. `before` comes first, and
    `early` right behind the request for SCRAM, when the nonce is not known yet.
    """

    def __init__(self, iterations, tls=None, pieces=lambda message: [message], early=b"",
                 before=()):
        self.iterations, self.pieces, self.early, self.before = iterations, pieces, early, before
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls.certificate, tls.key)
        self.go_on = threading.Event()
        self.challenged = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.go_on.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_quietly, args=(one,), daemon=True).start()

    def _serve_quietly(self, one):
        try:
            self._serve(one)
        except (OSError, EOFError, ssl.SSLError):
            pass
        finally:
            one.close()

    def _serve(self, one):
        one.settimeout(60)
        length, code = struct.unpack("!ii", self._take(one, 8))
        if code == 80877103:
            one.sendall(b"S" if self.context else b"N")
            if self.context:
                one = self.context.wrap_socket(one, server_side=True)
            length, code = struct.unpack("!ii", self._take(one, 8))
        self._take(one, length - 8)
        for message in self.before:
            one.sendall(message)
        one.sendall(wire.message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0") + self.early)
        first = self._message(one)
        nonce = first.rpartition(b"r=")[2] + base64.b64encode(os.urandom(12))
        challenge = b"r=%s,s=%s,i=%s" % (
            nonce, base64.b64encode(b"salt"), str(self.iterations).encode())
        whole = wire.message("R", struct.pack("!i", 11) + challenge)
        for number, piece in enumerate(self.pieces(whole)):
            if number:
                self.go_on.wait(60)
            one.sendall(piece)
            self.challenged += 1
        self._message(one)

    def _message(self, one):
        _, length = struct.unpack("!ci", self._take(one, 5))
        return self._take(one, length - 4)

    @staticmethod
    def _take(one, count):
        taken = b""
        while len(taken) < count:
            more = one.recv(count - len(taken))
            if not more:
                raise EOFError
            taken += more
        return taken
