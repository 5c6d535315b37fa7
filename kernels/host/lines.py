"""How an instruction of the machine is written: a line of WIDTH integers."""

from __future__ import annotations

from kernels.host.compiled import compiled

AXES = 5  # that an instruction tells apart
WIDTH = 41
# where it keeps its operation, what that is told, result, operands, lengths, distances, and a seed
OP, FN, TO, ONE, OTHER, THIRD, SIZES, STRIDES, OTHER_STRIDES, SEED = 0, 1, 2, 4, 6, 8, 10, 20, 30, 40


@compiled
def at(line, place, num_pages):
    """Give a number that grows with pages."""
    return line[place] + line[place + 1] * num_pages
