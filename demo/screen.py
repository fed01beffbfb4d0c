# SPDX-License-Identifier: Apache-2.0
"""How the demo looks: a live table on a terminal, plain lines anywhere else."""

import os
import shutil
import sys
import time

# Signs for a job's state; the words are at most five letters.
WORDS = {
    "PENDING": "wait", "EXECUTING": "run", "COMPLETED": "done", "FAILED": "FAIL",
    "CANCELLED": "cancl"}
ORDER = {"FAILED": 0, "EXECUTING": 1, "PENDING": 2, "COMPLETED": 3, "CANCELLED": 3}


def bytes_text(number):
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


class Plain:
    """A line for each event, and one for the state of things every other second."""

    def __init__(self, clock, limit, every=2.0):
        self.clock, self.limit, self.every = clock, limit, every
        self.last = -every
        self.last_text = ""

    def open(self):
        pass

    def say(self, text):
        print(f"{self.clock} {text}", flush=True)

    def show(self, seen):
        if self.clock.seconds - self.last < self.every:
            return
        running = sum(one.state == "RUNNING" for one in seen.pipelines)
        text = (
            f"jobs {seen.number('COMPLETED')}/{len(seen.jobs)} done, "
            f"{seen.number('EXECUTING')} running; rows {seen.rows}/{seen.total}; "
            f"server connections {seen.connections}/{self.limit}, most {seen.most}; "
            f"leases {seen.leases}, waiting {seen.waiting}; "
            f"pipelines {running}/{len(seen.pipelines)} running")
        if not seen.postgres_is_up:
            text += "; PostgreSQL is away"
        if text != self.last_text:
            self.say(text)
        self.last, self.last_text = self.clock.seconds, text

    def close(self):
        pass


