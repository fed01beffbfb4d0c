"""Errors in the workers' log, counted by kind. The first kind that fits a line has it."""

import re

KINDS = {
    "gave up (exhausted)": r"Failed to get connection from pool \(exhausted\)",
    "pool exhausted": r"connection pool exhausted|Connection pool exhausted",
    "broker: no connection": r"no server connection|query_wait_timeout|53300|Held by:",
    "broker: pool lock": r"pool lock|40P01",
    "broker: lease ended": r"57P05|revoked",
    "statement timeout": r"statement timeout|canceling statement",
    "connect timeout": r"timeout expired",
    "connection lost": r"server closed the connection|connection already closed|SSL connection"
                       r"|terminating connection|connection to server .* failed|could not receive",
    "answers mixed": r"PGRES_|lost synchronization|message type 0x|unexpected response"
                     r"|no results to fetch|error with status|another command is already|commands ignored"
                     r"|cannot be used inside a transaction",
    "other error": r" - ERROR - | - CRITICAL - |^Traceback|^Exception",
    "process died": r"process died",
}
PATTERNS = {kind: re.compile(pattern) for kind, pattern in KINDS.items()}


def count(text):
    """{kind: lines}, for the kinds that occur."""
    found = {}
    for line in text.splitlines():
        for kind, pattern in PATTERNS.items():
            if pattern.search(line):
                found[kind] = found.get(kind, 0) + 1
                break
    return found


def examples(text, kind, at_most=3):
    return [line for line in text.splitlines() if PATTERNS[kind].search(line)][:at_most]
