# SPDX-License-Identifier: Apache-2.0
"""Serves the status page beside figures that are made up: what no real broker shows in a test."""

import base64
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .pooler import REPOSITORY

PAGE = REPOSITORY / "Sources/StatusHTTP/Page/status.html"


def hash_of(tag):
    """The source of the page's only element of this kind, as Content-Security-Policy names it."""
    content, = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE.read_text(), re.S)
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


def policy():
    return (f"default-src 'none'; script-src {hash_of('script')}; style-src {hash_of('style')}; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'")


class StatusServer:
    """`figures()` gives what stats.json holds: an object, or bytes that are sent as they are."""

    def __init__(self, figures, port=0):
        server, self.figures, self.asked = self, figures, 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *words):
                pass

        class Threads(ThreadingHTTPServer):
            daemon_threads, allow_reuse_address = True, True

        self.server = Threads(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/"

    def answer(self, request):
        if request.path == "/":
            self.send(request, 200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif request.path == "/stats.json":
            self.asked += 1
            body = self.figures()
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
            self.send(request, 200, "application/json", body)
        else:
            self.send(request, 404, "text/plain", b"not found\n")

    def send(self, request, status, kind, body):
        request.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)),
                            "Content-Security-Policy": policy(), "Cache-Control": "no-store",
                            "Connection": "close"}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def lease(number, **values):
    """A row of SHOW LEASES."""
    return {
        "lease_id": number, "server_pid": 90000 + number, "kind": "transaction", "database": "app",
        "user": "app", "group": "backfill", "application_name": "backfill", "client_id": number,
        "client_pid": 4000 + number, "purpose": None, "state": "active", "transaction_state": "open",
        "age_us": 1000 * number, "waited_us": 120, "idle_us": None, "bytes": 1234 * number,
        "warned": "no", "client_uid": 1000, "program": "/usr/bin/python3.11",
        "arguments": "-m workers.backfill", "thread": None, "addr": "unix", "transactions": 1,
    } | values


def waiter(number, **values):
    """A row of SHOW WAITERS."""
    return {
        "place": number, "client_id": 500 + number, "client_pid": 5000 + number, "database": "app",
        "user": "app", "group": "pipeline-orders", "application_name": "pipeline-orders",
        "purpose": None, "waited_us": 4200000 - 1000 * number, "deadline_us": 25800000,
        "client_uid": 1000, "program": "/usr/bin/python3.11", "arguments": "-m workers.main",
        "thread": None, "addr": "unix",
    } | values


def pool(database="app", user="app", **values):
    """A row of SHOW POOLS, and what stats.json adds."""
    return {
        "database": database, "user": user, "cl_active": 40, "cl_waiting": 0,
        "cl_active_cancel_req": 0, "cl_waiting_cancel_req": 0, "sv_active": 4,
        "sv_active_cancel": 0, "sv_being_canceled": 0, "sv_idle": 3, "sv_used": 0, "sv_tested": 0,
        "sv_login": 0, "maxwait": 0, "maxwait_us": 0, "pool_mode": "transaction",
        "load_balance_hosts": None, "pool_size": 10, "reserve_pool_size": 3, "sv_total": 7,
        "paused": False, "disabled": False,
    } | values


def group(name, **values):
    """A row of SHOW GROUPS."""
    return {"group": name, "weight": 1, "min_leases": 0, "max_leases": None, "clients": 3,
            "leases": 1, "waiting": 0, "maxwait_us": 0} | values


def share(name="orders", **values):
    """A row of SHOW SHARES."""
    return {
        "bound": name, "database": "app", "state": "open", "total": 40, "share": 5, "target": 5, "used": 4,
        "want": 9, "free": 0, "hosts": 8, "weight": 1, "period_ms": 5000, "questions": 12,
        "holder": "c0ffee00-0000-4000-8000-000000000000", "error": None,
    } | values


def event(number, kind="reload", level="info", **values):
    """A row of SHOW EVENTS."""
    return {
        "event_id": number, "time": "2026-11-23 17:00:00.123 UTC", "age_us": 90000000, "kind": kind,
        "level": level, "database": None, "user": None, "group": None, "application_name": None,
        "client_id": None, "client_pid": None, "lease_id": None, "count": 1, "message": kind,
    } | values


def link(number, **values):
    """A row of SHOW LOCKS."""
    return {
        "lock_id": 1, "database": "app", "user": "app", "group": None, "grade": "certain",
        "age_us": 12000000, "lent": 2, "rejected": 0, "reserve": 3, "link": number,
        "lease_id": number, "server_pid": 90000 + number, "client_id": number,
        "client_pid": 4000 + number, "thread": str(10 + number), "application_name": "backfill",
        "purpose": "outer", "held_us": 15000000, "waits_as": 500 + number, "waits_for": "inner",
        "waited_us": 12000000,
    } | values


def stats(now=None, **values):
    """All of stats.json."""
    now = now or time.time()
    return {
        "version": "pglease 0.3.0", "pid": 4242, "now": now, "started": now - 7200,
        "phase": "running", "ready": True, "clients": {"connected": 43, "max": 1000},
        "servers": {"connected": 7, "max": 40}, "pools": [pool()], "groups": [group("backfill")],
        "leases": [lease(number) for number in range(1, 5)], "waiters": [], "locks": [],
        "events": [event(1)], "history": {"period": 5, "samples": []},
    } | values
