"""A campaign as people ask for it: the keys of campaign files, notebooks and options, with what each may be."""

from __future__ import annotations

import math
from functools import reduce
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from search.agents.seeds import Seeds
from search.agents.simplifying import SIMPLIFIER
from search.archive.speeds import MEASURED_SPEED
from search.campaigns.bounds import (
    DATABASE_URL,
    LARGEST,
    LEAST_TOKENS,
    MAX_DOLLARS,
    MAX_LAG,
    MAX_OUTAGE_S,
    MAX_ROUND,
    MAX_SECONDS,
    MAX_SEED_PROGRAMS,
    MAX_TRIALS,
    MAX_TURNS,
    MAX_WORKERS,
    SIMPLIFY_TRIALS,
)
from search.campaigns.endpoints import GOES_ON, EndpointSetup, check_priced, with_keys
from search.campaigns.proposers import KNOWN, LLM, WITH_LLM
from search.campaigns.target import parse_target
from search.config import MAX_RATIOS, PROPOSERS, REFLECT_EVERY, TARGET, TURNS, CampaignConfig, ConfigError
from search.evaluator.probe import PROBE
from search.kinds.wished import read_wishes
from search.outside.arrivals import Arrivals
from search.parents import GIVEN
from search.telling.addresses import head_wanted
from vortex_dsl.errors import did_you_mean, quoted
from vortex_dsl.values import MAX_TOKENS

if TYPE_CHECKING:
    from search.agents.llm.endpoint import Endpoint
    from search.kinds.wished import Wish

MAX_ENDPOINTS, MAX_KINDS = 16, 8
File = Annotated[Path, Field(strict=False)]  # or a text that is one
WITHOUT_A_PORT = ("local", "auto")  # the latter is Ray's own: the cluster that this machine is in
TAKEN = (*KNOWN, Seeds.name, GIVEN, Arrivals.name, SIMPLIFIER)


