"""Whole programs, and what they run on, as Hypothesis strategies that shrink to small ones."""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from hypothesis import strategies as st

from search.agents.changing.mutate import mutate
from search.agents.changing.source import Source
from search.agents.drawing.generate import generate
from vortex_dsl import ProgramError, Shape, load_program, trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.frontend.program import Program

MAX_CHANGES = 3
WILD, PLAIN = 30, 1 - 2**-20
NUM_STEPS, NUM_LAYERS, STEP_PAGES = 3, 2, 6  # of decode


def loaded(text: str, shape: Shape) -> Program | None:
    """Give the program if the text loads and traces."""
    try:
        program = load_program(text)
        trace(program, shape)
    except ProgramError:
        return None
    return program


METHODS = {"logsumexp": "max", "norm": "max"}
FUNCTIONS = {"exp": "relu", "log": "abs", "sqrt": "abs", "sigmoid": "sign", "silu": "relu", "tanh": "sign"}
SELECTIONS = {"topp": "above"}
STORAGE = {"int4": "fp8_e4m3", "int8": "float16"}
SIGNS = {ast.Div: ast.Mult, ast.Pow: ast.Sub}


class _Plain(ast.NodeTransformer):
    """Puts operations that give exact results on small integers in place of those that round."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in ("softmax", "normalize"):
                return node.func.value
            node.func.attr = METHODS.get(node.func.attr, node.func.attr)
        elif isinstance(node.func, ast.Name):
            node.func.id = (FUNCTIONS | SELECTIONS).get(node.func.id, node.func.id)
            for keyword in node.keywords:
                keyword.arg = "threshold" if keyword.arg == "p" else keyword.arg
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, float):
            return ast.Constant(round(node.value * 8) / 8)
        return ast.Constant(STORAGE.get(node.value, node.value)) if isinstance(node.value, str) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        self.generic_visit(node)
        node.op = SIGNS.get(type(node.op), type(node.op))()
        return node


def plain(text: str, head_dim: int) -> str:
    """Give a like program without transcendentals, quotients and roots."""
    source = Source.parse(text, head_dim)
    source.tree = ast.fix_missing_locations(_Plain().visit(source.tree))
    return source.text()


class _Random(random.Random):
    """Gives even random numbers of a seed; Hypothesis decides which of them are plain, and shrinks towards plain ones.

    Numbers drawn by Hypothesis itself would be far from even, so that most programs would be odd and alike. A plain
    number takes the likely side of a branch and the first of several options.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        super().__init__()
        self._draw = draw
        self._numbers = random.Random(draw(st.integers(0, 2**32 - 1)))

    def random(self) -> float:
        number = self._numbers.random()
        return number if self._draw(st.integers(0, WILD)) else PLAIN

    def getrandbits(self, k: int, /) -> int:
        number = self._numbers.getrandbits(k)
        return number if self._draw(st.integers(0, WILD)) else 0

    def choices(self, population: Sequence[Any], weights: Sequence[float] | None = None, **more: Any) -> list[Any]:
        order = range(len(population))[::-1]
        return super().choices([population[i] for i in order], [weights[i] for i in order] if weights else None, **more)


@st.composite
def texts(draw: st.DrawFn, shape: Shape) -> str:
    """Draw a program of the grammar for a shape, changed up to three times; changes that do not load are left out."""
    rng = _Random(draw)
    text = generate(rng, shape.head_dim, 0)
    for _ in range(draw(st.integers(0, MAX_CHANGES))):
        source = Source.parse(text, shape.head_dim)
        changed = source.text() if mutate(source, rng) else text
        text = changed if loaded(changed, shape) else text
    simpler = plain(text, shape.head_dim) if rng.random() < 0.5 else text
    return simpler if loaded(simpler, shape) else text


@dataclass(frozen=True)
class Case:
    """What a program runs on, drawn from `seed`. `lengths` are tokens per sequence."""

    shape: Shape
    num_kv_heads: int
    page_size: int
    lengths: tuple[int, ...]
    layer: int
    num_layers: int
    dtype: torch.dtype
    seed: int

    def tensors(self, *, whole: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give q, k, v and lengths as `attend` takes them: small integers, or multiples of 1/64; NaN beyond a length.

        The fractions have few bits so that summaries come out alike in any order, before they are rounded to be stored.
        """
        batch, dim, tokens = len(self.lengths), self.shape.head_dim, max(*self.lengths, 1)
        num_heads = self.num_kv_heads * self.shape.group
        q, k, v = self._drawn(whole, (batch, num_heads, dim), (batch, self.num_kv_heads, tokens, dim))
        for i, length in enumerate(self.lengths):
            k[i, :, length:] = torch.nan
            v[i, :, length:] = torch.nan
        return q, k, v, torch.tensor(self.lengths)

    def steps(self, *, whole: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
        """Give qs, ks, vs and prompt_tokens as `decode` takes them: the last step fills a page, or begins one."""
        tokens, dim = STEP_PAGES * self.page_size + self.seed % 2, self.shape.head_dim
        of_q = (NUM_STEPS, NUM_LAYERS, 1, self.shape.group, dim)
        return *self._drawn(whole, of_q, (NUM_LAYERS, 1, 1, tokens, dim)), tokens - NUM_STEPS

    def _drawn(
        self, whole: bool, of_q: tuple[int, ...], of_k: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        step = 1 if whole else 64
        q, k, v = (torch.randn(shape, generator=generator) for shape in (of_q, of_k, of_k))
        q, k, v = ((x * step).round().div(step).to(self.dtype) for x in (q, k, v))
        return q, k, v


def _lengths(page_size: int, max_pages: int) -> st.SearchStrategy[int]:
    """Draw lengths that matter: empty, single, at and beside the ends of pages, and any."""
    edges = st.builds(
        lambda pages, by: max(0, pages * page_size + by), st.integers(0, max_pages - 1), st.integers(-1, 1)
    )
    return st.one_of(edges, st.integers(page_size * 3, max_pages * page_size))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw shapes, lengths and a place in the model."""
    page_size = draw(st.sampled_from((16, 16, 16, 32)))
    max_pages = 9 if page_size == 16 else 5
    num_kv_heads = draw(st.integers(1, 2))
    shape = Shape(draw(st.sampled_from((1, 2, 3, 4))), draw(st.sampled_from((8, 10, 12, 16, 24, 40))))
    others = draw(st.lists(_lengths(page_size, max_pages), max_size=2 - num_kv_heads))
    num_layers = draw(st.integers(1, 8))
    return Case(
        shape=shape,
        num_kv_heads=num_kv_heads,
        page_size=page_size,
        lengths=(*others, max_pages * page_size - draw(st.integers(0, page_size))),
        layer=draw(st.integers(0, num_layers - 1)),
        num_layers=num_layers,
        dtype=draw(st.sampled_from((torch.float32, torch.float32, torch.bfloat16))),
        seed=draw(st.integers(0, 2**20)),
    )
