"""Frozen values that pass between proposers, evaluator, store and people. No behaviour beyond identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from search.archive.archive import Archive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from search.archive.experience import Experience
    from search.asking.owing import Owing
    from search.journal.entries import Hypothesis, Note


class Stage(StrEnum):
    """The evaluator's stages, cheapest first. A candidate stops at the first that it does not pass."""

    CHECK = "check"
    SCREEN = "screen"  # recall on a small part, and what is chosen there: thousands of candidates
    RECALL = "recall"  # attention kept, on recorded q, k and v; needs no engine
    ORACLE = "oracle"  # what serves is right
    RACE = "race"  # fidelity on few of its texts, in older ledgers
    FIDELITY = "fidelity"  # the same text decoded by both: distance from dense attention
    RETRIEVAL = "retrieval"  # questions about a long text, answered in the model's own tokens
    PROBE = "probe"  # chains, by the small model that was trained for them
    TASK = "task"  # lm-eval's own
    SERVE = "serve"


class Status(StrEnum):
    """How an evaluation ended. Everything but OK carries a message that says why."""

    OK = "ok"
    PROGRAM_ERROR = "program_error"  # the text does not parse, type or keep to the bounds
    DUPLICATE = "duplicate"  # its digest has been seen in this campaign
    UNSUPPORTED = "unsupported"  # a sound program that this evaluator cannot serve yet
    WRONG_RESULT = "wrong_result"  # a backend disagrees with the reference
    NOT_SPARSE = "not_sparse"  # a scored token was answered without a sparse read
    BELOW_GATE = "below_gate"  # measured, and not good enough for the next stage
    CRASHED = "crashed"  # the engine's process died
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    INFRASTRUCTURE = "infrastructure"  # our fault: the row may be tried again
    QUARANTINED = "quarantined"  # its worker died three times
    INTERRUPTED = "interrupted"  # drained before it began


def digest_of(value: object) -> str:
    """Give the first 16 hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with its circumstances: an interval of 95 % and the number of samples behind it."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    num_samples: int = 1


@dataclass(frozen=True)
class Workload:
    """What a stage runs on. Two workloads with one digest ask the same of a program.

    `num_sequences` prompts in all, of `lengths` tokens in turn, the longest of which is `num_tokens`; without
    `lengths` all are that long. `num_decoded`: tokens decoded after each, 0 for what the stage takes by itself.
    `split` is "search" (proposers may learn from it) or "held_out" (no proposer ever sees what came of it).
    `source` says where prompts come from where a stage has a choice: texts, or the name of an lm-eval task; of the
    check, the GPU for which speed is modelled, unless it is the usual one.
    `ratio` is the cost ratio to which the program's budget was fitted, 0 where it is judged as written.
    """

    stage: Stage
    num_tokens: int
    num_sequences: int
    split: str = "search"
    repeats: int = 1
    lengths: tuple[int, ...] = ()
    num_decoded: int = 0
    source: str = ""
    ratio: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", tuple(self.lengths))  # JSON has lists only
        if self.lengths and max(self.lengths) != self.num_tokens:
            raise ValueError(f"num_tokens is the longest of lengths {self.lengths}, but is {self.num_tokens}")

    @property
    def all_lengths(self) -> tuple[int, ...]:
        """Give the lengths that prompts have, in turn."""
        return self.lengths or (self.num_tokens,)

    @cached_property
    def digest(self) -> str:
        """Identity of what is asked."""
        return digest_of(asdict(self))


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """The identity of one evaluation: unique in the ledger, so it is cache, queue and exactly-once guard."""

    program_digest: str
    stage: Stage
    workload_digest: str
    model_digest: str
    environment_digest: str
    evaluator_version: str
    seed: int
    repeat: int = 0

    @property
    def place(self) -> tuple[str, str, str]:
        """Give where it was measured, and by what: figures of two places are never put together."""
        return self.model_digest, self.environment_digest, self.evaluator_version


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of one stage for one program.

    `correct` holds one 0/1 per scored hop, for paired comparisons; `answers` is the digest of all generated tokens,
    by which an exported plugin is verified, and of the screen the signature of behaviour (`search.behaviour`). `ratio`
    is the workload's, by which a candidate's evaluations of one stage differ.
    """

    key: EvaluationKey
    status: Status
    message: str = ""
    measurements: tuple[Measurement, ...] = ()
    correct: str = ""
    answers: str = ""
    elapsed_s: float = 0.0
    ratio: float = 0.0

    def value(self, name: str) -> float | None:
        """Give the named measurement's value, None if it was not taken."""
        for each in self.measurements:  # no generator: a large ledger is asked this millions of times
            if each.name == name:
                return each.value
        return None

    def measurement(self, name: str) -> Measurement | None:
        """Give the named measurement, None if it was not taken."""
        return next((each for each in self.measurements if each.name == name), None)


