# SPDX-License-Identifier: Apache-2.0
"""What README says to type or to write runs as it is printed; only the address is the test's own."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from harness.pooler import REPOSITORY, pglease_binary

from test_life_cycle import embedded  # noqa: F401  (a fixture)

pytestmark = pytest.mark.pglease_only

README = (REPOSITORY / "README.md").read_text()
DOCUMENTS = {name: (REPOSITORY / name).read_text() for name in (
    "README.md", "docs/security.md", "docs/moving.md", "clients/python/README.md",
    "Sources/LeaseClient/README.md", "config/pglease.ini")}


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands():
    """Each line of the sh blocks, without its comment, and each command in the text."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    words = [shlex.split(line, comments=True) for line in lines]
    inline = re.findall(r"`((?:pglease|scripts/\w+|bin/\w+)(?: [^`]+)?)`", README)
    return [one for one in words + [shlex.split(one) for one in inline]
            if one and one != ["pglease"]]


def run(*words, environment=None, **named):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60,
                          env=environment, **named)


@pytest.mark.parametrize("block", blocks("ini"))
def test_an_ini_block_is_accepted(block, tmp_path):
    path = tmp_path / "pglease.ini"
    path.write_text(block)
    done = run(pglease_binary(), "check-config", "--config", path)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr


def test_there_are_blocks_to_try():
    assert blocks("ini") and blocks("python") and blocks("sh") and blocks("sql") and blocks("swift")


def test_the_configurations_that_come_with_it_are_accepted():
    for name in ("pglease.ini", "groups.ini"):
        done = run(pglease_binary(), "check-config", "--config", REPOSITORY / "config" / name,
                   "--database-url", "postgresql://app@db.example/app")
        assert done.returncode == 0, done.stderr


def addressed(text, broker):
    return text.replace("/run/pglease", str(broker.socket_folder)).replace("6432", str(broker.port))


def test_each_command_and_program_runs_after_scripts_run(embedded, tmp_path):  # noqa: F811
    served = embedded.start()
    the_commands(served, tmp_path)
    for document in ("README.md", "clients/python/README.md"):
        the_python_programs(served, document)
    served.stop()


def the_commands(served, tmp_path):
    # The folder that README puts on the PATH, with the build under test in it.
    path = f"{tmp_path}:{Path(pglease_binary()).parent}:{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment |= {"PATH": path, "PGHOST": str(served.socket_folder), "PGPORT": str(served.port)}
    seen = set()
    for words in commands():
        name = words[0]
        if name.startswith(("scripts/", "bin/")):
            assert os.access(REPOSITORY / name, os.X_OK), name
        elif name == "psql":
            done = run(*[addressed(word, served) for word in words], environment=environment)
            assert done.returncode == 0, done.stderr
        elif name == "pglease" and words[1] == "serve":
            rest = [word for word in words[2:] if word != "--replace"]
            if not rest:
                rest = ["--database-url", "postgresql://app@db.example/app"]
            if "--config" in rest:
                rest[rest.index("--config") + 1] = REPOSITORY / "config/groups.ini"
                rest += ["--database-url", "postgresql://app@db.example/app"]
            assert run("pglease", "check-config", *rest, environment=environment).returncode == 0
        elif name == "pglease" and words[1] == "check-config":
            assert run(*words, "--database-url", "postgresql://app@db.example/app",
                       environment=environment).returncode == 0
        elif name == "pglease":
            done = run(*words, *(["--yes"] if "--kill" in words else []), environment=environment)
            # There is no lease 42.
            assert done.returncode == (1 if "--kill" in words else 0), (words, done.stderr)
        else:
            assert name in ("python3", "pip", "ping"), f"README has a command that nobody tries: {words}"
        seen.add(name)
    assert {"psql", "pglease", "scripts/run", "scripts/test"} <= seen


def the_python_programs(served, document):
    for program in blocks("python", DOCUMENTS[document]):
        if document != "README.md" and "LeasePool(1, 5" not in program:
            continue
        done = run(sys.executable, "-c", addressed(program, served), environment=os.environ | {
            "PYTHONPATH": str(REPOSITORY / "clients/python/src")})
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("PostgreSQL ")


def test_the_sql_runs(transaction_broker, connect):
    cursor = connect(transaction_broker).cursor()
    for block in blocks("sql"):
        for statement in re.sub(r"--.*", "", block).split(";"):
            if statement.strip():
                cursor.execute(statement)


def test_lease_from_psycopg2_without_autocommit_says_what_readme_says(transaction_broker, connect):
    connection = connect(transaction_broker, autocommit=False)
    with pytest.raises(psycopg2.Error) as caught:
        connection.cursor().execute("LEASE")
    assert caught.value.pgcode == "25001" and "autocommit = True" in str(caught.value)
    assert "connection.autocommit = True" in README and "25001" in README


def test_the_programs_of_bin_are_this_builds(tmp_path):
    for name in ("pglease", "pglease-workers"):
        program = REPOSITORY / "bin" / name
        assert os.access(program, os.X_OK)
    lonely = tmp_path / "bin"
    lonely.mkdir()
    (lonely / "pglease").write_text((REPOSITORY / "bin/pglease").read_text())
    (lonely / "pglease").chmod(0o755)
    done = run(lonely / "pglease", "version")
    assert done.returncode == 127 and "scripts/run" in done.stderr
    built = tmp_path / ".build/release"
    built.mkdir(parents=True)
    (built / "pglease").write_text("#!/bin/sh\necho built \"$@\"\n")
    (built / "pglease").chmod(0o755)
    assert run(lonely / "pglease", "version").stdout == "built version\n"


def words_of(text):
    return " ".join(line.lstrip(";> ") for line in text.splitlines()).split()


def test_who_gets_a_direct_lease_is_said_in_one_way():
    source = (REPOSITORY / "Sources/BrokerConfiguration/Values/SettingChoices.swift").read_text()
    parts = re.search(r"static let rule =\n(.*?)\n}", source, re.DOTALL).group(1)
    rule = "".join(re.findall(r'"(.*)"', parts))
    assert rule.startswith("Who may have a direct lease")
    for name, text in DOCUMENTS.items():
        if name in ("README.md", "docs/moving.md"):
            continue
        assert rule in " ".join(words_of(text)), name


def test_peer_map_is_named_where_workers_of_another_user_come_in():
    assert "peer_map = worker:app" in DOCUMENTS["docs/moving.md"] and "peer_map = worker:app" in README


@pytest.mark.parametrize("document", ["README.md", "Sources/LeaseClient/README.md"])
def test_the_swift_program_ends_with_its_message_and_not_with_a_crash(document):
    """An error that is thrown at top level is a trap with a dump: it is caught and said instead."""
    program = next(block for block in blocks("swift", DOCUMENTS[document]) if "hello.count" in block)
    body = program[program.index("do {"):]
    assert program.index("try LeaseClient()") > program.index("do {")
    assert "} catch {" in body and "\\(error)" in body and "exit(1)" in body


def test_every_fault_of_the_mutation_run_can_be_planted():
    done = subprocess.run([REPOSITORY / "scripts/mutate", "--check"], capture_output=True, text=True)
    assert done.returncode == 0 and "faults can be planted" in done.stdout, done.stdout + done.stderr
