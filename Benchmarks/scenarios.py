# SPDX-License-Identifier: Apache-2.0
"""What happens on bad days, the same for every way: each plays on a pooler of its own and gives its figures by name."""

import contextlib
import os
import signal
import threading
import time
from typing import NamedTuple

import crowd
from figures import Cannot, jain, latencies, memory, percentile, processor_time
from harness import direct, wire
from harness.bursts import Burst
from harness.faucet import Faucet
from harness.waiting import eventually, pause
from throng import Offered, Throng

WITHOUT = "each client has a connection of its own"
PROCESSES = "a process for each client"
OF_RELAY = "how a client comes to the broker is not how it leases: see pglease"


class Scene(NamedTuple):
    """How large it is."""

    seconds: float
    quick: bool

    def size(self, full, quick):
        return quick if self.quick else full


class Scenario:
    name = ""
    title = ""
    settings = {}
    # The ways that do not play it, and why.
    left_out = {}

    def play(self, way, postgres, scene):
        """Its figures."""
        if way.key in self.left_out:
            raise Cannot(f"left out: {self.left_out[way.key]}")
        with self.stage(way, postgres) as pooler:
            return self.act(way, pooler, postgres, scene)

    @contextlib.contextmanager
    def stage(self, way, postgres, **named):
        """A pooler of its own for as long as the scenario lasts."""
        pooler = way.fresh(postgres, self.settings, **named)
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.destroy()

    def act(self, way, pooler, postgres, scene):
        raise NotImplementedError


class ColdBurst(Scenario):
    name = "burst"
    title = "32 clients with a query of 50 ms each come at once to an empty pool of 10; a connect takes 150 ms"
    left_out = {"lease": OF_RELAY, "direct": f"{WITHOUT}, and waits for it"}
    clients, delay = 32, 0.15

    @contextlib.contextmanager
    def stage(self, way, postgres, **named):
        faucet = Faucet(postgres.socket_path)
        faucet.delay = self.delay
        try:
            place = {"*": f"host=127.0.0.1 port={faucet.port}"}
            with super().stage(way, postgres, databases=place) as pooler:
                pooler.faucet = faucet
                yield pooler
        finally:
            faucet.close()

    def act(self, way, pooler, postgres, scene):
        return {**self.times(pooler), "connections": pooler.faucet.accepted}

    def times(self, pooler):
        with Throng(pooler, self.clients) as throng:
            began = time.perf_counter()
            throng.enter()
            login = time.perf_counter() - began
            answers = [login + at for at in throng.ask("SELECT pg_sleep(0.05)")]
        return {"login_ms": login * 1000, "first_ms": answers[0] * 1000,
                "p50_ms": percentile(answers, 0.5) * 1000, "last_ms": answers[-1] * 1000}


class Oversubscription(Scenario):
    name = "oversubscription"
    title = "100 clients of three groups (60, 30, 10) at 10 connections, each query 5 ms"
    left_out = {"direct": WITHOUT, "lease": OF_RELAY}
    groups = ("batch",) * 6 + ("web",) * 3 + ("cron",)

    def stage(self, way, postgres, **named):
        # The others have no groups that could be told of.
        if way.has_groups:
            named["groups"] = {group: f"match={group}" for group in sorted(set(self.groups))}
        return super().stage(way, postgres, **named)

    def act(self, way, pooler, postgres, scene):
        with Throng(pooler, 100, self.groups) as throng:
            throng.enter()
            found = throng.repeat("SELECT pg_sleep(0.005)", max(1.5, 2 * scene.seconds))
        every = [one for times in found.values() for one in times]
        waits = latencies([max(0.0, one - 5) for one in every])
        return {"jain": jain([len(found.get(group, [])) for group in ("batch", "web", "cron")]),
                "p50_wait_ms": waits["p50_ms"], "p99_wait_ms": waits["p99_ms"],
                "p99_wait_of_cron_ms": max(0.0, (percentile(found.get("cron", []), 0.99) or 0) - 5),
                "answers": len(every)}


class Restart(Scenario):
    name = "restart"
    title = "PostgreSQL is started anew under 16 clients that ask every 20 ms: until 99 % is answered again"
    left_out = {"lease": OF_RELAY}

    def act(self, way, pooler, postgres, scene):
        offered, is_over = Offered(pooler, 16), threading.Event()
        failed = []

        def ask():
            try:
                offered.run(is_over.is_set)
            except Exception as error:  # noqa: BLE001 - told below
                failed.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        try:
            pause(1.2)
            begun = time.perf_counter()
            postgres.restart(signal.SIGINT)
            up = time.perf_counter()
            limit = up + scene.size(20, 8)

            def is_good():
                return failed or time.perf_counter() > limit or offered.until_good(
                    begun, (begun - 0.8, begun), time.perf_counter()) is not None
            eventually(is_good, 60, every=0.1)
            end = time.perf_counter()
        finally:
            is_over.set()
            asking.join(30)
            offered.throng.__exit__()
        if failed:
            raise Cannot(str(failed[0]))
        found = offered.until_good(begun, (begun - 0.8, begun), end)
        if found is None:
            raise Cannot(f"not 99 % again {end - up:.0f} s after PostgreSQL was up")
        return {"until_good_s": found, "behind_postgres_s": max(0.0, found - (up - begun)),
                "failures": offered.errors}