@dataclass(frozen=True)
class Environment:
    """Where numbers were measured. Numbers from different environments are never compared as equals."""

    device: str
    driver: str
    python: str
    torch: str
    vllm: str
    commit: str = ""
    dtype: str = ""  # in which engines ran; older databases do not know it

    @cached_property
    def digest(self) -> str:
        """Identity of the place, our commit aside, which the evaluator's version stands for; an unknown dtype too."""
        left_out = {"commit"} if self.dtype else {"commit", "dtype"}
        return digest_of({k: v for k, v in asdict(self).items() if k not in left_out})


@dataclass(frozen=True, slots=True)
class Proposal:
    """A program text that somebody suggests, and how it came about.

    `hypotheses` predict what will be measured of it, `notes` say what was concluded from what was measured before.
    `conversation`: what a language model was asked and what it answered, the JSON of a list of messages. The ledger
    keeps it for people, without keys and within a bound; records that proposers see do not have it. `questions`: the
    rows of the ledger in which its dollars stand until it is stored with them.
    """

    text: str
    proposer: str
    operator: str  # "seed", "random", "mutate", "explore", "repair", …
    parents: tuple[str, ...] = ()  # program digests
    rationale: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    elapsed_s: float = 0.0
    values: tuple[tuple[str, float | int | str], ...] = ()  # tunables that differ from the text's defaults
    hypotheses: tuple[Hypothesis, ...] = ()
    notes: tuple[Note, ...] = ()
    conversation: str = ""
    questions: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A step of a campaign: the proposal, and the program if it was admitted (parsed, typed and new)."""

    campaign_id: int
    step: int
    proposal: Proposal
    status: Status  # OK when admitted; PROGRAM_ERROR or DUPLICATE when refused
    message: str = ""
    program_digest: str = ""
    name: str = ""
    id: int = 0  # given by the store


@dataclass(frozen=True)
class Submission:
    """A proposal that an agent from outside brought to a campaign; its proposer is the agent's name."""

    campaign_id: int
    proposal: Proposal
    step: int | None = None  # the step that it takes, None while it waits for one
    candidate_id: int = 0  # once the step is recorded
    id: int = 0  # given by the store, in order of arrival


@dataclass(frozen=True, slots=True)
class Record:
    """A candidate with all that was measured of it: what proposers are shown."""

    candidate: Candidate
    evaluations: tuple[Evaluation, ...] = ()

    def evaluation(self, stage: Stage, ratio: float | None = None) -> Evaluation | None:
        """Give the evaluation of one stage (at one cost ratio, else the first), None if it never got there."""
        for each in self.evaluations:
            if each.key.stage == stage and (ratio is None or each.ratio == ratio):
                return each
        return None

    def value(self, stage: Stage, name: str, ratio: float | None = None) -> float | None:
        """Give one measured value (at one cost ratio, else the first), None where it is missing."""
        evaluation = self.evaluation(stage, ratio)
        return evaluation.value(name) if evaluation else None

    def at(self, place: tuple[str, str, str]) -> Record:
        """Give it with what was measured at one place (`EvaluationKey.place`)."""
        return replace(self, evaluations=tuple(e for e in self.evaluations if e.key.place == place))

    @property
    def environments(self) -> set[str]:
        """Digests of the environments that gave a result: a ledger knows none that lost its worker each time."""
        return {e.key.environment_digest for e in self.evaluations if e.status is not Status.QUARANTINED}

    @property
    def status(self) -> Status:
        """How far it got: its refusal, the last stage's status on the machine that decided, told first, or OK."""
        if self.candidate.status is not Status.OK or not self.evaluations:
            return self.candidate.status
        place = self.evaluations[0].key.environment_digest
        return next(e.status for e in reversed(self.evaluations) if e.key.environment_digest == place)


