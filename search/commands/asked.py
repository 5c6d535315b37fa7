"""The options of `run`, `resume` and `eval`: keys of a campaign file, by which what is given replaces the file's."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.campaigns.bounds import (
    DATABASE_URL,
    LEAST_TOKENS,
    MAX_DOLLARS,
    MAX_LAG,
    MAX_SECONDS,
    MAX_TRIALS,
    MAX_TURNS,
    MAX_WORKERS,
)
from search.commands.exits import CommandError
from search.commands.options import DATABASE_VARIABLE, OF_DATABASE, path, storable
from vortex_dsl.values import MAX_TOKENS

if TYPE_CHECKING:
    from search.campaigns.setup import Setup

# Where an option, one of many of its kind, is not called as the key is.
KEYS = {"ratio": "ratios", "proposer": "proposers", "gpu": "gpus", "seed_program": "seed_programs"}
LLM = "llm"  # the endpoint that options describe

CampaignFile = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", parser=path, help="A campaign file (TOML); options replace what it says."),
]
FileToGoOnWith = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", parser=path, help="The campaign file with endpoints and machines."),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options; those that are left out are None."""

    def setup(self, file: Path | None = None, *, goes_on: bool = False) -> Setup:
        """Give what the file says, with what was given as options instead. Raises ConfigError.

        `goes_on`: for a campaign that is stored already.
        """
        from search.campaigns.reading import read_setup

        found = read_setup(file, self._given(), goes_on=goes_on)
        named = os.environ.get(DATABASE_VARIABLE)  # what a file says stands above it
        return found if "db" in found.model_fields_set or not named else found.model_copy(update={"db": named})

    def _given(self) -> dict[str, Any]:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in (name for name, value in given.items() if value == ""):  # as a variable is that nobody has set
            raise CommandError(f"--{name.replace('_', '-')} is empty; give it a value, or leave it out")
        given = {KEYS.get(name, name): value for name, value in given.items() if value is not None}
        endpoint = {name: given.pop(name) for name in (LLM, "base_url", "price") if name in given}
        return given | ({"endpoints": {LLM: endpoint}} if endpoint else {})


