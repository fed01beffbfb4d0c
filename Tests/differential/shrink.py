"""Leaves out steps of a program as long as it still differs in the same way."""

from dataclasses import replace


# Without this step a program's random numbers are not the same on two connections.
KEPT = "random_numbers/seed"


def without(program, first, count):
    """The program without `count` steps, but for those that it cannot be without."""
    kept = tuple(one for one in program.steps[first:first + count] if one.label == KEPT)
    return replace(program, steps=program.steps[:first] + kept + program.steps[first + count:])


def shrink(program, differs, budget=120):
    """The smallest program found that `differs` is still true of, with at most `budget` tries."""
    size = max(1, len(program.steps) // 2)
    while size and budget:
        at, left_out = 0, False
        while at < len(program.steps) and budget:
            candidate = without(program, at, size)
            budget -= 1
            if len(candidate.steps) < len(program.steps) and differs(candidate):
                program, left_out = candidate, True
            else:
                at += size
        if size > 1:
            size //= 2
        elif not left_out:
            size = 0
    for change in ({"parameters": ()}, {"ending": "terminate"}):
        candidate = replace(program, **change)
        if candidate != program and budget:
            budget -= 1
            if differs(candidate):
                program = candidate
    return program
