"""`vortex journal`: what agents predicted before it was measured, what became of it, and what they noted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.database import campaign_of, existing
from search.commands.exits import CommandError
from search.commands.output import cell, print_data, print_json
from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.journal.journal import Journal

MAX_NAME, MAX_REASON = 60, 600  # characters
Proposer = Annotated[str, typer.Option("--proposer", metavar="NAME", help="Only what this proposer wrote.")]


def journal(
    campaign: options.CampaignArgument = None,
    proposer: Proposer = "",
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> None:
    """Print a campaign's journal: hypotheses with the verdict of the numbers, and notes."""
    from search.journal.journal import journal_of

    with existing(db) as ledger:
        found = campaign_of(ledger, campaign)
        records = ledger.records(found.id)
    names = {record.candidate.proposal.proposer for record in records}
    if proposer and proposer not in names:
        known = (", ".join(sorted(names)) or "nobody yet") + did_you_mean(proposer, names)
        raise CommandError(f"campaign {found.id} has no proposer {proposer!r}; it has {known}")
    written = journal_of(records).of(proposer)
    if as_json:
        lists = {"hypotheses": written.hypotheses, "notes": written.notes}
        print_json({"campaign": found.id, "verdicts": _counts(written), **lists})
    else:
        print_data(_drawn(found.id, written))


def _counts(written: Journal) -> dict[str, int]:
    from search.journal.judging import Verdict

    counts = Counter(each.verdict for each in written.hypotheses)
    return {str(verdict): counts[verdict] for verdict in Verdict}


def _drawn(campaign_id: int, written: Journal) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from search.journal.entries import TITLES
    from search.journal.journal import tally
    from search.report.columns import Fitted
    from search.report.wording import cut

    if not written:
        return Text(f"Nothing was predicted or noted in campaign {campaign_id}.")
    title = Text(f"campaign {campaign_id}: {tally(written.hypotheses)}")
    predicted = Table("verdict", "step", "by", "rule", "hypothesis", "predicted", "measured (95 %)", show_lines=True)
    for each in written.hypotheses:
        rule = f"{cut(each.name, MAX_NAME)} ({each.candidate})"
        said = (each.hypothesis.text, each.hypothesis.prediction, cut(each.reason, MAX_REASON))
        predicted.add_row(*map(cell, (each.verdict, str(each.step), each.proposer, rule, *said)))
    noted = Table("note", "step", "by", "text", show_lines=True)
    for line in written.notes:
        kind = TITLES.get(line.note.kind, line.note.kind)
        noted.add_row(*map(cell, (kind, str(line.step), line.proposer, line.note.text)))
    shown: list[RenderableType] = []
    if written.hypotheses:
        shown += [title, Fitted(predicted, ("by", "step", "predicted", "rule"))]
    if written.notes:
        shown.append(Fitted(noted, ("by", "step")))
    return Group(*shown)
