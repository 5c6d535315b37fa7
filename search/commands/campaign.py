"""`vortex run`, `resume` and `eval`: campaigns from their options to what was found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.database import campaign_of, existing, opened
from search.commands.engines import Machines, facts_of, scratch
from search.commands.exits import CommandError, ExitCode
from search.commands.output import note, print_data, print_json
from search.evaluator.probe import PROBE

if TYPE_CHECKING:
    from pathlib import Path

    from search.config import CampaignConfig
    from search.contracts import Ledger
    from search.evaluator.models import ModelFacts
    from search.loop import Outcome
    from search.records import Campaign

Candidates = Annotated[
    int,
    typer.Option(
        "-n", "--candidates", metavar="N", min=0, max=options.LARGEST, help="Programs to invent beside the seeds."
    ),
]
Proposers = Annotated[
    list[str] | None,
    typer.Option(
        "--proposer", metavar="NAME", help="Who invents: grammar, llm, greedy, best_of_n, random; repeatable."
    ),
]
BaseUrl = Annotated[
    str, typer.Option("--base-url", metavar="URL", help="Where agents ask: any OpenAI-compatible endpoint.")
]
Llm = Annotated[str, typer.Option("--llm", metavar="MODEL", help="The model that agents ask there.")]
Price = Annotated[
    tuple[float, float],
    typer.Option("--price", metavar="IN OUT", help="Dollars per million tokens that the model reads and writes."),
]
MaxDollars = Annotated[
    float | None, typer.Option("--max-dollars", metavar="D", min=0.0, help="Stop inventing once so much is spent.")
]
CampaignArgument = Annotated[
    int | None,
    typer.Argument(metavar="[CAMPAIGN]", max=options.LARGEST, help="The campaign's id; the newest when left out."),
]

PROBE_RATIOS = (8.0,)
RECALL_SHARE = 0.05  # of invented candidates enter an engine; recall costs a second, an engine's stages fifteen
SCREEN_SHARE = 0.1  # of them go on from a small part of the recordings to all, which takes fifteen times as long


@dataclass(frozen=True)
class Asked:
    """What the options of `run` and `eval` ask to be judged, and on what; nothing where they were left out."""

    model: options.Model = PROBE
    ratio: options.Ratios = None
    tokens: options.Length = None
    text: options.TextFile = None
    task: options.TaskName = ""
    target: options.Target = ""

    def judged(self, model: ModelFacts, *, as_written: bool = False) -> CampaignConfig:
        """Give the settings that a model's campaign begins with: its shape, workloads, cost ratios and seeds.

        The probe has texts and lengths of its own. `as_written`: judge programs so where no ratio was asked for. Raises
        CommandError for what does not go together, ConfigError for numbers out of range.
        """
        from search.config import RATIOS, TARGET, CampaignConfig
        from search.evaluator.models import smollm2
        from search.workloads import SMALL, lengths_of, workloads_for
        from vortex_dsl import zoo

        shape = CampaignConfig(
            model=model.name,
            group=model.group,
            head_dim=model.head_dim,
            num_layers=model.num_layers,
            num_kv_heads=model.num_kv_heads,
            target=self.target or TARGET,
        )
        if model.name == PROBE:
            self._check_probe()
            return replace(shape, ratios=self._ratios(() if as_written else PROBE_RATIOS))
        texts = "" if self.text is None else _kept(self.text)
        longest = self._longest(model)
        task = _built(self.task, model, lengths_of(0, longest)) if self.task else ""
        kinds = SMALL if model.name == smollm2.NAME else ""
        workloads = workloads_for(0, longest, texts, task, kinds)
        ratios = self._ratios(() if as_written else RATIOS)
        return replace(
            shape,
            ratios=ratios,
            workloads=workloads,
            seeds=zoo.names(),
            recall_share=RECALL_SHARE,
            screen_share=SCREEN_SHARE,
        )

    def _ratios(self, usual: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(self.ratio) if self.ratio else usual

    def _check_probe(self) -> None:
        given = (("--tokens", self.tokens), ("--text", self.text), ("--task", self.task))
        named = [option for option, value in given if value]
        if named:
            raise CommandError(
                f"{named[0]} says what a real model is judged on, and the probe has its own; name a --model"
            )

    def _longest(self, model: ModelFacts) -> int:
        from search.config import ANSWER_TOKENS
        from search.workloads import MODEL_TOKENS

        room = model.max_tokens - ANSWER_TOKENS
        if self.tokens is not None and self.tokens > room:
            raise CommandError(
                f"--tokens {self.tokens} is too long: the model {model.name} takes {model.max_tokens:,} tokens, "
                f"{ANSWER_TOKENS} of them for answers; give at most {room}"
            )
        return self.tokens or min(MODEL_TOKENS, room)


def _built(task: str, model: ModelFacts, lengths: tuple[int, ...]) -> str:
    """Build an lm-eval task once, to see that it can be, and give the source of its workload."""
    from search.evaluator.tasks.named import TaskError, source_of

    try:
        return source_of(task, model.folder, lengths, scratch())
    except TaskError as error:
        raise CommandError(f"--task: {error}") from None


def _kept(file: Path) -> str:
    """Keep a text for this run and for `resume`, and give the source of workloads that are cut from it."""
    from search.evaluator.fidelity.given import TextError, keep_text, read_text

    try:
        return keep_text(read_text(file), scratch())
    except TextError as error:
        raise CommandError(f"--text: {error}") from None


@options.taking(Asked)
def run(
    *,
    candidates: Candidates = 100,
    seed: options.Seed = 0,
    proposer: Proposers = None,
    base_url: BaseUrl = "",
    llm: Llm = "",
    price: Price = (0.0, 0.0),
    max_dollars: MaxDollars = None,
    asked: Asked,
    workers: options.Workers = 1,
    ray: options.Ray = "local",
    gpu: options.Gpu = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> int:
    """Search: invent programs, serve and measure each of them, and end with the leaderboard."""
    from search.commands.proposers import endpoint_of, proposer_names, proposers_of
    from search.config import lag_for
    from search.loop import start_campaign
    from search.records import Stage

    endpoint = endpoint_of(llm, base_url, price)
    if max_dollars is not None and not any(price):
        raise CommandError("--max-dollars needs --price IN OUT: what the model costs per million tokens")
    names = proposer_names(proposer or (), endpoint)
    facts = facts_of(asked.model)
    judged = asked.judged(facts)
    lag = lag_for(workers, candidates, is_cheap=Stage.SCREEN in judged.stages)
    config = replace(judged, seed=seed, num_candidates=candidates, proposers=names, max_dollars=max_dollars, lag=lag)
    proposers = proposers_of(config, endpoint)
    machines = Machines(facts, config.workloads, workers, ray, tuple(gpu or ()))
    with opened(db) as ledger, machines.pool() as pool:
        campaign = start_campaign(ledger, config)
        note(f"campaign {campaign.id}: {candidates} candidates beside the seeds, on {pool.environment.device}")
        outcome = machines.search(ledger, pool, proposers, campaign)
        return _told(ledger, campaign, outcome, as_json)


def resume(
    campaign: CampaignArgument = None,
    base_url: BaseUrl = "",
    llm: Llm = "",
    price: Price = (0.0, 0.0),
    workers: options.Workers = 1,
    ray: options.Ray = "local",
    gpu: options.Gpu = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> int:
    """Go on with a campaign where it was interrupted: what is measured stays, nothing is measured twice."""
    from search.commands.proposers import endpoint_of, proposers_of
    from search.config import CampaignConfig

    with existing(db) as ledger:
        found = _to_resume(ledger, campaign)
        config = CampaignConfig.from_json(found.settings)
        proposers = proposers_of(config, endpoint_of(llm, base_url, price))
        facts = facts_of(config.model)
        machines = Machines(facts, config.workloads, workers, ray, tuple(gpu or ()))
        with machines.pool() as pool:
            note(f"campaign {found.id} goes on, on {pool.environment.device}")
            outcome = machines.search(ledger, pool, proposers, found)
        return _told(ledger, found, outcome, as_json)


@options.taking(Asked)
def evaluate(
    *,
    file: options.ProgramFile,
    settings: options.Settings = None,
    asked: Asked,
    ray: options.Ray = "local",
    gpu: options.Gpu = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> int:
    """Take one program through every stage, at each --ratio or as written: a campaign of one, kept like any other."""
    from search.commands.programs.program import traced
    from search.commands.proposers import Given
    from search.commands.results import print_record
    from search.loop import start_campaign

    facts = facts_of(asked.model)
    judged = asked.judged(facts, as_written=True)
    program, _ = traced(file, settings or (), (facts.group, facts.head_dim))
    config = replace(judged, num_candidates=1, proposers=(Given.name,), seeds=(), serve_floor=0.0)
    machines = Machines(facts, config.workloads, 1, ray, tuple(gpu or ()))
    with opened(db) as ledger, machines.pool() as pool:
        campaign = start_campaign(ledger, config)
        outcome = machines.search(ledger, pool, (Given(program),), campaign)
        records = ledger.records(campaign.id)
        if records:
            print_record(ledger, ledger.candidate(records[0].candidate.id), as_json)
        return _judged(outcome)


def _to_resume(ledger: Ledger, campaign_id: int | None) -> Campaign:
    """Give the campaign to go on with: the one asked for, or the newest that `vortex run` started."""
    from search.commands.proposers import Given

    if campaign_id is None:
        runs = [each for each in ledger.campaigns() if each.proposers != (Given.name,)]
        if not runs:
            raise CommandError("the database holds no campaign to go on with; `vortex run` starts one")
        return runs[-1]
    found = campaign_of(ledger, campaign_id)
    if found.proposers == (Given.name,):
        raise CommandError(f"campaign {campaign_id} is one program that `vortex eval` measured; run that again")
    return found


def _told(ledger: Ledger, campaign: Campaign, outcome: Outcome, as_json: bool) -> int:
    """End with the leaderboard, and with what to do next."""
    from search.leaderboard import board, verdict
    from search.plugin.export import answered
    from search.ranking.front import sections

    standings = ledger.standings(campaign.id)
    found = sections(standings)
    if as_json:
        print_json(standings)
    else:
        title = f"campaign {campaign.id}: the Pareto front of {outcome.num_admitted} programs, and published rules"
        print_data(board(found, title, published=True))
        note("`vortex leaderboard --all` shows every program")
    code = exit_code(outcome)
    if code is ExitCode.INTERRUPTED:
        note(f"interrupted; `vortex resume {campaign.id}` goes on from here")
    elif outcome.message:
        note(outcome.message)
    for sentence in filter(None, map(verdict, found)):
        note(sentence)
    if outcome.leaders:
        leader, ratio = outcome.leaders[0].record.candidate, outcome.leaders[0].ratio
        at = f" at a cost ratio of {ratio:g}" if ratio else ""
        option = f" --ratio {ratio:g}" if ratio else ""
        made = f"; `vortex export {leader.id}{option}` makes a vLLM plugin of it"
        known = answered(outcome.leaders[0].record, ratio)
        note(f"{leader.name} leads{at}{made if known else ''}")
    return code


def _judged(outcome: Outcome) -> ExitCode:
    """Give the exit code of `eval`: a program that passes no probe has failed its check."""
    code = exit_code(outcome)
    return ExitCode.REFUSED if code is ExitCode.NO_FEASIBLE else code


def exit_code(outcome: Outcome) -> ExitCode:
    """Give the exit code of a campaign's end."""
    from search.loop import End

    codes = {
        End.DONE: ExitCode.DONE,
        End.INTERRUPTED: ExitCode.INTERRUPTED,
        End.NO_FEASIBLE: ExitCode.NO_FEASIBLE,
        End.INFRASTRUCTURE: ExitCode.INFRASTRUCTURE,
    }
    return codes[outcome.end]
