"""From what a person asks for, and what a model has, to the settings of a campaign."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from search.campaigns.bounds import LEAST_TOKENS
from search.campaigns.machines import kind_here
from search.campaigns.target import parse_target
from search.config import ANSWER_TOKENS, RATIOS, TARGET, CampaignConfig, ConfigError, SeedProgram, lag_for
from search.evaluator.probe import PROBE
from search.kinds.wished import Wish, is_gpu
from search.records import Stage
from vortex_dsl import load_program, trace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from search.campaigns.setup import Setup
    from search.evaluator.models import ModelFacts
    from vortex_dsl import Shape

PROBE_RATIOS = (8.0,)
# So many of the candidates are meant to enter an engine at a cost ratio, whose stages take twenty seconds. It is more
# in a short search, whose steps see few others: .11 to .19 of 150 where .06 were meant, and .17 to .25 where .1 were
# (three ledgers replayed; of the best five at a ratio the former kept nine in ten, the latter all).
ENTERING_SHARE = 0.08
MOST_ENTERING = 70  # of them at a cost ratio: more of a long campaign are judged without an engine
SCREEN_SHARE = 0.3  # at most so many go on from a part of the recordings to all, which takes four times as long
LEAST_TIMED = 1000  # candidates of a search that is long
MORE_RECALLED = 4  # times as many as enter an engine, where that is less


def settings_of(setup: Setup, model: ModelFacts) -> CampaignConfig:
    """Give the settings of a campaign that searches.

    Raises ConfigError for what does not go together or is out of range, and ProgramError for a seed program that is
    refused, which names its file and line.
    """
    judged, deciding = judged_by(setup, model), wishes_of(setup)[0]
    lag = setup.lag or lag_for(deciding.num_workers, setup.candidates, is_cheap=Stage.SCREEN in judged.stages)
    settings = replace(
        judged,
        seed=setup.seed,
        lag=lag,
        published_share=setup.published_share,
        num_candidates=setup.candidates,
        proposers=setup.round,
        bandit=bool(setup.endpoints) if setup.bandit is None else setup.bandit,
        endpoints=tuple(setup.models().values()),
        outside=setup.outside,
        max_dollars=setup.max_dollars,
        max_worker_seconds=_worker_seconds(setup, deciding),
        stop_at=setup.stop_at,
        patience=setup.patience,
        reflect_every=setup.reflect_every,
        turns=setup.turns,
        simplify_trials=setup.simplify_trials,
        seed_programs=seed_programs(setup.seed_programs, judged.terms.shape),
    )
    return replace(settings, timed_in_search=_is_timed_in_search(settings, deciding))


def _is_timed_in_search(config: CampaignConfig, deciding: Wish) -> bool:
    """Say whether rules are timed before the end: where a speed may end the search, or it is long and has GPUs.

    Steps wait for what earlier ones show, and workers for these. On a CPU a rule that is timed keeps all others of the
    machine idle: of the first 26 minutes of a search for 5,000 candidates it took eight. In a short search the next one
    soon loses less.
    """
    asked = parse_target(config.stop_at).stages if config.stop_at else ()
    is_worth_it = config.num_candidates >= LEAST_TIMED and is_gpu(deciding.kind)
    return is_worth_it or Stage.SERVE in asked


def judged_by(setup: Setup, model: ModelFacts, *, as_written: bool = False) -> CampaignConfig:
    """Give how a model's programs are judged: its shape, workloads, cost ratios and published seeds.

    The probe has texts and lengths of its own. `as_written`: judge programs so where no ratio was asked for. Raises
    ConfigError.
    """
    from search.evaluator.models import smollm2
    from search.workloads import SMALL, lengths_of, modelled_for, workloads_for
    from vortex_dsl import zoo

    shape = CampaignConfig(
        model=model.name,
        group=model.group,
        head_dim=model.head_dim,
        num_layers=model.num_layers,
        num_kv_heads=model.num_kv_heads,
        target=setup.target,
        steer_by=setup.steer_by,
    )
    usual = PROBE_RATIOS if model.name == PROBE else RATIOS
    ratios = setup.ratios or (() if as_written else usual)
    if model.name == PROBE:
        return replace(shape, ratios=ratios, workloads=modelled_for(shape.workloads, shape.target, TARGET))
    texts, longest = _texts(setup, model, is_confirmed=not as_written)
    task = _built(setup.task, model, lengths_of(0, longest)) if setup.task else ""
    kinds = SMALL if model.name == smollm2.NAME else ""
    workloads = workloads_for(0, longest, texts, task, kinds)
    entering = min(ENTERING_SHARE, MOST_ENTERING / max(1, setup.candidates))
    recalled = min(SCREEN_SHARE, MORE_RECALLED * entering)
    return replace(
        shape,
        ratios=ratios,
        workloads=modelled_for(workloads, shape.target, TARGET),
        seeds=zoo.names(),
        recall_share=entering / recalled,
        screen_share=recalled,
    )


def seed_programs(files: Iterable[Path], shape: Shape) -> tuple[SeedProgram, ...]:
    """Read programs to begin with, each of which must load and trace at the model's shape.

    Raises ConfigError for one that is given twice, ProgramError with file and line for a text that is refused.
    """
    found: dict[SeedProgram, Path] = {}
    for file in files:
        program = load_program(file)
        trace(program, shape)
        given = SeedProgram(program.text)
        if given in found:
            raise ConfigError(f"the seed programs {found[given]} and {file} are one text; give it once")
        found[given] = file
    return tuple(found)


def wishes_of(setup: Setup) -> tuple[Wish, ...]:
    """Give how many workers are wished for on which kinds, the one that decides the search first."""
    return setup.wishes or (Wish(kind_here(), setup.workers),)


def _worker_seconds(setup: Setup, deciding: Wish) -> float | None:
    """Give the seconds that all workers have together: those of each, or those of GPUs, of which each holds one.

    They are those of the kind that decides the search, whose records alone say where it ends.
    """
    if setup.max_gpu_seconds is not None and not is_gpu(deciding.kind):
        raise ConfigError("max_gpu_seconds bounds what GPUs do, and workers here have none; give max_seconds, or gpus")
    of_each = None if setup.max_seconds is None else setup.max_seconds * deciding.num_workers
    return min((each for each in (of_each, setup.max_gpu_seconds) if each is not None), default=None)


def _texts(setup: Setup, model: ModelFacts, *, is_confirmed: bool) -> tuple[str, int]:
    """Give the source of the texts that are judged, kept for `resume` too, and the most tokens that one of them has."""
    from search.campaigns.machines import scratch
    from search.evaluator.fidelity.given import TextError
    from search.evaluator.fidelity.material import Material
    from search.workloads import MODEL_TOKENS

    room = model.max_tokens - ANSWER_TOKENS
    if setup.tokens is not None and setup.tokens > room:
        raise ConfigError(
            f"tokens {setup.tokens} are too many: the model {model.name} takes {model.max_tokens:,} tokens, "
            f"{ANSWER_TOKENS} of them for answers; give at most {room}"
        )
    material = Material(setup.text, setup.tokens, LEAST_TOKENS, min(MODEL_TOKENS, room), is_confirmed)
    try:
        return material.settled(model.folder, scratch())
    except TextError as error:
        raise ConfigError(f"text: {error}") from None


def _built(task: str, model: ModelFacts, lengths: tuple[int, ...]) -> str:
    """Build an lm-eval task once, to see that it can be, and give the source of its workload."""
    from search.campaigns.machines import scratch
    from search.evaluator.tasks.named import TaskError, source_of

    try:
        return source_of(task, model.folder, lengths, scratch())
    except TaskError as error:
        raise ConfigError(f"task: {error}") from None
