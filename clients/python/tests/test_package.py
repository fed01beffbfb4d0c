# SPDX-License-Identifier: Apache-2.0
"""The package as a user gets it."""

import ast
import graphlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that `pip install ./clients/python` fills; without an index, as offline."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
        "--no-build-isolation", "--disable-pip-version-check", "--root-user-action=ignore",
        "--target", folder, copied(tmp_path_factory.mktemp("source")))
    return folder


def copied(folder):
    """The package's files: building leaves things behind that the repository must not get."""
    import shutil
    shutil.copytree(PACKAGE, folder / "python", ignore=shutil.ignore_patterns(
        "tests", "__pycache__", "*.egg-info", "build"))
    return folder / "python"


def test_it_installs_and_has_no_compiled_part(installed):
    assert (installed / "pglease/py.typed").exists()
    files = {path.name for path in (installed / "pglease").glob("*.py")}
    assert files == {path.name for path in (PACKAGE / "src/pglease").glob("*.py")}
    assert not list(installed.rglob("*.so"))
    (info,) = importlib.metadata.distributions(name="pglease", path=[str(installed)])
    assert {"psycopg2", "psycopg", "asyncpg"} <= set(info.metadata.get_all("Provides-Extra"))
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    said = run(sys.executable, "-c", "import pglease, pglease.psycopg2_pool as one, "
               "pglease.psycopg_pool as two, pglease.asyncpg_pool; print(pglease.__version__, one.__file__)",
               env=environment, cwd=installed)
    assert said.split() == [info.version, str(installed / "pglease/psycopg2_pool.py")]


@pytest.mark.parametrize("module,driver", [
    ("pglease.psycopg2_pool", "psycopg"), ("pglease.psycopg_pool", "psycopg2"),
    ("pglease.psycopg_pool", "psycopg_pool"), ("pglease.asyncpg_pool", "psycopg"),
    ("pglease.psycopg2_pool", "asyncpg")])
def test_each_driver_alone_is_enough(module, driver):
    # None in sys.modules: the import fails as for a package that is not installed.
    run(sys.executable, "-c", f"import sys; sys.modules[{driver!r}] = None; import {module}",
        env={**os.environ, "PYTHONPATH": str(PACKAGE / "src")})


def test_it_is_typed(tmp_path):
    run(sys.executable, "-m", "mypy", "--cache-dir", tmp_path, cwd=PACKAGE)


@pytest.mark.parametrize("folder", [PACKAGE, PACKAGE.parents[1]], ids=["client", "tests and tools"])
def test_it_reads_as_agreed(folder):
    """Rules are in clients/python/pyproject.toml and, for all other Python here, in ruff.toml."""
    run(sys.executable, "-m", "ruff", "check", "--no-cache", "--quiet", "--output-format", "concise", folder)


def test_a_users_program_is_typed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""\
from pglease.psycopg2_pool import LeasePool
from pglease.psycopg_pool import ConnectionPool

pool = LeasePool(1, 5, "host=/run/pglease port=6432", wait=2)
with pool.lease("a.purpose") as connection:
    reveal_type(connection)
with ConnectionPool("host=/run/pglease port=6432") as other:
    with other.connection() as one:
        reveal_type(one)
""")
    said = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", program,
               env={**os.environ, "MYPYPATH": str(PACKAGE / "src")}, cwd=tmp_path)
    assert '"psycopg2._psycopg.connection"' in said
    assert '"psycopg.connection.Connection[' in said


def test_no_module_imports_itself_in_a_circle():
    """Imports under TYPE_CHECKING count as well."""
    modules = {path.stem: path for path in (PACKAGE / "src/pglease").glob("*.py")}
    graph = {}
    for name, path in modules.items():
        graph[name] = found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                found |= {node.module} if node.module else {one.name for one in node.names}
    assert graph["_book"] >= {"_link", "_turn"} and set().union(*graph.values()) <= set(modules)
    graphlib.TopologicalSorter(graph).prepare()