class Live:
    """The whole terminal, drawn anew at each look; the terminal is as it was afterwards."""

    def __init__(self, clock, limit, title, out=sys.stdout):
        self.clock, self.limit, self.title, self.out = clock, limit, title, out
        self.events = []
        self.seen = None
        self.rates = []
        self.is_open = False
        self.colours = "NO_COLOR" not in os.environ
        blocks = "utf" in (out.encoding or "").lower()
        self.full, self.empty, self.dash = ("█", "░", "…") if blocks else ("#", ".", "~")

    def open(self):
        # The alternate screen, and no cursor.
        self.out.write("\x1b[?1049h\x1b[?25l")
        self.is_open = True

    def close(self):
        if self.is_open:
            self.out.write("\x1b[?25h\x1b[?1049l")
            self.out.flush()
            self.is_open = False
            for time_text, text in self.events:
                print(f"{time_text} {text}")

    def say(self, text):
        self.events.append((str(self.clock), text))
        self.draw()

    def show(self, seen):
        self.seen = seen
        self.draw()

    # Drawing.

    def draw(self):
        if not self.is_open:
            return
        width, height = shutil.get_terminal_size((80, 24))
        lines = self.lines(width, height)[:height]
        self.out.write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")
        self.out.flush()

    def lines(self, width, height):
        head = [self._right(f"pglease demo: {self.title}", f"{self.clock}  Ctrl-C ends it", width)]
        if self.seen and self.seen.groups:
            head += self._connections(width) + [""] + self._groups(width) + [""]
            head += self._job_count(width)
        # On a low terminal the jobs are worth more than old events.
        spare = height - len(head)
        kept = max(1, min(len(self.events), 6, spare // 4))
        tail = [self._cut(f"{at} {text.splitlines()[0]}", width)
                for at, text in self.events[-kept:]] if self.events else []
        jobs = self._jobs(width, max(0, spare - len(tail) - 1)) if self.seen else []
        return head + jobs + [""] + [self._paint(line, "2") for line in tail]

    def _connections(self, width):
        seen = self.seen
        numbers = f"{seen.connections} of {self.limit}, most {seen.most}"
        leases = "1 lease" if seen.leases == 1 else f"{seen.leases} leases"
        right, colour = f"{leases}, {seen.waiting} waiting", "0"
        if not seen.postgres_is_up:
            right, colour = "PostgreSQL is away", "31"
        words = "server connections"
        spare = width - len(words) - len(numbers) - len(right) - 4
        if spare < 1:
            return [self._cut(f"{words} {numbers}  {right}", width)]
        length = min(20, spare)
        bar = self._paint(self._bar(seen.connections / self.limit, length), "36")
        space = " " * (spare - length + 2)
        return [f"{words} {bar} {numbers}{space}{self._paint(right, colour)}"]

    def _groups(self, width):
        rows = [self._paint(self._cut(
            f"{'GROUP':18} {'LEASES':>7} {'WAIT':>4} {'STATE':8} {'BEHIND':>7}  DOES NOW", width),
            "1")]
        states = {f"pipeline-{one.name}": one for one in self.seen.pipelines}
        listed = {one.name: one for one in self.seen.groups}
        for name in sorted(listed.keys() | states.keys()):
            group, pipeline = listed.get(name), states.get(name)
            # Processes that do not know their name yet, and this one.
            if pipeline is None and (group.name == "demo" or not group.clients):
                continue
            leases, waiting, purpose = ("0", 0, "")
            if group:
                leases = f"{group.leases} of {group.cap}" if group.cap else f"{group.leases}"
                waiting, purpose = group.waiting, group.purpose
            state, behind = ("", "")
            if pipeline:
                state, behind = pipeline.state, bytes_text(pipeline.behind)
            line = self._cut(
                f"{self._cut(name, 18):18} {leases:>7} {waiting:>4} {state:8} {behind:>7}  "
                f"{purpose}", width)
            rows.append(self._paint(line, "31") if state == "ERROR" else line)
        return rows

    def _job_count(self, width):
        seen = self.seen
        if not seen.jobs:
            return []
        left = (f"jobs: {seen.number('COMPLETED')} of {len(seen.jobs)} done, "
                f"{seen.number('EXECUTING')} running, {seen.number('PENDING')} waiting")
        if seen.number("FAILED"):
            left += f", {seen.number('FAILED')} FAILED"
        right = f"{seen.rows:,} of {seen.total:,} rows{self._rate()}"
        return [self._paint(self._right(left, right, width), "1")]

    def _rate(self):
        """Rows a second over the last five seconds or so."""
        now = time.monotonic()
        self.rates = [(at, rows) for at, rows in self.rates if now - at < 5]
        self.rates.append((now, self.seen.rows))
        (first, before), (last, after) = self.rates[0], self.rates[-1]
        return f", {max(0, after - before) / (last - first):,.0f}/s" if last - first > 1 else ""

    def _jobs(self, width, height):
        """In as many columns of 38 as fit, the running ones first where not all have room."""
        jobs = self.seen.jobs
        columns = max(1, (width + 4) // 42)
        room = columns * height
        if len(jobs) > room:
            jobs = sorted(jobs, key=lambda job: ORDER.get(job.status, 0))[:room]
        rows = -(-len(jobs) // columns) if jobs else 0
        lines = []
        for row in range(rows):
            cells = [self._job(jobs[index]) for index in range(row, len(jobs), rows)]
            lines.append("    ".join(cells))
        return lines

    def _job(self, job):
        part = job.count / job.total if job.total else 0
        word = WORDS.get(job.status, job.status[:5].lower())
        colour = {"COMPLETED": "32", "FAILED": "31", "EXECUTING": "36"}.get(job.status, "2")
        name = self._cut(job.table, 13)
        # A job that was started again shows by how often.
        again = f"x{job.starts}" if job.starts > 1 else ""
        bar = self._paint(self._bar(part, 10), colour)
        return f"{name:13} {bar} {part:>4.0%} {word:5} {again:2}"

    def _bar(self, part, width):
        full = min(width, int(part * width))
        return self.full * full + self.empty * (width - full)

    def _cut(self, text, width):
        return text if len(text) <= width else text[: width - 1] + self.dash

    def _right(self, left, right, width):
        room = width - len(right) - 2
        return f"{self._cut(left, room):{room}}  {right}"

    def _paint(self, text, colour):
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours and colour != "0" else text
