"""The zoo a second time: each rule in NumPy, from its paper's formula, for one sequence and KV head at one step.

A function bears the name of the program and takes the program's own tunables. Nothing here calls the language.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

TOLERANCE = 1e-5  # relative; nearer than this to the cut, the rounding of a sum may decide


@dataclass(frozen=True)
class Given:
    """What a rule is told. q: [head, dim]; k, v: [page, token, dim], complete pages; candidates: bool [page].

    `count` also counts a partial page; `before`: [page], what the rule kept at its choice before, 0 at first.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    candidates: np.ndarray
    count: int
    scale: float
    layer: int
    num_layers: int
    kv_head: int
    before: np.ndarray

    @property
    def mean_q(self) -> np.ndarray:
        return self.q.mean(0)


@dataclass(frozen=True)
class Choice:
    """bool [page] each: the chosen candidates, and those next to the cut. `kept`: [page], for the choice after."""

    chosen: np.ndarray
    near: np.ndarray
    kept: np.ndarray | None = None


# Selections


def falling(score: np.ndarray, allowed: np.ndarray) -> list[int]:
    return sorted(np.flatnonzero(allowed), key=lambda page: (-score[page], page))


def among(pages: list[int], num_pages: int) -> np.ndarray:
    return np.isin(np.arange(num_pages), pages)


def around(score: np.ndarray, cut: float, allowed: np.ndarray) -> np.ndarray:
    return allowed & (np.abs(score - cut) <= TOLERANCE * abs(cut))


def best(score: np.ndarray, n: float, allowed: np.ndarray, kept: np.ndarray | None = None) -> Choice:
    order, n = falling(score, allowed), math.floor(n)
    cut = score[order[n - 1]] if 0 < n < len(order) else math.nan
    return Choice(among(order[:n], len(score)), around(score, cut, allowed), kept)


def beyond(score: np.ndarray, threshold: float, limit: int, allowed: np.ndarray) -> Choice:
    inside = best(score, limit, allowed & (score > threshold))
    return Choice(inside.chosen, inside.near | around(score, threshold, allowed))


def nucleus(score: np.ndarray, mass: float, limit: int, allowed: np.ndarray) -> Choice:
    share = softmax(score, 0)
    order = falling(score, allowed)
    before = share[~allowed].sum() + np.cumsum([0.0, *share[order]])[:-1]
    taken = [page for page, held in zip(order[:limit], before, strict=False) if held < mass]
    level = [page for page, held in zip(order[:limit], before, strict=False) if abs(held - mass) <= TOLERANCE]
    cut = score[taken[-1]] if taken else math.nan
    return Choice(among(taken, len(score)), around(score, cut, allowed) | among(level, len(score)))


def joined(one: Choice, other: Choice) -> Choice:
    return Choice(one.chosen | other.chosen, one.near | other.near)


# Arithmetic, and what storage makes of numbers


def softmax(x: np.ndarray, axis: Any) -> np.ndarray:
    weight = np.exp(x - x.max(axis, keepdims=True))
    return weight / weight.sum(axis, keepdims=True)


def log_sum_exp(x: np.ndarray, axis: Any) -> np.ndarray:
    return x.max() + np.log(np.exp(x - x.max()).sum(axis))


def length(x: np.ndarray) -> np.ndarray:
    return np.sqrt((x * x).sum(-1))


def bfloat16(x: np.ndarray) -> np.ndarray:
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    nearest_even = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return nearest_even.astype(np.uint32).view(np.float32).astype(np.float64)


def whole_numbers(x: np.ndarray, largest: int) -> np.ndarray:
    """Round to -largest ... largest times a scale, which each vector along the last axis has of its own."""
    x = np.asarray(x, np.float32)
    scale = np.abs(x).max(-1, keepdims=True) / np.float32(largest)
    codes = np.rint(np.divide(x, scale, out=np.zeros_like(x), where=scale > 0))
    return (codes * scale).astype(np.float64)


def int8(x: np.ndarray) -> np.ndarray:
    return whole_numbers(x, 127)


def int4(x: np.ndarray) -> np.ndarray:
    return whole_numbers(x, 7)


def scrambled(number: int, seed: int) -> int:
    def mix(h: int) -> int:
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
        return h ^ (h >> 16)

    return mix((number + mix(seed)) % 2**32) >> 8


def centers(x: Given) -> np.ndarray:
    return bfloat16(x.k.mean(1))


