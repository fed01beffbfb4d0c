# SPDX-License-Identifier: Apache-2.0
"""docs/*.md: every block runs or says that it cannot, every link leads somewhere, and what is listed by name is what there is.

A fenced block of sh, python, sql, ini or swift is tried; `text` is for what cannot be. Any other fails here.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from harness import monitoring, pooler
from harness.pooler import REPOSITORY, pglease_binary

pytestmark = pytest.mark.pglease_only

DOCUMENTS = sorted((REPOSITORY / "docs").glob("*.md")) + [
    REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
# Documents whose blocks another test runs, which has to name them.
ELSEWHERE = {"README.md": "test_readme.py"}
SNIPPETS = REPOSITORY / "Tests/LeaseClientTests/DocumentedSnippets.swift"


# Documents of the Swift module: only that their blocks compile is asked here.
ARTICLES = [REPOSITORY / "Sources/LeaseClient/README.md",
            *sorted((REPOSITORY / "Sources/LeaseClient/LeaseClient.docc").glob("*.md"))]


def blocks(documents=DOCUMENTS):
    """(document, line, language, text) of each fenced block."""
    for document in documents:
        text = document.read_text()
        for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, found.start()) + 1
            yield document.relative_to(REPOSITORY), line, found.group(1), found.group(2)


def of(*languages):
    return [pytest.param(text, id=f"{document}:{line}") for document, line, language, text in blocks()
            if language in languages and not is_elsewhere(document)]


def is_elsewhere(document):
    return ELSEWHERE.get(document.name) if document.parent.name in ("", "docs") else None


@pytest.fixture(scope="module")
def documented(postgres):
    """The broker that documents speak of: its user and database are postgres, as after scripts/run."""
    address = monitoring.address()
    one = pooler.make(postgres, {"metrics_listen": address, "max_server_connections": 40,
                                 "admin_users": "admin, postgres"})
    one.start()
    one.metrics_address = address
    yield one
    one.check()
    one.destroy()


def addressed(text, broker):
    text = text.replace("/etc/pglease/pglease.ini", str(broker.config_path))
    return text.replace("/run/pglease", str(broker.socket_folder)).replace("6432", str(broker.port))


def environment(broker):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "DATABASE"))}
    return kept | {
        "PATH": f"{Path(pglease_binary()).resolve().parent}:{os.environ['PATH']}",
        "PGHOST": str(broker.socket_folder), "PGPORT": str(broker.port), "PGUSER": "postgres",
        "USER": "postgres", "PYTHONPATH": str(REPOSITORY / "clients/python/src")}


def test_every_block_says_what_it_is():
    unknown = [f"{document}:{line}: {language or 'no language'}" for document, line, language, _ in blocks()
               if language not in ("sh", "python", "sql", "ini", "swift", "text")]
    assert unknown == []


@pytest.mark.parametrize("document", [one.name for one in DOCUMENTS if is_elsewhere(one.relative_to(REPOSITORY))])
def test_what_is_tried_elsewhere_is_tried_there(document):
    assert document in (REPOSITORY / "Tests/end_to_end" / ELSEWHERE[document]).read_text()


@pytest.mark.parametrize("text", of("sh"))
def test_each_command_runs(documented, tmp_path, text):
    (tmp_path / "pglease.ini").write_text((REPOSITORY / "config/groups.ini").read_text())
    given = environment(documented)
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0].startswith("scripts/"):
            assert os.access(REPOSITORY / words[0], os.X_OK), words[0]
            assert_options_are_known(words)
            continue
        assert words[0] in ("psql", "pglease"), f"nobody tries {words[0]}: mark the block as text"
        assert words[:2] != ["pglease", "serve"], "a broker is not started here: mark the block as text"
        if words[1] == "check-config":
            given = given | {"DATABASE_URL": "postgresql://app@db.example/app"}
        done = subprocess.run([addressed(word, documented) for word in words], cwd=tmp_path, env=given,
                              capture_output=True, text=True, timeout=60)
        if words[1] == "doctor":
            # The tests' broker trusts everybody, which it calls doubtful; nothing of it is wrong.
            assert done.returncode == 1 and "\n0 wrong, " in done.stdout, (done.stdout, done.stderr)
            assert "auth_type is trust" in done.stdout
            continue
        assert done.returncode == 0 and "ERROR" not in done.stderr, (line, done.stdout, done.stderr)


def assert_options_are_known(words):
    """Long words that a script of ours is given stand in its text, or in that of the program that it starts."""
    script = (REPOSITORY / words[0]).read_text()
    sources = [script] + [
        path.read_text() for name in re.findall(r"[\w./-]+\.(?:py|sh)\b", script)
        for path in REPOSITORY.rglob(Path(name).name)]
    sources += [path.read_text() for folder in ("Benchmarks", "Tests/pglease-simulate", "Tests/differential")
                for path in (REPOSITORY / folder).rglob("*") if path.suffix in (".py", ".swift")]
    for word in words[1:]:
        if word.startswith("--") and word != "--help":
            name = word.split("=")[0]
            assert any(name in one or f'"{name[2:]}"' in one for one in sources), (words, name)


@pytest.mark.parametrize("text", of("python"))
def test_each_python_program_runs(documented, text):
    done = subprocess.run([sys.executable, "-c", addressed(text, documented)], env=environment(documented),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_client_that_the_protocols_document_is_enough_for_has_a_direct_lease(documented):
    """Standard library only, and what docs/lease-protocol.md says."""
    program, = (text for document, _, language, text in blocks()
                if language == "python" and document.name == "lease-protocol.md")
    assert "pglease." not in re.sub(r"'[^']*'", "", program) and "psycopg" not in program
    done = subprocess.run([sys.executable, "-I", "-c", addressed(program, documented)],
                          env=environment(documented), capture_output=True, text=True, timeout=60)
    said = re.fullmatch(r"lease \d+: direct, server process (\d+), waited \d+ us\n\[\['(\d+)', 'postgres'\]\]\n"
                        r"parked and taken again: True\n", done.stdout)
    assert said and said[1] == said[2], done.stdout + done.stderr


@pytest.mark.parametrize("text", of("sql"))
def test_each_sql_block_runs(documented, text):
    if "pglease.share" in text:
        pytest.skip("the tables of a shared bound: test_shared_bound runs what the broker asks")
    connection = psycopg2.connect(documented.dsn(user="postgres", dbname="postgres"))
    with contextlib.closing(connection):
        connection.autocommit = True
        for statement in re.sub(r"--.*", "", text).split(";"):
            if statement.strip():
                connection.cursor().execute(statement)


@pytest.mark.parametrize("text", of("ini"))
def test_each_ini_block_is_accepted(certificates, tmp_path, text):
    """Lines without a section are lines of [databases]; files below /etc/pglease are there."""
    for name in ("server.key", "server.crt"):
        text = text.replace(f"/etc/pglease/{name}", str(Path(certificates.folder) / name))
    (tmp_path / "userlist.txt").write_text('"app" "secret"\n')
    text = text.replace("/etc/pglease/userlist.txt", str(tmp_path / "userlist.txt"))
    path = tmp_path / "pglease.ini"
    path.write_text(text if "[" in text else f"[databases]\n{text}")
    done = subprocess.run([pglease_binary(), "check-config", "--config", path, "--database-url",
                           "postgresql://app@db.example/app"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stdout + done.stderr


def squeezed(text):
    """Without imports, comments and layout."""
    lines = [re.sub(r"(^|\s)//.*", "", line) for line in text.split("\n")]
    return "".join(" ".join(line for line in lines if not line.startswith("import ")).split())


def swift_blocks():
    for document, line, language, text in blocks(DOCUMENTS + ARTICLES):
        if language == "swift" and not text.startswith("// Package.swift"):
            yield pytest.param(text, id=f"{document}:{line}")


@pytest.mark.parametrize("text", swift_blocks())
def test_each_swift_block_is_compiled_with_the_tests(text):
    assert squeezed(text) in squeezed(SNIPPETS.read_text())


# Links and lists.


def anchors(document):
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.name)
def test_each_link_leads_somewhere(document):
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)]+)\)", document.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), (text, target)
        assert not anchor or anchor in anchors(path), (text, target)


def test_the_index_names_every_document():
    index = (REPOSITORY / "docs/README.md").read_text()
    missing = [one.name for one in (REPOSITORY / "docs").glob("*.md")
               if one.name != "README.md" and f"]({one.name})" not in index]
    assert missing == []


def rows(name, text=None):
    """The first cells of the tables of a document."""
    lines = (text or (REPOSITORY / "docs" / name).read_text()).splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("|")]


def test_every_event_is_named_and_none_that_is_not():
    source = (REPOSITORY / "Sources/Broker/Telemetry/BrokerEvent.swift").read_text()
    body = source[source.index("enum EventKind"):source.index("enum EventLevel")]
    kinds = {raw or name for name, raw in re.findall(r'^    case (\w+)(?: = "(\w+)")?', body, re.MULTILINE)}
    assert {name.strip("`") for name in rows("events.md") if name.startswith("`")} == kinds


def test_every_metric_is_named_and_none_that_is_not(documented):
    with documented.wire() as one:
        one.query("SELECT 1")
    answer = monitoring.Endpoint(documented.metrics_address).get(
        "/metrics", headers={"Accept": monitoring.OPENMETRICS})
    exposed = set(re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE))
    shares = (REPOSITORY / "Sources/Broker/Telemetry/Documents/ShareMetrics.swift").read_text()
    exposed |= {f"pglease_share_{name}" for name in re.findall(r'^        \("(\w+)", "', shares, re.MULTILINE)}
    document = (REPOSITORY / "docs/metrics.md").read_text()
    assert set(re.findall(r"`((?:pglease|pgbouncer|process)_\w+)`", document)) == exposed


def test_every_alert_has_a_line():
    alerts = re.findall(r"- alert: (\w+)", (REPOSITORY / "config/alerts.yml").read_text())
    text = (REPOSITORY / "docs/operations.md").read_text()
    assert [name for name in rows("", text[text.index("## Alarms"):]) if name.startswith("`Pglease")] \
        and {name.strip("`") for name in rows("operations.md") if name.startswith("`Pglease")} == set(alerts)


def test_readme_fits():
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "!["))] == []


def test_every_source_file_says_its_licence():
    done = subprocess.run([REPOSITORY / "scripts/license-headers"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text()


# How an error is made in the broker's sources.
MADE = re.compile(
    r"(?:\b(?:error|fatal|notice|PgError|ConsoleRefusal)\(|\bsqlState:|\bstate:|\bstate =)\s*"
    r"(?:\.(\w+)\b|SQLState\(rawValue: \"(\w{5})\"\))")


def test_every_state_that_the_broker_sends_is_in_the_table_of_operations():
    sources = REPOSITORY / "Sources"
    codes = dict(re.findall(r'static let (\w+) = SQLState\("(\w{5})"\)',
                            (sources / "PostgresWire/SQLState.swift").read_text()))
    made = {}
    for room in ("PostgresWire", "LeaseCore", "Broker", "BrokerConsole", "BrokerAuthentication"):
        for path in (sources / room).rglob("*.swift"):
            for name, code in MADE.findall(path.read_text()):
                if code or name in codes:
                    made.setdefault(code or codes[name], path.name)
    assert {"53300", "40P01", "57P05", "F0000", "55000"} <= set(made), "the sources are read otherwise now"
    section = (REPOSITORY / "docs/operations.md").read_text().split(
        "## Errors of the broker, and their hints")[1].split("\n## ")[0]
    table = [line.split("|") for line in section.splitlines() if line.startswith("|")][2:]
    explained = {code for row in table for cell in row[1:3]
                 for code in re.findall(r"\b(?=[A-Z]*\d)[0-9A-Z]{5}\b", cell)}
    assert set(made) - explained == set(), {code: made[code] for code in set(made) - explained}
    # And none that it does not send.
    assert explained - set(made) == set()
