"""The program that is to be changed, with everything that was measured of it, and how that changes with its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.agents.shown.figures import MASS_OF_LAYER, at, passed, ratios_of, with_interval
from search.agents.shown.section import Section
from search.behaviour import nearest_earlier, sketched
from search.fit import at_ratio, traced
from search.records import Stage, Status
from vortex_dsl import Shape
from vortex_dsl.analysis.advice import warnings
from vortex_dsl.analysis.cost import cost_of
from vortex_dsl.analysis.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from search.records import Context, Evaluation, Measurement, Record
    from vortex_dsl.analysis.cost import Cost
    from vortex_dsl.graph.graph import Graph

NUM_WORST = 6  # layers
MEASURED_PRIORITY, COST_PRIORITY, CURVE_PRIORITY = 1, 2, 3
KL_PARTS = (
    ("by kind of text", ("kl_prose", "kl_own")),
    ("by third of what is decoded", ("kl_third_1", "kl_third_2", "kl_third_3")),
)
PART_NAMES = {"kl_own": "the model's own words", "kl_prose": "prose"}
CURVE = (
    ("KL", Stage.FIDELITY, "kl", ".4f"),
    ("retrieval", Stage.RETRIEVAL, "accuracy", ".3f"),
    ("accuracy", Stage.PROBE, "accuracy", ".3f"),
    ("mass", Stage.RECALL, "mass", ".3f"),
    ("oracle's mass", Stage.RECALL, "oracle_mass", ".3f"),
    ("mass on the screen", Stage.SCREEN, "mass", ".3f"),
    ("output error", Stage.RECALL, "output_error", ".3f"),
    ("speed-up", Stage.SERVE, "speedup", ".2f"),
    ("pages attended", Stage.RECALL, "pages_attended", ".0f"),
    ("budget", Stage.CHECK, "budget", ".4g"),
)


def measured(record: Record, context: Context) -> Section:
    """Tell all that was measured of a program at each cost ratio, and what it loses against dense attention."""
    parts = []
    for ratio in ratios_of(record):
        lines = [line for told in (_fidelity, _retrieval, _probe, _choices, _ended) for line in told(record, ratio)]
        parts += ["\n".join((f"## {at(ratio).capitalize()}", "", *(f"* {line}" for line in lines)))] if lines else []
    parts += [*_like(record, context)]
    return Section(f"What was measured of {record.candidate.name}", "\n\n".join(parts), MEASURED_PRIORITY)


def _fidelity(record: Record, ratio: float) -> Iterator[str]:
    evaluation = record.evaluation(Stage.FIDELITY, ratio)
    kl = passed(record, Stage.FIDELITY, ratio, "kl")
    if not evaluation or not kl:
        return
    yield f"Loses a KL of {with_interval(kl, '.4f')} nats against dense attention."
    yield from _parts_of_kl(evaluation)
    agreement, worse = (evaluation.measurement(name) for name in ("agreement", "perplexity_ratio"))
    if agreement and worse:
        yield (
            f"Its first choice is dense attention's for {with_interval(agreement, num=False)} of the tokens; its "
            f"perplexity {with_interval(worse, num=False)} times dense's."
        )


def _parts_of_kl(evaluation: Evaluation) -> Iterator[str]:
    lengths = [m.name for m in evaluation.measurements if m.name.removeprefix("kl_").isdecimal()]
    for title, names in (*KL_PARTS, ("by length", tuple(lengths))):
        taken = [found for name in names if (found := evaluation.measurement(name))]
        if taken:
            yield f"KL {title}: {', '.join(f'{_part(m)} {m.value:.4f}' for m in taken)}."


def _part(found: Measurement) -> str:
    return PART_NAMES.get(found.name, found.name.removeprefix("kl_").replace("third_", "part "))


def _retrieval(record: Record, ratio: float) -> Iterator[str]:
    evaluation = record.evaluation(Stage.RETRIEVAL, ratio)
    answers = passed(record, Stage.RETRIEVAL, ratio, "accuracy")
    if not evaluation or not answers:
        return
    dense, lost = (evaluation.measurement(name) for name in ("dense_accuracy", "loss"))
    beside = f", dense attention {dense.value:.3f}" if dense else ""
    less = f", so it loses {with_interval(lost, num=False)}" if lost else ""
    yield f"Answers {with_interval(answers)} of the questions{beside}{less}."
    by_kind = [m for m in evaluation.measurements if m.name.startswith("accuracy_")]
    if by_kind:
        yield f"By kind and by length: {', '.join(_kind(m, evaluation) for m in by_kind)}."


def _kind(found: Measurement, evaluation: Evaluation) -> str:
    dense = evaluation.value(f"dense_{found.name}")
    beside = f" of dense's {dense:.2f}" if dense is not None else ""
    return f"{found.name.removeprefix('accuracy_')} {found.value:.2f}{beside} (n = {found.num_samples})"


def _probe(record: Record, ratio: float) -> Iterator[str]:
    evaluation = record.evaluation(Stage.PROBE, ratio)
    answers = passed(record, Stage.PROBE, ratio, "accuracy")
    if evaluation and answers:
        yield f"Answers {with_interval(answers)} of the probe's hops."
        kinds = [m for m in evaluation.measurements if m.name.startswith("accuracy_")]
        if kinds:
            yield f"By kind: {', '.join(f'{_kind(m, evaluation)}' for m in kinds)}."


def _choices(record: Record, ratio: float) -> Iterator[str]:
    stage = next((each for each in (Stage.RECALL, Stage.SCREEN) if passed(record, each, ratio, "mass")), None)
    if stage is None:
        return
    names = ("mass", "oracle_mass", "random_mass", "recall", "output_error", "pages_attended", "pages_dense")
    found = {name: each for name in names if (each := passed(record, stage, ratio, name))}
    beside = [f"{word} {found[name].value:.3f}" for name, word in _BESIDE if name in found]
    where = "" if stage is Stage.RECALL else " (on the screen's small part)"
    yield f"Keeps a mass of {with_interval(found['mass'], num=False)}{where}; {', '.join(beside)}."
    if "pages_attended" in found and "pages_dense" in found:
        yield f"Attends to {found['pages_attended'].value:.1f} of {found['pages_dense'].value:.1f} pages."
    yield from _by_layer(record.evaluation(stage, ratio))


_BESIDE = (
    ("oracle_mass", "as many of the best pages hold"),
    ("random_mass", "as many by lot"),
    ("recall", "recall, its candidate pages' mass over that of the best,"),
    ("output_error", "error of the attention's output"),
)


def _by_layer(evaluation: Evaluation | None) -> Iterator[str]:
    taken = evaluation.measurements if evaluation else ()
    layers = {m.name.removeprefix(MASS_OF_LAYER): m.value for m in taken if m.name.startswith(MASS_OF_LAYER)}
    heads = {m.name.removeprefix("mass_head_"): m.value for m in taken if m.name.startswith("mass_head_")}
    if layers:
        yield f"Mass by layer: {_each(layers)}."
        worst = sorted(layers, key=lambda layer: layers[layer])[:NUM_WORST]
        yield f"Least mass in the layers {', '.join(worst)}."
    if heads:
        yield f"Mass by KV head: {_each(heads)}."


def _each(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def _ended(record: Record, ratio: float) -> Iterator[str]:
    """Tell where it came to an end, and why."""
    last = [each for each in record.evaluations if each.ratio == ratio and each.status is not Status.OK]
    yield from (f"{each.key.stage.capitalize()}: {each.status}: {' '.join(each.message.split())}" for each in last)


def _like(record: Record, context: Context) -> Iterable[str]:
    told = [
        f"* {at(each.ratio)} it attends most like {each.candidate.name}, overlap {each.likeness:.2f}"
        for each in nearest_earlier(sketched(record), map(sketched, context.records))
    ]
    return ["\n".join(told)] if told else []


def cost(record: Record, context: Context) -> Section:
    """Tell what a decode step costs by stage, and a page by field, at each cost ratio with the budget fitted to it."""
    parts = [part for ratio in ratios_of(record) if (part := _cost_at(record, ratio, context))]
    return Section(f"What a step of {record.candidate.name} costs", "\n\n".join(parts), COST_PRIORITY)


def _cost_at(record: Record, ratio: float, context: Context) -> str:
    try:
        proposal = at_ratio(record, ratio).candidate.proposal
    except LookupError:
        return ""  # it was not brought to this cost ratio; `measured` tells why
    _, graph = traced(proposal.text, proposal.values, Shape(context.group, context.head_dim))
    tokens = max(context.lengths, default=context.num_tokens)
    found = cost_of(graph, tokens, context.num_layers)
    head = (
        f"{at(ratio).capitalize()}, {tokens:,} tokens, for each sequence, KV head and sparse layer: {found.bytes:,.0f} "
        f"bytes where dense attention reads {found.dense_bytes:,.0f}."
    )
    advice = [f"* Mind: {sentence}." for sentence in warnings(graph, found)]
    return "\n".join((head, "", *_stages(found), *_fields(graph), *advice))


def _stages(found: Cost) -> Iterator[str]:
    for stage in found.stages:
        share = stage.bytes / found.bytes if found.bytes else 0.0
        pages = f" on {stage.pages:,.1f} of {found.pages_dense:,} pages" if stage.kind != "summarize" else ""
        yield f"* {stage.name}: {stage.bytes:,.0f} bytes ({share:.0%}), {stage.flops:,.0f} flops{pages}"


def _fields(graph: Graph) -> Iterator[str]:
    layout = Layout(graph)
    for field in layout.fields:
        axes = ", ".join(f"{name} {length}" for name, length in zip(field.field.type.names, field.axes, strict=True))
        yield f"* a field [{axes}] in {field.kind}: {field.num_bytes:,} of a page's {layout.bytes_per_page:,} bytes"


def curve(records: Iterable[Record], context: Context) -> Section:
    """Tell how what programs lose changes with the cost ratio, and so with the budget."""
    parts = [table for record in records if (table := _table(record))] if len(context.ratios) > 1 else []
    return Section("The curve over cost ratios", "\n\n".join(parts), CURVE_PRIORITY)


def _table(record: Record) -> str:
    ratios = ratios_of(record)
    rows = []
    for title, stage, name, form in CURVE:
        found = [passed(record, stage, ratio, name) for ratio in ratios]
        if any(found):
            rows.append(f"| {title} | " + " | ".join(f"{each.value:{form}}" if each else "-" for each in found) + " |")
    if not rows or len(ratios) < 2:
        return ""
    head = f"| {record.candidate.name} | " + " | ".join(at(ratio) for ratio in ratios) + " |"
    return "\n".join((head, "|---" * (len(ratios) + 1) + "|", *rows))
