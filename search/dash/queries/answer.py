"""The answer that people come for: what is best in a section, how sure that is, and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.dash.queries import rows
from search.report.claim import claim, sentence
from search.report.duels import Chosen
from search.report.material import known_of, place_of
from search.report.merit import ACCURACY, KL, MERITS, RETRIEVAL
from search.report.wording import title_case
from search.telling.rationale import reasons_in
from vortex_dsl import ProgramError, load_program

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.dash.site import Site
    from search.ranking.standing import Standing
    from search.records import Proposal
    from search.report.claim import Claim
    from search.store.shown.sections import Section

MOST_FOUND, MOST_RIVALS = 200, 60  # found rules among which those that were confirmed are looked for; published ones
MOST_CONFIRMED, MOST_UNCONFIRMED = 12, 3  # that are compared with every published rule
TASKS = {KL: "fidelity", ACCURACY: "probe", RETRIEVAL: "retrieval"}  # what gave the figure, as rows are asked for


@dataclass(frozen=True)
class Leader:
    """A rule, what its text says of itself, and what who proposed it said besides."""

    standing: Standing
    doc: str
    idea: str


@dataclass(frozen=True)
class Answer:
    """What the report says of a section, from its best rules alone; `leaders`: the best found and published, in order.

    Of what was found who is nearest to the claim is meant, so somebody who was confirmed before all others.
    """

    claim: Claim
    leaders: tuple[Leader, ...]

    @property
    def sentence(self) -> str:
        """Say who is best, and by how much it leads."""
        return title_case(sentence(self.claim).partition(": ")[2])


def answer(site: Site, section: Section, campaign: int | None) -> Answer | None:
    """Give the answer; None while nothing has a figure that tells rules apart."""
    with site.reading() as session:
        found, published, chosen = _best(session, section, campaign)
        asks = any(s.retrieval_loss is not None for s in (*found, *published))
    records = {s.id: site.ledger.candidate(s.id) for s in (*found, *published)}
    known = known_of(site.ledger, records.values())
    if not found or found[0].environment not in known.environments:
        return None
    place = place_of([*found, *published], list(records.values()), known)
    said = claim(place.at[section.ratio], place, known, asks_retrieval=asks, chosen=chosen)
    led = [said.found, *said.merit.ranked(published)[:1]] if said.merit and said.found else []
    ranked = said.merit.ranked(filter(None, led)) if said.merit else []
    return Answer(said, tuple(_leader(s, records[s.id].candidate.proposal) for s in ranked))


def _best(
    session: Session, section: Section, campaign: int | None
) -> tuple[list[Standing], list[Standing], Chosen | None]:
    """Give found rules, best first, those that were confirmed before all, and published ones, failed ones too.

    And of how many found rules these are the best.
    """
    found: list[Standing] = []
    num_seen = 0
    for merit in MERITS:
        found = rows.best(session, section, merit.field, rows.Asked(campaign, rows.FOUND), MOST_FOUND)
        if found:
            asked = rows.Asked(campaign, rows.FOUND, task=TASKS[merit])
            is_all = len(found) < MOST_FOUND
            num_seen = len(found) if is_all else rows.count(session, section, asked) or rows.MOST_COUNTED
            break
    published = rows.page(session, section, rows.Asked(campaign, rows.PUBLISHED), MOST_RIVALS).standings
    confirmed = [s for s in found if s.confirmed]
    best = [*confirmed[:MOST_CONFIRMED], *[s for s in found if not s.confirmed][:MOST_UNCONFIRMED]]
    return best, list(published), Chosen(num_seen, len(confirmed)) if found else None


def _leader(standing: Standing, proposal: Proposal) -> Leader:
    try:
        doc = load_program(f"{proposal.text}\n").doc
    except ProgramError:
        doc = ""
    reasons = reasons_in(proposal.rationale)
    return Leader(standing, doc, reasons if reasons != doc else "")
