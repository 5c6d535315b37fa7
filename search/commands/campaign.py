"""`vortex run`, `resume` and `eval`: campaigns from a file and options to what was found."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.asked import CampaignFile, FileToGoOnWith, ToEvaluate, ToResume, ToRun
from search.commands.database import campaign_of, existing, opened
from search.commands.exits import CommandError, ExitCode
from search.commands.output import note, print_data, print_json, print_json_list
from search.commands.programs.named import ProgramName, program_named
from search.commands.watching.ending import endable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.campaigns.setup import Setup
    from search.commands.watching.ending import Ending
    from search.contracts import Evaluator, Ledger, Proposer
    from search.evaluator.models import ModelFacts
    from search.outcome import Outcome
    from search.parents import Leader
    from search.records import Record, StoredCampaign, Workload

TOY = "no model was named, so this is the probe, a toy that shows that all works and ranks rules as no other does"
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Tell what would be run, how long and how dear it would be; start nothing.")
]


@options.taking
def run(*, file: CampaignFile = None, asked: ToRun, dry_run: DryRun = False, as_json: options.Json = False) -> int:
    """Search: invent programs, serve and measure each of them, and end with the leaderboard."""
    from search.campaigns.endpoints import check_served
    from search.campaigns.machines import facts_to_serve
    from search.campaigns.proposers import proposers_of
    from search.campaigns.settings import settings_of
    from search.loop import start_campaign

    setup = asked.setup(file)
    if dry_run:
        return _forecast(setup, as_json)
    endpoints = setup.agents()
    check_served(endpoints, setup.round, note)
    facts = facts_to_serve(setup.model)
    config = settings_of(setup, facts)
    proposers = proposers_of(config, endpoints, setup.max_outage)
    with (
        endable() as ending,
        opened(setup.db, setup.max_outage) as ledger,
        _pool(setup, facts, config.workloads, ending) as pool,
    ):
        campaign = start_campaign(ledger, config)
        note(f"campaign {campaign.id}: {setup.candidates} candidates beside the seeds, {_on(pool)}")
        if "model" not in setup.model_fields_set:
            note(f"{TOY}; --model names another, such as smollm2")
        if setup.outside:
            note(f"programs of {', '.join(setup.outside)} take the next steps: see `vortex mcp` and `vortex tell`")
        return _told(ledger, campaign, _searched(ledger, pool, proposers, campaign, ending), as_json)


@options.taking
def resume(
    *,
    campaign: options.CampaignArgument = None,
    file: FileToGoOnWith = None,
    asked: ToResume,
    as_json: options.Json = False,
) -> int:
    """Go on with a campaign where it was interrupted: what is measured stays, nothing is measured twice."""
    from search.campaigns.endpoints import check_served, endpoints_of
    from search.campaigns.machines import facts_to_serve
    from search.campaigns.proposers import proposers_of
    from search.config import CampaignConfig

    setup = asked.setup(file, goes_on=True)
    with endable() as ending, existing(setup.db, setup.max_outage) as ledger:
        found = _to_resume(ledger, campaign)
        config = CampaignConfig.from_json(found.settings)
        endpoints = endpoints_of(config.endpoints, setup.endpoints, config.max_dollars)
        check_served(endpoints, config.proposers, note)
        proposers = proposers_of(config, endpoints, setup.max_outage)
        with _pool(setup, facts_to_serve(config.model), config.workloads, ending) as pool:
            note(f"campaign {found.id} goes on, {_on(pool)}")
            outcome = _searched(ledger, pool, proposers, found, ending)
        return _told(ledger, found, outcome, as_json)


@options.taking
def evaluate(
    *,
    program: ProgramName,
    settings: options.Settings = None,
    asked: ToEvaluate,
    as_json: options.Json = False,
) -> int:
    """Take one program through every stage, at each --ratio or as written: a campaign of one, kept like any other."""
    from search.campaigns.machines import facts_to_serve
    from search.campaigns.proposers import Given
    from search.campaigns.settings import judged_by
    from search.commands.programs.check import traced
    from search.commands.results import print_record
    from search.commands.showing.stages import Chosen
    from search.loop import start_campaign

    setup = asked.setup()
    named = program_named(program, setup.db)  # before anything takes time
    facts = facts_to_serve(setup.model)
    judged = judged_by(setup, facts, as_written=True)
    given, _ = traced(named, settings or (), (facts.group, facts.head_dim))
    config = replace(judged, num_candidates=1, proposers=(Given.name,), seeds=(), serve_floor=0.0)
    with (
        endable() as ending,
        opened(setup.db, setup.max_outage) as ledger,
        _pool(setup, facts, config.workloads, ending) as pool,
    ):
        campaign = start_campaign(ledger, config)
        outcome = _searched(ledger, pool, (Given(given),), campaign, ending)
        records = ledger.records(campaign.id)
        if records:
            print_record(ledger, ledger.candidate(records[0].candidate.id), as_json, Chosen())
        return _judged(outcome)


def _forecast(setup: Setup, as_json: bool) -> int:
    """Tell what a campaign would do, from what is on record where there is a database."""
    from search.campaigns.forecast import forecast
    from search.commands.watching.forecasted import drawn

    told = forecast(setup)
    print_json(told) if as_json else print_data(drawn(told))
    return ExitCode.DONE


@contextmanager
def _pool(setup: Setup, facts: ModelFacts, workloads: tuple[Workload, ...], ending: Ending) -> Iterator[Evaluator]:
    """Have the workers that are asked for."""
    from search.campaigns.machines import Machines
    from search.campaigns.settings import wishes_of

    with Machines(facts, workloads, wishes_of(setup), setup.ray, setup.max_outage).pool() as pool:
        ending.listen()  # Ray has put a handler of its own into the place of ours
        yield pool


def _on(pool: Evaluator) -> str:
    """Say on what a campaign searches, and where else it measures what it times."""
    from search.contracts import OfKinds

    further = pool.further if isinstance(pool, OfKinds) else ()
    devices = ", ".join(each.environment.device for each in further)
    return f"on {pool.environment.device}{f', and what is timed there on {devices}' if devices else ''}"


def _searched(
    ledger: Ledger, pool: Evaluator, proposers: Sequence[Proposer], campaign: StoredCampaign, ending: Ending
) -> Outcome:
    """Run a campaign to its end, watched and interruptible."""
    from search.commands.watching.progress import Steps, watched
    from search.config import CampaignConfig
    from search.contracts import Telling
    from search.loop import Loop

    stages = CampaignConfig.from_json(campaign.settings).stages
    steps = Steps(stages, pool.doing) if isinstance(pool, Telling) else Steps(stages)
    with watched(steps) as observer:
        loop = Loop(ledger, pool, proposers, campaign, observer)
        with ending.interrupting(loop):
            return loop.run()


def _to_resume(ledger: Ledger, campaign_id: int | None) -> StoredCampaign:
    """Give the campaign to go on with: the one asked for, or the newest that `vortex run` started."""
    from search.parents import GIVEN

    if campaign_id is None:
        runs = [each for each in ledger.campaigns() if each.proposers != (GIVEN,)]
        if not runs:
            raise CommandError("the database holds no campaign to go on with; `vortex run` starts one")
        return runs[-1]
    found = campaign_of(ledger, campaign_id)
    if found.proposers == (GIVEN,):
        raise CommandError(f"campaign {campaign_id} is one program that `vortex eval` measured; run that again")
    return found


def _told(ledger: Ledger, campaign: StoredCampaign, outcome: Outcome, as_json: bool) -> int:
    """End with the leaderboard, and with what to do next."""
    from search.asking.owing import owing_told
    from search.commands.ranking.recalled import recalled
    from search.ranking.leaderboard import board, verdict

    fronts = ledger.fronts(campaign.id, published=True)
    if as_json:
        print_json_list(standing for standing, _ in ledger.listed(campaign.id))
    else:
        programs = f"{outcome.num_admitted} programs"
        led = any(each.members for each in fronts)
        told = f"the Pareto front of {programs}, and published rules" if led else f"{programs}, nobody on a front yet"
        print_data(board(fronts, f"campaign {campaign.id}: {told}", partial(recalled, ledger, campaign.id)))
        note("`vortex leaderboard --all` shows every program")
    code = exit_code(outcome)
    if code is ExitCode.INTERRUPTED:
        note(f"interrupted; `vortex resume {campaign.id}` goes on from here")
    elif outcome.message:
        note(outcome.message)
    if owing := owing_told(ledger.owing(campaign.id)):
        note(owing)
    for sentence in filter(None, (verdict(each.members) for each in fronts)):
        note(sentence)
    for pair in outcome.simplified:
        note(_shorter(*pair))
    if outcome.leaders:
        note(leading(outcome.leaders[0]))
    return code


def leading(leader: Leader) -> str:
    """Say who leads, by what, and how a plugin is made of it."""
    from search.plugin.export import answered
    from search.records import Stage

    program, ratio = leader.record.candidate, leader.ratio
    at = f" at a cost ratio of {ratio:g}" if ratio else ""
    option = f" --ratio {ratio:g}" if ratio else ""
    timed = leader.record.evaluation(Stage.SERVE, ratio) is not None
    why = ", the fastest that loses little more than the best" if timed else ""
    made = f"; `vortex export {program.id}{option}` makes a vLLM plugin of it"
    return f"{program.name} ({program.id}) leads{at}{why}{made if answered(leader.record, ratio) else ''}"


def _shorter(record: Record, longer: Record) -> str:
    """Say which leader stands for a longer one."""
    from search.ranking.simpler import num_operations

    ours, theirs = record.candidate, longer.candidate
    num = num_operations(longer) - num_operations(record)
    by = "" if not num else "1 operation " if num == 1 else f"{num} operations "
    shorter = f"{ours.name} (id {ours.id}) is {by}shorter than {theirs.name} (id {theirs.id})"
    shorter = f"{ours.name} (id {ours.id}) is {by}shorter than {theirs.name} (id {theirs.id})"
    return f"{shorter}, attends to the same and leads in its place"


def _judged(outcome: Outcome) -> ExitCode:
    """Give the exit code of `eval`: a program that passes no probe has failed its check."""
    code = exit_code(outcome)
    return ExitCode.REFUSED if code is ExitCode.NO_FEASIBLE else code


def exit_code(outcome: Outcome) -> ExitCode:
    """Give the exit code of a campaign's end."""
    from search.outcome import End

    codes = {
        End.DONE: ExitCode.DONE,
        End.INTERRUPTED: ExitCode.INTERRUPTED,
        End.NO_FEASIBLE: ExitCode.NO_FEASIBLE,
        End.INFRASTRUCTURE: ExitCode.INFRASTRUCTURE,
    }
    return codes[outcome.end]
