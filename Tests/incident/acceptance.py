# SPDX-License-Identifier: Apache-2.0
"""The three checks of the incident: exhaustion recovery, connections of each pipeline, backfill
completion. A line PASS, FAIL or LEFT OUT for each, with its figures or the reason; the exit status is 0
if none has failed, and the last line says how many were left out.

    scripts/acceptance [--json FILE]   with a PostgreSQL and brokers of its own
    scripts/acceptance --host FOLDER   on a deployment of yours, reading only: scripts/pglease-acceptance
"""

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "end_to_end")]

import completion  # noqa: E402
import exhaustion  # noqa: E402
import pipeline_cap  # noqa: E402
from report import Report  # noqa: E402
from world import start_postgres  # noqa: E402

CHECKS = {
    "exhaustion recovery": exhaustion.check,
    "connections below 10 per pipeline": pipeline_cap.check,
    "backfill completion": completion.check,
}


def main():
    words = argparse.ArgumentParser(description="The incident's three checks.")
    words.add_argument("--json", type=Path, help="a file for the figures")
    given = words.parse_args()
    report = Report()
    postgres = start_postgres()
    try:
        for name, check in CHECKS.items():
            report.add(name, check(postgres))
    finally:
        postgres.destroy()
    if given.json:
        given.json.write_text(json.dumps(report.parts, indent=2) + "\n")
    sys.exit(report.end())


if __name__ == "__main__":
    main()
