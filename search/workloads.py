"""What a campaign's stages run on: the lengths that are judged, and the workloads for a model."""

from __future__ import annotations

import random

from search.records import Stage, Workload

NUM_LENGTHS = 3  # of the split that proposers see; another one is held out
LEAST_SHARE = 0.75  # of the longest length: at shorter ones a fixed budget would stand for another cost altogether
HELD_OUT = "held_out"

PROBE_TOKENS = 2000  # at which the probe's model was trained
MODEL_TOKENS = 4000  # of a real model, unless another length is asked for
# The probe's, whose model is small enough for everything to be cheap.
WORKLOADS = (
    Workload(Stage.CHECK, num_tokens=8000, num_sequences=1, lengths=(PROBE_TOKENS, 8000)),
    Workload(Stage.RECALL, num_tokens=PROBE_TOKENS, num_sequences=16),
    Workload(Stage.ORACLE, num_tokens=200, num_sequences=2),
    Workload(Stage.PROBE, num_tokens=PROBE_TOKENS, num_sequences=48),
    Workload(Stage.SERVE, num_tokens=8000, num_sequences=8, repeats=4),
)


def lengths_of(seed: int, num_tokens: int, split: str = "search") -> tuple[int, ...]:
    """Draw the lengths in tokens that are judged: three up to `num_tokens`, far apart; held out, one between them.

    They depend on the seed and on `num_tokens` alone, so that accuracy, cost and speed are told for the same ones.
    """
    least = max(1, int(LEAST_SHARE * num_tokens))
    width = (num_tokens - least + 1) / NUM_LENGTHS
    rng = random.Random(f"{seed} {num_tokens} lengths")
    bands = [(least + int(i * width), max(least + int(i * width), least - 1 + int((i + 1) * width)))
             for i in range(NUM_LENGTHS)]  # fmt: skip
    drawn = [rng.randint(*band) for band in bands]
    if split == HELD_OUT:
        others = [length for length in range(least, num_tokens + 1) if length not in drawn]
        drawn = [rng.choice(others)] if others else drawn[:1]
    return tuple(sorted(set(drawn)))


def workloads_for(seed: int, num_tokens: int = MODEL_TOKENS, texts: str = "", task: str = "") -> tuple[Workload, ...]:
    """Give the workloads of a real model judged at up to `num_tokens` tokens.

    `texts`: a file to take them from instead of those that come with Python; `task`: an lm-eval task to run besides.
    """
    lengths = lengths_of(seed, num_tokens)
    longest = max(lengths)
    asked = (num_tokens // 4, num_tokens // 2, num_tokens)  # small models find nothing in their longest texts
    return (
        Workload(Stage.CHECK, longest, 1, lengths=lengths),
        Workload(Stage.RECALL, longest, 3, lengths=lengths, source=texts),
        Workload(Stage.ORACLE, num_tokens=200, num_sequences=2),
        Workload(Stage.FIDELITY, longest, 6, lengths=lengths, num_decoded=32, source=texts),
        Workload(Stage.RETRIEVAL, num_tokens, 36, lengths=asked),
        *([Workload(Stage.TASK, longest, 32, source=task)] if task else []),
        Workload(Stage.SERVE, longest, 6, repeats=4, lengths=lengths),
    )


def held_out(workload: Workload, seed: int, times: int = 1) -> Workload:
    """Give what leaders are confirmed on: other texts at another length, `times` as many."""
    judged = workload.stage is not Stage.RETRIEVAL and bool(workload.lengths)
    lengths = lengths_of(seed, workload.num_tokens, HELD_OUT) if judged else workload.lengths
    return Workload(
        workload.stage,
        num_tokens=max(lengths, default=workload.num_tokens),
        num_sequences=workload.num_sequences * times,
        split=HELD_OUT,
        repeats=workload.repeats,
        lengths=lengths,
        num_decoded=workload.num_decoded,
        source=workload.source,
        ratio=workload.ratio,
    )
