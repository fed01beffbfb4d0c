# SPDX-License-Identifier: Apache-2.0
"""Threads and forked processes that report what went wrong in them."""

import concurrent.futures
import os
import pickle
import threading
import traceback

from harness.waiting import eventually


def in_threads(number, work, within=60):
    """Runs work(index) in that many threads; raises the first error of any."""
    errors = []

    def guarded(index):
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(one,), daemon=True) for one in range(number)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(within)
        assert not one.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


class Child:
    """A forked child that runs `work` and sends back what it returns."""

    def __init__(self, work):
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.reading)
                try:
                    answer = ("ok", work())
                except BaseException:
                    answer = ("error", traceback.format_exc())
                os.write(writing, pickle.dumps(answer))
                status = 0
            finally:
                os._exit(status)
        os.close(writing)

    def result(self, within=30):
        """What the child returned; its error is raised here. A child that hangs is ended."""
        status = []

        def ended():
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status.append(code)
            return bool(pid)

        try:
            eventually(ended, within, "the child's end")
        except AssertionError:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            raise
        finally:
            with os.fdopen(self.reading, "rb") as pipe:
                raw = pipe.read() if status else b""
        assert status == [0], f"the child ended with {status}"
        kind, value = pickle.loads(raw)
        assert kind == "ok", f"in the child:\n{value}"
        return value


def in_child(work, within=30):
    return Child(work).result(within)


def elsewhere(call, *arguments, **words):
    """What the call gives, made in a thread of its own: whoever waits later is another one."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(call, *arguments, **words).result()
