# SPDX-License-Identifier: Apache-2.0
"""What `--chaos` does, step by step: each `yield` gives the demo a turn until a condition holds."""

import os
import signal
import time

# What PostgreSQL has for a fast shutdown, in seconds. It waits for every replication stream to
# confirm all it was sent or to end; the pipelines, which cannot write to this same server any more,
# end theirs.
PATIENCE = 30


class Chaos:
    """Kills a backfill worker and a pipeline, restarts PostgreSQL; in that order, as the jobs go."""

    def __init__(self, cluster, services, watcher, say):
        self.cluster, self.services, self.watcher, self.say = cluster, services, watcher, say
        self.done = []
        self.is_over = False
        self.steps = self._steps()

    def turn(self):
        """Goes on if what is waited for has come to pass."""
        if not self.is_over and next(self.steps, "end") == "end":
            self.is_over = True

    def _steps(self):
        while self.watcher.seen.part < 0.15:
            yield
        self._kill_backfill()
        while self.watcher.seen.part < 0.35:
            yield
        yield from self._kill_pipeline()
        while self.watcher.seen.part < 0.55:
            yield
        yield from self._restart_postgres()

    def _kill_backfill(self):
        worker = self.services.backfills[0]
        pid = worker.pid
        worker.kill()
        self._did(f"kill -9 of {worker.name} (pid {pid}); its jobs go on in 5 s")
        # What a service manager would do.
        worker.start()

    def _kill_pipeline(self):
        while not (processes := self.services.pipelines.children()):
            yield
        os.kill(processes[0], signal.SIGKILL)
        self._did(f"kill -9 of a pipeline (pid {processes[0]}); it is started again")
        while processes[0] in self.services.pipelines.children():
            yield

    def _restart_postgres(self):
        self.cluster.stop()
        self._did("PostgreSQL is restarted, by a fast shutdown")
        deadline = time.monotonic() + PATIENCE
        while self.cluster.is_running:
            if deadline and time.monotonic() > deadline:
                self.say("chaos: replication keeps the fast shutdown waiting: an immediate one")
                self.cluster.stop(signal.SIGQUIT)
                deadline = None
            yield
        self.cluster.launch()
        while not self.cluster.accepts():
            yield
        self.say("chaos: PostgreSQL is back")

    def _did(self, text):
        part = self.watcher.seen.part
        self.done.append(text)
        self.say(f"chaos at {part:.0%}: {text}")
