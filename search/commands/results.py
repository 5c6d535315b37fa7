"""`vortex status` and `show`: reading what the ledger holds."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.commands import options, plotting
from search.commands.database import campaign_of, existing
from search.commands.exits import CommandError
from search.commands.output import cell, note, print_data, print_json, print_program, whole
from search.commands.programs.named import CandidateName, candidate_named
from search.commands.showing.stages import Chosen, drawn_stages
from search.commands.watching.counted import counts, drawn_counts
from search.records import Stage

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.behaviour import Nearest
    from search.contracts import Ledger
    from search.journal.journal import Judged
    from search.records import Record

# Steps in which others that attend alike are looked for: those of published rules, and the last before a candidate.
FIRST_COMPARED, LAST_COMPARED = 64, 128

Ratio = Annotated[
    float | None,
    typer.Option(
        "--ratio",
        metavar="R",
        min=0.0,
        help="Tell what was measured at this cost ratio alone, 0: as written; --plot draws its budget, the lowest if "
        "left out.",
    ),
]
OfStage = Annotated[Stage | None, typer.Option("--stage", help="Tell every figure of this stage, and of no other.")]
Everything = Annotated[
    bool, typer.Option("--all", help="Tell every figure, by layer, head, length, text and question too.")
]
Prompt = Annotated[bool, typer.Option("--prompt", help="Print what a language model was asked, and its answers.")]


def status(
    campaign: options.CampaignArgument = None,
    named: options.CampaignId = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> None:
    """Count a campaign's candidates and evaluations by how they ended, and tell where its workers' time goes."""
    if None not in (campaign, named) and campaign != named:
        raise CommandError(f"CAMPAIGN is {campaign}, but --campaign is {named}; name one of them")
    with existing(db) as ledger:
        asked = campaign_of(ledger, named if campaign is None else campaign)
        progress = ledger.progress(asked.id)
        others = [each.id for each in ledger.campaigns()]
    print_json(counts(asked, progress, others)) if as_json else print_data(drawn_counts(asked, progress, others))


def show(
    name: CandidateName,
    everything: Everything = False,
    stage: OfStage = None,
    prompt: Prompt = False,
    plot: plotting.OfAttention = None,
    ratio: Ratio = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> None:
    """Tell about one candidate: its text, its parents, and what every stage made of it; by --all every figure."""
    plotting.check_drawable(plot)
    if as_json and (stage is not None or (ratio is not None and plot is None)):
        raise CommandError("--stage and --ratio choose what is told to people; --json always holds everything")
    with existing(db) as ledger:
        record = candidate_named(ledger, name)
        if plot is not None:
            plotting.draw_attention(ledger, record, ratio, plot)
        if prompt:
            _print_conversation(record, as_json)
        else:
            print_record(ledger, record, as_json, Chosen(stage, ratio, everything))


def print_record(ledger: Ledger, record: Record, as_json: bool, chosen: Chosen) -> None:
    """Print one candidate, and what is `chosen` of its figures. Raises CommandError where there is nothing like it."""
    if as_json:
        print_json(_told(ledger, record))
        return
    stages = drawn_stages(ledger, record, chosen)
    print_data(_drawn_facts(ledger, record))
    print_program(f"\n{record.candidate.proposal.text}\n")
    print_data(stages)


def _told(ledger: Ledger, record: Record) -> dict[str, object]:
    """Give a record with the environments and workloads that its evaluations name by digest, as far as it is known."""
    keys = [evaluation.key for evaluation in record.evaluations]
    return {
        "candidate": replace(record.candidate, proposal=replace(record.candidate.proposal, conversation="")),
        "status": record.status,
        "hypotheses": _judged(ledger, record),
        "evaluations": record.evaluations,
        "nearest": [
            {
                "candidate": each.candidate.id,
                "name": each.candidate.name,
                "ratio": each.ratio,
                "likeness": each.likeness,
            }
            for each in nearest(ledger, record)
        ],
        "environments": {digest: ledger.environment(digest) for digest in record.environments},
        "workloads": {digest: ledger.workload(digest) for digest in {key.workload_digest for key in keys}},
    }


def _drawn_facts(ledger: Ledger, record: Record) -> RenderableType:
    from rich.table import Table

    facts = Table.grid(padding=(0, 2))
    told = (_facts(record), _parents(ledger, record), _written(ledger, record), _likenesses(ledger, record))
    for name, value in chain.from_iterable(told):
        facts.add_row(name, cell(value))
    return facts


def _facts(record: Record) -> list[tuple[str, str]]:
    candidate, proposal = record.candidate, record.candidate.proposal
    facts = [
        ("id", str(candidate.id)),
        ("name", candidate.name),
        ("digest", candidate.program_digest),
        ("status", record.status.value),
        ("message", candidate.message),
        ("campaign", f"{candidate.campaign_id}, step {candidate.step}"),
        ("origin", f"{proposal.proposer}/{proposal.operator}"),
        ("values", ", ".join(f"{name}={value}" for name, value in proposal.values)),
        ("rationale", proposal.rationale),
        ("tokens", f"{proposal.prompt_tokens} + {proposal.completion_tokens}" if proposal.prompt_tokens else ""),
        ("dollars", f"{proposal.dollars:.4f}" if proposal.dollars else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _parents(ledger: Ledger, record: Record) -> list[tuple[str, str]]:
    """Tell in a row of facts by which ids `vortex show` finds its parents."""
    told = []
    for digest in record.candidate.proposal.parents:
        try:
            parent = ledger.find(digest).candidate
            told.append(f"{parent.name} (id {parent.id})")
        except LookupError:  # from another database
            told.append(f"{digest}, which is not in this database")
    return [("parents", ", ".join(told))] if told else []


def _judged(ledger: Ledger, record: Record) -> list[Judged]:
    """Judge its hypotheses by what proposers see of it and of its parent."""
    from search.journal.journal import journal_of

    candidate = record.candidate
    if not candidate.proposal.hypotheses:
        return []
    parents = (ledger.step_of(candidate.campaign_id, each) for each in candidate.proposal.parents[:1])
    steps = sorted({candidate.step, *(step for step in parents if step is not None)})
    concerned = [each for step in steps for each in ledger.records(candidate.campaign_id, range(step, step + 1))]
    found = journal_of(concerned).hypotheses
    return [each for each in found if each.candidate == record.candidate.id]


def _written(ledger: Ledger, record: Record) -> list[tuple[str, str]]:
    """Tell in rows of facts what was predicted, with the verdict of the numbers, and noted."""
    from search.journal.entries import TITLES

    predicted = [("hypothesis", f"{e.hypothesis}; {e.verdict} ({e.reason})") for e in _judged(ledger, record)]
    notes = record.candidate.proposal.notes
    return predicted + [(TITLES.get(note.kind, note.kind).lower(), note.text) for note in notes]


def nearest(ledger: Ledger, record: Record) -> list[Nearest]:
    """Find which of its campaign's first candidates, and of the last before it, attended most alike, by cost ratio."""
    from search.behaviour import nearest_earlier, sketched

    mine = sketched(record)
    if not mine.screens:
        return []
    among = (range(min(mine.step, FIRST_COMPARED)), range(max(FIRST_COMPARED, mine.step - LAST_COMPARED), mine.step))
    others = [each for steps in among for each in ledger.sketched(record.candidate.campaign_id, steps)]
    return nearest_earlier(mine, others)


