"""The three checks of the incident: exhaustion recovery, connections of each pipeline, backfill
completion. A line PASS, FAIL or LEFT OUT for each, with its figures or the reason; the exit status is 0
if none has failed, and the last line says how many were left out.

    scripts/acceptance [--json FILE]                  with a PostgreSQL and brokers of its own
    scripts/acceptance --host FOLDER [--port NUMBER]  on a deployment of yours, reading only
"""

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "end_to_end")]

import completion  # noqa: E402
import deployment  # noqa: E402
import exhaustion  # noqa: E402
import pipeline_cap  # noqa: E402
from world import start_postgres  # noqa: E402

CHECKS = {
    "exhaustion recovery": exhaustion.check,
    "connections below 10 per pipeline": pipeline_cap.check,
    "backfill completion": completion.check,
}


def main():
    words = argparse.ArgumentParser(description="The incident's three checks.")
    words.add_argument("--json", type=Path, help="a file for the figures")
    deployment.add_options(words)
    given = words.parse_args()
    report = Report()
    if given.host:
        for name, check in deployment.CHECKS.items():
            report.add(name, check(deployment.Deployment(given)))
    else:
        postgres = start_postgres()
        try:
            for name, check in CHECKS.items():
                report.add(name, check(postgres))
        finally:
            postgres.destroy()
    if given.json:
        given.json.write_text(json.dumps(report.parts, indent=2) + "\n")
    sys.exit(report.end())


class Report:
    """What each part of each check came to, told as it comes."""

    def __init__(self):
        self.parts, self.failed, self.left_out = {}, 0, 0

    def add(self, name, parts):
        """parts: (title, figures, what is wrong), or (title, None, why it was left out)."""
        for title, figures, wrong in parts:
            if figures is None:
                self.left_out += 1
                self.parts[f"{name}, {title}"] = {"left out": wrong}
                print(f"LEFT OUT  {name} ({title}): {wrong}", flush=True)
                continue
            self.failed += bool(wrong)
            self.parts[f"{name}, {title}"] = {"passed": not wrong, "wrong": wrong, **figures}
            print(f"{'FAIL' if wrong else 'PASS'}  {name} ({title}): "
                  + ", ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
            for one in wrong:
                print(f"      {one}", flush=True)

    def end(self):
        """Tells the sum; returns the exit status."""
        done = len(self.parts) - self.left_out
        print(f"{done - self.failed} of {done} passed"
              + (f", {self.left_out} left out" if self.left_out else ""), flush=True)
        return 1 if self.failed or not done else 0


if __name__ == "__main__":
    main()