class Setup(BaseModel):
    """All that a person may say of a campaign; what is left out has its default. The keys are flat but for endpoints.

    `proposers` is the round in which proposers take turns, empty for the usual one; from a table of weights, each has
    so many turns, spread evenly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    # What is judged
    model: str = Field(
        PROBE, min_length=1, max_length=8192, description="The model to serve: a folder, a hub name, smollm2 or probe."
    )
    tokens: int | None = Field(
        None, ge=LEAST_TOKENS, le=MAX_TOKENS,
        description="Longest text that the model is judged on, in tokens; if left out 4,000, or as many as model and "
        "text hold.",
    )  # fmt: skip
    text: File | None = Field(
        None,
        description="A file with the text to judge on. If left out the help topics that come with Python, or its "
        "sources where `tokens` asks for more than these hold.",
    )
    task: str = Field("", max_length=200, description="An lm-eval task to run too.")
    ratios: tuple[float, ...] = Field(
        (), strict=False, max_length=MAX_RATIOS,
        description="Cost ratios, to which budgets are fitted: dense attention reads so many times the bytes. "
        "8, 16 and 32 if left out, of the probe 8.",
    )  # fmt: skip
    target: str = Field(TARGET, max_length=32, description="Model speed on this GPU too: H100, H200 or B200.")
    steer_by: str = Field(
        MEASURED_SPEED, max_length=32,
        description="Choose leaders and parents by the speed that is 'measured' here, or that is 'modelled' for the "
        "target. Leaders are timed in any case.",
    )  # fmt: skip

    # Who searches, and from where
    seed: int = Field(
        0, ge=-LARGEST, le=LARGEST, description="Decides the sequence of candidates, given the same measurements."
    )
    lag: int | None = Field(
        None, ge=1, le=MAX_LAG,
        description="Steps under way at a time, none of which knows the others; by the workers if left out.",
    )  # fmt: skip
    proposers: tuple[str, ...] = Field(
        (),
        description="Who invents: a table of weights, or a list of names that take turns; endpoints and outside agents "
        "by their own names.",
    )
    bandit: bool | None = Field(
        None,
        description="Draw turns by what each proposer earned, the weights being where it begins; with endpoints if "
        "left out.",
    )
    outside: tuple[str, ...] = Field(
        (), strict=False, max_length=MAX_ENDPOINTS,
        description="Agents that bring programs by themselves (`vortex mcp`, `vortex tell`), by name. What they bring "
        "takes the next step. Where `proposers` names nobody else, they are waited for.",
    )  # fmt: skip
    endpoints: dict[str, EndpointSetup] = Field(
        {}, max_length=MAX_ENDPOINTS, description="Language models; each is a proposer of the table's name."
    )
    turns: int = Field(
        TURNS, ge=1, le=MAX_TURNS,
        description="Exchanges that a language model has in a step, to repair and revise what it proposes.",
    )  # fmt: skip
    reflect_every: int = Field(
        REFLECT_EVERY, ge=0, le=LARGEST,
        description="A language model notes what was learnt once in so many of its turns; 0 for never.",
    )  # fmt: skip
    simplify_trials: int = Field(
        SIMPLIFY_TRIALS, ge=0, le=MAX_TRIALS,
        description="Programs with a part less that are tried in place of each found leader after the search; 0 for "
        "none.",
    )  # fmt: skip
    published_share: float = Field(
        1.0, gt=0, le=1,
        description="Share of the published rules, the best by recall at each cost ratio, that enter an engine. No "
        "found rule is said to beat those left out.",
    )  # fmt: skip
    seed_programs: tuple[File, ...] = Field(
        (), strict=False, max_length=MAX_SEED_PROGRAMS, description="Files of programs to begin with, after the zoo's."
    )

    # How long
    candidates: int = Field(100, ge=0, le=LARGEST, description="Programs to invent beside the seeds.")
    max_seconds: float | None = Field(
        None, gt=0, le=MAX_SECONDS,
        description="Stop inventing once each worker has measured for so many seconds; of several kinds of machines, "
        "each on the first.",
    )  # fmt: skip
    max_gpu_seconds: float | None = Field(
        None, gt=0, le=MAX_SECONDS,
        description="Stop inventing once all GPUs together have worked for so many seconds; of several kinds, those of "
        "the first.",
    )  # fmt: skip
    max_dollars: float | None = Field(
        None, ge=0, le=MAX_DOLLARS, description="Stop inventing once language models have cost so much."
    )
    stop_at: str = Field(
        "", max_length=200, description="Stop inventing once a rule reaches this, such as 'kl < 0.05 at 8'."
    )
    patience: int | None = Field(
        None, ge=1, le=LARGEST, description="Stop inventing once so many candidates in a row brought no progress."
    )

    # On what
    workers: int = Field(
        1, ge=1, le=MAX_WORKERS, description="Engines that measure side by side, on each kind of machine."
    )
    ray: str = Field(
        "local", max_length=2000, description="A Ray cluster's address; 'local' starts one on this machine."
    )
    gpus: tuple[str, ...] = Field(
        (), strict=False, max_length=MAX_KINDS,
        description="Place workers on GPUs of these kinds, ['any'] for whichever there is, 'CPU' for none: `workers` "
        "on each, or as many as are given, as ['H100=4', 'CPU=16']. The first kind decides the search; what it times "
        "is measured on the others too.",
    )  # fmt: skip
    db: str = Field(
        DATABASE_URL,
        min_length=1,
        max_length=8192,
        description="The database: a file's path, or a URL as SQLAlchemy writes it.",
    )
    max_outage: float = Field(
        MAX_OUTAGE_S, ge=0, le=MAX_SECONDS,
        description="Wait for so many seconds for a database that is locked or full, restarts or cannot be reached, "
        "for a worker where none is left, and for a language model's server that is away or asks for a rest.",
    )  # fmt: skip

    @field_validator("target", "steer_by", "ratios")
    @classmethod
    def _possible(cls, given: Any, about: ValidationInfo) -> Any:
        """Refuse here what no model could mend: reading one takes a while."""
        name = str(about.field_name)
        try:
            CampaignConfig(**{name: given})
        except ConfigError as error:
            raise ValueError(str(error).removeprefix(f"{name} ")) from None
        return given

    @field_validator("text", "seed_programs")
    @classmethod
    def _files(cls, given: Any, about: ValidationInfo) -> Any:
        """Refuse here what is not there: it is read after the model, and by who goes on with a campaign not at all."""
        if (about.context or {}).get(GOES_ON):
            return given
        for file in given if isinstance(given, tuple) else filter(None, (given,)):
            try:
                file.open("rb").close()
            except OSError as error:
                raise ValueError(f"{file} cannot be read: {error.strerror}; give the path of a file") from None
        return given

    @field_validator("db")
    @classmethod
    def _a_database(cls, given: str) -> str:
        """Refuse here what names no database: it is opened after the model is read."""
        from search.store.database import check_named
        from search.store.errors import NoDatabaseError

        try:
            check_named(given)
        except NoDatabaseError as error:
            raise ValueError(str(error)) from None
        return given

    @field_validator("ray")
    @classmethod
    def _an_address(cls, given: str) -> str:
        """Refuse here what Ray would look for in silence, or take for no address at all."""
        if given not in WITHOUT_A_PORT and (wanted := head_wanted(given)):
            raise ValueError(f"is {quoted(given)}; give local, or {wanted}")
        return given

    @field_validator("stop_at")
    @classmethod
    def _a_target(cls, given: str) -> str:
        if given:
            parse_target(given)
        return given

    @field_validator("proposers", mode="before")
    @classmethod
    def _a_round(cls, given: Any) -> Any:
        """Spread weights over a round; a list is one already."""
        if isinstance(given, dict):
            return round_of(given)
        return tuple(given) if isinstance(given, list) else given

    @field_validator("endpoints")
    @classmethod
    def _names(cls, endpoints: dict[str, EndpointSetup]) -> dict[str, EndpointSetup]:
        for name in endpoints:
            if name != LLM and name in KNOWN:
                raise ValueError(f"cannot be called '{name}', which is another proposer's name; give another")
            _check_name(name)
        return endpoints

    @field_validator("outside")
    @classmethod
    def _agents(cls, outside: tuple[str, ...]) -> tuple[str, ...]:
        for name in outside:
            check_agent(name)
            if outside.count(name) > 1:
                raise ValueError(f"cannot be called {name!r} twice; give another name")
        return outside

    @model_validator(mode="after")
    def _together(self, about: ValidationInfo) -> Setup:
        named = [key for key in ("tokens", "text", "task") if getattr(self, key)]
        if named and self.model == PROBE and not (about.context or {}).get(GOES_ON):
            raise ValueError(f"{named[0]} says what a real model is judged on, and the probe has its own; name a model")
        known = (*KNOWN, *self.endpoints, *self.outside)
        both = set(self.outside) & set(self.endpoints)
        if both:
            raise ValueError(f"outside and endpoints both name {min(both)!r}; give one of them another name")
        for name in self.proposers:
            if name == LLM and name not in self.endpoints:
                raise ValueError(
                    "the proposer llm has nobody to ask; give --llm MODEL, and --base-url URL unless OpenAI's own is "
                    "meant, or a table [endpoints.llm] in a campaign file"
                )
            if name not in known:
                hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
                raise ValueError(f"there is no proposer {name!r}{hint}")
        if len(self.proposers) > MAX_ROUND:
            raise ValueError(f"proposers have {len(self.proposers)} turns; give at most {MAX_ROUND}")
        check_priced(self.endpoints, self.max_dollars)
        return self

    @field_validator("gpus")
    @classmethod
    def _kinds(cls, gpus: tuple[str, ...]) -> tuple[str, ...]:
        read_wishes(gpus, 1, MAX_WORKERS)
        return gpus

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """Give the kinds of machines that are named, the one that decides the search first."""
        return read_wishes(self.gpus, self.workers, MAX_WORKERS)

    @property
    def round(self) -> tuple[str, ...]:
        """Who takes turns: those asked for, else the usual round, with agents where there are endpoints.

        Agents from outside have no turns: a round of nobody else is empty.
        """
        if self.proposers:
            return tuple(name for name in self.proposers if name not in self.outside)
        if not self.endpoints:
            return PROPOSERS
        agents = cycle(self.endpoints)
        return tuple(next(agents) if name == LLM else name for name in WITH_LLM)

    def models(self) -> dict[str, Endpoint]:
        """Give the language models that are asked, by name."""
        return {name: asked.named(name) for name, asked in self.endpoints.items()}

    def agents(self) -> dict[str, Endpoint]:
        """Give the same for who asks them. Raises ConfigError where OpenAI's own is meant and has no key."""
        return with_keys(self.models())


