"""What a campaign's stages run on: the lengths that are judged, and the workloads for a model."""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import replace

from search.records import Stage, Workload

NUM_LENGTHS = 6  # of the split that proposers see, another one is held out; texts of a document share their prefill
LEAST_SHARE = 0.75  # of the longest length: at shorter ones a fixed budget would stand for another cost altogether
SPLITS = SEARCH, HELD_OUT = "search", "held_out"  # of a workload
LARGEST_PAGE = 128  # of a prompt with one token more than such pages, prefix caches hold all but that one
FURTHER_LENGTHS = 2  # of the texts that leaders are confirmed on

NUM_DOCUMENTS = 4  # of fidelity, each in all lengths, and of speed, each in one
HELD_OUT_DOCUMENTS = 10  # of fidelity that confirms: 64 texts of 8 documents left 16 to 17 % to either side of a KL
# Tokens after each prompt, the first of which is prefill's, unless a workload says otherwise. Documents are cut so that
# they hold them: those of recall, fidelity and speed are the same, and prefilled once.
FORCED_TOKENS = 37
NUM_PASSAGES = 12  # of retrieval, each with up to four questions
SMALL = "needle:keys"  # kinds of questions that a model of 135 million parameters answers

PROBE_TOKENS = 2000  # at which the probe's model was trained
MODEL_TOKENS = 4000  # of a real model, unless another length is asked for
# The probe's, whose model is small enough for everything to be cheap.
WORKLOADS = (
    Workload(Stage.CHECK, num_tokens=8000, num_sequences=1, lengths=(PROBE_TOKENS, 8000)),
    Workload(Stage.RECALL, num_tokens=PROBE_TOKENS, num_sequences=16),
    Workload(Stage.ORACLE, num_tokens=200, num_sequences=2),
    Workload(Stage.PROBE, num_tokens=PROBE_TOKENS, num_sequences=48),
    Workload(Stage.SERVE, num_tokens=8000, num_sequences=8, repeats=12),
)


def split_by_hash(text: str) -> str:
    """Give the split to which a text that is drawn or found belongs: the same whoever meets it, and when."""
    return SPLITS[hashlib.sha256(text.encode()).digest()[0] % len(SPLITS)]


def lengths_of(seed: int, num_tokens: int) -> tuple[int, ...]:
    """Draw the lengths in tokens that are judged: six up to `num_tokens`, one in each sixth of what is left open.

    They depend on the seed and on `num_tokens` alone, so that accuracy, cost and speed are told for the same ones.
    Where a sixth holds lengths whose prompts a prefix cache keeps to the last token, one of these is drawn: what else
    is prefilled again, program by program, is dense and tells nothing of a rule.
    """
    least = max(1, int(LEAST_SHARE * num_tokens))
    edges = [least + i * (num_tokens + 1 - least) // NUM_LENGTHS for i in range(NUM_LENGTHS + 1)]
    rng = random.Random(f"{seed} {num_tokens} lengths")
    return tuple(rng.choice(_cached(low, high)) for low, high in itertools.pairwise(edges) if low < high)


def _cached(low: int, high: int) -> range:
    """Give the lengths in [low, high) of which a cache of any page size holds all but the last token, else all."""
    whole = range(low + (1 - low) % LARGEST_PAGE, high, LARGEST_PAGE)
    return whole or range(low, high)


def text_of(longest: int, num_documents: int) -> int:
    """Give the tokens of a split that holds so many documents, whose longest prompts are so long."""
    return num_documents * (longest + FORCED_TOKENS)


def longest_text(num_tokens: int, num_documents: int) -> int:
    """Give the tokens that the longest prompt of each of so many documents may have, in a split of `num_tokens`."""
    return max(0, num_tokens // num_documents - FORCED_TOKENS)


def workloads_for(
    seed: int, num_tokens: int = MODEL_TOKENS, texts: str = "", task: str = "", kinds: str = ""
) -> tuple[Workload, ...]:
    """Give the workloads of a real model judged at up to `num_tokens` tokens.

    The sources of workloads: `texts` of a given text instead of those that come with Python; `task` of an lm-eval task
    to run besides; `kinds` of questions to be asked, all where it is empty.
    """
    lengths = lengths_of(seed, num_tokens)
    longest = max(lengths)
    asked = (num_tokens // 4, num_tokens // 2)  # small models find nothing in longer texts
    recall = Workload(Stage.RECALL, longest, NUM_LENGTHS, lengths=lengths, source=texts)
    fidelity = Workload(
        Stage.FIDELITY, longest, NUM_DOCUMENTS * NUM_LENGTHS, lengths=lengths, num_decoded=FORCED_TOKENS, source=texts
    )
    return (
        Workload(Stage.CHECK, longest, 1, lengths=lengths),
        screening(recall),
        recall,
        Workload(Stage.ORACLE, num_tokens=200, num_sequences=2),
        fidelity,
        Workload(Stage.RETRIEVAL, max(asked), NUM_PASSAGES, lengths=asked, source=kinds),
        *([Workload(Stage.TASK, longest, 32, source=task)] if task else []),
        Workload(Stage.SERVE, longest, NUM_DOCUMENTS, repeats=10, lengths=lengths, source=texts),
    )


def modelled_for(workloads: tuple[Workload, ...], target: str, usual: str) -> tuple[Workload, ...]:
    """Give the workloads of a campaign that models speed for a target; the usual one is not named.

    The check tells that speed: what a campaign for another target was told must not be taken for it.
    """
    if target == usual:
        return workloads
    return tuple(replace(each, source=target) if each.stage is Stage.CHECK else each for each in workloads)


def screening(recall: Workload) -> Workload:
    """Give the workload of the screen, which judges a part of what recall does."""
    return replace(recall, stage=Stage.SCREEN)


def recorded(workload: Workload) -> Workload:
    """Give the workload for which a model's attention is recorded: one for recall, the screen, and every cost ratio."""
    return replace(workload, stage=Stage.RECALL, ratio=0.0)


def held_out(workload: Workload, seed: int) -> Workload:
    """Give what leaders are confirmed on: other texts, some of their lengths between those judged.

    Of fidelity it is more than candidates are judged on, more documents in further lengths: what the next tokens of a
    text add says less, as they share its context.
    """
    lengths = workload.lengths
    if not lengths or workload.stage is Stage.RETRIEVAL:
        return replace(workload, split=HELD_OUT)
    others = [each for each in _cached(min(lengths), max(lengths)) if each not in lengths] or list(lengths)
    rng = random.Random(f"{seed} {lengths} held out")
    if workload.stage is not Stage.FIDELITY:
        return _at((rng.choice(others), *lengths[1:]), replace(workload, split=HELD_OUT))
    further = rng.sample(others, min(len(others), FURTHER_LENGTHS))
    more = replace(workload, split=HELD_OUT, num_sequences=HELD_OUT_DOCUMENTS * len(lengths))
    return _at(tuple(sorted({*lengths, *further})), more)


def _at(lengths: tuple[int, ...], workload: Workload) -> Workload:
    """Give a workload at other lengths, with as many texts of each."""
    number = max(1, workload.num_sequences // len(workload.lengths)) * len(lengths)
    return replace(workload, lengths=lengths, num_tokens=max(lengths), num_sequences=number)