def products(q: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """q: [head, dim]; keys: [page, token, dim] -> [page, head, token]."""
    return np.einsum("hd,ptd->pht", q, keys)


def envelope(q: np.ndarray, hi: np.ndarray, lo: np.ndarray) -> np.ndarray:
    """q: [head, dim]; hi, lo: [..., dim] -> the bound of the best head: [...]."""
    sides = np.stack([q * side[..., None, :] for side in (hi, lo)])
    return sides.max(0).sum(-1).max(-1)


def in_fours(k: np.ndarray) -> np.ndarray:
    """k: [page, token, dim] -> [page, sub, 4, dim]."""
    return k.reshape(len(k), -1, 4, k.shape[2])


# The rules


def dense(x: Given) -> Choice:
    return Choice(x.candidates, ~x.candidates)


def streaming(x: Given) -> Choice:
    return Choice(~x.candidates & x.candidates, ~x.candidates)


def random_pages(x: Given, pages: int) -> Choice:
    drawn = [scrambled(i + 8192 * x.kv_head, 1) for i in range(len(x.k))]
    again = [scrambled(int(np.float32(number + x.layer)), 2) for number in drawn]
    return best(np.array(again), pages, x.candidates)


def oracle_mass(x: Given, pages: int) -> Choice:
    return best(log_sum_exp(products(x.q, x.k) * x.scale, (1, 2)), pages, x.candidates)


def oracle_max(x: Given, pages: int) -> Choice:
    return best(products(x.q, x.k).max((1, 2)), pages, x.candidates)


def centroid(x: Given, pages: int) -> Choice:
    return best(centers(x) @ x.mean_q, pages, x.candidates)


index_reuse = centroid


def centroid_gqa(x: Given, pages: int) -> Choice:
    return best(softmax(centers(x) @ x.q.T * x.scale, 0).max(1), pages, x.candidates)


def centroid_sub(x: Given, pages: int) -> Choice:
    return best((bfloat16(in_fours(x.k).mean(2)) @ x.q.T).max((1, 2)), pages, x.candidates)


def quest(x: Given, pages: int) -> Choice:
    return best(envelope(x.q, bfloat16(x.k.max(1)), bfloat16(x.k.min(1))), pages, x.candidates)


step_reuse = quest


def quest_sub(x: Given, pages: int) -> Choice:
    tokens = in_fours(x.k)
    bound = envelope(x.q, bfloat16(tokens.max(2)), bfloat16(tokens.min(2)))
    return best(bound.max(1), pages, x.candidates)


def quest_int4(x: Given, pages: int) -> Choice:
    return best(envelope(x.q, int4(x.k.max(1)), int4(x.k.min(1))), pages, x.candidates)


def ball(x: Given, pages: int) -> Choice:
    radius = bfloat16(length(x.k - x.k.mean(1, keepdims=True)).max(1))
    return best((centers(x) @ x.q.T + radius[:, None] * length(x.q)).max(1), pages, x.candidates)


def mass_lse(x: Given, pages: int) -> Choice:
    mean = centers(x) @ x.q.T * x.scale
    spread = bfloat16(x.k.var(1)) @ (x.q.T * x.scale) ** 2
    return best(log_sum_exp(mean + spread / 2, 1) + math.log(x.k.shape[1]), pages, x.candidates)


def twilight(x: Given, mass: float, pages: int) -> Choice:
    return nucleus((centers(x) @ x.q.T * x.scale).max(1), mass, pages, x.candidates)


def threshold(x: Given, share: float, pages: int) -> Choice:
    return beyond(softmax(centers(x) @ x.q.T * x.scale, 0).max(1), share, pages, x.candidates)


def narrow_centroid(x: Given, pages: int) -> Choice:
    return best(centers(x)[:, ::2] @ x.mean_q[::2], pages, x.candidates)


def narrow_int8(x: Given, pages: int) -> Choice:
    half = x.k[..., ::2]
    return best(envelope(x.q[:, ::2], int8(half.max(1)), int8(half.min(1))), pages, x.candidates)


def sign_keys(x: Given, pages: int) -> Choice:
    size, signs = bfloat16(np.abs(x.k).mean(1)), np.where(x.k < 0, -1.0, 1.0)
    agreement = [products(x.q * weight, one[None]).max() for weight, one in zip(size, signs, strict=True)]
    return best(np.array(agreement), pages, x.candidates)


def rank_keys(x: Given, pages: int) -> Choice:
    eighth = x.k.shape[2] // 8
    basis = np.zeros((2 * eighth, 8 * eighth))  # the rows span the subspace that the keys are projected to
    for i in range(eighth):
        basis[i, i::eighth] = 1
        basis[eighth + i, i::eighth] = [1, 1, 1, 1, -1, -1, -1, -1]
    low = np.concatenate([int8(part) for part in np.split(x.k @ basis.T, 2, -1)], -1)
    return best(products(x.q @ basis.T, low).max((1, 2)), pages, x.candidates)


def sparq(x: Given, channels: int, pages: int) -> Choice:
    largest = np.argsort(-np.abs(x.q).sum(0), kind="stable")[:channels]
    return best(products(x.q[:, largest], int8(x.k)[..., largest]).max((1, 2)), pages, x.candidates)


def double_sparsity(x: Given, pages: int) -> Choice:
    return best(products(x.q[:, ::8], int4(x.k[..., ::8])).max((1, 2)), pages, x.candidates)


def shadowkv(x: Given, outlier: float, pages: int) -> Choice:
    mean = x.k.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):  # a key of zeros has no direction
        cosine = bfloat16(((x.k * mean).sum(-1) / (length(x.k) * length(mean))).min(1))
    share = softmax(centers(x) @ x.q.T * x.scale, 0).max(1)
    return best(share + (cosine < np.float32(outlier)), pages, x.candidates)


