"""The page of an exported wheel, in Markdown: what it is, how it is served, what was measured, and its limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.records import Stage
from search.report.merit import figure
from search.workloads import HELD_OUT
from vortex_dsl import Shape, cost, load_program
from vortex_dsl.tunables import Float, Int

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.plugin.names import Names
    from vortex_dsl.frontend.program import Program

Card = dict[str, Any]

TEMPLATE = Path(__file__).with_name("page.md.jinja")
STAGES = (Stage.FIDELITY, Stage.RETRIEVAL, Stage.PROBE, Stage.TASK, Stage.SERVE, Stage.RECALL)
OF_A_PART = re.compile(r"_(layer|head|text|third)_\d+$")
TITLES = {
    (Stage.FIDELITY, "kl"): "KL divergence from dense attention, nats per token",
    (Stage.FIDELITY, "agreement"): "tokens on which dense attention agrees, share",
    (Stage.FIDELITY, "perplexity_ratio"): "perplexity over dense attention's",
    (Stage.RETRIEVAL, "accuracy"): "questions answered, share",
    (Stage.RETRIEVAL, "dense_accuracy"): "questions answered by dense attention, share",
    (Stage.RETRIEVAL, "partial"): "parts of answers that are right, share",
    (Stage.RETRIEVAL, "loss"): "answers lost against dense attention, share",
    (Stage.PROBE, "accuracy"): "hops of chains that are right, share",
    (Stage.TASK, "loss"): "lost against dense attention",
    (Stage.SERVE, "speedup"): "decode step, times as fast as by vLLM's own attention",
    (Stage.SERVE, "speedup_wall"): "decode step by the clock, times as fast",
    (Stage.SERVE, "speedup_attention"): "its attention alone, times as fast",
    (Stage.SERVE, "tokens_per_s"): "decoded tokens per second",
    (Stage.SERVE, "dense_tokens_per_s"): "decoded tokens per second, dense",
    (Stage.SERVE, "step_ms"): "decode step, ms",
    (Stage.SERVE, "dense_step_ms"): "decode step, ms, dense",
    (Stage.SERVE, "attention_share"): "attention's share of a decode step, dense",
    (Stage.SERVE, "pages_attended"): "pages read per sequence, KV head and step",
    (Stage.SERVE, "pages_dense"): "pages that dense attention reads of them",
    (Stage.RECALL, "oracle_mass"): "attention mass that the best pages would keep, share",
    (Stage.RECALL, "random_mass"): "attention mass that random pages would keep, share",
    (Stage.RECALL, "pages_attended"): "pages read per sequence, KV head and step",
    (Stage.RECALL, "recall"): "attention mass kept, over what the best pages would keep",
    (Stage.RECALL, "mass"): "attention mass kept, share",
    (Stage.RECALL, "output_error"): "error of the attention's output, relative",
}
LONGER = (8192, 32768, 131072)  # tokens at which budgets are told beside the longest that was judged


@dataclass
class Row:
    """A figure with its interval: of texts that proposers learned from, and of texts that they never saw."""

    stage: Stage
    title: str
    seen: str = ""
    confirmed: str = ""


@dataclass(frozen=True)
class Budget:
    """How many times its bytes dense attention reads with this budget, by length."""

    value: int | float
    is_judged: bool
    ratios: tuple[str, ...]


def page(card: Card, names: Names) -> str:
    """Write the page."""
    from jinja2 import Environment, StrictUndefined

    program = load_program(card["text"]).with_values(**card["values"])
    longest = max(card["lengths"])
    lengths = [longest, *(each for each in LONGER if each > longest)]
    budgets = list(_budgets(card, program, lengths))
    larger = next((each.value for each in budgets if each.value > _judged(program)), _judged(program))
    markdown = Environment(  # noqa: S701 - Markdown; what comes from elsewhere goes through `plain`, or into a fence
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    markdown.filters |= {"plain": plain, "number": "{:,}".format}
    return markdown.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        card=card, names=names, idea=plain(program.doc), page_size=program.values["page_size"],
        tunables=", ".join(f"`{name}` {program.values[name]}" for name in sorted(program.tunables)),
        budget=program.budget, larger=larger, reached=_reached(card), figures=_figures(card), budgets=budgets,
        lengths=lengths, fence="`" * max(3, 1 + max(map(len, re.findall("`+", card["text"])), default=0)),
    )  # fmt: skip


def plain(text: object) -> str:
    """Give a text as one line that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_\[\]<>|&#])", r"\\\1", " ".join(str(text).split()))


def _reached(card: Card) -> list[tuple[int, float]]:
    checks = [e["measurements"] for e in card["evaluations"] if e["key"]["stage"] == Stage.CHECK]
    found = {m["name"]: m["value"] for measurements in checks for m in measurements}
    named = ((length, found.get(f"cost_ratio_{length}")) for length in card["lengths"])
    return [(length, value) for length, value in named if value is not None]


def _figures(card: Card) -> list[Row]:
    """Give every figure that has an interval, but those of single layers, heads and texts."""
    rows: dict[tuple[Stage, str], Row] = {}
    done = [e for e in card["evaluations"] if e["key"]["stage"] in STAGES]
    for evaluation in sorted(done, key=lambda each: STAGES.index(each["key"]["stage"])):
        stage = Stage(evaluation["key"]["stage"])
        for m in evaluation["measurements"]:
            if m["low"] is None or m["high"] is None or OF_A_PART.search(m["name"]):
                continue
            row = rows.setdefault((stage, m["name"]), Row(stage, _title(stage, m["name"])))
            told = f"{figure(m['value'], m['low'], m['high'])}, n = {m['num_samples']:,}"
            if evaluation["split"] == HELD_OUT:
                row.confirmed = told
            else:
                row.seen = told
    return list(rows.values())


def _title(stage: Stage, name: str) -> str:
    """Name a figure; one of a length or a kind by what it is of it."""
    words = name.split("_")
    for i in range(len(words), 0, -1):
        title = TITLES.get((stage, "_".join(words[:i])))
        if title:
            return ": ".join([title, *([_part(" ".join(words[i:]))] if words[i:] else [])])
    return plain(" ".join(words))


def _part(text: str) -> str:
    return f"{int(text):,} tokens" if text.isdecimal() else plain(text)


def _judged(program: Program) -> int | float:
    value = program.values[program.budget] if program.budget else 0
    assert not isinstance(value, str), "a budget is a number"
    return value


def _budgets(card: Card, program: Program, lengths: list[int]) -> Iterator[Budget]:
    """Give the judged budget, and half, twice and four times as much where the tunable takes it, in order."""
    if program.budget is None:
        return
    tunable, judged = program.tunables[program.budget], _judged(program)
    assert isinstance(tunable, Int | Float)
    shape, kind = Shape(**card["shape"]), int if isinstance(tunable, Int) else float
    around = {judged, *(kind(f"{judged * factor:.0f}" if kind is int else judged * factor) for factor in (0.5, 2, 4))}
    for value in sorted(each for each in around if tunable.low <= each <= tunable.high):
        other = program.with_values(**{program.budget: value})
        ratios = tuple(f"{cost(other, shape, length, card['num_layers']).ratio:.1f}" for length in lengths)
        yield Budget(value, value == judged, ratios)
