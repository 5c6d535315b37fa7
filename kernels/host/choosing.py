"""Choosing pages by score, and listing them. Arrays are NumPy's; a *row* is one sequence and one KV head."""

from __future__ import annotations

import numpy as np

from kernels.host.compiled import compiled

_RADIX = 256


@compiled
def _order_keys(score, keys):
    """Give unsigned integers in the order of the scores: NaN as -inf, both zeros equal."""
    for i in range(score.shape[0]):
        x = np.float32(-np.inf) if np.isnan(score[i]) else score[i] + np.float32(0)
        bits = np.float32(x).view(np.uint32)
        keys[i] = bits ^ (np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000))


@compiled
def _last_taken(left, wanted):
    """Give the key of the last page that is taken, and how many pages of just that key are: radix select.

    left: keys to choose from, of which each step keeps those that begin like the last one taken.
    """
    count = np.zeros(_RADIX, np.int64)
    last = np.uint32(0)
    for step in range(4):
        shift = np.uint32(24 - 8 * step)
        count[:] = 0
        for i in range(left.size):
            count[(left[i] >> shift) & np.uint32(0xFF)] += 1
        digit = _RADIX - 1
        while count[digit] < wanted:
            wanted -= count[digit]
            digit -= 1
        last |= np.uint32(np.uint32(digit) << shift)
        kept = 0
        for i in range(left.size):
            left[kept] = left[i]
            kept += ((left[i] >> shift) & np.uint32(0xFF)) == np.uint32(digit)
        left = left[:kept]
    return last, wanted


@compiled
def mark_best(score, allowed, num, room, out):
    """Mark the `num` allowed pages of highest score, ties to the lower index. All but num: [page], room twice that."""
    size = score.shape[0]
    keys, left = room[:size], room[size:]
    _order_keys(score, keys)
    most = 0
    for i in range(size):
        left[most] = keys[i]
        most += allowed[i] != 0
    wanted = np.int64(0) if np.isnan(num) else np.int64(max(min(np.floor(num), np.float32(most)), np.float32(0)))
    if wanted == most or wanted == 0:
        for i in range(size):
            out[i] = allowed[i] != 0 and wanted > 0
        return
    last, ties = _last_taken(left[:most], wanted)
    for i in range(size):
        taken = allowed[i] != 0 and keys[i] >= last
        if taken and keys[i] == last:
            taken = ties > 0
            ties -= 1
        out[i] = taken


@compiled
def mark_top(x, num, inner, out):
    """Mark the `num` largest of each stretch of `inner` numbers, as `mark_best` does of pages all allowed."""
    room = np.empty(2 * inner + 1, np.uint32)
    for start in range(0, x.size, inner):
        into = out[start : start + inner]
        into[:] = 1
        mark_best(x[start : start + inner], into, num, room, into)


@compiled
def _falling(score, allowed, order):
    """Write the allowed pages by falling score, ties to the lower index: radix sort. -> how many there are

    order: int64, [page] twice, of which the first half is the result.
    """
    size = score.size
    keys, count = np.empty(size, np.uint32), np.empty(_RADIX, np.int64)
    one, other = order[:size], order[size:]
    _order_keys(score, keys)
    most = 0
    for i in range(size):
        one[most] = i
        most += allowed[i] != 0
    for step in range(4):  # an even number of times, so that the first half is the last one written
        count[:] = 0
        for i in range(most):
            count[0xFF - ((keys[one[i]] >> np.uint32(8 * step)) & np.uint32(0xFF))] += 1
        before = 0
        for digit in range(_RADIX):
            before, count[digit] = before + count[digit], before
        for i in range(most):
            digit = 0xFF - ((keys[one[i]] >> np.uint32(8 * step)) & np.uint32(0xFF))
            other[count[digit]] = one[i]
            count[digit] += 1
        one, other = other, one
    return most


@compiled
def _mass(score, mass):
    """Write the softmax of scores, in which one that is no number is -inf; all 0 when every one is -inf."""
    top, total = np.float32(-np.inf), np.float32(0)
    for i in range(score.size):
        top = max(top, score[i])
    for i in range(score.size):
        mass[i] = np.float32(1) if score[i] == top else np.exp(score[i] - top)
        mass[i] = mass[i] if score[i] > -np.inf else np.float32(0)
        total += mass[i]
    for i in range(score.size):
        mass[i] /= max(total, np.float32(1))


@compiled
def mark_nucleus(score, allowed, share, num, out):
    """Mark allowed pages by falling score until all marked and not allowed ones hold a share of the mass; at most num.

    score, allowed, out: [page]. `out` holds the mass first.
    """
    order = np.empty(2 * score.size, np.int64)
    most = _falling(score, allowed, order)
    _mass(score, out)
    taken = 0.0
    for i in range(score.size):
        taken += 0.0 if allowed[i] != 0 else np.float64(out[i])
    wanted = np.int64(0) if np.isnan(num) else np.int64(max(min(np.floor(num), np.float32(most)), np.float32(0)))
    marked = 0
    while marked < wanted and taken < share:
        taken += np.float64(out[order[marked]])
        marked += 1
    out[:] = 0
    for i in range(marked):
        out[order[i]] = 1


@compiled
def best(score, allowed, num, out):
    """Mark the best pages of every row. score, allowed, out: [row, page]; num: [row]."""
    room = np.empty(2 * score.shape[1] + 1, np.uint32)
    for row in range(score.shape[0]):
        mark_best(score[row], allowed[row], num[row], room, out[row])


@compiled
def list_pages(attended, pages, lengths, page_size, table, tokens):
    """Write the numbers of attended pages in ascending order, 0 behind them. -> how many all rows attend to"""
    total = 0
    for row in range(attended.shape[0]):
        listed = 0
        for i in range(attended.shape[1]):
            if attended[row, i]:
                table[row, listed] = pages[row, i]
                listed += 1
        table[row, listed:] = 0
        tokens[row] = listed * page_size - (-lengths[row]) % page_size
        total += listed
    return total
