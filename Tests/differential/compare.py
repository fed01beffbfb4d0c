# SPDX-License-Identifier: Apache-2.0
"""Two recorded answers to the same program: are they the same, but for what a reason covers?"""

import re
import struct
import tomllib
from dataclasses import dataclass
from pathlib import Path

from harness import wire

from .program import step_text
from .session import Record

REASONS = Path(__file__).with_name("reasons.toml")

# Numbers below are PostgreSQL's own and the same in every cluster of its version.
FIRST_NORMAL_OID = 16384
# Where in PostgreSQL's source an error was raised.
UNTOLD_FIELDS = "FLR"
NUMBERED = re.compile(rb"pg(_toast)?_temp_\d+|pg_toast_\d+")


def without_numbers(raw):
    """Temporary schemas and toast tables are numbered as they come."""
    if raw is None or b"pg_t" not in raw:
        return raw
    return NUMBERED.sub(lambda found: re.sub(rb"\d+", b"N", found[0]), raw)


class Numbers:
    """Which OID of the one cluster is which of the other: one to one."""

    def __init__(self):
        self.forth, self.back = {}, {}

    def same(self, one, other):
        if one < FIRST_NORMAL_OID or other < FIRST_NORMAL_OID:
            return one == other
        if one not in self.forth and other not in self.back:
            self.forth[one], self.back[other] = other, one
        return self.forth.get(one) == other


