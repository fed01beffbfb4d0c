# SPDX-License-Identifier: Apache-2.0
"""What scripts/package puts into the package, without making it: manual, completions, units, the scripts of dpkg.

scripts/check-package makes it, and installs and uses it in a fresh Debian."""

import configparser
import json
import re
import shutil
import subprocess

import pytest

from harness.pooler import REPOSITORY, pglease_binary

pytestmark = pytest.mark.pglease_only

DEBIAN = REPOSITORY / "packaging/debian"


def words(text):
    """Without roff's signs."""
    return text.replace("\\-", "-").replace("\\(dq", '"').replace("\\&", "").replace("\\e", "\\")


@pytest.fixture(scope="module")
def commands(run_program):
    """Each command as the program describes itself, with its options, hidden ones left out."""
    told = json.loads(run_program(pglease_binary(), "--experimental-dump-help").stdout)
    found = {}

    def add(command, name):
        options = {
            "-" * (2 if one["kind"] != "short" else 1) + one["name"]
            for argument in command.get("arguments", []) if argument["shouldDisplay"]
            for one in argument.get("names", []) if one["kind"] == "long"}
        found[name] = options
        for sub in command.get("subcommands", []):
            if sub["shouldDisplay"] and sub["commandName"] != "help":
                add(sub, f"{name} {sub['commandName']}")
    add(told["command"], "pglease")
    assert {"pglease serve", "pglease doctor", "pglease share init"} <= set(found)
    return found


def test_the_manual_has_every_command_and_option(run_program, commands):
    page = words(run_program(pglease_binary(), "manual", "pglease.1").stdout)
    assert page.startswith('.TH PGLEASE 1 ')
    for name, options in commands.items():
        if name != "pglease":
            section, = re.findall(rf'^\.SS "{name}"\n(.*?)(?=^\.S[SH] )', page, re.M | re.S)
            assert all(option in section for option in options), (name, options)


def test_the_manual_has_every_setting_with_its_default(run_program):
    page = words(run_program(pglease_binary(), "manual", "pglease.ini.5").stdout)
    # config/pglease.ini has them all: ConfigurationDocumentTests compares it with the table.
    ini = (REPOSITORY / "config/pglease.ini").read_text().split("\n[pglease]\n")[1]
    documented = dict(re.findall(r"^;(\w+) =[ ]?(.*)$", ini, re.M))
    told = dict(re.findall(r"^\.TP\n\\fB(\w+)\\fR\nDefault: (.*?)(?:; |\.$)", page, re.M))
    assert len(told) > 100
    assert told == {name: value or "empty" for name, value in documented.items()}
    for key in ("password_command", "target_session_attrs", "max_user_connections", "min_leases"):
        assert key in page


@pytest.mark.skipif(not shutil.which("man"), reason="there is no man")
@pytest.mark.parametrize("page", ["pglease.1", "pglease.ini.5"])
def test_man_shows_the_page_without_a_warning(run_program, tmp_path, page):
    (tmp_path / page).write_text(run_program(pglease_binary(), "manual", page).stdout)
    done = run_program("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", tmp_path / page)
    assert done.stderr == "", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_have_every_command_and_option(run_program, commands, shell):
    script = run_program(pglease_binary(), "--generate-completion-script", shell).stdout
    for name, options in commands.items():
        assert name.split()[-1] in script, name
        for option in options:
            assert (option.lstrip("-") if shell == "fish" else option) in script, (name, option)
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


class Unit(configparser.RawConfigParser):
    """A unit: of a key that stands twice the last counts, which the tests below do not ask for."""

    def __init__(self, name):
        super().__init__(strict=False, delimiters="=", comment_prefixes="#", interpolation=None)
        self.optionxform = str
        self.read(REPOSITORY / "config" / name)


@pytest.mark.parametrize("name", ["pglease.service", "pglease.socket", "pglease-replace.conf"])
def test_units_name_what_is_in_the_package(run_program, commands, name):
    made = (REPOSITORY / "scripts/package").read_text()
    unit = Unit(name)
    for line in (REPOSITORY / "config" / name).read_text().splitlines():
        found = re.match(r"Exec\w+=/usr/bin/pglease (.+)", line)
        if found:
            command, *rest = found[1].split()
            used = {word for word in rest if word.startswith("--")}
            assert used <= commands[f"pglease {command}"], line
            assert all(word.lstrip("/") in made for word in rest if word.startswith("/")), line
    if name == "pglease.service":
        service = unit["Service"]
        assert service["Type"] == "notify" and service["User"] == service["Group"] == "pglease"
        assert service["RuntimeDirectory"] == "pglease" and "ExecReload" in service
        for hardening in ("NoNewPrivileges", "ProtectKernelModules", "RestrictNamespaces"):
            assert service[hardening] == "yes"
        assert service["CapabilityBoundingSet"] == "" and service["ProtectSystem"] == "strict"
        assert "adduser --system" in (DEBIAN / "postinst").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_has_no_complaint_about_the_units(run_program, tmp_path):
    for name in ("pglease.service", "pglease.socket"):
        text = (REPOSITORY / "config" / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/bin/pglease", str(pglease_binary())))
    done = run_program("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                       tmp_path / "pglease.service", tmp_path / "pglease.socket", check=False)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "pglease" in line]
    assert done.returncode == 0 and ours == [], done.stderr


def test_the_scripts_of_dpkg(run_program):
    for name in ("postinst", "prerm", "postrm"):
        script = DEBIAN / name
        text = script.read_text()
        assert script.stat().st_mode & 0o777 == 0o755 and text.startswith("#!/bin/sh\nset -e\n")
        run_program("sh", "-n", script)
    made = (REPOSITORY / "scripts/package").read_text()
    for path in (DEBIAN / "conffiles").read_text().split():
        assert f" {path.lstrip('/')}\n" in made, path
    for script in ("package", "check-package", "check-api"):
        run_program("bash", "-n", REPOSITORY / "scripts" / script)
        assert f"scripts/{script}" in run_program(REPOSITORY / "scripts" / script, "--help").stdout
