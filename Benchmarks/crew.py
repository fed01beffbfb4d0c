# SPDX-License-Identifier: Apache-2.0
"""Processes of several threads, all of which begin at once and repeat their work until the time is up."""

import contextlib
import multiprocessing
import threading
import time
from typing import NamedTuple

from figures import Cannot

SPARE = 60  # seconds that a process may be late


class Done(NamedTuple):
    """Repetitions of each process, milliseconds of each repetition, and the seconds that all took."""

    counts: list
    milliseconds: list
    seconds: float


def run(processes, threads, enter, seconds=None, repeats=None, begins=None, ends=None):
    """`enter(threads)` is called in each process; its answer's `client()` in each thread, a context that gives what is
    repeated, for so many seconds or so many times; `close()` at the end. `begins` and `ends` are called when all are
    ready and when all have done their work, before anything is closed.
    """
    context = multiprocessing.get_context("fork")
    each = []
    try:
        for number in range(processes):
            ours, theirs = context.Pipe()
            # The first ones have one more, where they cannot all have as many.
            share = threads if isinstance(threads, int) else threads[number]
            one = context.Process(target=_process, args=(theirs, share, enter, seconds, repeats), daemon=True)
            one.start()
            theirs.close()
            each.append((one, ours))
        for _, pipe in each:
            _told(pipe, SPARE)
        if begins:
            begins()
        for _, pipe in each:
            pipe.send("go")
        began = time.perf_counter()
        answers = [_told(pipe, (seconds or 0) + SPARE) for _, pipe in each]
        took = time.perf_counter() - began
        if ends:
            ends()
        for _, pipe in each:
            pipe.send("end")
        for one, _ in each:
            one.join(SPARE)
    finally:
        for one, pipe in each:
            pipe.close()
            if one.is_alive():
                one.kill()
                one.join()
    return Done([len(times) for times in answers], [one * 1000 for times in answers for one in times], took)


def shares(clients, processes):
    """How many threads each process has."""
    processes = min(clients, processes)
    return [clients // processes + (number < clients % processes) for number in range(processes)]


def _told(pipe, within):
    if not pipe.poll(within):
        raise Cannot(f"a client was not done after {within:.0f} s")
    try:
        kind, value = pipe.recv()
    except EOFError:
        raise Cannot("a client process has died") from None
    if kind == "error":
        raise Cannot(value)
    return value


def _process(pipe, threads, enter, seconds, repeats):
    times, errors = [], []
    ready, go = threading.Barrier(threads + 1), threading.Event()

    def thread():
        own = []
        try:
            with application.client() as repeat:
                repeat()
                ready.wait(SPARE)
                go.wait()
                until, left = time.perf_counter() + (seconds or 1e9), repeats or -1
                now = time.perf_counter()
                while now < until and left:
                    repeat()
                    then, now = now, time.perf_counter()
                    own.append(now - then)
                    left -= 1
                times.extend(own)
                ready.wait(SPARE)
                ready.wait(SPARE)
        except threading.BrokenBarrierError:
            pass
        except Exception as error:  # noqa: BLE001 - told to the parent
            errors.append((str(error).strip().splitlines() or [repr(error)])[0])
            ready.abort()

    try:
        application = enter(threads)
        each = [threading.Thread(target=thread, daemon=True) for _ in range(threads)]
        for one in each:
            one.start()
        ready.wait(SPARE)
        pipe.send(("ready", None))
        pipe.recv()
        go.set()
        ready.wait((seconds or 0) + SPARE)
        pipe.send(("done", times))
        pipe.recv()
        ready.wait(SPARE)
        for one in each:
            one.join(SPARE)
        application.close()
    except threading.BrokenBarrierError:
        _tell(pipe, errors[0] if errors else "a client was not done in time")
    except Exception as error:  # noqa: BLE001 - told to the parent
        _tell(pipe, (str(error).strip().splitlines() or [repr(error)])[0])


def _tell(pipe, error):
    with contextlib.suppress(OSError):
        pipe.send(("error", error))