def _likenesses(ledger: Ledger, record: Record) -> list[tuple[str, str]]:
    """Tell them in a row of facts; likeness is the estimated overlap of what both attend to."""
    told = []
    for each in nearest(ledger, record):
        at = f"at {each.ratio:g}x" if each.ratio else "as written"
        told.append(f"{each.candidate.name} (id {each.candidate.id}) {at}: overlap {each.likeness:.2f}")
    return [("attends as", "; ".join(told))] if told else []


def _print_conversation(record: Record, as_json: bool) -> None:
    """Print the messages in order, each below who said it."""
    conversation = record.candidate.proposal.conversation
    messages = json.loads(conversation) if conversation else []
    if as_json:
        print_json(messages)
    elif messages:
        print_data(_drawn_conversation(messages))
    else:
        proposal = record.candidate.proposal
        note(f"nothing was said about candidate {record.candidate.id}: {proposal.proposer} proposed it without asking")


def _drawn_conversation(messages: list[Any]) -> RenderableType:
    from rich.console import Group
    from rich.rule import Rule

    drawn: list[RenderableType] = []
    for message in messages:
        told = message if isinstance(message, dict) else {"content": message}
        drawn.append(Rule(whole(str(told.get("role", "message"))), align="left"))
        said = {key: value for key, value in told.items() if key != "role" and value}
        content = said.pop("content", "")
        drawn.append(cell(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)))
        drawn += [cell(f"{key}: {json.dumps(value, ensure_ascii=False)}") for key, value in said.items()]
    return Group(*drawn)
