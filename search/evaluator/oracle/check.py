"""The oracle stage: what serves equals the torch backend, and that the reference."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from search.evaluator.oracle import served, witness
from search.records import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl import Program
    from vortex_dsl.graph.graph import Graph


@dataclass(frozen=True)
class Verdict:
    """What was found right, and the ways of serving that it is about, each named once."""

    measurements: tuple[Measurement, ...]
    served_by: tuple[str, ...]


def check(program: Program, graph: Graph, vllm_config: Any, seed: int, lengths: Sequence[int] = ()) -> Verdict:
    """Judge what an engine with this configuration serves, and the witness that it is judged by. Raises Mismatch.

    `lengths`: those at which texts are judged elsewhere, one of which is drawn: serving must be right there too.
    """
    told = witness.check(program, graph, seed)
    drawn = random.Random(seed).choice(lengths) if lengths else 0
    judged = served.check(program, graph, vllm_config, torch.Generator().manual_seed(seed), length=drawn)
    num_rows = sum(each.num_rows for each in judged)
    about = [
        Measurement("served_rows", float(num_rows), num_samples=num_rows),
        Measurement("served_unstable", float(sum(each.num_unstable for each in judged)), num_samples=num_rows),
        Measurement("served_over_leftovers", float(num_rows), num_samples=num_rows),
        Measurement("pages_recounted", float(sum(each.num_pages for each in judged)), num_samples=num_rows),
        *([Measurement("length_drawn", float(drawn), num_samples=len(lengths))] if drawn else []),
    ]
    for dtype in dict.fromkeys(each.dtype for each in judged):
        rows = [(each.error, each.num_rows) for each in judged if each.dtype == dtype]
        error, samples = max(error for error, _ in rows), sum(num for _, num in rows)
        about.append(Measurement(f"served_error_{dtype}", error, num_samples=samples))
    return Verdict((*told, *about), tuple(dict.fromkeys(each.served_by for each in judged)))
