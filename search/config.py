"""What decides a campaign: few settings, frozen, as canonical JSON in the ledger."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from search.agents.llm.endpoint import Endpoint
from search.archive.archive import Archive
from search.archive.experience import Experience
from search.archive.speeds import MEASURED_SPEED, MODELLED_SPEED, STEER_BY
from search.campaigns.bounds import MAX_LAG, MAX_TURNS
from search.campaigns.comparisons import FIGURES
from search.campaigns.target import TargetError, parse_target
from search.fit import Terms
from search.records import Context, Demands, Stage, Workload, digest_of
from search.workloads import WORKLOADS
from vortex_dsl import Shape
from vortex_dsl.analysis.devices import DEVICES
from vortex_dsl.errors import did_you_mean
from vortex_dsl.values import MAX_GROUP, MAX_HEAD_DIM, MAX_LAYERS, MAX_REPEATS, MAX_SEQUENCES, MAX_TOKENS, check_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from search.records import Candidate, Record

LAG = 16  # of campaigns that do not say
LAG_OF_A_WORKER, LAG_OF_CHEAP = 8, 64
LEAST_SIGHTED = 4  # what is cheap runs ahead by no more than this part of a campaign: it would be proposed blindly

SEEDS = (
    "dense",
    "streaming",
    "random_pages",
    "oracle_mass",
    "centroid",
    "centroid_gqa",
    "quest",
    "quest_sub",
    "ball",
    "mass_lse",
    "twilight",
    "value_gated",
)
RATIOS = (8.0, 16.0, 32.0)
MAX_RATIOS = 8
MAX_EXPERIENCE = 256  # operators
LEAST_RATIO, MOST_RATIO = 1.0, 1024.0
# Steps go round this list: most of them to the grammar, and each baseline always has its place.
PROPOSERS = ("grammar", "grammar", "greedy", "grammar", "tune", "best_of_n", "grammar", "random")

TURNS = 4  # exchanges with a language model in one step
REFLECT_EVERY = 8  # turns of an agent: its notes are young when it reads them, and cost it one answer in eight
TARGET = "H200"  # on which speed is modelled beside what is measured
MAX_KV_HEADS = 4096
ANSWER_TOKENS = 160  # more than any stage decodes after a prompt
NEWER = "; if a newer vortex-search stored these settings, upgrade to it to go on with them"

_LARGEST_OF_A_WORKLOAD = {"num_tokens": MAX_TOKENS, "num_sequences": MAX_SEQUENCES, "repeats": MAX_REPEATS}
JUDGING = (Stage.FIDELITY, Stage.RETRIEVAL, Stage.PROBE)  # one of them tells candidates apart


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type or out of range. The message says which."""


@dataclass(frozen=True)
class SeedProgram:
    """A program's text that a person gives a campaign to begin with; `digest` is the text's, taken if left out."""

    text: str
    digest: str = ""

    def __post_init__(self) -> None:
        found = digest_of(self.text)
        _require(self.digest in ("", found), f"the seed program {self.digest} is another text, of digest {found}")
        object.__setattr__(self, "digest", found)


