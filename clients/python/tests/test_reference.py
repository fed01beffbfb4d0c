# SPDX-License-Identifier: Apache-2.0
"""docs/python.md names every public name and parameter with its default, and none that there is not. That its
programs run is asked in Tests/end_to_end/test_docs.py."""

import inspect
import re

import pytest

import pglease
from conftest import REPOSITORY
from pglease import _request, asyncpg_pool, psycopg2_pool, psycopg_pool

TEXT = (REPOSITORY / "docs/python.md").read_text()
MODULES = {"pglease": pglease, "pglease.psycopg2_pool": psycopg2_pool, "pglease.psycopg_pool": psycopg_pool,
           "pglease.asyncpg_pool": asyncpg_pool}


def sections():
    """The text of each module's part, by its heading."""
    parts = re.split(r"^## `([\w.]+)`$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def signature(name, call):
    """`name(a, *, b=1)`, without types."""
    found = inspect.signature(call)
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()
             if one.name != "self"]
    words = []
    for one in plain:
        if one.kind is one.KEYWORD_ONLY and "*" not in words and not any(
                other.startswith("*") for other in words):
            words.append("*")
        default = one.default
        if isinstance(default, type) and default is not inspect.Parameter.empty:
            words.append(f"{one.name}={default.__module__.partition('.')[0]}.{default.__name__}")
        else:
            words.append(str(one))
    return f"{name}({', '.join(words)})"


def members(cls):
    """Public methods and properties that the class or a base of this package defines."""
    for base in cls.__mro__:
        if base.__module__.startswith("pglease"):
            for name, value in vars(base).items():
                if not name.startswith("_"):
                    yield name, inspect.unwrap(getattr(value, "__func__", value))


def methods(cls):
    return [one for one in members(cls) if not isinstance(one[1], property)]


def is_error(thing):
    return isinstance(thing, type) and issubclass(thing, BaseException)


def described(module):
    """What has to have a line of its own: classes and functions with their parameters, methods, attributes."""
    found = set()
    for name in module.__all__:
        thing = getattr(module, name)
        if is_error(thing):
            continue
        if isinstance(thing, type) and issubclass(thing, tuple):
            found |= {f"{name}.{field}" for field in thing._fields} | {name}
            continue
        if isinstance(thing, type) and thing.__name__ != name:
            # Another name of the same class.
            found.add(name)
            continue
        # asyncpg's pool is made by create_pool.
        found.add(name if thing is asyncpg_pool.Pool else signature(name, thing))
        if thing is psycopg_pool.AsyncConnectionPool:
            # As the blocking one, with `await`.
            assert {signature(*one) for one in methods(thing)} == {
                signature(*one) for one in methods(psycopg_pool.ConnectionPool)}
        elif isinstance(thing, type):
            for member, value in members(thing):
                found.add(f"{name}.{member}" if isinstance(value, property) else signature(f"{name}.{member}", value))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_every_name_and_parameter_and_no_other(name):
    said = set(re.findall(r"^(?:#### |- )`([^`]+)`", sections()[name], re.MULTILINE))
    wanted = described(MODULES[name])
    if name == "pglease":
        wanted |= {f"LeaseError.{one}" for one in ("sqlstate", "detail", "hint", "waited", "holders", "retryable")}
        wanted |= {f"Grant.{one}" for one in _request.Grant._fields}
    if name == "pglease.psycopg2_pool":
        wanted |= {"LeasePool.minconn", "LeasePool.maxconn"}
    if name == "pglease.psycopg_pool":
        wanted |= {f"ConnectionPool.{one}" for one in (
            "name", "conninfo", "kwargs", "connection_class", "timeout", "max_waiting", "close_returns")}
    assert said - wanted == set(), "there is no such thing"
    assert wanted - said == set(), "not described"


@pytest.mark.parametrize("name", MODULES)
def test_every_error_with_its_bases(name):
    """A row of each module's table: its name, and which of the driver's errors it also is."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", sections()[name], re.MULTILINE))
    errors = {one: getattr(MODULES[name], one) for one in MODULES[name].__all__
              if is_error(getattr(MODULES[name], one))}
    assert set(rows) == set(errors)
    for one, cell in rows.items():
        for base in re.findall(r"`(\w+)`", cell):
            assert base in {cls.__name__ for cls in errors[one].__mro__}, (one, base)


@pytest.mark.parametrize("name", [one for one in MODULES if one != "pglease"])
def test_every_parameter_is_explained(name):
    """Each name that a call takes stands in the prose of its module, in backquotes, or in that of all."""
    common = sections()["pglease"] + TEXT[:TEXT.index("## `pglease`")]
    prose = re.sub(r"^#### [^\n]*$|^```.*?^```$", "", sections()[name] + common, flags=re.MULTILINE | re.DOTALL)
    named = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.findall(r"\w+", code)}
    for line in described(MODULES[name]):
        if "(" in line:
            for word in re.sub(r"=[^,]*(, |\)$)", ", ", line[line.index("(") + 1:]).rstrip(")").split(", "):
                word = word.strip("* )")
                assert not word or word in named, (line, word)


def test_environment_variables():
    source = (REPOSITORY / "clients/python/src/pglease/_policy.py").read_text()
    assert set(re.findall(r"PGLEASE_\w+", TEXT)) == set(re.findall(r"PGLEASE_\w+", source))
