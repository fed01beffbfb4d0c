"""The three checks of the incident: exhaustion recovery, connections of each pipeline, backfill
completion. A line PASS or FAIL for each, with its figures; the exit status is 0 if all pass.

    scripts/acceptance [--json FILE]
"""

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "end_to_end")]

import completion  # noqa: E402
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
    given = words.parse_args()
    report, failed = {}, False
    postgres = start_postgres()
    try:
        for name, check in CHECKS.items():
            for title, figures, wrong in check(postgres):
                failed |= bool(wrong)
                report[f"{name}, {title}"] = {"passed": not wrong, "wrong": wrong, **figures}
                print(f"{'FAIL' if wrong else 'PASS'}  {name} ({title}): "
                      + ", ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
                for one in wrong:
                    print(f"      {one}", flush=True)
    finally:
        postgres.destroy()
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