@dataclass(frozen=True)
class CampaignConfig:
    """The settings of one campaign. Two campaigns with equal settings and measurements propose the same.

    `proposers` take the steps in turn; a name that stands twice gets twice as many. With `bandit` those are prior
    weights, and turns are drawn by what each earned (`search.campaigns.turns`). Every candidate is judged at each
    of `ratios`, its budget fitted so that dense attention reads so many times its bytes; as written where there are
    none. `seed_pages` is the small budget that then makes the seeds comparable, `ceiling_pages` the large one of the
    oracle. `recall_share` is the share of candidates, the best by recall, that enter an engine; `serve_floor` the
    accuracy in the probe that a candidate needs to be timed. `evaluation_seed` draws the problems: campaigns that share
    it share their measurements. A step sees the records of steps up to its own minus `lag`: so many candidates may be
    under way at a time, and so much later is learnt from each. `screen_share` is the share of candidates, the best by a
    small part of the recordings, that all of them are spent on, where there is a stage for it. `published_share` is
    the share of the published rules, the best by recall at each cost ratio, that enter an engine. `group`, `head_dim`,
    `num_layers` and `num_kv_heads` are those of `model`; `target` is the GPU for which speed is modelled;
    `steer_by` says whether leaders, parents and what earns credit go by this or by what is measured here. With
    `timed_in_search` who is nearest to dense attention on a real model is timed at once, not only in the end.
    `seed_programs` follow the `seeds`. `outside` are the names of agents that bring programs by themselves: what they
    bring takes the next steps that nobody was asked for, and without `proposers` steps wait for it. `stop_at`,
    `patience` (candidates in a row without progress), `max_worker_seconds` and `max_dollars` end a campaign before it
    has its candidates: see `search.campaigns.stopping`. Each agent reflects at every `reflect_every`th of its turns
    (`search.journal.reflecting`), never where it is 0, and has `turns` exchanges in a step to repair and revise its
    program (`search.agents.llm.conversation`). `endpoints` are the language models among the proposers, with their
    prices and without their keys. After the search each leader has `simplify_trials` programs with a part less.
    """

    seed: int = 0
    num_candidates: int = 100
    proposers: tuple[str, ...] = PROPOSERS
    model: str = ""
    group: int = 2
    head_dim: int = 64
    seeds: tuple[str, ...] = SEEDS
    seed_pages: int = 4
    ceiling_pages: int = 64
    workloads: tuple[Workload, ...] = WORKLOADS
    serve_floor: float = 0.8
    evaluation_seed: int = 0
    max_dollars: float | None = None
    num_kv_heads: int = 2
    target: str = TARGET
    steer_by: str = MEASURED_SPEED
    timed_in_search: bool = True
    ratios: tuple[float, ...] = RATIOS
    num_layers: int = 3
    recall_share: float = 1.0
    screen_share: float = 1.0
    published_share: float = 1.0
    lag: int = LAG
    experience: tuple[Experience, ...] = ()
    seed_programs: tuple[SeedProgram, ...] = ()
    stop_at: str = ""
    patience: int | None = None
    max_worker_seconds: float | None = None
    bandit: bool = False
    endpoints: tuple[Endpoint, ...] = ()
    outside: tuple[str, ...] = ()
    reflect_every: int = REFLECT_EVERY
    turns: int = TURNS
    simplify_trials: int = 0

    def __post_init__(self) -> None:
        _sized("group", self.group, MAX_GROUP)
        _sized("head_dim", self.head_dim, MAX_HEAD_DIM)
        _sized("num_kv_heads", self.num_kv_heads, MAX_KV_HEADS)
        _require(
            self.target in DEVICES,
            f"target is {self.target!r}; give one of {', '.join(DEVICES)}{did_you_mean(self.target, DEVICES)}",
        )
        _require(
            self.steer_by in STEER_BY,
            f"steer_by is {self.steer_by!r}; give {' or '.join(map(repr, STEER_BY))}"
            f"{did_you_mean(self.steer_by, STEER_BY)}",
        )
        anybody = bool(self.proposers or self.outside)
        _require(anybody, "proposers is empty; name at least one, for example 'grammar'")
        _require(self.seed_pages >= 1, f"seed_pages must be at least 1, but is {self.seed_pages}")
        _sized("num_layers", self.num_layers, MAX_LAYERS)
        _sized("lag", self.lag, MAX_LAG)
        for name in ("serve_floor", "recall_share", "screen_share", "published_share"):
            _require(0 <= (share := getattr(self, name)) <= 1, f"{name} must lie between 0 and 1, but is {share}")
        self._check_ratios()
        number = len(self.experience)
        _require(number <= MAX_EXPERIENCE, f"experience tells of {number} operators; give at most {MAX_EXPERIENCE}")
        _require(self.patience is None or self.patience >= 1, f"patience must be at least 1, but is {self.patience}")
        _sized("turns", self.turns, MAX_TURNS)
        for name in ("num_candidates", "reflect_every", "simplify_trials"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative, but is {getattr(self, name)}")
        stages = [workload.stage for workload in self.workloads]
        named = ", ".join(stages) or "none"
        _require(len(set(stages)) == len(stages), f"workloads must name stages once each, but name {named}")
        enough = Stage.CHECK in stages and any(stage in stages for stage in JUDGING)
        _require(enough, f"workloads must name check and one of {', '.join(JUDGING)}, but name {named}")
        for workload in self.workloads:
            for name, most in _LARGEST_OF_A_WORKLOAD.items():
                _sized(f"{name} of the workload {workload.stage.value}", getattr(workload, name), most)
            for length in workload.lengths:
                _sized(f"a length of the workload {workload.stage.value}", length, MAX_TOKENS)
        if self.stop_at:
            self._check_target()

    def _check_target(self) -> None:
        """Refuse a target that nothing could ever reach here."""
        try:
            target = parse_target(self.stop_at)
        except TargetError as error:
            raise ConfigError(f"stop_at: {error}") from None
        ratios = self.ratios or (0.0,)
        shown = ", ".join(f"{ratio:g}" for ratio in self.ratios) or "none"
        _require(target.ratio in (None, *ratios), f"stop_at names the cost ratio {target.ratio}; ratios are {shown}")
        for figure in (each.figure for each in target.comparisons):
            stage, named = FIGURES[figure][0], ", ".join(self.stages)
            _require(stage in self.stages, f"stop_at: {figure} is a figure of stage {stage}; this campaign has {named}")

    def _check_ratios(self) -> None:
        shown = ", ".join(f"{ratio:g}" for ratio in self.ratios)
        number = len(self.ratios)
        _require(number <= MAX_RATIOS, f"ratios are {number}; give at most {MAX_RATIOS} of them")
        _require(len(set(self.ratios)) == number, f"ratios are {shown}; give each once")
        bounded = all(LEAST_RATIO <= ratio <= MOST_RATIO for ratio in self.ratios)
        _require(bounded, f"ratios are {shown}; give numbers from {LEAST_RATIO:g} to {MOST_RATIO:g}")
        object.__setattr__(self, "ratios", tuple(sorted(map(float, self.ratios))))

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that candidates go through, in order.

        A campaign keeps those it began with, but for races, which are run no more.
        """
        return tuple(workload.stage for workload in self.workloads if workload.stage is not Stage.RACE)

    def workload(self, stage: Stage, ratio: float = 0.0) -> Workload:
        """Give what a stage runs on, at a cost ratio; 0 is as written."""
        known = self._asked.get((stage, ratio))
        if known is None:
            workload = next(workload for workload in self.workloads if workload.stage is stage)
            known = self._asked[stage, ratio] = replace(workload, ratio=ratio)
        return known

    @cached_property
    def _asked(self) -> dict[tuple[Stage, float], Workload]:
        return {}  # by stage and cost ratio: their digests are asked for again and again

    @cached_property
    def terms(self) -> Terms:
        """On what costs are compared: at every length that the check names."""
        lengths = self.workload(Stage.CHECK).all_lengths
        return Terms(Shape(self.group, self.head_dim), self.num_layers, lengths)

    def terms_of(self, workload: Workload) -> Terms:
        """On what costs are compared in a stage: retrieval asks about texts of lengths of its own."""
        if workload.stage is not Stage.RETRIEVAL:
            return self.terms
        return replace(self.terms, lengths=workload.all_lengths)

    @cached_property
    def demands(self) -> Demands:
        """What proposers are told of how candidates are judged."""
        shares = self.screen_share, self.recall_share, self.serve_floor
        return Demands(
            self.model, self.num_kv_heads, self.workloads, *shares, self.target, self.steered_on, self.timed_in_search
        )

    @property
    def steered_on(self) -> str:
        """The device whose modelled speed steers the campaign, nothing where measured speed does."""
        return self.target if self.steer_by == MODELLED_SPEED else ""

    @property
    def num_tokens(self) -> int:
        """The context length that proposers design for: the longest by which candidates are told apart."""
        stage = next(stage for stage in JUDGING if stage in self.stages)
        return self.workload(stage).num_tokens

    def context(
        self,
        step: int,
        records: Sequence[Record],
        seen: AbstractSet[str],
        archive: Archive | None = None,
        *,
        reflects: bool = False,
        pending: Sequence[Candidate] = (),
    ) -> Context:
        """Give what the proposer of a step is shown: these records, what they come to, and the campaign's facts."""
        return Context(
            self.seed,
            step,
            records,
            seen,
            self.group,
            self.head_dim,
            self.num_tokens,
            self.num_layers,
            self.terms.lengths,
            self.ratios,
            Archive() if archive is None else archive,
            self.experience,
            reflects,
            self.demands,
            pending,
        )

    def to_json(self) -> str:
        """Give the canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> CampaignConfig:
        """Read the JSON that `to_json` writes; missing keys take their default.

        A campaign from before there were ratios, or reflections, goes on without them. Raises ConfigError for unknown
        keys and for values of the wrong type.
        """
        values = _checked(cls, _parsed(text))
        if "workloads" in values:
            values["workloads"] = tuple(_workload(each) for each in values["workloads"])
            values.setdefault("ratios", ())
            values.setdefault("reflect_every", 0)
            values.setdefault("turns", 1)
        values["experience"] = tuple(_experience(each) for each in values.get("experience", ()))
        if "seed_programs" in values:
            values["seed_programs"] = tuple(SeedProgram(**_checked(SeedProgram, e)) for e in values["seed_programs"])
        values["endpoints"] = tuple(_endpoint(each) for each in values.get("endpoints", ()))
        return cls(**values)


def lag_for(num_workers: int, num_candidates: int, *, is_cheap: bool) -> int:
    """Give the lag with which workers never starve. `is_cheap`: most candidates come to the end within a second."""
    ahead = min(LAG_OF_CHEAP, num_candidates // LEAST_SIGHTED) if is_cheap else 0
    return min(MAX_LAG, max(LAG + LAG_OF_A_WORKER * num_workers, ahead))


def tokens_needed(workloads: Iterable[Workload]) -> int:
    """Give the tokens that a model must take, prompt and answer, for the stages that serve it."""
    served = [workload.num_tokens for workload in workloads if workload.stage is not Stage.CHECK]
    return ANSWER_TOKENS + max(served, default=0)


def _sized(name: str, value: object, most: int) -> None:
    try:
        check_size(name, value, most)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the settings are not JSON: {error}") from error


def _workload(values: object) -> Workload:
    checked = _checked(Workload, values)
    for name in ("stage", "num_tokens", "num_sequences"):
        _require(name in checked, f"a workload does not say its {name}: {values}")
    stages = [stage.value for stage in Stage]
    _require(
        checked["stage"] in stages,
        f"there is no stage {checked['stage']!r} here, only {', '.join(stages)}{NEWER}",
    )
    try:
        return Workload(**{**checked, "stage": Stage(checked["stage"])})
    except ValueError as error:
        raise ConfigError(f"the workload of stage {checked['stage']}: {error}") from error


def _experience(values: object) -> Experience:
    checked = _checked(Experience, values)
    for each in fields(Experience):
        _require(each.name in checked, f"an experience does not say its {each.name}: {values}")
    try:
        return Experience(**checked)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _endpoint(values: object) -> Endpoint:
    checked = _checked(Endpoint, values)
    for name in ("name", "model"):
        _require(bool(checked.get(name)), f"an endpoint does not say its {name}: {checked}")
    return Endpoint(**checked)


def _checked(kind: Any, values: object) -> dict[str, Any]:
    """Give a JSON object's values with lists as tuples, after comparing its keys and types with a dataclass's."""
    _require(isinstance(values, dict), f"settings of {kind.__name__} must be a JSON object, but are {values!r}")
    assert isinstance(values, dict)
    types = {each.name: str(each.type) for each in fields(kind)}
    for name, value in values.items():
        _require(name in types, f"{kind.__name__} has no setting {name!r} here{NEWER}")
        _require(_fits(value, types[name]), f"{name} of {kind.__name__} must be {types[name]}, but is {value!r}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _fits(value: object, annotation: str) -> bool:
    if annotation.startswith("tuple[str"):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if annotation.startswith(("tuple[float", "tuple[int")):
        kind = int if annotation.startswith("tuple[int") else (int, float)
        return isinstance(value, list) and all(isinstance(e, kind) and not isinstance(e, bool) for e in value)
    if annotation.startswith("tuple"):
        return isinstance(value, list)
    if value is None:
        return annotation.endswith("None")
    if annotation == "bool":
        return isinstance(value, bool)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation.startswith("float"):
        return number
    return (number and isinstance(value, int)) if annotation.startswith("int") else isinstance(value, str)
