# SPDX-License-Identifier: Apache-2.0
"""Errors in the workers' log, counted by kind. The first kind that fits a record has it."""

import re

KINDS = {
    "gave up (exhausted)": r"Failed to get connection from pool \(exhausted\)",
    "pool exhausted": r"[Cc]onnection pool exhausted|PoolError",
    "broker: no connection": r"no server connection|Held by:|query_wait_timeout",
    "broker: pool lock": r"pool lock|pool is locked|deadlock",
    "broker: lease ended": r"lease .*(revoked|taken back)|_timeout of",
    "statement timeout": r"due to statement timeout",
    "connect timeout": r"timeout expired",
    "answers mixed": r"PGRES_|lost synchronization|message type 0x|error with status"
                     r"|no results to fetch|another command is already|cannot be used inside a transaction",
    "connection lost": r"server closed the connection|connection already closed"
                       r"|terminating connection|connection to server .* failed|could not receive",
    "other error": r" - ERROR - | - CRITICAL - |^Traceback|^Exception|^\S+Z (error|critical) ",
    "process died": r"process died",
}
PATTERNS = {kind: re.compile(pattern, re.MULTILINE) for kind, pattern in KINDS.items()}

# What a record of several lines goes on with: PostgreSQL's fields, and a traceback's lines.
CONTINUATION = re.compile(r"^(DETAIL|HINT|LINE|CONTEXT|Traceback|\s|\w+(\.\w+)*(Error|Exception):|$)")


def records(text):
    """The log's records, each with the lines that belong to it."""
    found = []
    for line in text.splitlines():
        if found and CONTINUATION.match(line):
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


def kind_of(record):
    return next((kind for kind, pattern in PATTERNS.items() if pattern.search(record)), None)


def count(text):
    """{kind: records}, for the kinds that occur."""
    found = {}
    for record in records(text):
        kind = kind_of(record)
        if kind:
            found[kind] = found.get(kind, 0) + 1
    return found
