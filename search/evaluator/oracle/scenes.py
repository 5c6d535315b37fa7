"""What is served to be judged: sequences, the order in which their tokens come, and what the torch backend expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from search.evaluator.oracle.witness import MANY, ROUNDING, SHORT
from vortex_dsl import attend
from vortex_dsl.serving.rehearsal import Tokens, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vortex_dsl import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.serving.rehearsal import Model

# Complete pages of each sequence, by batch. What many pages are for is a budget that nothing can make smaller.
BATCHES = ((0, 3, SHORT, SHORT), (MANY,))
DIRT = 1e3  # how much larger an earlier request's numbers are
LAST = 3  # tokens of each sequence that come by whole steps of the engine


@dataclass(frozen=True)
class Scene:
    """A batch of one layer. q: [batch, num_q_heads, dim]; tokens and q in the model's dtype; lengths at the end.

    `layer` chooses for itself, whatever the program's dense and sharing layers are.
    """

    model: Model
    q: torch.Tensor
    tokens: Tokens
    lengths: tuple[int, ...]
    layer: int

    def expected(self, program: Program, turns: Sequence[Turn]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give what the torch backend makes of the tokens up to each turn: as `attend`."""
        rows, most = [turn.sequence for turn in turns], max(turn.until for turn in turns)
        k, v = (x[0, rows, :, :most].float() for x in self.tokens)
        until = torch.tensor([turn.until for turn in turns])
        scale = self.model.head_dim**-0.5
        out, attended = attend(
            program, self.q[rows].float(), k, v, until, scale, self.layer, self.layer + 1, backend="torch"
        )
        return out[..., : self.model.output_dim], attended

    def perturbed(self, generator: torch.Generator) -> Scene:
        """Give float32 inputs that differ by about a rounding error."""

        def moved(x: torch.Tensor) -> torch.Tensor:
            return x.float() * (1 + ROUNDING * torch.randn(x.shape, generator=generator))

        return replace(self, q=moved(self.q), tokens=tokens_of(self.model, moved(self.tokens.k), moved(self.tokens.v)))


@dataclass(frozen=True)
class Act:
    """Tokens that come at once: in one step of the engine, or (`pours`) written without the prompts' attention."""

    turns: tuple[Turn, ...]
    pours: bool = False


def make_scene(graph: Graph, model: Model, pages: Sequence[int], generator: torch.Generator) -> Scene:
    """Draw sequences of this many complete pages each and a partial one; of two alike, the second has no other."""
    size = graph.page_size
    lengths = [num * size + int(torch.randint(2, size, (), generator=generator)) for num in pages]
    for row in range(1, len(pages)):
        if pages[row] == pages[row - 1]:
            lengths[row] = pages[row] * size
    return make_scene_of(graph, model, lengths, generator)


def make_scene_of(graph: Graph, model: Model, lengths: Sequence[int], generator: torch.Generator) -> Scene:
    """Draw sequences of these lengths in tokens."""
    shape = (1, len(lengths), model.num_kv_heads, max(lengths), model.head_dim)
    q, k, v = (
        torch.randn(wanted, generator=generator).to(model.dtype)
        for wanted in ((len(lengths), model.num_q_heads, model.head_dim), shape, shape)
    )
    return Scene(model, q, tokens_of(model, k, v), tuple(lengths), graph.dense_layers + graph.share_layers)


def tokens_of(model: Model, k: torch.Tensor, v: torch.Tensor) -> Tokens:
    """Give the tokens as a program sees them: of latents, values are the first channels of keys."""
    if model.value_dim:
        v = k.clone()
        v[..., model.value_dim :] = 0
    return Tokens(k, v)


def earlier(tokens: Tokens, page_size: int) -> Tokens:
    """Give whole pages of another request's tokens, as many as these sequences have or will have."""
    missing = -tokens.k.shape[3] % page_size
    k, v = (DIRT * pad(x, (0, 0, 0, missing)).flip(3) for x in tokens)
    return Tokens(k, v)


def written(lengths: Sequence[int], page_size: int) -> list[Act]:
    """Let all but the last tokens come, in pieces that end inside of pages and at their ends.

    Where there is room for it, a prompt's second page is completed by a decode, before the prompt goes on.
    """
    done = dict.fromkeys(range(len(lengths)), 0)
    acts = []

    def let_come(until: Callable[[int], int], *, pours: bool, decodes: bool = False) -> None:
        turns = [Turn(row, until(length), decodes) for row, length in enumerate(lengths)]
        turns = [turn for turn in turns if turn.until > done[turn.sequence]]
        done.update({turn.sequence: turn.until for turn in turns})
        if turns:
            acts.append(Act(tuple(turns), pours))

    def where_long(until: int) -> Callable[[int], int]:
        return lambda length: until if length > 2 * page_size + LAST + 1 else 0

    let_come(where_long(2 * page_size - 3), pours=True)
    let_come(where_long(2 * page_size - 1), pours=False)
    let_come(where_long(2 * page_size), pours=False, decodes=True)
    let_come(lambda length: min(3 * page_size + 3, length - LAST), pours=True)
    let_come(lambda length: length - LAST, pours=True)
    return acts


def ending(lengths: Sequence[int]) -> list[Act]:
    """Let the last tokens come: prompts end, then all decode once, half of them while others' prompts end."""
    first, second = range(0, len(lengths), 2), range(1, len(lengths), 2)
    prompts = [[Turn(row, lengths[row] - 1, decodes=False) for row in rows] for rows in (first, second)]
    decodes = [[Turn(row, lengths[row], decodes=True) for row in reversed(rows)] for rows in (first, second)]
    acts = [prompts[0], decodes[0] + _shorter_first(prompts[1], lengths), decodes[1]]
    acts[0] = _shorter_first(acts[0], lengths)
    return [Act(tuple(turns)) for turns in acts if turns]


def _shorter_first(turns: list[Turn], lengths: Sequence[int]) -> list[Turn]:
    """Order prompts as engines do: those of whom one token comes stand before longer pieces."""
    return sorted(turns, key=lambda turn: lengths[turn.sequence] > LAST - 1)
