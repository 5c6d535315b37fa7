"""The same rules judged twice, on texts that have nothing in common: does fidelity put them into the same order?

One worker judges every rule's fidelity with two evaluation seeds, each of which draws its own documents. Budgets are
fitted to one cost ratio as in a campaign, whose workload this is.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import kendalltau, spearmanr

from benchmarks.evaluator.correlations import LEAST_RULES, coefficient
from search.agents.seeds import REFERENCES, seed_proposals
from search.campaigns.machines import folder_and_name, worker_settings
from search.config import CampaignConfig
from search.evaluator.fidelity import reference
from search.evaluator.fidelity.files import reference_path
from search.evaluator.fidelity.stage import reference_name
from search.evaluator.identity import EVALUATOR_VERSION, environment
from search.evaluator.intervals import Interval
from search.evaluator.models import model_facts
from search.evaluator.worker import Worker
from search.fit import fit
from search.records import EvaluationKey, EvaluationTask, Stage, Status
from search.workloads import MODEL_TOKENS, workloads_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.evaluator.arms import WorkerSettings
    from search.evaluator.fidelity.texts import Text
    from search.records import Environment, Evaluation

RULES = (
    "quest", "centroid", "centroid_gqa", "mass_lse", "value_gated", "sign_keys", "two_stage", "shadowkv", "quest_int4",
    "streaming",
)  # fmt: skip
UNRANKED = (*REFERENCES, "random_pages")
DTYPE = "float32"  # engines on a CPU
GOAL = 0.7  # Kendall's tau
WINDOW = 32  # tokens; what two documents say alike
LENGTHS_SEED = 0  # from which a campaign draws its lengths


@dataclass(frozen=True)
class Wanted:
    """What is judged: rules of the zoo at one cost ratio, with two evaluation seeds."""

    rules: tuple[str, ...] = RULES
    seeds: tuple[int, int] = (0, 1)
    ratio: float = 8.0
    model: str = "smollm2"
    num_tokens: int = MODEL_TOKENS


@dataclass(frozen=True)
class Texts:
    """What two seeds were judged on: documents, none of which is in both, and how many texts were cut from them.

    `shared_share`: of all windows of 32 tokens of one seed, those that the other's texts have too (what prose quotes).
    """

    documents: tuple[tuple[str, ...], tuple[str, ...]]
    num_texts: tuple[int, int]
    shared_share: float


@dataclass(frozen=True)
class Rule:
    """A rule's mean KL from dense attention in nats, with each seed. `message`: why there is none."""

    name: str
    kl: tuple[Interval, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Twice:
    """The rules in the order of the first seed, and how the two orders agree; None where rules are too few."""

    wanted: Wanted
    model_digest: str
    evaluator_version: str
    environment: Environment
    lengths: tuple[int, ...]
    rules: tuple[Rule, ...]
    num_rules: int
    kendall: Interval | None
    spearman: Interval | None
    texts: Texts


def judge(wanted: Wanted) -> Twice:
    """Judge the rules with both seeds, one seed after the other.

    Raises ValueError where that could not tell anything: of rules that are few or references or do not reach the
    ratio, of seeds that share a document, of a worker that is out of order.
    """
    if len(set(wanted.rules)) < max(LEAST_RULES, len(wanted.rules)):
        raise ValueError(f"an order needs at least {LEAST_RULES} rules, each once; asked for {', '.join(wanted.rules)}")
    if wanted.seeds[0] == wanted.seeds[1]:
        raise ValueError(f"seed {wanted.seeds[0]} twice draws the same texts; give two seeds")
    if unranked := [name for name in wanted.rules if name in UNRANKED]:
        raise ValueError(f"{', '.join(unranked)}: only there to compare with, and no rule to be ranked; leave it out")
    folder, _ = folder_and_name(wanted.model)
    facts = model_facts(folder)
    config = CampaignConfig(
        model=wanted.model,
        group=facts.group,
        head_dim=facts.head_dim,
        num_layers=facts.num_layers,
        num_kv_heads=facts.num_kv_heads,
        seeds=wanted.rules,
        ratios=(wanted.ratio,),
        workloads=workloads_for(LENGTHS_SEED, wanted.num_tokens),
    )
    tasks = _tasks(wanted, config, facts.digest)
    settings = worker_settings(facts, config.workloads, on_gpu=False)
    done: dict[str, list[Evaluation]] = {name: [] for name in wanted.rules}
    with closing(Worker(settings)) as worker:
        for i in range(len(wanted.seeds)):
            for name in wanted.rules:
                done[name].append(_run(worker, name, tasks[name][i]))
    one, other = (_texts(task, settings) for task in tasks[wanted.rules[0]])
    return concluded(wanted, facts.digest, done, compared(one, other))


def _tasks(wanted: Wanted, config: CampaignConfig, model_digest: str) -> dict[str, list[EvaluationTask]]:
    """Give each rule's tasks, one for each seed."""
    workload, here = config.workload(Stage.FIDELITY, wanted.ratio), environment(DTYPE).digest
    found = {}
    for name, proposal in zip(wanted.rules, seed_proposals(config), strict=True):
        fitted = fit(proposal.text, proposal.values, config.terms_of(workload), wanted.ratio)
        if fitted.refusal:
            raise ValueError(f"{fitted.refusal}: leave {name} out, or ask for a lower --ratio")
        key = EvaluationKey(fitted.digest, Stage.FIDELITY, workload.digest, model_digest, here, EVALUATOR_VERSION, 0)
        keys = [replace(key, seed=seed) for seed in wanted.seeds]
        found[name] = [EvaluationTask(key, proposal.text, fitted.values, workload) for key in keys]
    return found


def _run(worker: Worker, name: str, task: EvaluationTask) -> Evaluation:
    done = worker.run(task)
    if done.status is Status.INFRASTRUCTURE:
        raise ValueError(f"{name} could not be judged: {done.message}")
    told = f"kl {done.value('kl'):.4f}" if done.status is Status.OK else f"{done.status}: {done.message}"
    print(f"seed {task.key.seed}  {name:18} {done.elapsed_s:6.1f} s  {told}", file=sys.stderr, flush=True)
    return done


def _texts(task: EvaluationTask, settings: WorkerSettings) -> list[Text]:
    """Read what was really judged on from where dense attention's word is kept."""
    return reference.read(reference_path(reference_name(task, settings.engine), settings.scratch)).texts


def compared(one: Sequence[Text], other: Sequence[Text]) -> Texts:
    """Compare the texts of two seeds. Raises ValueError where they share a document."""
    documents = [tuple(dict.fromkeys(text.name for text in texts)) for texts in (one, other)]
    if shared := [name for name in documents[0] if name in documents[1]]:
        raise ValueError(f"both seeds were judged on {', '.join(shared)}: take seeds that draw other documents")
    windows = [_windows(texts) for texts in (one, other)]
    smaller = max(1, min(map(len, windows)))
    return Texts((documents[0], documents[1]), (len(one), len(other)), len(windows[0] & windows[1]) / smaller)


def _windows(texts: Sequence[Text]) -> set[tuple[int, ...]]:
    wholes = [text.prompt + text.forced for text in texts]
    return {whole[i : i + WINDOW] for whole in wholes for i in range(len(whole) - WINDOW + 1)}


def concluded(wanted: Wanted, model_digest: str, done: Mapping[str, Sequence[Evaluation]], texts: Texts) -> Twice:
    """Compare the orders in which two seeds put the rules; one that failed with either is told and not ranked."""
    rules = [_rule(name, each) for name, each in done.items()]
    ranked = sorted((rule for rule in rules if rule.kl), key=lambda rule: rule.kl[0].value)
    failed = [rule for rule in rules if not rule.kl]
    pairs = np.array([[kl.value for kl in rule.kl] for rule in ranked]).reshape(-1, 2)
    kendall, spearman = (coefficient(pairs, of) for of in (kendalltau, spearmanr))
    lengths = workloads_for(LENGTHS_SEED, wanted.num_tokens)[0].all_lengths
    here, version = environment(DTYPE), EVALUATOR_VERSION
    return Twice(
        wanted, model_digest, version, here, lengths, (*ranked, *failed), len(ranked), kendall, spearman, texts
    )


def _rule(name: str, done: Sequence[Evaluation]) -> Rule:
    if failed := next((each for each in done if each.status is not Status.OK), None):
        return Rule(name, message=f"{failed.status}: {failed.message}")
    taken = [each.measurement("kl") for each in done]
    return Rule(name, tuple(Interval(m.value, m.low, m.high, m.num_samples) for m in taken if m is not None))
