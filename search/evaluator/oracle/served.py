"""What serves is judged: a program in the engine's own layers and caches, beside the torch backend.

Keys and values are judged by as they were handed to the cache: nothing is read back through the code that is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from search.evaluator.oracle.judging import (
    NUM_PERTURBATIONS,
    Judged,
    Setting,
    attended_in,
    check_counted,
    check_outputs,
    otherwise,
    place_of,
)
from search.evaluator.oracle.over_steps import judge_steps
from search.evaluator.oracle.scenes import BATCHES, earlier, ending, make_scene, make_scene_of, written
from search.evaluator.oracle.steps import make_steps, remembers
from search.evaluator.oracle.witness import NUM_KV_HEADS, SHORT, Mismatch, smallest
from vortex_dsl import load_program, zoo
from vortex_dsl.serving.rehearsal import Rehearsal, Turn, model_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.oracle.scenes import Act, Scene
    from vortex_dsl import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.serving.rehearsal import Took


def check(
    program: Program,
    graph: Graph,
    vllm_config: Any,
    generator: torch.Generator,
    batches: Sequence[Sequence[int]] = BATCHES,
    length: int = 0,
) -> list[Judged]:
    """Serve a program as an engine with this configuration does, and compare it with the torch backend.

    In float32 and in the engine's dtype, for the program's own integers as they are and at their lowest: ragged
    sequences in scattered blocks, full of an earlier request's tokens, whose prompts come in pieces that end inside and
    at the end of pages; some tokens are decoded before a prompt goes on, and decodes share a step with prompts. Once
    the program takes another's place when nearly all is written, as candidates do in one engine. The pages listed for
    the kernel are those expected, in their order, with the tokens that they hold; outputs are near. A program that
    remembers, or shares choices, is decoded over several steps and layers, with the least to choose.
    batches: complete pages of each sequence; all but the first batch are for the program as it is. length: of a text
    that is judged elsewhere, whose decode is judged here in the engine's dtype. Raises Mismatch.
    """
    every_page = load_program(zoo.text("dense")).with_values(page_size=graph.page_size)
    setting, judged = Setting(vllm_config, every_page, generator), []
    variants = (program, *smallest(program, graph))
    model = model_of(vllm_config, NUM_KV_HEADS)
    for dtype in dict.fromkeys((torch.float32, model.dtype)):
        given = replace(model, dtype=dtype)
        scene, *others = (make_scene(graph, given, pages, generator) for pages in batches)
        judged += [_in_pieces(setting, scene, variant, variant) for variant in variants]
        judged.append(_in_pieces(setting, scene, every_page, variants[-1]))
        judged += [_in_pieces(setting, other, program, program) for other in others]
        if remembers(graph):
            steps = make_steps(graph, given.num_kv_heads, generator, min(SHORT, max(batches[0])))
            judged.append(
                judge_steps(setting, given, steps.mapped(partial(torch.Tensor.to, dtype=dtype)), variants[-1])
            )
    if length:
        judged.append(_in_pieces(setting, make_scene_of(graph, model, (length + 1,), generator), program, program))
    return judged


def _in_pieces(setting: Setting, scene: Scene, first: Program, program: Program) -> Judged:
    """Serve a scene by one program, its end by another, which may be the same."""
    rehearsal = Rehearsal(setting.vllm_config, scene.model, program, [scene.layer], scene.tokens)
    rehearsal.use(first)
    rehearsal.soil(earlier(scene.tokens, rehearsal.page_size))
    play = _Play(setting, scene, rehearsal, Judged.of(rehearsal))
    for act in written(scene.lengths, rehearsal.page_size):
        play.go_on(first, act)
    if program != first:
        rehearsal.use(program)
    for act in ending(scene.lengths):
        play.go_on(program, act)
    return replace(play.judged, served_by=rehearsal.served_by)


@dataclass
class _Play:
    """A scene while it is served, and what was compared so far."""

    setting: Setting
    scene: Scene
    rehearsal: Rehearsal
    judged: Judged

    def go_on(self, program: Program, act: Act) -> None:
        """Let tokens come, and judge what this program makes of them."""
        if act.pours:
            self.rehearsal.pour(act.turns)
            return
        before = self.rehearsal.layers[0].impl.meter.counters.pages_attended
        (took,) = self.rehearsal.step(act.turns, self.scene.q[None])
        counted = self.rehearsal.layers[0].impl.meter.counters.pages_attended - before
        decodes = [turn for turn in act.turns if turn.decodes]
        prompts = list(act.turns[len(decodes) :])
        if decodes:
            self._judge_decodes(program, decodes, took, counted)
        if prompts and not self.scene.model.value_dim:  # prompts' attention over latents is vLLM's own
            self._judge_prompts(prompts, took.out[len(decodes) :])

    def _judge_decodes(self, program: Program, turns: list[Turn], took: Took, counted: int) -> None:
        out, attended = self.scene.expected(program, turns)
        seen = attended_in(self.rehearsal, turns, took, attended.shape[-1])
        self.judged = self.judged.counting(check_counted(self.rehearsal, turns, counted, seen))
        different = (seen != attended).any(-1)
        stable = different.clone()
        for _ in range(NUM_PERTURBATIONS if different.any() else 0):
            again = self.scene.perturbed(self.setting.generator).expected(program, turns)[1]
            stable &= (again == attended).all(-1)
        if stable.any():
            row, head = stable.nonzero()[0].tolist()
            where = place_of(self.rehearsal, turns[row], head)
            raise Mismatch(otherwise(where, seen[row, head], attended[row, head]))
        error = check_outputs(self.rehearsal, turns, took.out[: len(turns)], out, ~different)
        self.judged = self.judged.plus(different, error)

    def _judge_prompts(self, turns: list[Turn], out: torch.Tensor) -> None:
        """Judge the attention of the last token of each piece of a prompt."""
        expected, attended = self.scene.expected(self.setting.every_page, turns)
        none = torch.zeros(attended.shape[:2], dtype=torch.bool)
        self.judged = self.judged.plus(none, check_outputs(self.rehearsal, turns, out, expected, ~none))
