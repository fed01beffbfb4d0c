# SPDX-License-Identifier: Apache-2.0
"""What is counted of a run: processor time, memory and system calls of a pooler, latencies, and the machine it was on."""

import contextlib
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
from pathlib import Path

from harness.waiting import eventually, pause

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Cannot(Exception):
    """A way cannot do what it is asked to; the text says why."""


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def latencies(milliseconds):
    """The percentiles that are told."""
    return {"p50_ms": percentile(milliseconds, 0.5), "p99_ms": percentile(milliseconds, 0.99),
            "p999_ms": percentile(milliseconds, 0.999)}


def spread(values):
    ordered = sorted(values)
    return {"median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1]}


def summary(runs):
    """Each figure of the runs, with its spread; why, where no run came to its end."""
    good = [one for one in runs if "cannot" not in one]
    if not good:
        return dict(runs[0])
    found = {}
    for name in good[0]:
        values = [one[name] for one in good if one.get(name) is not None]
        if values:
            found[name] = spread(values)
    return found


def jain(counts):
    """1: all have as much; 1/n: one has everything."""
    squares = len(counts) * sum(count * count for count in counts)
    return sum(counts) ** 2 / squares if squares else 0.0


# Processes.

def tree(pid):
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def processor_time(pid):
    """Seconds in user and in kernel mode of a process and of all that it has started.

    The kernel's ticks say how they are shared, its scheduler how many there are, to the nanosecond.
    """
    user = system = exact = 0.0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            own_user, own_system, gone_user, gone_system = (int(word) * TICK for word in fields[11:15])
            user, system = user + own_user + gone_user, system + own_system + gone_system
            exact += gone_user + gone_system
            for task in Path(f"/proc/{one}/task").iterdir():
                with contextlib.suppress(OSError):
                    exact += int((task / "schedstat").read_text().split()[0]) / 1e9
    return user, system, exact or user + system


class Meter:
    """Processor time of a pooler between two moments; none of one that has no process."""

    def __init__(self, pooler):
        self.pid = pooler.process.pid if pooler.process else None
        self.before = self.after = None

    def start(self):
        self.before = processor_time(self.pid) if self.pid else None

    def stop(self):
        self.after = processor_time(self.pid) if self.pid else None

    def each(self, count):
        """Microseconds for each of so many transactions."""
        if not self.pid or not count:
            return {"cpu_us": None, "user_us": None, "system_us": None}
        user, system, exact = (late - early for late, early in zip(self.after, self.before))
        in_user = user / (user + system) if user + system else 0.5
        return {"cpu_us": exact * 1e6 / count, "user_us": exact * in_user * 1e6 / count,
                "system_us": exact * (1 - in_user) * 1e6 / count}


def memory(pid):
    """Bytes of a process and of all that descend from it; what they share counts once."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            path = Path(f"/proc/{one}")
            try:
                found = re.search(r"^Pss:\s+(\d+) kB", (path / "smaps_rollup").read_text(), re.MULTILINE)
            except PermissionError:
                found = None
            found = found or re.search(r"VmRSS:\s+(\d+) kB", (path / "status").read_text())
            total += int(found.group(1)) * 1024 if found else 0
    return total


# System calls.

@contextlib.contextmanager
def system_calls(pid, folder):
    """Counts the system calls of a process and of those it starts; the list has the count at the end."""
    path, counted = Path(folder) / "calls", []
    path.unlink(missing_ok=True)
    pids = tree(pid)
    if shutil.which("perf"):
        words = ["perf", "stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-o", str(path),
                 "-p", ",".join(map(str, pids))]
    elif shutil.which("strace"):
        words = ["strace", "-f", "-c", "-o", str(path)] + [word for one in pids for word in ("-p", str(one))]
    else:
        raise Cannot("neither perf nor strace is installed")
    counter = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    try:
        # Neither says when it has begun; perf has opened its events, strace stops the process for a moment.
        eventually(lambda: counter.poll() is not None or attached(counter.pid, pid), 5)
        pause(0.05)
        yield counted
    finally:
        counter.send_signal(signal.SIGINT)
        told = counter.communicate(timeout=20)[1]
    text = path.read_text() if path.exists() else ""
    found = re.search(r"^(\d+);", text, re.MULTILINE) or re.search(
        r"^100\.00\s+\S+\s+\S+\s+(\d+)\s.*total$", text, re.MULTILINE)
    if not found:
        raise Cannot(f"{words[0]} counts nothing: {(told or text).strip()[-100:]}")
    counted.append(int(found.group(1)))


def attached(counter, pid):
    with contextlib.suppress(OSError):
        if any("perf_event" in os.readlink(one) for one in Path(f"/proc/{counter}/fd").iterdir()):
            return True
        return f"TracerPid:\t{counter}\n" in Path(f"/proc/{pid}/status").read_text()
    return False


# The machine.

def machine():
    processors = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", processors)
    size = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return {"processors": os.cpu_count(), "processor": model.group(1) if model else platform.machine(),
            "memory_gb": round(int(size.group(1)) / 1024 ** 2, 1) if size else None,
            "kernel": platform.release(), "load_before": round(os.getloadavg()[0], 2)}


def version(command):
    """What a program says of its version: the first number with a point in it."""
    try:
        told = subprocess.run([*map(str, command), "--version"], capture_output=True, text=True).stdout
    except OSError:
        return None
    found = re.search(r"\d+\.[\w.~]+", told)
    return found.group(0) if found else told.strip() or None
