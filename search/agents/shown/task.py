"""What programs are judged by: the aim, and the gates as they stand. `search.agents.bounds` has the bounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from search.agents.shown.figures import at
from search.agents.shown.section import Section
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.records import Context, Workload

GATES = "What lets a program go on now"
GATES_PRIORITY = 3


def aim(context: Context) -> str:
    """Say on which model programs are judged, at which costs, and what counts, the weightiest first."""
    counts = [f"{i}. {sentence}" for i, sentence in enumerate(_counting(context), 1)]
    return "\n".join([f"{_judged_at(context)} What counts, in this order:", "", *counts])


def _judged_at(context: Context) -> str:
    model = f"{_model(context)} with {context.num_layers} layers"
    if not context.ratios:
        return f"Programs are judged on {model}, each as it is written."
    ratios = " and ".join(f"{ratio:g}" for ratio in context.ratios)
    return (
        f"Programs are judged on {model}, each at the declared cost ratios {ratios}: at a cost ratio of r the platform "
        f"sets the program's budget so that dense attention reads at least r times its bytes {_lengths(context)}. So "
        "all are compared at equal cost, and a byte that a field takes is a byte less for pages."
    )


def _model(context: Context) -> str:
    name = Path(context.demands.model).name  # the folder of a model is nobody's business
    if context.demands.workload(Stage.PROBE):
        return "a small model that was trained for the task"
    return f"{name}, a real model," if name else "a model"


def _lengths(context: Context) -> str:
    lengths = sorted(set(context.lengths)) or [context.num_tokens]
    if len(lengths) == 1:
        return f"at {lengths[0]:,} tokens"
    return f"at every length that is judged, from {lengths[0]:,} to {lengths[-1]:,} tokens"


def _counting(context: Context) -> Iterator[str]:
    told = {
        Stage.FIDELITY: _of_fidelity,
        Stage.RETRIEVAL: _of_retrieval,
        Stage.PROBE: _of_probe,
        Stage.TASK: _of_tasks,
        Stage.SERVE: _of_speed,
    }
    for stage, sentence in told.items():
        workload = context.demands.workload(stage)
        if workload:
            yield sentence(workload)
    steered_on = context.demands.steered_on
    if steered_on:
        yield (
            f"*Speed as modelled* on one {steered_on}, by bytes and launches: it decides who leads and who breeds, "
            "whatever is measured here."
        )
    yield "Fewer bytes, where the rest is equal."


def _of_fidelity(workload: Workload) -> str:
    kind = "given texts" if workload.source else "real text"
    return (
        "*Fidelity*: the mean KL divergence, in nats per token, of the program's next token from dense attention's, "
        f"over the tokens that follow each of {workload.num_sequences} prompts of {kind}. 0 is dense attention; less "
        "is better."
    )


def _of_retrieval(workload: Workload) -> str:
    kinds = f" of the kinds {', '.join(workload.source.split(':'))}" if workload.source else ""
    lengths = " and ".join(f"{length:,}" for length in sorted(set(workload.all_lengths)))
    return (
        f"*Retrieval*: the share of questions{kinds} about texts of {lengths} tokens that are answered rightly in the "
        "model's own tokens, beside dense attention's share. It needs every page that holds part of an answer."
    )


def _of_probe(workload: Workload) -> str:
    return (
        f"*Accuracy*: the share of recall questions answered rightly over contexts of {workload.num_tokens:,} tokens: "
        "the page that holds one particular key must be among the chosen ones, at every step. An average over a page "
        "blurs that key."
    )


def _of_tasks(workload: Workload) -> str:
    return f"*Tasks*: what is lost on lm-eval's {workload.source} against dense attention."


def _of_speed(workload: Workload) -> str:
    return (
        f"*Throughput* beside dense attention at {workload.num_tokens:,} tokens, timed for the nearest to dense only."
    )


def gates(context: Context) -> Section:
    """Say what a program must reach in each stage to go on, as the records that this step may see set it."""
    ratios = context.ratios or context.archive.ratios
    lines = [line for ratio in ratios for line in _gates_at(context, ratio)]
    return Section(GATES, "\n".join([*_shares(context), *lines]), GATES_PRIORITY)


def _shares(context: Context) -> list[str]:
    demands = context.demands
    shares = ((Stage.SCREEN, demands.screen_share), (Stage.RECALL, demands.recall_share))
    told = [f"{share:.0%} of {stage.value}" for stage, share in shares if demands.workload(stage) and share < 1]
    if not told:
        return []
    sentences = (
        "Before an engine sees a program, its choice is compared with dense attention on recorded q, k and v, and the "
        f"best go on ({', '.join(told)}): by the KL that is foretold from the output error of each layer, and by "
        "recall while too little is known for that. What keeps no more mass than pages drawn by lot stays behind, and "
        "what attends to the same tokens as an earlier program."
    )
    return [sentences, ""]


def _gates_at(context: Context, ratio: float) -> Iterator[str]:
    archive, where = context.archive, at(ratio).capitalize()
    for stage in (Stage.SCREEN, Stage.RECALL):
        bar = archive.bar(stage, ratio)
        if math.isfinite(bar) and not archive.weights(stage, ratio):
            yield f"* {where}, after {stage}: a recall of {bar:.3f}."
    if not context.demands.workload(Stage.SERVE):
        return
    if context.demands.workload(Stage.PROBE):
        yield f"* {where}, to be timed: an accuracy of {context.demands.serve_floor:g}."
    bar = archive.bar(Stage.FIDELITY, ratio)
    if math.isfinite(bar) and context.demands.timed_in_search:
        yield f"* {where}, to be timed: a KL below {-bar:.4f}."
