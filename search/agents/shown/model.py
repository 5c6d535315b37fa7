"""Facts of the model: its shape, how its channels turn, and where its attention lies, from the records."""

from __future__ import annotations

import re
from statistics import mean
from typing import TYPE_CHECKING

from search.agents.drawing.draft import PAGE_SIZE
from search.agents.shown.figures import MASS_OF_LAYER, at, passed, ratios_of
from search.agents.shown.section import Section
from search.parents import BEFORE_ENGINES, REFERENCE
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.records import Context, Measurement, Record

TITLE = "The model"
PRIORITY = 2
NUM_LAYERS_SHOWN = 4


def model(context: Context, statistics: Sequence[Measurement] = ()) -> Section:
    """Tell the model's shape, its rotary channels, what the best pages hold by layer, and which layers count most.

    `statistics`: of its queries and keys (`search.evaluator.recall.describing`), nothing where none were recorded.
    """
    lines = [*_shape(context), _rotary(context), *_described(statistics)]
    lines += [*_held(context), *_by_chance(context), *_weighed(context)]
    return Section(TITLE, "\n".join(f"* {line}" for line in lines), PRIORITY)


def _shape(context: Context) -> Iterator[str]:
    heads = f", {context.demands.num_kv_heads} KV heads" if context.demands.num_kv_heads else ""
    yield (
        f"{context.num_layers} layers{heads}, {context.group} query heads to each KV head, head_dim {context.head_dim}."
    )
    lengths = sorted(set(context.lengths)) or [context.num_tokens]
    pages = " to ".join(str(-(-length // PAGE_SIZE)) for length in dict.fromkeys((lengths[0], lengths[-1])))
    yield f"Costs are judged at {', '.join(f'{each:,}' for each in lengths)} tokens: {pages} pages of {PAGE_SIZE}."


def _rotary(context: Context) -> str:
    half = context.head_dim // 2
    return (
        f"Keys and queries come after rotary embedding, in Llama's order: channels i and i + {half} turn together, pair"
        f" 0 by one radian a token, each later pair more slowly. So the last of each half ({half // 2} to {half - 1} "
        f"and {half + half // 2} to {context.head_dim - 1}) hardly turn within a page; the first blur in its average."
    )


def _described(statistics: Sequence[Measurement]) -> Iterator[str]:
    """Tell the statistics of queries and keys as recorded, averages over layers and the extremes among these."""
    found: dict[str, dict[int, float]] = {}
    for each in statistics:
        match = re.fullmatch(r"(\w+)_layer_(\d+)", each.name)
        if match:
            found.setdefault(match[1], {})[int(match[2])] = each.value
    if not found:
        return
    told = {name: _spread(layers) for name, layers in found.items()}
    yield f"As recorded, keys have a norm of {told['k_norm']}; queries of {told['q_norm']}."
    yield (
        f"Of the keys' squares a KV head's four largest channels hold {told['largest_channels']}; its mean key over all"
        f" tokens, which favours no page, holds {told['mean_key']}."
    )
    yield (
        f"Of how keys vary about that mean, {told['between_pages']} is between the means of pages of {PAGE_SIZE}; the "
        "rest, within pages, no mean key of a page shows."
    )
    quarters = ", ".join(f"{mean(layers.values()):.2f}" for name, layers in found.items() if name.startswith("quarter"))
    yield (
        f"Of how q·(mean key of a page) varies over pages, the quarters of the rotary pairs add {quarters}, the fastest"
        " first."
    )
    yield (
        f"Of the attention's mass the first page holds {told['first_page_mass']}; the last two hold "
        f"{told['last_pages_mass']}."
    )


def _spread(layers: dict[int, float]) -> str:
    """Give the average over layers, with the least and the most."""
    least, most = (choose(layers, key=lambda layer: layers[layer]) for choose in (min, max))
    return f"{mean(layers.values()):.2f} ({layers[least]:.2f} in layer {least} to {layers[most]:.2f} in layer {most})"


def _held(context: Context) -> Iterator[str]:
    """Tell the mass on the best pages in each layer, as the oracle that stands among the yardsticks was measured."""
    for record in _oracles(context.records):
        (ratio,) = ratios_of(record)
        pages, mass = (passed(record, Stage.RECALL, ratio, name) for name in ("pages_attended", "mass"))
        layers = _by_layer(record, ratio)
        if pages and mass and layers:
            spread = sorted(layers, key=lambda layer: layers[layer])
            least, most = spread[:NUM_LAYERS_SHOWN], spread[::-1][:NUM_LAYERS_SHOWN]
            yield (
                f"The best {pages.value:.0f} pages, chosen by the attention itself, hold {mass.value:.3f} of the mass "
                f"on average over layers; least in {_named(layers, least)}; most in {_named(layers, most)}."
            )


def _oracles(records: Sequence[Record]) -> list[Record]:
    """Give the yardsticks that choose by the attention's own mass: of those that leave pages out, the best by mass."""
    found: dict[float, tuple[float, Record]] = {}
    for record in records:
        if record.candidate.proposal.operator != REFERENCE:
            continue
        for ratio in ratios_of(record)[:1]:
            names = ("pages_attended", "pages_dense", "mass")
            pages, dense, mass = (passed(record, Stage.RECALL, ratio, name) for name in names)
            if pages and dense and mass and pages.value < dense.value:
                found[pages.value] = max(found.get(pages.value, (0.0, record)), (mass.value, record), key=_mass)
    return [record for _, (_, record) in sorted(found.items(), key=lambda each: each[0])]


def _mass(found: tuple[float, Record]) -> float:
    return found[0]


def _by_layer(record: Record, ratio: float) -> dict[int, float]:
    evaluation = record.evaluation(Stage.RECALL, ratio)
    taken = evaluation.measurements if evaluation else ()
    return {int(m.name.removeprefix(MASS_OF_LAYER)): m.value for m in taken if m.name.startswith(MASS_OF_LAYER)}


def _named(values: dict[int, float], layers: Sequence[int]) -> str:
    return ", ".join(f"layer {layer} ({values[layer]:.2f})" for layer in layers)


def _by_chance(context: Context) -> Iterator[str]:
    """Tell what pages by lot hold, for the program that attends to most pages at a cost ratio and leaves some out."""
    for ratio in context.ratios:
        told = (_compared(record, ratio) for record in context.records)
        pages, best, chance = max((each for each in told if each and each[2] < each[1]), default=(0.0, 0.0, 0.0))
        if pages:
            yield (
                f"{at(ratio).capitalize()} at most {pages:.0f} pages are attended to: as many of the best hold "
                f"{best:.3f} of the mass, as many by lot {chance:.3f}."
            )


def _compared(record: Record, ratio: float) -> tuple[float, float, float] | None:
    """Give the pages attended to, and what as many of the best and as many by lot hold."""
    if record.evaluation(Stage.RECALL, ratio) is None:  # most of them: this is asked of all
        return None
    names = ("pages_attended", "oracle_mass", "random_mass")
    pages, best, chance = (passed(record, Stage.RECALL, ratio, name) for name in names)
    return (pages.value, best.value, chance.value) if pages and best and chance else None


def _weighed(context: Context) -> Iterator[str]:
    """Tell the layers whose output error raises the KL most, as fidelity is foretold (`search.foresight`)."""
    for ratio in context.ratios or context.archive.ratios:
        weights = next(filter(None, (context.archive.weights(stage, ratio) for stage in BEFORE_ENGINES)), {})
        total = sum(abs(weight) for weight in weights.values())
        heavy = sorted(weights, key=lambda layer: -weights[layer])[:NUM_LAYERS_SHOWN]
        if total:
            told = ", ".join(f"{layer} ({weights[layer] / total:.0%})" for layer in heavy if weights[layer] > 0)
            yield f"{at(ratio).capitalize()} an error of the attention output costs most fidelity in the layers {told}."