@dataclass(frozen=True, kw_only=True)
class Searched(Asked):
    """How programs are invented."""

    candidates: Annotated[
        int | None,
        typer.Option(
            "-n", "--candidates", metavar="N", min=0, callback=storable, show_default="100",
            help="Programs to invent beside the seeds.",
        ),
    ] = None  # fmt: skip
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", callback=storable, show_default="0",
            help="Decides the sequence of candidates, given the same measurements.",
        ),
    ] = None  # fmt: skip
    proposer: Annotated[
        list[str] | None,
        typer.Option(
            "--proposer", metavar="NAME",
            help="Who invents: grammar, llm, tune, greedy, best_of_n, random, or an --outside agent; repeatable.",
        ),
    ] = None  # fmt: skip
    outside: Annotated[
        list[str] | None,
        typer.Option(
            "--outside", metavar="NAME",
            help="Take programs that an agent of this name brings (`vortex mcp`, `vortex tell`); repeatable.",
        ),
    ] = None  # fmt: skip
    lag: Annotated[
        int | None,
        typer.Option(
            "--lag", metavar="N", min=1, max=MAX_LAG,
            help="Steps under way at a time, none of which knows the others; by the workers if left out.",
        ),
    ] = None  # fmt: skip
    turns: Annotated[
        int | None,
        typer.Option(
            "--turns", metavar="N", min=1, max=MAX_TURNS, show_default="4",
            help="Exchanges that a language model has in a step, to repair and revise what it proposes.",
        ),
    ] = None  # fmt: skip
    bandit: Annotated[
        bool | None,
        typer.Option(
            "--bandit/--no-bandit", show_default="with --llm",
            help="Draw turns by what each proposer earned, or give them in a fixed round.",
        ),
    ] = None  # fmt: skip
    reflect_every: Annotated[
        int | None,
        typer.Option(
            "--reflect-every", metavar="N", min=0, callback=storable, show_default="8",
            help="A language model notes what was learnt once in so many of its turns; 0 for never.",
        ),
    ] = None  # fmt: skip
    simplify_trials: Annotated[
        int | None,
        typer.Option(
            "--simplify-trials", metavar="N", min=0, max=MAX_TRIALS, show_default="30",
            help="Try so many programs with a part less in place of each found leader after the search; 0 for none.",
        ),
    ] = None  # fmt: skip
    published_share: Annotated[
        float | None,
        typer.Option(
            "--published-share", metavar="S", min=0.001, max=1.0, show_default="1",
            help="Let this share of the published rules enter an engine, the best by recall at each cost ratio.",
        ),
    ] = None  # fmt: skip
    steer_by: Annotated[
        str | None,
        typer.Option(
            "--steer-by", metavar="SPEED", show_default="measured",
            help="Choose leaders and parents by the speed that is 'measured' here, or that is 'modelled' for --target.",
        ),
    ] = None  # fmt: skip
    seed_program: Annotated[
        list[Path] | None,
        typer.Option(
            "--seed-program",
            metavar="FILE",
            parser=path,
            help="Begin with this program too, after the zoo's; repeatable.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Agents(Asked):
    """Where agents ask."""

    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="Where agents ask: any OpenAI-compatible endpoint."),
    ] = None
    llm: Annotated[str | None, typer.Option("--llm", metavar="MODEL", help="The model that agents ask there.")] = None
    price: Annotated[
        tuple[float, float] | None,
        typer.Option("--price", metavar="IN OUT", help="Dollars per million tokens that the model reads and writes."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Limited(Asked):
    """What ends a campaign before it has its candidates."""

    max_dollars: Annotated[
        float | None,
        typer.Option(
            "--max-dollars", metavar="D", min=0.0, max=MAX_DOLLARS, help="Stop inventing once so much is spent."
        ),
    ] = None
    max_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-seconds", metavar="S", min=0.001, max=MAX_SECONDS,
            help="Stop inventing once each worker has measured for so long; of several kinds, on the first.",
        ),
    ] = None  # fmt: skip
    max_gpu_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-gpu-seconds", metavar="S", min=0.001, max=MAX_SECONDS,
            help="Stop inventing once all GPUs together have worked for so long; of several kinds, the first's.",
        ),
    ] = None  # fmt: skip
    stop_at: Annotated[
        str | None,
        typer.Option(
            "--stop-at", metavar="TARGET", help="Stop inventing once a rule reaches this, as 'kl < 0.05 at 8'."
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience", metavar="N", min=1, callback=storable,
            help="Stop after so many candidates in a row without progress.",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judged(Asked):
    """What is judged, and on what."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="FOLDER_OR_NAME", show_default="probe",
            help="The model to serve: a folder, a hub name, smollm2 or probe.",
        ),
    ] = None  # fmt: skip
    ratio: Annotated[
        list[float] | None,
        typer.Option(
            "--ratio",
            metavar="R",
            help="Judge with budgets fitted so that dense attention reads R times the bytes; repeatable. If left out: "
            "8, 16 and 32 in `run`, of the probe 8; as written in `eval`.",
        ),
    ] = None
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens", metavar="N", min=LEAST_TOKENS, max=MAX_TOKENS,
            help="Longest text that a model is judged on, in tokens; if left out 4000, or as many as model and text "
            "hold.",
        ),
    ] = None  # fmt: skip
    text: Annotated[
        Path | None,
        typer.Option(
            "--text",
            metavar="FILE",
            parser=path,
            help="Judge on this text instead of Python's help topics, or its sources where --tokens asks for more.",
        ),
    ] = None
    task: Annotated[str | None, typer.Option("--task", metavar="NAME", help="Run this lm-eval task too.")] = None
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="NAME", help="Model speed on this GPU too: H100, H200 (if left out), B200."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Placed(Asked):
    """Where it is measured and kept."""

    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS", show_default="local",
            help="A Ray cluster's address; 'local' starts one on this machine.",
        ),
    ] = None  # fmt: skip
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu", metavar="KIND[=N]",
            help="Place workers, N of them, on GPUs of this kind, 'any' for whichever there is, CPU for none; "
            "repeatable: the first kind decides the search, and what it times is measured on the others too.",
        ),
    ] = None  # fmt: skip
    db: Annotated[
        str | None,
        typer.Option(
            "--db", metavar="PATH_OR_URL", show_default=f"{DATABASE_VARIABLE}, or {DATABASE_URL}", help=OF_DATABASE
        ),
    ] = None
    max_outage: Annotated[
        float | None,
        typer.Option(
            "--max-outage", metavar="S", min=0.0, max=MAX_SECONDS, show_default="600",
            help="Wait so long for a database that is locked or full, restarts or cannot be reached, for a worker "
            "where none is left, and for a language model's server that is away or asks for a rest.",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Staffed(Asked):
    """How many measure."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, max=MAX_WORKERS, show_default="1",
            help="Engines that measure side by side, on each kind of machine.",
        ),
    ] = None  # fmt: skip


# Options are listed from the last base to the first.
@dataclass(frozen=True, kw_only=True)
class ToRun(Placed, Staffed, Judged, Limited, Agents, Searched):
    """All that `run` takes."""


@dataclass(frozen=True, kw_only=True)
class ToResume(Placed, Staffed, Agents):
    """What `resume` takes: the campaign's settings are kept with it."""


@dataclass(frozen=True, kw_only=True)
class ToEvaluate(Placed, Judged):
    """What `eval` takes."""
