# SPDX-License-Identifier: Apache-2.0
"""Debian's chromium, headless, spoken to over a pipe in the DevTools protocol: no driver, no port."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from .waiting import eventually

PATIENCE = 120


class Failed(AssertionError):
    """The browser refused a command, or a script in the page threw."""


def program():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "chromium is not there: scripts/setup --python installs it"
    return found


class Browser:
    """A running chromium with an empty profile of its own."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="pglease-browser-")
        self.tabs, self.answers, self.number = {}, {}, 0
        self.changed = threading.Condition()
        self._launch()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _launch(self):
        from_us, self.commands = os.pipe()
        self.messages, to_us = os.pipe()
        # The browser reads commands from descriptor 3 and writes messages to 4; first out of the way.
        ours = fcntl.fcntl(from_us, fcntl.F_DUPFD, 20), fcntl.fcntl(to_us, fcntl.F_DUPFD, 20)

        def place():
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)

        self.process = subprocess.Popen(
            [program(), "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--disable-default-apps", "--no-first-run",
             "--no-proxy-server", "--hide-scrollbars", "--remote-debugging-pipe",
             f"--user-data-dir={self.profile}", "about:blank"],
            preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": self.profile})
        for one in (from_us, to_us, *ours):
            os.close(one)

    def _read(self):
        buffer = b""
        while more := os.read(self.messages, 1 << 20):
            *whole, buffer = (buffer + more).split(b"\0")
            for one in whole:
                self._take(json.loads(one))
        with self.changed:
            self.answers = None
            self.changed.notify_all()

    def _take(self, message):
        with self.changed:
            if "id" in message:
                self.answers[message["id"]] = message
            elif tab := self.tabs.get(message.get("sessionId")):
                tab.take(message["method"], message["params"])
            self.changed.notify_all()

    def call(self, method, session=None, **parameters):
        """Sends a command and returns its result."""
        with self.changed:
            self.number += 1
            number = self.number
            command = {"id": number, "method": method, "params": parameters}
            text = json.dumps(command | ({"sessionId": session} if session else {}))
            data = text.encode() + b"\0"
            while data:
                data = data[os.write(self.commands, data):]
            there = self.changed.wait_for(
                lambda: self.answers is None or number in self.answers, PATIENCE)
            assert there and self.answers is not None, f"the browser does not answer {method}"
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, address, **look):
        """A new tab at an address."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, target)
        with self.changed:
            self.tabs[session] = tab
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.call(f"{domain}.enable")
        tab.look(**look)
        tab.go(address)
        return tab

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(20)
        except (AssertionError, subprocess.TimeoutExpired, OSError):
            self.process.kill()
            self.process.wait()
        self.reader.join(20)
        os.close(self.commands)
        os.close(self.messages)
        shutil.rmtree(self.profile, ignore_errors=True)


class Tab:
    """A page: what it shows, what it asked for, and what it complained about."""

    def __init__(self, browser, session, target):
        self.browser, self.session, self.target = browser, session, target
        self.requests, self.complaints, self.responses = [], [], []

    def call(self, method, **parameters):
        return self.browser.call(method, session=self.session, **parameters)

    def take(self, method, parameters):
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Network.responseReceived":
            self.responses.append(parameters["response"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(json.dumps(parameters["entry"]))

    def look(self, width=1400, height=1000, scheme="light"):
        """The size of the window and the colours that its user prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": scheme}])

    def before(self, source):
        """Runs a script at the beginning of the pages that are opened from now on."""
        self.call("Page.addScriptToEvaluateOnNewDocument", source=source)

    def go(self, address):
        self.call("Page.navigate", url=address)
        eventually(lambda: self.value("document.readyState") == "complete", PATIENCE)

    def value(self, source):
        """What an expression of JavaScript gives, as JSON can hold it."""
        answer = self.call("Runtime.evaluate", expression=source, returnByValue=True,
                           awaitPromise=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise Failed(f"{source}: {json.dumps(answer['exceptionDetails'])[:2000]}")
        return answer["result"].get("value")

    def text(self, selector="body"):
        """What is to be read there; nothing where it is not."""
        return self.value(
            f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText).join('\\n')")

    def until(self, source, what=None):
        """Waits until an expression is true."""
        return eventually(lambda: self.value(f"!!({source})"), PATIENCE,
                          lambda: f"{what or source}; complaints: {self.complaints}; the page:\n"
                          f"{self.text()[:3000]}")

    def key(self, name, text=None, code=0):
        named = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def screenshot(self, path, whole=True):
        """A picture, as PNG or WebP by the path's end."""
        kind = Path(path).suffix[1:]
        quality = {"quality": 80} if kind == "webp" else {}
        shot = self.call("Page.captureScreenshot", format=kind, captureBeyondViewport=whole, **quality)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def check(self, address):
        """It must have complained of nothing, and asked nobody but this address for its figures."""
        assert self.complaints == []
        asked = {one for one in self.requests if one != "about:blank"}
        assert asked <= {address, address + "stats.json"}, asked

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
