# SPDX-License-Identifier: Apache-2.0
"""What the demo has to show in the end, and whether it is as promised."""

from services import EXHAUSTED

# What the broken things of --chaos leave in the logs: the message, and a part of its detail.
EXPECTED_IN_CHAOS = [("a pipeline's process died", "signal 9")]


class Summary:
    def __init__(self, options, shop, services, storefront, watcher, chaos):
        self.options, self.shop, self.services = options, shop, services
        self.storefront, self.watcher, self.chaos = storefront, watcher, chaos
        self.lines = []
        self.is_good = True

    def add(self, is_good, name, text):
        self.is_good = self.is_good and is_good
        self.lines.append(f"{'ok   ' if is_good else 'WRONG'}  {name + ':':24}{text}")

    def take(self, behind, leases_left):
        """Reads everything once; the workers have ended, the servers run. `behind` names the tables
        that pipelines had not brought in line by the deadline."""
        self._jobs()
        self._rows(behind)
        self._connections(leases_left)
        self._errors()
        if self.chaos:
            self.add(self.chaos.is_over, "chaos", f"{len(self.chaos.done)} of 3 things broken")
        return self

    def _jobs(self):
        jobs = self.watcher.seen.jobs
        completed = [job for job in jobs if job.status == "COMPLETED"]
        text = f"{len(completed)} of {len(jobs)}"
        again = sum(job.starts > 1 for job in jobs)
        if again:
            text += f", {again} of them started again"
        failed = [job for job in jobs if job.status == "FAILED"]
        if failed:
            text += f"; {failed[0].table}: {failed[0].error}"
        self.add(len(completed) == len(jobs), "jobs completed", text)

    def _rows(self, behind):
        names = {name for name, _ in self.shop.job_tables}
        wrong = [name for name in behind if name in names]
        rows = self.shop.count(self.shop.job_tables) if names else 0
        self.add(not wrong and rows == len(names) * self.shop.rows, "rows right",
                 f"{len(names) - len(wrong)} of {len(names)} tables, {rows:,} rows at the warehouse"
                 + (f"; not {', '.join(wrong[:5])}" if wrong else ""))
        live = [name for name, _ in self.shop.live_tables]
        late = [name for name in live if name in behind]
        self.add(not late, "pipelines in sync",
                 f"{len(live) - len(late)} of {len(live)}, after {self.storefront.transactions:,} "
                 "transactions at the source" + (f"; not {', '.join(late)}" if late else ""))

    def _connections(self, leases_left):
        most, limit = self.watcher.seen.most, self.options.connections
        text = f"at most {most} of {limit}, in {self.watcher.looks:,} looks"
        if self.watcher.overlaps:
            text += f" ({self.watcher.overlaps} saw one more, ending)"
        if most > limit:
            text += "".join(f"\n         {row}" for row in self.watcher.at_most)
        self.add(0 < most <= limit, "server connections", text)
        self.add(leases_left == 0, "leases left", str(leases_left))

    def _errors(self):
        exhausted = self.services.exhaustions() + [
            text for _, code, text in self.storefront.errors
            if code in ("53300", "40P01") or EXHAUSTED.search(text)]
        self.add(not exhausted, "exhaustion errors",
                 f"{len(exhausted)}" + (f": {exhausted[0]}" if exhausted else ""))
        errors, expected = [], 0
        for (name, message, detail), number in self.services.errors().items():
            if self.chaos and any(message == one and part in detail
                                  for one, part in EXPECTED_IN_CHAOS):
                expected += number
            else:
                errors.append(f"{name}: {message} {detail} ({number} times)")
        lost = [text for _, _, text in self.storefront.errors]
        if self.chaos:
            expected += len(lost)
        else:
            errors += lost
        badly_ended = {name: status for name, status in self.services.statuses.items() if status}
        errors += [f"{name} ended with {status}" for name, status in badly_ended.items()]
        text = f"{len(errors)}" + (f": {'; '.join(errors[:4])}" if errors else "")
        if expected:
            text += f" (and {expected} that the chaos explains)"
        self.add(not errors, "errors", text)

    def text(self):
        word = "everything as promised" if self.is_good else "NOT as promised"
        return "\n".join(["", *self.lines, "", word])
