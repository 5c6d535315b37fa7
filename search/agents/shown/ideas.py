"""What others thought: the published rules as a list of ideas, and the campaign's journal."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from search.agents.shown.figures import at, ratios_of
from search.agents.shown.section import Section
from search.journal.journal import journal_of
from search.journal.section import journal_section
from search.parents import SEED, loss
from search.report.wording import cut
from vortex_dsl import load_program, zoo

if TYPE_CHECKING:
    from search.records import Context, Record

JOURNAL = "The journal"
ZOO_PRIORITY, JOURNAL_PRIORITY = 7, 2
MAX_DOC = 140
YARDSTICKS = ("dense", "oracle_mass", "oracle_max", "random_pages")


def published(context: Context) -> Section:
    """List the published rules, one line each, with what they lose here where that was measured."""
    losses = {r.candidate.name: _losses(r) for r in context.records if r.candidate.proposal.operator == SEED}
    lines = [f"* `{name}`: {doc}{losses.get(title, '')}" for name, title, doc in _zoo()]
    return Section("Published ideas", "\n".join(lines), ZOO_PRIORITY)


def _losses(record: Record) -> str:
    lost = [f"{at(ratio)} {each:.4f}" for ratio in ratios_of(record) if (each := loss(record, ratio)) is not None]
    return f" Loses {', '.join(lost)}." if lost else ""


@cache
def _zoo() -> tuple[tuple[str, str, str], ...]:
    """Give file name, class name and idea of each published rule, yardsticks aside."""
    programs = ((name, load_program(zoo.text(name))) for name in zoo.names() if name not in YARDSTICKS)
    return tuple((name, program.name, cut(program.doc, MAX_DOC)) for name, program in programs)


def journal(context: Context) -> Section:
    """Tell the hypotheses with their verdicts, and the notes of what holds, what to stop trying and what to try."""
    known = journal_of(context.records)
    return Section(JOURNAL, journal_section(known.notes, known.hypotheses), JOURNAL_PRIORITY)
