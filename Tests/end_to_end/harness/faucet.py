# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy in front of PostgreSQL that can be shut, stalled, cut, or made to lie."""

import selectors
import socket
import struct
import threading
import time


class Faucet:
    """Listens on a port of 127.0.0.1 and passes bytes to `target` (a Unix path or (host, port)).

    Modes: `flow`; `hang` (accepts, passes nothing on new connections); `refuse` (nothing listens);
    `answer` (each new connection gets an ErrorResponse and is closed). With a `delay`, a new connection
    flows only after so many seconds.
    """

    def __init__(self, target):
        self.target = target
        self.listener = self._listen(0)
        self.port = self.listener.getsockname()[1]
        self.mode, self.answer_bytes = "flow", b""
        self.delay = 0
        self.accepted_at = []
        self.links, self.stalled = [], False
        self.hanging = []
        self.lies = []
        self.lock = threading.Lock()
        self.waker, self.wake_end = socket.socketpair()
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _listen(self, port):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        listener.setblocking(False)
        return listener

    def _wake(self):
        self.waker.send(b".")

    def refuse(self, cut=True):
        """Nothing listens any more; with `cut`, what is open is closed."""
        with self.lock:
            if self.listener:
                self.listener.close()
                self.listener = None
            self.mode = "refuse"
        if cut:
            self.cut()
        self._wake()

    def hang(self, also_open=False):
        """New connections get no byte; with `also_open`, the open ones stop as well."""
        with self.lock:
            self._reopen()
            self.mode, self.stalled = "hang", also_open
        self._wake()

    def answer(self, code, text, cut=True):
        """New connections are answered with this error."""
        fields = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
        with self.lock:
            self._reopen()
            self.mode = "answer"
            self.answer_bytes = b"E" + struct.pack("!i", len(fields) + 4) + fields
        if cut:
            self.cut()
        self._wake()

    def lie(self, marker, words):
        """Once, behind the next answer that has `marker` in it and ends idle: these bytes, in one write."""
        with self.lock:
            self.lies.append((marker, words))

    def flow(self):
        with self.lock:
            self._reopen()
            self.mode, self.stalled = "flow", False
            for one in self.hanging:
                one.close()
            self.hanging = []
        self._wake()

    def cut(self):
        """Closes every open connection, both ways, at once."""
        with self.lock:
            for one, other in self.links:
                one.close()
                other.close()
            for one in self.hanging:
                one.close()
            self.links, self.hanging = [], []
        self._wake()

    def close(self):
        self.running = False
        self._wake()
        self.thread.join(5)
        self.cut()
        if self.listener:
            self.listener.close()

    @property
    def accepted(self):
        return len(self.accepted_at)

    @property
    def open_links(self):
        with self.lock:
            return len(self.links)

    def _reopen(self):
        if self.listener is None:
            self.listener = self._listen(self.port)

    def _accept(self):
        try:
            client, _ = self.listener.accept()
        except (OSError, AttributeError):
            return
        self.accepted_at.append(time.monotonic())
        if self.mode == "hang":
            self.hanging.append(client)
        elif self.mode == "answer":
            threading.Thread(
                target=self._lie, args=(client, self.answer_bytes), daemon=True).start()
        elif self.delay:
            late = threading.Timer(self.delay, self._link_late, (client,))
            late.daemon = True
            late.start()
        else:
            self._link(client)

    def _link(self, client):
        family = socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.connect(self.target)
        except OSError:
            client.close()
            server.close()
            return
        self.links.append((client, server))

    def _link_late(self, client):
        with self.lock:
            if self.running:
                self._link(client)
            else:
                client.close()
        self._wake()

    @staticmethod
    def _lie(client, answer):
        client.settimeout(5)
        try:
            while True:
                head = client.recv(8, socket.MSG_WAITALL)
                if len(head) < 8:
                    return
                length, version = struct.unpack("!ii", head)
                if version in (80877103, 80877104):
                    client.sendall(b"N")
                    continue
                client.recv(length - 8, socket.MSG_WAITALL)
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
                client.recv(1)
                return
        except OSError:
            pass
        finally:
            client.close()

    def _run(self):
        while self.running:
            with selectors.DefaultSelector() as waiting:
                waiting.register(self.wake_end, selectors.EVENT_READ)
                with self.lock:
                    peer = {}
                    if self.listener:
                        waiting.register(self.listener, selectors.EVENT_READ)
                    if not self.stalled:
                        for one, other in self.links:
                            for source, sink in ((one, other), (other, one)):
                                if source.fileno() >= 0:
                                    waiting.register(source, selectors.EVENT_READ)
                                    peer[source] = sink
                ready = [key.fileobj for key, _ in waiting.select(1)]
            if self.wake_end in ready:
                self.wake_end.recv(4096)
            with self.lock:
                for one in ready:
                    if one is self.listener:
                        self._accept()
                    elif one in peer and not self.stalled:
                        self._move(one, peer[one])

    def _move(self, source, sink):
        try:
            raw = source.recv(65536)
            if raw:
                if raw.endswith(b"Z\0\0\0\5I"):
                    for one in self.lies:
                        if one[0] in raw:
                            raw += one[1]
                            self.lies.remove(one)
                            break
                sink.settimeout(5)
                sink.sendall(raw)
                return
        except OSError:
            pass
        source.close()
        sink.close()
        self.links = [pair for pair in self.links if source not in pair]
