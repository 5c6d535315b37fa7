"""When an agent reflects, and on what: `reflect`, an operator beside explore, mutate and the others.

A reflection is no step of its own: the answer holds notes and, beside them, the program that follows from them. So it
is one candidate, stored in one transaction and charged as any other; an interrupted campaign has both or neither,
a replay takes both from the record, and no step is spent on nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompts import prompt
from search.archive.families import families
from search.campaigns.comparisons import FIGURES
from search.journal.journal import journal_of
from search.journal.prediction import MAX_COMPARISONS
from search.journal.section import journal_section

if TYPE_CHECKING:
    from search.archive.families import Family
    from search.records import Context

REFLECT = "reflect"  # the operator
NUM_FAMILIES = 12
RELATIVE = ", or what the parent has, as `parent`, `0.5 parent` or `parent - 0.02`"
NOTHING = "(nothing has been predicted or noted yet)"


def is_due(num_asked: int, every: int) -> bool:
    """Say whether an agent reflects that was asked so often before in this campaign; never where `every` is 0.

    A count of the agent's own turns, which are known when it is asked; not of answers, whose order would matter.
    """
    return every > 0 and num_asked % every == every - 1


def predicting(context: Context, *, has_parent: bool) -> str:
    """Tell how hypotheses are written: of the figures that this campaign has measured, and of the parent's if any."""
    stages = {evaluation.key.stage for record in context.records for evaluation in record.evaluations}
    figures = [name for name, (stage, _) in FIGURES.items() if stage in stages] or [*FIGURES]
    expected = "kl < 0.03" if "kl" in figures else "accuracy > 0.9"
    at = f" at {max(context.ratios):g}" if context.ratios else ""
    return prompt(
        "predict",
        example=f"bytes_per_page <= 160 and {expected}{at}",
        relative=RELATIVE if has_parent else "",
        figures=", ".join(f"`{name}`" for name in figures),
        most=str(MAX_COMPARISONS),
    ).strip()


def reflection(context: Context, proposer: str) -> str:
    """Ask what the records teach, of which a step sees what is settled; nothing where the agent has none among them."""
    if not any(record.candidate.proposal.proposer == proposer for record in context.records):
        return ""
    journal = journal_of(context.records)
    found = families(context.records, context.ratios or context.archive.ratios)
    return prompt(
        "reflect",
        journal=journal_section(journal.notes, journal.hypotheses) or NOTHING,
        families="\n".join(map(_line, found[:NUM_FAMILIES])),
        predicting=predicting(context, has_parent=False),
    )


def _line(family: Family) -> str:
    failed = f", {family.num_failed} of them refused or failed" if family.num_failed else ""
    best = [f"{lost:.4f}{f' at {r:g}x' if r else ''} ({name})" for r, (lost, name) in family.best.items()]
    told = f"least loss {', '.join(best)}" if best else "none got as far as a loss"
    return f"* {family.name}: {len(family.records)} programs{failed}; {told}"