def infllm(x: Given, pages: int) -> Choice:
    distance = ((x.k - x.k.mean(1, keepdims=True)) ** 2).sum(-1)
    nearest = np.argsort(distance, 1, kind="stable")[:, :4]
    representative = bfloat16(np.take_along_axis(x.k, nearest[..., None], 1).mean(1))
    return best(representative @ x.mean_q, pages, x.candidates)


def value_gated(x: Given, pages: int) -> Choice:
    return best(centers(x) @ x.mean_q * bfloat16(length(x.v).mean(1)), pages, x.candidates)


def key_value_blend(x: Given, keys: float, pages: int) -> Choice:
    by_key, by_value = centers(x) @ x.mean_q, bfloat16(x.v.mean(1)) @ x.mean_q
    return best(keys * by_key + (1 - keys) * by_value, pages, x.candidates)


def velocity(x: Given, inertia: float, pages: int) -> Choice:
    score = centers(x) @ x.mean_q
    return best(score - inertia * x.before, pages, x.candidates, kept=score)


def ema(x: Given, decay: float, pages: int) -> Choice:
    running = decay * x.before + centers(x) @ x.mean_q
    return best(running, pages, x.candidates, kept=running)


def h2o(x: Given, pages: int) -> Choice:
    attention = softmax(products(x.q, x.k) * x.scale, (0, 2))
    gathered = x.before + attention.sum((1, 2))
    return best(gathered, pages, x.candidates, kept=gathered)


def two_stage(x: Given, wider: int, pages: int) -> Choice:
    coarse = best((centers(x) @ x.q.T).max(1), wider * pages, x.candidates)
    return best(products(x.q, int4(x.k)).max((1, 2)), pages, coarse.chosen)


def smooth(x: Given, pages: int) -> Choice:
    beyond_ends = np.pad(centers(x) @ x.mean_q, 1)
    return best(np.convolve(beyond_ends, [0.25, 0.5, 0.25], "valid"), pages, x.candidates)


def strided(x: Given, stride: int) -> Choice:
    return Choice(x.candidates & (np.arange(len(x.k)) % stride == 0), ~x.candidates)


def decaying_budget(x: Given, slope: float, pages: int) -> Choice:
    first, last = pages * (1 + slope), pages * (1 - slope)
    middle = (x.layer + 0.5) / x.num_layers
    return best(centers(x) @ x.mean_q, first + (last - first) * middle, x.candidates)


def length_budget(x: Given, ratio: float, pages: int) -> Choice:
    return best(centers(x) @ x.mean_q, max(pages, ratio * x.count), x.candidates)


def hybrid_union(x: Given, pages: int, stride: int) -> Choice:
    return joined(quest(x, pages), strided(x, stride))


def consensus(x: Given, pages: int) -> Choice:
    return best((centers(x) @ x.q.T).min(1), pages, x.candidates)


def diverse(x: Given, weight: float, pages: int) -> Choice:
    center = centers(x)
    previous = np.roll(center, 1, 0)
    previous[0] = 0
    cosine = (center * previous).sum(1) / np.maximum(length(center) * length(previous), 1e-6)
    return best(center @ x.mean_q * x.scale - weight * cosine, pages, x.candidates)
