# SPDX-License-Identifier: Apache-2.0
"""Leaves out steps, then messages, of a program as long as it still differs in the same way."""

from dataclasses import replace

# Without this step a program's random numbers are not the same on two connections.
KEPT = "random_numbers/seed"
# A message that nothing is left out before: the data of a COPY.
FIXED = ("d", "c", "f", "outside")


def without(program, first, count):
    """The program without `count` steps, but for those that it cannot be without."""
    kept = tuple(one for one in program.steps[first:first + count] if one.label == KEPT)
    return replace(program, steps=program.steps[:first] + kept + program.steps[first + count:])


def without_message(program, at, message):
    step = program.steps[at]
    operations = step.operations[:message] + step.operations[message + 1:]
    changed = replace(step, operations=operations)
    return replace(program, steps=program.steps[:at] + (changed,) + program.steps[at + 1:])


class Shrinking:
    """The smallest program so far that `differs` is true of, and how many tries are left."""

    def __init__(self, program, differs, budget):
        self.program, self.differs, self.budget = program, differs, budget

    def accepts(self, candidate):
        if self.budget <= 0 or candidate == self.program:
            return False
        self.budget -= 1
        if not self.differs(candidate):
            return False
        self.program = candidate
        return True

    def leave_out_steps(self):
        size = max(1, len(self.program.steps) // 2)
        while size and self.budget:
            at, left_out = 0, False
            while at < len(self.program.steps) and self.budget:
                if self.accepts(without(self.program, at, size)):
                    left_out = True
                else:
                    at += size
            size = size // 2 if size > 1 else int(left_out)

    def leave_out_messages(self):
        """All but the last message of a step, which is what its answer is waited for with."""
        for at in range(len(self.program.steps) - 1, -1, -1):
            message = len(self.program.steps[at].operations) - 2
            while message >= 0 and self.budget:
                operations = self.program.steps[at].operations
                if operations[message][0] not in FIXED and operations[message + 1][0] not in FIXED:
                    self.accepts(without_message(self.program, at, message))
                message -= 1


def shrink(program, differs, budget=160):
    """The smallest program found that `differs` is still true of, with at most `budget` tries."""
    shrinking = Shrinking(program, differs, budget)
    shrinking.leave_out_steps()
    for change in ({"parameters": program.parameters[:1]}, {"ending": "terminate"}):
        shrinking.accepts(replace(shrinking.program, **change))
    shrinking.leave_out_messages()
    return shrinking.program