def columns(body):
    """The columns of a RowDescription: name, table, attribute, type, length, modifier, format."""
    count, at, found = struct.unpack_from("!h", body)[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        found.append((body[at:end], *struct.unpack_from("!IhIhih", body, end + 1)))
        at = end + 19
    return found


def fields(body):
    return {name: without_numbers(text.encode()).decode()
            for name, text in wire.Message("E", body).fields.items() if name not in UNTOLD_FIELDS}


def same(one, other, numbers):
    """Whether two records tell a client the same."""
    if one.kind != other.kind:
        return False
    if one.body == other.body:
        return True
    if one.kind == "D":
        return list(map(without_numbers, wire.Message("D", one.body).row)) == \
            list(map(without_numbers, wire.Message("D", other.body).row))
    if one.kind in "EN":
        return fields(one.body) == fields(other.body)
    if one.kind == "T":
        pairs = list(zip(columns(one.body), columns(other.body)))
        return one.body[:2] == other.body[:2] and all(
            a[:1] + a[2:3] + a[4:] == b[:1] + b[2:3] + b[4:]
            and numbers.same(a[1], b[1]) and numbers.same(a[3], b[3]) for a, b in pairs)
    if one.kind == "t":
        a, b = (struct.unpack(f"!{(len(body) - 2) // 4}I", body[2:])
                for body in (one.body, other.body))
        return len(a) == len(b) and all(map(numbers.same, a, b))
    return False


def shown(record, other=None):
    """A record as a line of text; of ReadyForQuery only the parameters that `other` has not."""
    if record is None:
        return "(nothing)"
    kind, body = record.kind, record.body
    if kind == "D":
        values = map(without_numbers, wire.Message("D", body).row)
        return "D " + "|".join("NULL" if one is None else one.decode(errors="replace")
                               for one in values)
    if kind in ("E", "N"):
        told = fields(body)
        more = " ".join(f"{name}={text!r}" for name, text in told.items() if name not in "SVCM")
        return f"{kind} {told.get('S')} {told.get('C')} {told.get('M')} {more}".rstrip()
    if kind == "Z":
        status, values = body
        if other and other.kind == "Z":
            values = sorted(set(values) - set(other.body[1]))
            return " ".join([f"Z {status}", *(f"{name}={value!r}" for name, value in values)])
        return f"Z {status}"
    if kind == "C":
        return "C " + body.rstrip(b"\0").decode()
    if kind == "T":
        return "T " + ", ".join(
            "{}:{}.{}:type{}:{}:{}:{}".format(one[0].decode(), *one[1:]) for one in columns(body))
    return f"{kind} {body!r}" if body else kind


@dataclass(frozen=True)
class Difference:
    """The first thing that is not the same; `kind` says where it was seen."""

    kind: str
    step: int
    direct: str
    pooled: str

    def text(self, program):
        where = "at log-in" if self.step < 0 else "at the end"
        if 0 <= self.step < len(program.steps):
            where = f"step {self.step}: {step_text(program.steps[self.step])}"
        return f"{self.kind}, {where}\n     direct: {self.direct}\n     pooled: {self.pooled}"


class Reason:
    """An entry of reasons.toml: a difference that is as it must be, and why.

    `what` is one of
      pair      a message of each side that differ: `direct` and `pooled` match them
      extra     a message that only the pooled side has: `pooled` matches it
      answer    the rest of the answer up to ReadyForQuery is not compared
      end       `direct` and `pooled` match, and the program goes another way from here on: no more is compared
      clean     a value of a snapshot: `name`, `direct` and `pooled` match it

    `but`: both texts are the same once what it matches is taken out of them.
    """

    def __init__(self, entry):
        self.id, self.what, self.reason = entry["id"], entry["what"], entry["reason"]
        self.modes = entry.get("modes", ["transaction"])
        self.patterns = {key: re.compile(entry[key], re.S | re.I)
                         for key in ("statement", "direct", "pooled", "name", "program")
                         if key in entry}
        self.but = re.compile(entry["but"]) if "but" in entry else None
        self.used = 0

    def covers(self, mode, **texts):
        if mode not in self.modes:
            return False
        if self.but and self.but.sub("", texts["direct"]) != self.but.sub("", texts["pooled"]):
            return False
        found = all(pattern.search(texts.get(key) or "") for key, pattern in self.patterns.items())
        self.used += found
        return found


def load_reasons(path=REASONS):
    with open(path, "rb") as file:
        found = [Reason(entry) for entry in tomllib.load(file).get("reason", [])]
    assert len({one.id for one in found}) == len(found), "two reasons have one id"
    return found


def end_of_answer(records, at, step):
    """The index of the ReadyForQuery that ends this answer, or of the next step's first record."""
    while at < len(records) and records[at].step == step and records[at].kind not in (
            "Z", "EOF", "HANG"):
        at += 1
    return at


def first_difference(program, direct, pooled, reasons=(), mode="transaction"):
    """The first difference of two lists of records that no reason covers; None if there is none."""
    numbers, at, beside = Numbers(), 0, 0
    whole = program.text()
    while at < len(direct) or beside < len(pooled):
        one = direct[at] if at < len(direct) else None
        other = pooled[beside] if beside < len(pooled) else None
        if one and other and same(one, other, numbers):
            at, beside = at + 1, beside + 1
            continue
        seen = one or other
        texts = {"direct": shown(one, other), "pooled": shown(other, one), "program": whole,
                 "statement": step_text(program.steps[seen.step]) if seen.step >= 0 else "log-in"}
        reason = next((each for each in reasons if each.what in ("pair", "extra", "answer", "end")
                       and each.covers(mode, **texts)), None)
        if reason is None:
            kind = "answer"
            if other and other.kind == "HANG":
                kind = "hang"
            elif one and other and one.kind == other.kind == "Z":
                kind = "parameters" if one.body[0] == other.body[0] else "status"
            return Difference(kind, seen.step, texts["direct"], texts["pooled"])
        if reason.what == "end":
            return None
        if reason.what == "extra":
            beside += 1
        elif reason.what == "pair":
            at, beside = at + 1, beside + 1
        else:
            after = end_of_answer(direct, at, seen.step), end_of_answer(pooled, beside, seen.step)
            if after == (at, beside):
                return Difference("answer", seen.step, texts["direct"], texts["pooled"])
            at, beside = after
    return None


def notification_difference(direct, pooled):
    """Notifications have no place among the answers; their order and content are the same."""
    if direct == pooled:
        return None
    if [one[1:] for one in direct] == [one[1:] for one in pooled]:
        direct, pooled = ([one[:2] for one in each] for each in (direct, pooled))
        return Difference("notifying PID", 10**6, str(direct[:3]), str(pooled[:3]))
    at = next((at for at, (one, other) in enumerate(zip(direct, pooled)) if one != other),
              min(len(direct), len(pooled)))
    return Difference("notifications", 10**6, f"{len(direct)}: from {at}: {direct[at:at + 3]}",
                      f"{len(pooled)}: from {at}: {pooled[at:at + 3]}")


__all__ = ["Difference", "Reason", "Record", "first_difference", "load_reasons",
           "notification_difference", "same", "shown"]
