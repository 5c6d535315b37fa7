# mypy: disallow-incomplete-defs=False
"""The best of many scores without sorting them: radix select of keys, and the places of what is taken in a list.

Nothing depends on how keys are spread over threads. A tile has at most 8,192 of them.
"""

import triton
import triton.language as tl

# A digit of a key is five bits: as many counts as a warp has threads, so that none are added up across warps. The last
# has two, for it is the one that is seldom read.
KEY_BITS, DIGIT_BITS, NUM_DIGITS = tl.constexpr(32), tl.constexpr(5), tl.constexpr(32)


@triton.jit
def order_key(score):
    """Unsigned integers in the order of the scores: NaN as -inf, -0 as 0."""
    score = tl.where(score == score, score, float("-inf"))
    score = tl.where(score == 0.0, 0.0, score)
    bits = score.to(tl.uint32, bitcast=True)
    return tl.where(bits >> 31 == 1, bits ^ 0xFFFFFFFF, bits ^ 0x80000000)


@triton.jit
def next_digit(count, prefix, remaining, left):
    """Go on by one digit: `count` pages have each value of it, of those whose keys begin with `prefix`.

    `left` bits of a key are not known yet. Values come from the largest to the smallest. The digit and the pages above
    it are found in one sum. -> what the last page's key begins with, how many pages that begin so are taken, the bits
    that are not known now, and whether that matters: some of these pages are not taken, and there are bits.
    """
    digits = tl.arange(0, NUM_DIGITS)
    behind = tl.maximum(left - DIGIT_BITS, 0)
    remaining = tl.minimum(remaining, tl.sum(count, 0))  # before the first digit there may be fewer pages
    larger = tl.cumsum(count, 0) - count
    here = (larger < remaining) & (remaining <= larger + count)
    found = tl.sum(tl.where(here, larger * NUM_DIGITS + (digits ^ (NUM_DIGITS - 1)), 0), 0)
    remaining -= found >> DIGIT_BITS
    undecided = (tl.sum(tl.where(here, count, 0), 0) != remaining) & (behind > 0)
    return (prefix << (left - behind)) + (found & (NUM_DIGITS - 1)).to(tl.uint32), remaining, behind, undecided


@triton.jit
def counts(key, eligible, prefix, left):
    """Count a tile's pages by their next digit, the largest first, of those whose keys begin with `prefix`.

    `left` bits of a key are not known yet.
    """
    behind = tl.maximum(left - DIGIT_BITS, 0)
    leading, own = key >> behind, (1 << (left - behind)) - 1
    active = eligible & ((leading >> (left - behind)) == prefix)
    return tl.histogram((leading & own).to(tl.int32) ^ (NUM_DIGITS - 1), NUM_DIGITS, mask=active)


@triton.jit
def last_taken(key, eligible, remaining):
    """Give the key of the last page taken, and how many pages with just that key are taken; 0 of them if none is.

    Radix select, a digit at a time from the top, of keys in registers, until all pages that begin alike are taken: then
    a lower key is given, which no page need have.
    """
    prefix, left, undecided = tl.zeros((), tl.uint32), tl.full((), KEY_BITS, tl.int32), remaining >= 0
    while undecided:
        count = counts(key, eligible, prefix, left)
        prefix, remaining, left, undecided = next_digit(count, prefix, remaining, left)
    return prefix << left, remaining


@triton.jit
def placed(taken, tie, remaining, num_ties, listed):
    """Mark the pages of a tile that are taken, or are the first of those that tie: those, and their places in a list.

    `num_ties` pages before the tile tie, `listed` are taken; both are counted on. Two counts are made in one sum.
    """
    both = taken.to(tl.int32) * 65536 + tie.to(tl.int32)
    before, total = tl.cumsum(both, 0) - both, tl.sum(both, 0)
    listed -= tl.minimum(num_ties, remaining)  # of which ties
    earlier = num_ties + (before & 0xFFFF)
    place = listed + (before >> 16) + tl.minimum(earlier, remaining)
    num_ties += total & 0xFFFF
    listed += (total >> 16) + tl.minimum(num_ties, remaining)
    return taken | (tie & (earlier < remaining)), place, num_ties, listed
