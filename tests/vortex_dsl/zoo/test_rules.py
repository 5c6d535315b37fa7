"""Every program of the zoo chooses what its paper's formula chooses, written independently in NumPy in `rules.py`."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from vortex_dsl import attend, decode, load_program
from vortex_dsl.tunables import PLATFORM_TUNABLES
from vortex_dsl.zoo import names, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vortex_dsl.backends.contract import BackendName
    from vortex_dsl.frontend.program import Program

_spec = importlib.util.spec_from_file_location("zoo_rules", Path(__file__).parent / "rules.py")
assert _spec is not None
assert _spec.loader is not None
rules = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rules)

HEADS, LAYER, NUM_LAYERS = 2, 2, 4
BACKENDS: tuple[BackendName, ...] = ("reference", "torch")  # Triton's are compared with these elsewhere
NO_PAGES = ("dense", "streaming", "strided")
REMEMBERING = ("ema", "h2o", "velocity")
# Budgets that leave something to choose, and shares that short binary fractions can tell.
VALUES: dict[str, dict[str, float]] = {
    "ema": {"decay": 0.5},
    "length_budget": {"pages": 2, "ratio": 0.375},
    "shadowkv": {"outlier": 0.45},
    "sparq": {"channels": 3},
    "strided": {"stride": 3},
    "hybrid_union": {"pages": 2, "stride": 4},
    "threshold": {"share": 0.002, "pages": 9},
    "twilight": {"mass": 0.9, "pages": 9},
    "two_stage": {"wider": 2},
}
# Programs with roots, quotients or exponentials, int8 and int4 storage among them; the others choose exactly alike.
ROUNDED = frozenset(
    [
        *("ball", "centroid_gqa", "diverse", "double_sparsity", "h2o", "mass_lse", "narrow_int8", "oracle_mass"),
        *("quest_int4", "rank_keys", "shadowkv", "sparq", "threshold", "twilight", "two_stage", "value_gated"),
    ]
)
MOST_NEAR = 6  # pages of one comparison that may differ because they lie next to the cut


@dataclass(frozen=True)
class Case:
    """Shapes of one comparison; lengths in tokens."""

    group: int
    head_dim: int
    page_size: int

    @property
    def lengths(self) -> list[int]:
        size = self.page_size
        return [0, size - 1, 3 * size, 12 * size + 5, 17 * size - 1]


CASES = (Case(1, 16, 16), Case(4, 24, 16), Case(8, 16, 32))


def settled(name: str, **values: int) -> Program:
    """Give a program with the values that tests use."""
    budget = {} if name in NO_PAGES else {"pages": 3}
    return load_program(text(name)).with_values(**budget | VALUES.get(name, {}) | values)


def planted(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw k and v [*shape, tokens, dim] of small whole numbers: runs of tokens have a direction in common.

    Every 37th token strays far from its run. Sums of such numbers are exact.
    """
    rng = np.random.default_rng(seed)
    *lead, tokens, dim = shape
    topic = rng.integers(-2, 3, (2, *lead, tokens // 11 + 1, dim)).repeat(11, -2)[..., :tokens, :]
    both = np.clip(topic + rng.integers(-1, 2, (2, *lead, tokens, dim)), -3, 3)
    both[..., ::37, :] *= -2
    return both[0].astype(float), both[1].astype(float)


def queries(k: np.ndarray, group: int, seed: int) -> np.ndarray:
    """Draw q [..., head, dim] of small whole numbers: each head looks for some token, roughly."""
    rng = np.random.default_rng(seed)
    *lead, tokens, dim = k.shape
    sought = rng.integers(0, tokens, (*lead, group))
    found = np.take_along_axis(k, sought[..., None], -2)
    return np.clip(found + rng.integers(-1, 2, (*lead, group, dim)), -3, 3)


def reserved(length: int, page_size: int, sink: int, window: int) -> np.ndarray:
    """Give bool [N]: the first `sink` and the last `window` pages, a partial one included."""
    num_pages = -(-length // page_size)
    index = np.arange(num_pages)
    return (index < sink) | (index >= num_pages - window)


def chosen_by_rule(name: str, program: Program, row: tuple[np.ndarray, ...], place: tuple[int, int, int], before: Any):
    """Choose for one row by the rule in NumPy; None where there is no candidate.

    row: q [head, dim], k and v [length, dim]; place: layer, number of layers, KV head; before: [page] or None.
    """
    q, k, v = row
    values = dict(program.values)
    size, complete = values["page_size"], len(k) // values["page_size"]
    held = reserved(len(k), size, values["sink"], values["window"])
    pages = [x[: complete * size].reshape(complete, size, x.shape[1]) for x in (k, v)]
    given = rules.Given(
        q, *pages, ~held[:complete], len(held), k.shape[1] ** -0.5, *place, before if before is not None else 0.0
    )
    own = {key: value for key, value in values.items() if key not in PLATFORM_TUNABLES}
    return getattr(rules, name)(given, **own) if given.candidates.any() else None


def compare(attended: np.ndarray, held: np.ndarray, choice: Any, exact: bool) -> int:
    """Compare attended pages, bool [max_pages], with a rule's; give how many differ next to the cut."""
    want = held.copy()
    near = np.zeros_like(held)
    if choice is not None:
        want[: len(choice.chosen)] |= choice.chosen
        near[: len(choice.near)] = choice.near
    assert not attended[len(held) :].any()
    differs = attended[: len(held)] != want
    assert not (differs if exact else differs & ~near).any(), (np.flatnonzero(differs), np.flatnonzero(want))
    return int(differs.sum())


def rows(case: Case, seed: int = 0) -> Iterator[tuple[int, int, np.ndarray, np.ndarray, np.ndarray]]:
    """Give each sequence and KV head: its numbers, q [head, dim], k and v [length, dim]."""
    k, v = planted((len(case.lengths), HEADS, max(case.lengths), case.head_dim), seed)
    for i, length in enumerate(case.lengths):
        for head in range(HEADS):
            yield i, head, queries(k[i, head], case.group, 10 * i + head), k[i, head, :length], v[i, head, :length]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"group {case.group}, {case.page_size} tokens")
@pytest.mark.parametrize("name", names())
def test_a_program_chooses_what_its_formula_chooses(name: str, case: Case) -> None:
    program = settled(name, page_size=case.page_size)
    k, v = (torch.tensor(x, dtype=torch.float32) for x in planted((5, HEADS, max(case.lengths), case.head_dim), 0))
    given = list(rows(case))
    q = torch.tensor(np.concatenate([row[2] for row in given]), dtype=torch.float32).reshape(5, -1, case.head_dim)
    place = {"layer": LAYER, "num_layers": NUM_LAYERS}
    found = [attend(program, q, k, v, torch.tensor(case.lengths), backend=each, **place)[1] for each in BACKENDS]
    num_near = 0
    for i, head, *row in given:
        held = reserved(case.lengths[i], case.page_size, program.values["sink"], program.values["window"])
        choice = chosen_by_rule(name, program, tuple(row), (LAYER, NUM_LAYERS, head), None)
        num_near += sum(compare(pages[i, head].numpy(), held, choice, name not in ROUNDED) for pages in found)
    print(f"{name}: {num_near} pages next to the cut differ")
    assert num_near <= MOST_NEAR


STEPS, LAYERS, PROMPT = 8, 6, 16 * 9 + 11


def decoded_by_rule(name: str, program: Program, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Iterator[tuple]:
    """Decode one sequence and KV head in NumPy: step, layer, reserved pages and the choice that holds (None: all).

    q: [step, layer, head, dim]; k, v: [layer, prompt + step, dim].
    """
    values = program.values
    first, share, refresh = (int(values[key]) for key in ("dense_layers", "share_layers", "refresh_steps"))
    stored: dict[int, Any] = {}
    kept: dict[int, np.ndarray] = {}
    period: dict[int, int] = {}
    for step, layer in itertools.product(range(STEPS), range(LAYERS)):
        length = PROMPT + step + 1
        held = reserved(length, 16, int(values["sink"]), int(values["window"]))
        leader = first + (layer - first) // share * share
        if layer == leader and period.get(layer) != length // refresh:
            known = kept.get(layer, np.zeros(0))
            before = np.pad(known, (0, length // 16 - len(known)))
            row = (q[step, layer], k[layer, :length], v[layer, :length])
            choice = chosen_by_rule(name, program, row, (layer, LAYERS, 0), before)
            stored[layer], period[layer] = choice, length // refresh
            kept[layer] = before if choice.kept is None else choice.kept
        yield step, layer, held, stored[leader] if layer >= first else None


@pytest.mark.parametrize("group", [1, 4, 8])
@pytest.mark.parametrize("name", [*REMEMBERING, "index_reuse", "step_reuse", "centroid"])
def test_a_program_decodes_as_its_formula_over_steps_and_layers(name: str, group: int) -> None:
    program = settled(name)
    k, v = planted((LAYERS, 1, PROMPT + STEPS, 16), seed=group)
    q = np.stack([queries(k, group, step)[:, 0] for step in range(STEPS)])
    tensors = [torch.tensor(x, dtype=torch.float32) for x in (q[:, :, None], k[:, None], v[:, None])]
    found = [decode(program, *tensors, PROMPT, backend=each)[1] for each in BACKENDS]
    num_near = 0
    for step, layer, held, choice in decoded_by_rule(name, program, q, k[:, 0], v[:, 0]):
        for attended in found:
            pages = attended[step, layer, 0, 0].numpy()
            if layer < program.values["dense_layers"]:
                assert pages[: len(held)].all()
            else:
                num_near += compare(pages, held, choice, name not in ROUNDED)
    print(f"{name}: {num_near} pages next to the cut differ")
    assert num_near <= MOST_NEAR


def test_the_data_tell_programs_apart() -> None:
    """A selector that stood in for another would be seen: on these data no two rules choose alike."""
    found: dict[str, tuple] = {}
    for name in set(names()) - {"index_reuse", "step_reuse", "velocity", "ema"}:  # alike at their first step
        program = settled(name)
        choices = [
            chosen_by_rule(name, program, tuple(row), (LAYER, NUM_LAYERS, head), None)
            for case in CASES
            for _, head, *row in rows(case)
        ]
        found[name] = tuple(tuple(np.flatnonzero(choice.chosen)) for choice in choices if choice is not None)
    assert len(set(found.values())) == len(found)


def test_reuse_is_as_published() -> None:
    assert settled("index_reuse").values["share_layers"] == 4
    assert settled("step_reuse").values["refresh_steps"] == 4


def test_every_program_has_a_rule() -> None:
    assert [name for name in names() if not callable(getattr(rules, name, None))] == []
    assert set(names()) >= {*ROUNDED, *VALUES, *REMEMBERING, *NO_PAGES}