def check_agent(name: str) -> None:
    """Raise ValueError for what no agent from outside can be called."""
    _check_name(name)
    if name in TAKEN:
        raise ValueError(f"cannot be called {name!r}, which is another proposer's name; give another")


def _check_name(name: str) -> None:
    if not name.isidentifier() or not name.islower() or len(name) > 32:
        raise ValueError(f"cannot be called {name!r}; give small letters, digits and _, at most 32")


def round_of(weights: dict[str, Any]) -> tuple[str, ...]:
    """Spread proposers over a round, each with as many turns as its weight, as evenly as whole turns allow.

    Each turn goes to whoever is furthest behind its share, of equal ones to the first (smooth weighted round-robin).
    Raises ValueError for a weight that is no whole number from 1 to `MAX_ROUND`, and for more turns in all.
    """
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= MAX_ROUND:
            raise ValueError(f"'{name}' must have a whole number of turns from 1 to {MAX_ROUND}, but has {weight!r}")
    divisor = reduce(math.gcd, weights.values(), 0) or 1
    shares = {name: weight // divisor for name, weight in weights.items()}
    num_turns = sum(shares.values())
    if num_turns > MAX_ROUND:
        raise ValueError(f"weights come to {num_turns} turns in a round; give smaller ones, at most {MAX_ROUND} in all")
    behind = dict.fromkeys(shares, 0)
    turns: list[str] = []
    for _ in range(num_turns):
        behind = {name: behind[name] + share for name, share in shares.items()}
        chosen = max(behind, key=lambda name: behind[name])
        behind[chosen] -= num_turns
        turns.append(chosen)
    return tuple(turns)
