# SPDX-License-Identifier: Apache-2.0
"""scripts/bench: every ratio has a stable name, and a way that cannot says so."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from harness.pooler import REPOSITORY, pglease_binary

pytestmark = pytest.mark.pglease_only

FIGURES = ("throughput", "p50", "p99", "p999")
OF_A_POOLER = ("cpu", "user", "system", "memory")
SCENARIO = "killed"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of a second for each way: the document, the folder with the other outputs, and what was printed."""
    folder = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [sys.executable, "Benchmarks/complete.py", "--quick", "--only", f"select.simple,copy.in,{SCENARIO}",
         "--clients", "2", "--rounds", "1", "--seconds", "1", "--json", folder / "all.json",
         "--markdown", folder / "all.md", "--svg", folder / "all.svg"],
        cwd=REPOSITORY, env=os.environ | {"PGLEASE_BIN": pglease_binary()}, capture_output=True, text=True,
        timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "all.json").read_text()), folder, done.stdout


def expected():
    """The names that docs/benchmarks.md promises for such a run."""
    for load, lease in (("select.simple", False), ("copy.in", True)):
        for figure in FIGURES:
            yield f"{load}.2.{figure}.of_direct"
            yield f"{load}.2.{figure}.pgbouncer.of_direct"
            if lease:
                yield f"{load}.2.{figure}.lease.of_direct"
        for figure in FIGURES + OF_A_POOLER[:1] + OF_A_POOLER[3:]:
            yield f"{load}.2.{figure}.of_pgbouncer"
            if lease:
                yield f"{load}.2.{figure}.lease.of_pgbouncer"
    yield f"{SCENARIO}.until_served_ms.of_pgbouncer"


def test_every_ratio_has_its_name(run):
    results = run[0]
    assert [name for name in expected() if name not in results["ratios"]] == []
    for name, ratio in results["ratios"].items():
        assert 0 <= ratio["least"] <= ratio["median"] <= ratio["most"], name
    assert results["ratios"]["select.simple.2.throughput.of_direct"]["median"] > 0


def test_figures_say_what_was_measured(run):
    results = run[0]
    assert set(results["loads"]) == {"select.simple", "copy.in"}
    relayed = results["loads"]["select.simple"]["2"]["pglease"]
    assert relayed["throughput"]["median"] > 0 and relayed["cpu_us"]["median"] > 0
    assert relayed["memory"]["median"] > 1_000_000
    assert "cpu_us" not in results["loads"]["select.simple"]["2"]["direct"]
    assert "lease" not in results["loads"]["select.simple"]["2"], "pgbench has no direct leases"
    assert results["scenarios"][SCENARIO]["lease"]["until_served_ms"] > 0
    assert results["versions"]["PostgreSQL"] and results["versions"]["pgbouncer"]


def test_a_way_that_does_not_take_part_says_why(run):
    results, folder, printed = run
    assert results["scenarios"][SCENARIO]["direct"]["cannot"].startswith("left out: ")
    assert "left out: each client has a connection of its own" in printed
    assert (folder / "all.md").read_text().strip() == printed.strip()


def test_the_plot_is_a_picture_of_each_load(run):
    picture = ElementTree.parse(run[1] / "all.svg").getroot()
    words = ["".join(one.itertext()) for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "select.simple" in words and "copy.in" in words and "2 clients" in words
    assert "prefers-color-scheme: dark" in (run[1] / "all.svg").read_text()


def test_the_names_of_the_documentation_are_those_of_the_program():
    sys.path[:0] = [str(REPOSITORY / part) for part in ("Benchmarks", "clients/python/src")]
    try:
        import loads
        import report
        import scenarios
    finally:
        del sys.path[:2]
    text = (REPOSITORY / "docs/benchmarks.md").read_text()
    for name in [*loads.find(), *scenarios.ALL, *report.FIGURES]:
        assert f"`{name}`" in text, f"docs/benchmarks.md does not know {name}"
    assert report.ratio_name("select.simple", 8, "cpu", "pglease", "pgbouncer") == "select.simple.8.cpu.of_pgbouncer"
    assert report.ratio_name("copy.in", 8, "p99", "lease", "direct") == "copy.in.8.p99.lease.of_direct"
