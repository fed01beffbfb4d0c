# SPDX-License-Identifier: Apache-2.0
"""What a client does: steps of frontend messages, how they are sent, and how they read.

An operation is a tuple whose first item is the message's type:

    ("Q", sql)  ("P", statement, sql)  ("B", portal, statement, values)  ("E", portal, limit)
    ("DS", statement)  ("DP", portal)  ("CS", statement)  ("CP", portal)  ("S",)  ("H",)
    ("F", function oid, arguments)  ("d", data)  ("c",)  ("f", reason)

and one that is no message: ("outside", sql), which another session of the same database carries out
before the step goes on.
"""

import struct
from dataclasses import dataclass, field

from harness import wire

LANE = "@lane@"
# The channel of the last notification of a program that listens.
MARKED = "differential_marker"


@dataclass(frozen=True)
class Step:
    """Messages that are sent in one write; `wait`: until all of them are answered."""

    operations: tuple
    label: str = ""
    wait: bool = True


@dataclass(frozen=True)
class Program:
    seed: int
    user: str
    parameters: tuple
    steps: tuple
    ending: str = "terminate"
    themes: tuple = field(default=(), compare=False)

    def text(self):
        return " ".join(step_text(step) for step in self.steps)


def encode(operation, lane):
    """The bytes of an operation."""
    match operation:
        case ("Q", sql):
            return wire.query(sql.replace(LANE, lane))
        case ("P", name, sql):
            return wire.parse(sql.replace(LANE, lane), name)
        case ("B", portal, name, values):
            return wire.bind(values, name, portal)
        case ("E", portal, limit):
            return wire.execute(portal, limit)
        case ("DS", name):
            return wire.describe_statement(name)
        case ("DP", portal):
            return wire.describe_portal(portal)
        case ("CS", name):
            return wire.close_statement(name)
        case ("CP", portal):
            return wire.message("C", b"P" + wire.text(portal))
        case ("S",):
            return wire.sync()
        case ("H",):
            return wire.flush()
        case ("F", oid, arguments):
            return wire.function_call(oid, [
                struct.pack("!i", one) if isinstance(one, int) else one for one in arguments])
        case ("d", data):
            return wire.copy_data(data)
        case ("c",):
            return wire.copy_done()
        case ("f", reason):
            return wire.copy_fail(reason)
    raise ValueError(f"unknown operation {operation}")


# Which messages end the answer to an operation. ReadyForQuery ends that of Q, F and Sync.
ENDINGS = {"P": "1", "B": "2", "E": "CsI", "DS": "Tn", "DP": "Tn", "CS": "3", "CP": "3",
           "Q": "Z", "F": "Z", "S": "Z"}


def operation_text(operation):
    match operation:
        case ("Q", sql):
            return f"Query {sql!r}"
        case ("P", name, sql):
            return f"Parse {name!r} {sql!r}"
        case ("B", portal, name, values):
            shown = f" {list(values)}" if values else ""
            return f"Bind {portal!r} to {name!r}{shown}"
        case ("E", portal, limit):
            return f"Execute {portal!r}" + (f" limit {limit}" if limit else "")
        case ("DS", name):
            return f"Describe statement {name!r}"
        case ("DP", portal):
            return f"Describe portal {portal!r}"
        case ("CS", name):
            return f"Close statement {name!r}"
        case ("CP", portal):
            return f"Close portal {portal!r}"
        case ("S",):
            return "Sync"
        case ("H",):
            return "Flush"
        case ("d", data):
            return f"CopyData {data!r}"
        case ("c",):
            return "CopyDone"
        case ("f", reason):
            return f"CopyFail {reason!r}"
        case ("F", oid, arguments):
            return f"FunctionCall {oid} {list(arguments)}"
        case ("outside", sql):
            return f"(another session: {sql})"
    return repr(operation)


def step_text(step):
    return "; ".join(map(operation_text, step.operations)) + ("" if step.wait else "; (no wait)")


def sql_of(step):
    """The SQL texts of a step."""
    texts = [one[1] if one[0] == "Q" else one[2] for one in step.operations if one[0] in "QP"]
    return "\n".join(texts)


def transcript(program):
    """A program as a person reads it."""
    head = f"seed {program.seed}, user {program.user}"
    if program.parameters:
        head += ", " + ", ".join(f"{name}={value!r}" for name, value in program.parameters)
    lines = [head]
    lines += [f"  {at:2} {step_text(step)}" for at, step in enumerate(program.steps)]
    return "\n".join([*lines, f"     ends by {program.ending}"])
