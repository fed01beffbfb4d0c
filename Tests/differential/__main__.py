# SPDX-License-Identifier: Apache-2.0
"""Command line of the differential test: see scripts/differential."""

import argparse
import collections
import dataclasses
import multiprocessing
import os
import queue
import re
import signal
import sys
import time
import traceback

from . import compare
from .generator import THEMES, generate
from .lane import Hang, Lane, Options, cluster
from .program import transcript
from .shrink import shrink

# Of each sort of difference so many are shrunk by each process; of the others the first words tell enough.
SHRUNK_OF_EACH = 2
SECONDS_TO_SHRINK = 30


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/differential", description=__doc__)
    parser.add_argument("--seeds", default="1-1000", help="FIRST-LAST")
    parser.add_argument("--except", dest="left_out", default="", metavar="SEED,…",
                        help="without these")
    parser.add_argument("--programs", type=int, help="how many, from the first seed on")
    parser.add_argument("--replay", type=int, help="one seed only")
    parser.add_argument("--bin", help="the pglease to try (default: $PGLEASE_BIN or .build/debug)")
    parser.add_argument("--mode", choices=["transaction", "session", "direct"],
                        default="transaction", help="direct: two connections without a broker")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--pool", type=int, default=2)
    parser.add_argument("--busy", type=int, default=3)
    parser.add_argument("--no-clean", dest="clean", action="store_false",
                        help="without the look at what was left behind")
    parser.add_argument("--clean", action="store_true", default=True)
    parser.add_argument("--themes", help=f"only these: {', '.join(THEMES)}")
    parser.add_argument("--busy-themes", help="what the busy clients do (default: as the programs)")
    parser.add_argument("--within", type=float, default=8, help="seconds until an answer is late")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting of the broker")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    parser.add_argument("--stop-after", type=int, default=10**9, help="this many differences")
    parser.add_argument("--verbose", action="store_true", help="print each program")
    return parser.parse_args()


def listed(text):
    return tuple(text.split(",")) if text else None


def report(program, differences):
    return "\n".join([transcript(program), *("   " + one.text(program) for one in differences)])


def sort_of(difference):
    """What differences of one sort have in common: all but numbers and the program."""
    return re.sub(r"\d+", "N", f"{difference.kind}: {difference.direct[:90]} | "
                               f"{difference.pooled[:120]}")


def shrunk(lane, program, differences):
    """The smallest program that still differs in this way, and how it differs."""
    kept, until = differences, time.monotonic() + SECONDS_TO_SHRINK

    def differs(candidate):
        nonlocal kept
        if time.monotonic() > until:
            return False
        try:
            found = [one for one in lane.run(candidate) if one.kind == differences[0].kind]
        except Hang:
            return False
        kept = found or kept
        return bool(found)

    options = lane.options
    lane.options = dataclasses.replace(options, within=min(options.within, 1.5))
    try:
        return shrink(program, differs), kept
    finally:
        lane.options = options


def try_seed(lane, seed, seen):
    """The differences of a seed's program, shrunk; None when there are none."""
    program = generate(seed, lane.options.themes)
    differences = lane.run(program)
    if not differences:
        return None
    sort = sort_of(differences[0])
    whole = report(program, differences) + "\n" + "\n".join(lane.trace)
    seen[sort] += 1
    smallest, found = (program, differences) if seen[sort] > SHRUNK_OF_EACH else \
        shrunk(lane, program, differences)
    return {"seed": seed, "labels": " + ".join(step.label for step in smallest.steps),
            "sort": sort_of(found[0]), "text": report(smallest, found), "whole": whole}


def work(number, clusters, options, given, seeds, results, stop):
    """A process: takes seeds until there are none."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lane = None
    try:
        lane = Lane(number, clusters, options, compare.load_reasons())
        seen = collections.Counter() if given.shrink else collections.defaultdict(lambda: 10**6)
        while not stop.is_set():
            try:
                seed = seeds.get_nowait()
            except queue.Empty:
                break
            try:
                results.put((seed, try_seed(lane, seed, seen)))
            except Exception:
                results.put((seed, {"seed": seed, "labels": "", "sort": "tool",
                                    "text": f"seed {seed}\n{traceback.format_exc()}", "whole": ""}))
                lane.destroy()
                lane = Lane(f"{number}_{seed}", clusters, options, compare.load_reasons())
        used = {one.id: one.used for one in lane.reasons if one.used}
        results.put((None, used))
    except Exception:
        results.put((None, {"error": traceback.format_exc()}))
    finally:
        if lane:
            lane.destroy()


def main():
    given = arguments()
    if given.bin:
        os.environ["PGLEASE_BIN"] = os.path.abspath(given.bin)
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    left_out = {int(seed) for seed in given.left_out.split(",") if seed}
    if given.programs:
        seeds = range(int(first), int(first) + given.programs)
    if given.replay is not None:
        seeds, given.jobs = range(given.replay, given.replay + 1), 1
    seeds = [seed for seed in seeds if seed not in left_out]
    options = Options(given.mode, given.pool, given.busy, given.clean, listed(given.themes),
                      listed(given.busy_themes or given.themes), given.within,
                      tuple(tuple(one.split("=", 1)) for one in given.set))
    if given.verbose:
        for seed in seeds:
            print(transcript(generate(seed, options.themes)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    clusters = cluster(), cluster()
    try:
        return run(given, seeds, options, clusters)
    finally:
        for each in clusters:
            each.destroy()


def run(given, seeds, options, clusters):
    waiting, results = multiprocessing.Queue(), multiprocessing.Queue()
    stop = multiprocessing.Event()
    # A run that is ended does not wait until somebody has read what is queued.
    waiting.cancel_join_thread()
    for seed in seeds:
        waiting.put(seed)
    jobs = min(given.jobs, len(seeds))
    started = time.monotonic()
    workers = [multiprocessing.Process(
        target=work, args=(number, clusters, options, given, waiting, results, stop), daemon=True)
        for number in range(jobs)]
    for each in workers:
        each.start()
    found, used, done, ended = collections.defaultdict(list), collections.Counter(), 0, 0
    while ended < jobs:
        seed, result = results.get()
        if seed is None:
            ended += 1
            if "error" in result:
                print(result["error"])
                found["tool"].append(result)
            else:
                used.update(result)
            continue
        done += 1
        if result:
            found[result["sort"]].append(result)
            if len(found[result["sort"]]) == 1 or given.verbose:
                print(f"\n== {result['text']}", flush=True)
                if given.verbose:
                    print(f"-- as it was drawn\n{result['whole']}")
            if sum(map(len, found.values())) >= given.stop_after:
                stop.set()
    for each in workers:
        each.join()
    seconds = time.monotonic() - started
    summary(found, used)
    differing = sum(map(len, found.values()))
    print(f"{done} programs, {differing} differ ({len(found)} kinds), "
          f"{done / seconds:.1f} programs/s")
    return 1 if differing else 0


def summary(found, used):
    if found:
        print("\n== kinds, the most frequent first")
    for sort, results in sorted(found.items(), key=lambda each: -len(each[1])):
        seeds = ", ".join(str(one.get("seed")) for one in results[:4])
        print(f"{len(results):5}  {sort}  (seeds {seeds})")
        smallest = min(results, key=lambda one: len(one.get("labels", "")))
        print(f"       by {smallest.get('labels')}")
    for name, count in used.most_common():
        print(f"       reason {name}: {count} times")


if __name__ == "__main__":
    sys.exit(main())
