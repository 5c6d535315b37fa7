"""What serves is judged over steps and layers: choices that are shared or kept, and what requests remember."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from search.evaluator.oracle.judging import (
    NUM_PERTURBATIONS,
    Judged,
    Setting,
    attended_in,
    check_outputs,
    otherwise,
    place_of,
)
from search.evaluator.oracle.scenes import earlier, tokens_of
from search.evaluator.oracle.steps import differing
from search.evaluator.oracle.witness import ROUNDING, Mismatch
from vortex_dsl.serving.rehearsal import Rehearsal, Turn

if TYPE_CHECKING:
    from search.evaluator.oracle.steps import Steps
    from vortex_dsl import Program
    from vortex_dsl.serving.rehearsal import Model, Took

PROMPT_END = 2  # tokens of each prompt that come by a whole step of the engine


@dataclass(frozen=True)
class _Step:
    """A decode step: the batch turns round from step to step, as requests change places in an engine's."""

    turns: list[Turn]
    took: list[Took]

    @property
    def order(self) -> list[int]:
        """Give the sequences, as they stand in the batch."""
        return [turn.sequence for turn in self.turns]


def judge_steps(setting: Setting, model: Model, steps: Steps, program: Program) -> Judged:
    """Decode several steps in several layers, as `decode` says of the torch backend. Raises Mismatch."""
    tokens = tokens_of(model, steps.ks, steps.vs)
    rehearsal = Rehearsal(setting.vllm_config, model, program, range(len(steps.ks)), tokens)
    rehearsal.soil(earlier(tokens, rehearsal.page_size))
    done = _decoded(rehearsal, steps)
    meant = replace(steps.mapped(torch.Tensor.float), vs=tokens.v.float())
    outs, attended = meant.decoded(program, "torch")
    there = _there(steps, rehearsal.page_size, attended.shape[-1])
    attended &= there
    seen = torch.zeros_like(attended)
    for i, step in enumerate(done):
        for layer, took in enumerate(step.took):
            seen[i, layer, step.order] = attended_in(rehearsal, step.turns, took, attended.shape[-1])
    different = differing(seen, attended)
    stable = different.clone()
    for _ in range(NUM_PERTURBATIONS if different.any() else 0):
        again = meant.perturbed(ROUNDING, setting.generator).run(program, "torch") & there
        stable &= ~differing(again, attended)
    if stable.any():
        raise Mismatch(_said(rehearsal, steps, stable, seen, attended))
    error = 0.0
    for i, step in enumerate(done):
        for layer, took in enumerate(step.took):
            out = outs[i, layer, step.order, :, : model.output_dim]
            error = max(error, check_outputs(rehearsal, step.turns, took.out, out, ~different[step.order]))
    return Judged.of(rehearsal).plus(different, error)


def _decoded(rehearsal: Rehearsal, steps: Steps) -> list[_Step]:
    """Let the prompts come, then decode."""
    batch, start = range(steps.qs.shape[2]), steps.prompt_tokens
    rehearsal.pour([Turn(row, start - PROMPT_END, decodes=False) for row in batch])
    rehearsal.step([Turn(row, start, decodes=False) for row in batch], steps.qs[0])
    done = []
    for i, queries in enumerate(steps.qs):
        turns = [Turn(row, start + 1 + i, decodes=True) for row in batch[:: (-1) ** i]]
        done.append(_Step(turns, rehearsal.step(turns, queries)))
    return done


def _there(steps: Steps, page_size: int, max_pages: int) -> torch.Tensor:
    """Give the pages that there are at each step, of which alone serving says anything: bool [steps, 1, 1, 1, page]."""
    lengths = steps.prompt_tokens + 1 + torch.arange(len(steps.qs))
    return (torch.arange(max_pages) * page_size < lengths[:, None])[:, None, None, None]


def _said(rehearsal: Rehearsal, steps: Steps, stable: torch.Tensor, seen: torch.Tensor, attended: torch.Tensor) -> str:
    """Say where the first difference is of those that rounding does not explain."""
    row, head = stable.nonzero()[0].tolist()
    step, layer = (seen != attended)[:, :, row, head].any(-1).nonzero()[0].tolist()
    turn = Turn(row, steps.prompt_tokens + 1 + step, decodes=True)
    where = f"decode step {step}, layer {layer}, {place_of(rehearsal, turn, head)}"
    return otherwise(where, seen[step, layer, row, head], attended[step, layer, row, head])