@dataclass(frozen=True)
class Demands:
    """What candidates of a campaign meet: a model, the stages, and who goes on from them (`CampaignConfig` has them).

    `target`: the GPU for which speed is modelled. `steered_on`: the same where the campaign is steered by this.
    """

    model: str = ""
    num_kv_heads: int = 0
    workloads: tuple[Workload, ...] = ()
    screen_share: float = 1.0
    recall_share: float = 1.0
    serve_floor: float = 0.0
    target: str = ""
    steered_on: str = ""
    timed_in_search: bool = True

    def workload(self, stage: Stage) -> Workload | None:
        """Give what a stage runs on, None where the campaign has no such stage."""
        return next((each for each in self.workloads if each.stage is stage), None)


@dataclass(frozen=True)
class Context:
    """Exactly what a proposer is shown when it decides step `step`.

    `records` are those of steps up to `step - lag` in step order, all finished, and `archive` what they come to. `seen`
    are digests, as written and with budgets fitted, of every earlier step, and `pending` the candidates of those that
    `records` does not hold; for a proposer that is asked ahead of its turn (`search.contracts.Distant`), nothing is
    pending and only what `records` holds is seen. `reflects`: the agent whose turn it is shall say first what the
    records teach (`search.journal.reflecting`).
    """

    seed: int
    step: int
    records: Sequence[Record]
    seen: AbstractSet[str]
    group: int
    head_dim: int
    num_tokens: int
    num_layers: int = 32
    lengths: tuple[int, ...] = ()  # at which costs are compared; num_tokens alone where there are none
    ratios: tuple[float, ...] = ()  # to which budgets are fitted
    archive: Archive = field(default_factory=Archive)
    experience: tuple[Experience, ...] = ()  # of operators, from earlier campaigns
    reflects: bool = False
    demands: Demands = field(default_factory=Demands)
    pending: Sequence[Candidate] = ()


@dataclass(frozen=True)
class StoredCampaign:
    """A search: what decides the sequence of candidates, given the same measurements."""

    seed: int
    num_candidates: int
    proposers: tuple[str, ...]
    model: str
    settings: str = field(default="{}")  # canonical JSON of search.config.CampaignConfig
    id: int = 0


@dataclass(frozen=True)
class Choice:
    """Which rows of the leaderboard, and in which order; what is left out chooses all, best first.

    `model`: a campaign's model by its name, or by the beginning of the model's digest. `device`: part of its name.
    `where` and `sort`: see `search.ranking.conditions`.
    """

    ratio: float | None = None
    model: str = ""
    device: str = ""
    where: str = ""
    sort: str = ""


@dataclass(frozen=True)
class Took:
    """What one stage took of a campaign's workers at a cost ratio, 0 for programs as written.

    `seconds` and `num_ran` are of evaluations that ended and were not there before the campaign, each once; what was
    our own fault and is tried again counts by its last try. `num_ended` is one for each candidate that asks for an
    evaluation, whoever measured it; `num_running` are those that somebody is at work on.
    """

    stage: Stage
    split: str
    ratio: float
    seconds: float
    num_ran: int
    num_passed: int
    num_ended: int
    num_running: int

    @property
    def name(self) -> str:
        """The stage, and whether its texts were held out."""
        return self.stage.value if self.split == "search" else f"{self.stage.value} (held out)"


@dataclass(frozen=True)
class Progress:
    """How far a campaign is: candidates by status, and how many evaluations somebody is at work on.

    `evaluations`: how many ended in a stage with a status, held-out ones aside, one counted for each candidate that it
    is of. `proposers`: what each that cost anything has cost in dollars, and how many of its programs were admitted.
    `took`: where the time of workers went, by stage, what is held out last. `owing`: dollars that no candidate paid.
    """

    num_steps: int
    statuses: tuple[tuple[Status, int], ...]
    num_running: int
    evaluations: tuple[tuple[Stage, Status, int], ...] = ()
    proposers: tuple[tuple[str, float, int], ...] = ()
    took: tuple[Took, ...] = ()
    owing: tuple[Owing, ...] = ()


@dataclass(frozen=True)
class EvaluationTask:
    """One stage to run for one program: everything an evaluator needs. It knows no database.

    `fresh`: in an engine that has hosted none but such tasks; `least_read`: the share of all pages to read when timed.
    """

    key: EvaluationKey
    text: str
    values: tuple[tuple[str, float | int | str], ...]
    workload: Workload
    fresh: bool = False
    least_read: float = 0.0
