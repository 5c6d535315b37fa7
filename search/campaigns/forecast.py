"""What a campaign would do and take, before anything is started: evaluations, time, dollars, disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from search.agents.seeds import seed_proposals
from search.archive.archive import NUM_LEADERS
from search.archive.archivist import LEAST_GOING_ON
from search.campaigns.machines import facts_of
from search.campaigns.settings import settings_of, wishes_of
from search.foresight.outlook import LUCKY
from search.kinds.elsewhere import REPEATED
from search.kinds.pace import on_record
from search.parents import LOSSES, NUM_RIVALS, REFERENCE
from search.records import Stage
from search.workloads import NUM_DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.campaigns.setup import Setup
    from search.config import CampaignConfig
    from search.evaluator.models import ModelFacts
    from search.kinds.pace import OnRecord
    from search.kinds.wished import Wish
    from search.records import Record, Workload

COMPLETION_TOKENS = 800  # of an answer with a program and its idea, where none is on record
EVALUATION_BYTES, CANDIDATE_BYTES = 2000, 3000  # in the ledger, indices included
KEPT_BYTES_PER_VALUE = 4  # of prefilled keys and values: float32 on a CPU, half of it on a GPU


@dataclass(frozen=True)
class StageForecast:
    """How often a stage is expected to run, and for how long: `from_what` says whence the seconds are known."""

    stage: Stage
    num_evaluations: int
    seconds_each: float
    from_what: str

    @property
    def seconds(self) -> float:
        """Give the seconds of all of them, one after the other."""
        return self.num_evaluations * self.seconds_each


@dataclass(frozen=True)
class AgentForecast:
    """What a language model is expected to cost."""

    name: str
    num_proposals: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float
    from_what: str


@dataclass(frozen=True)
class FurtherForecast:
    """What is expected to be measured again on a further kind of machines.

    `worker_seconds`: of all its evaluations; `seconds`: on the clock, with all its workers busy. `from_what` says
    whence they are known: where nothing is on record there, an evaluation is taken to last as long as on the first.
    """

    kind: str
    workers: int
    num_evaluations: int
    worker_seconds: float
    seconds: float
    from_what: str


@dataclass(frozen=True)
class Forecast:
    """The plan of a campaign and what it is expected to take.

    `worker_seconds`: of all evaluations on the kind of machines that decides; `seconds`: on the clock, with all its
    workers busy. What starts engines, records and prefills comes on top, once. `further`: what other kinds do
    meanwhile, which the campaign waits for in the end. `limits`: what may end it earlier; seconds are counted on the
    kind that decides alone.
    """

    model: str
    candidates: int
    seeds: tuple[str, ...]
    ratios: tuple[float, ...]
    round: tuple[str, ...]
    workers: int
    workloads: tuple[Workload, ...]
    stages: tuple[StageForecast, ...]
    further: tuple[FurtherForecast, ...]
    agents: tuple[AgentForecast, ...]
    worker_seconds: float
    seconds: float
    dollars: float
    disk_bytes: int
    limits: tuple[str, ...]


def forecast(setup: Setup) -> Forecast:
    """Give the plan of what was asked for. Reads the model's shape and the database, where there is one, and no more.

    Raises ConfigError, ModelError, ProgramError and StoreError as a run would.
    """
    facts = facts_of(setup.model)
    config = settings_of(setup, facts)
    recorded, (deciding, *others) = on_record(setup), wishes_of(setup)
    seeds = seed_proposals(config)
    num_references = sum(seed.operator == REFERENCE for seed in seeds)
    numbers = expected(config, len(seeds) - num_references, num_references)
    stages = tuple(
        StageForecast(stage, number, *recorded.seconds(stage, deciding.kind)) for stage, number in numbers.items()
    )
    here, again = {each.stage: each.seconds_each for each in stages}, elsewhere(config, numbers)
    further = tuple(_further(wish, again, recorded, here) for wish in others)
    agents = _agents(setup, config, recorded.records)
    worker_s = sum(each.seconds for each in stages if each.stage is not Stage.CHECK)
    if config.max_worker_seconds is not None:
        worker_s = min(worker_s, config.max_worker_seconds)
    dollars = sum(each.dollars for each in agents)
    return Forecast(
        model=config.model,
        candidates=config.num_candidates,
        seeds=(*config.seeds, *map(str, setup.seed_programs)),
        ratios=config.ratios,
        round=config.proposers,
        workers=deciding.num_workers,
        workloads=config.workloads,
        stages=stages,
        further=further,
        agents=agents,
        worker_seconds=worker_s,
        seconds=worker_s / deciding.num_workers,
        dollars=dollars if setup.max_dollars is None else min(dollars, setup.max_dollars),
        disk_bytes=_disk_bytes(facts, config, sum(numbers.values()) + sum(each.num_evaluations for each in further)),
        limits=_limits(config, "of the first kind " if others else ""),
    )


def expected(config: CampaignConfig, num_seeds: int, num_references: int) -> dict[Stage, int]:
    """Give how many evaluations of each stage are expected, as if every candidate were sound.

    Of the published rules their share enters an engine, whoever is given by a person, and of the others the shares that
    screen and recall let in. At each ratio whoever is the best so far is timed once the seeds are seen, which of n in
    any order ln(n / seeds) are (the expected number of records), and the leaders in the end. These are confirmed beside
    the best published rules; those that are not surely behind come on top, which nobody can tell before.
    """
    num_ratios, invented = max(1, len(config.ratios)), config.num_candidates
    recalled = _going_on(config.screen_share, invented) if Stage.SCREEN in config.stages else 1.0
    share = recalled * _going_on(config.recall_share, round(recalled * invented))
    num_given = len(config.seed_programs)
    compared = num_given + math.ceil(config.published_share * (num_seeds - num_given))
    entering = compared + share * invented
    told = [stage for stage in (Stage.FIDELITY, Stage.RETRIEVAL) if stage in config.stages]
    best = len(told) * math.log(max(1.0, entering / max(1, compared))) + NUM_LEADERS
    timed = min(entering, best) if told else entering
    numbers = dict.fromkeys(config.stages, entering * num_ratios + num_references) | {
        Stage.CHECK: (num_seeds + invented) * num_ratios + num_references,
        Stage.SCREEN: (num_seeds + invented) * num_ratios + num_references,
        Stage.RECALL: (num_seeds + recalled * invented) * num_ratios + num_references,
        Stage.ORACLE: compared + num_references + min(1.0, share * num_ratios) * invented,
        Stage.SERVE: timed * num_ratios,
    }
    return {stage: math.ceil(numbers[stage] + _confirmed(stage, config)) for stage in config.stages}


def elsewhere(config: CampaignConfig, numbers: Mapping[Stage, int]) -> dict[Stage, int]:
    """Give how many evaluations each further kind is expected to make: all repeated stages of what is timed here."""
    timed = numbers.get(Stage.SERVE, 0)
    repeated = [stage for stage in config.stages if stage in REPEATED and stage is not Stage.CHECK]
    return {stage: timed + _confirmed(stage, config) for stage in repeated}


def _confirmed(stage: Stage, config: CampaignConfig) -> int:
    """Give how many evaluations of a stage are made again on held-out texts."""
    each = NUM_LEADERS + (NUM_RIVALS if config.seeds else 0)
    return each * max(1, len(config.ratios)) if stage in LOSSES else 0


def _further(
    wish: Wish, numbers: Mapping[Stage, int], recorded: OnRecord, here: Mapping[Stage, float]
) -> FurtherForecast:
    """Foretell what a further kind does; a stage that is not on record there takes as long as `here`."""
    there = {stage: recorded.seconds_on(stage, wish.kind) for stage in numbers}
    worker_s = sum(numbers[stage] * (found[0] if found else here[stage]) for stage, found in there.items())
    unknown = [stage.value for stage, found in there.items() if found is None]
    source = f"{', '.join(unknown)} as on the first kind" if unknown else "on record there"
    num = sum(numbers.values())
    return FurtherForecast(wish.kind, wish.num_workers, num, worker_s, worker_s / wish.num_workers, source)


def _going_on(share: float, number: int) -> float:
    """Give the share of so many candidates that a gate lets through, the lucky ones too."""
    return min(1.0, max(share, LEAST_GOING_ON / max(1, number)) + LUCKY)


def _agents(setup: Setup, config: CampaignConfig, records: Sequence[Record]) -> tuple[AgentForecast, ...]:
    from search.agents.llm.money import Usage

    told = []
    for name, endpoint in setup.models().items():
        turns = config.proposers.count(name) / max(1, len(config.proposers))  # a round of nobody waits for outside
        number = math.ceil(config.num_candidates * turns)
        prompt, completion, source = _tokens(name, config, records)
        dollars = number * endpoint.price.dollars(Usage(prompt, 0, completion))
        told.append(AgentForecast(name, number, prompt, completion, dollars, source))
    return tuple(told)


def _tokens(name: str, config: CampaignConfig, records: Sequence[Record]) -> tuple[int, int, str]:
    """Give the tokens that one proposal reads and writes: the mean of those on record, else those of the prompt."""
    made = [p for record in records if (p := record.candidate.proposal).proposer == name and p.prompt_tokens]
    if made:
        prompt, completion = fmean(p.prompt_tokens for p in made), fmean(p.completion_tokens for p in made)
        return round(prompt), round(completion), f"{len(made):,} on record"
    from search.agents.llm.operators import ask
    from search.agents.shown.questions import instructions
    from search.agents.shown.section import tokens_of

    context = config.context(0, (), frozenset())
    prompted = tokens_of(instructions(context)) + tokens_of(ask(context, name).question)
    return prompted, COMPLETION_TOKENS, "the first prompt's length"


def _disk_bytes(facts: ModelFacts, config: CampaignConfig, num_evaluations: int) -> int:
    """Give what the ledger grows by, and what prefilled prompts take in the cache's folder."""
    from search.evaluator.prefill.kept import MAX_BYTES

    token_bytes = 2 * facts.num_layers * facts.num_kv_heads * facts.head_dim * KEPT_BYTES_PER_VALUE
    prefilled = [each for each in config.workloads if each.lengths and each.stage in (Stage.FIDELITY, Stage.RETRIEVAL)]
    num_tokens = sum(max(each.num_sequences, NUM_DOCUMENTS) * each.num_tokens for each in prefilled)
    ledger = num_evaluations * EVALUATION_BYTES + config.num_candidates * CANDIDATE_BYTES
    return ledger + min(MAX_BYTES, num_tokens * token_bytes)


def _limits(config: CampaignConfig, of_which: str) -> tuple[str, ...]:
    told = [
        (config.max_worker_seconds, f"workers {of_which}have measured for {{:,.0f}} s together"),
        (config.max_dollars, "language models have cost ${:,.2f}"),
        (config.stop_at or None, "a rule reaches {}"),
        (config.patience, "{:,} candidates in a row bring no progress"),
    ]
    return tuple(sentence.format(value) for value, sentence in told if value is not None)