class KilledHolder(Scenario):
    name = "killed"
    title = "kill -9 of the client that holds the only connection: until another has its answer"
    settings = {"default_pool_size": 1, "reserve_pool_size": 0}
    left_out = {"direct": WITHOUT}

    def act(self, way, pooler, postgres, scene):
        return {"until_served_ms": percentile(
            [self.once(way, pooler) * 1000 for _ in range(scene.size(7, 3))], 0.5)}

    def once(self, way, pooler):
        with pooler.wire() as behind:
            ready, told = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    self.hold(way, pooler, told)
                finally:
                    os._exit(1)
            try:
                os.close(told)
                if os.read(ready, 1) != b"h":
                    raise Cannot("the holder has no connection")
                behind.send(wire.query("SELECT 1"))
                pause(0.1)
                if not behind.silent_for(0):
                    raise Cannot("the other client was served beside the holder")
            finally:
                began = time.perf_counter()
                os.kill(child, signal.SIGKILL)
                os.close(ready)
                os.waitpid(child, 0)
            behind.until_ready()
            return time.perf_counter() - began

    def hold(self, way, pooler, told):
        if way.key == "lease":
            one = direct.Client(pooler.socket_path).start("app", "app")
            end = one.lease()
            end.query("BEGIN")
        else:
            one = pooler.wire()
            one.query("BEGIN")
            one.query("SELECT 1")
        os.write(told, b"h")
        signal.pause()


class IdleClients(Scenario):
    name = "idle"
    title = "10,000 clients that do nothing (2,000 with --quick; 200 without a pooler)"
    left_out = {"lease": OF_RELAY, "pgagroal": PROCESSES}

    def act(self, way, pooler, postgres, scene):
        count = scene.size(10_000, 2_000) if way.has_process else 200
        pid = pooler.pid if way.has_process else postgres.process.pid
        with Throng(pooler, 100) as some:
            some.enter()
            some.ask("SELECT 1", 60)
            before = memory(pid)
            with Throng(pooler, count) as many:
                many.enter(120)
                each = (memory(pid) - before) / count
                earlier = processor_time(pid)
                pause(max(1.0, scene.seconds))
                later = processor_time(pid)
        return {"clients": count, "bytes_each": each,
                "cpu_percent": (later[2] - earlier[2]) / max(1.0, scene.seconds) * 100}


class Vanish(Scenario):
    name = "vanish"
    title = "1,000 clients that wait vanish at once: until the one behind them has its answer"
    settings = crowd.SETTINGS
    left_out = {"direct": WITHOUT, "lease": OF_RELAY, "pgagroal": PROCESSES}

    def act(self, way, pooler, postgres, scene):
        times = [crowd.once(pooler, 1_000, False, crowd.waiting if way.has_console else None) for _ in range(scene.size(3, 1))]
        return {"until_served_ms": percentile([one[0] for one in times], 0.5)}


class NestedLeases(Scenario):
    name = "nested"
    title = "11 threads of one process that take three connections, one within the other, at 5 + 3"
    settings = {"default_pool_size": 5, "reserve_pool_size": 3, "query_wait_timeout": 8}
    left_out = {"lease": OF_RELAY}

    def act(self, way, pooler, postgres, scene):
        bursts = []
        for seed in range(scene.size(3, 1)):
            burst = Burst(pooler.dsn(), 11, 0.03, seed=seed)
            running = threading.Thread(target=burst.run, daemon=True)
            running.start()
            running.join(12)
            if running.is_alive():
                raise Cannot("threads still wait after 12 s, behind their deadline of 8 s")
            bursts.append(burst)
            if burst.errors:
                break
        return {"stood_still": sum(bool(one.errors) for one in bursts) / len(bursts),
                "errors": sum(len(one.errors) for one in bursts) / len(bursts),
                "took_s": percentile([one.took for one in bursts], 0.5)}


class Logins(Scenario):
    name = "logins"
    title = "5,000 clients (1,000 with --quick) come at once: until all are in"
    left_out = {"lease": OF_RELAY, "direct": PROCESSES, "pgagroal": PROCESSES}

    def act(self, way, pooler, postgres, scene):
        count = scene.size(5_000, 1_000)
        with Throng(pooler, 1) as first:
            first.enter()
            first.ask("SELECT 1")
            before = processor_time(pooler.pid)
            with Throng(pooler, count) as throng:
                times = throng.enter(60)
            after = processor_time(pooler.pid)
        return {"clients": count, "all_in_s": times[-1], "cpu_us_each": (after[2] - before[2]) * 1e6 / count}


ALL = {one.name: one for one in (ColdBurst(), Oversubscription(), Restart(), KilledHolder(), IdleClients(), Vanish(),
                                 NestedLeases(), Logins())}
