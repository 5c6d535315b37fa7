"""The journal: what agents predicted before it was measured, what the numbers say of it, and what they noted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select

from search.dash.choosing import MOST_TEXT, Address, Number, Word, number_of
from search.dash.rule.gathering import Rule
from search.journal.entries import TITLES
from search.journal.journal import journal_of, tally
from search.store import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select

    from search.dash.site import Site
    from search.journal.journal import Judged, Noted
    from search.records import Record

PAGE_ROWS = 40  # candidates
MOST_PROPOSERS = 100
CANDIDATE = models.Candidate
WRITERS: dict[str, type[models.Hypothesis | models.Note]] = {"hypotheses": models.Hypothesis, "notes": models.Note}


@dataclass(frozen=True)
class View:
    """One page of the journal: `total` candidates have hypotheses or notes."""

    campaign: int
    kind: str
    proposer: str
    page: int
    total: int
    hypotheses: Sequence[Judged]
    notes: Sequence[Noted]

    @property
    def num_pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.total // PAGE_ROWS))

    @property
    def tally(self) -> str:
        """Count the verdicts of this page."""
        return tally(self.hypotheses)


def router(site: Site) -> APIRouter:
    """Give the page."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/journal")
    def journal(
        request: Request, campaign: Number = "", kind: Word = "", proposer: Word = "", page: Number = ""
    ) -> HTMLResponse:
        known = [each.id for each in site.ledger.campaigns()]
        asked = number_of(campaign)
        number = asked if asked is not None else max(known, default=0)
        kind = kind if kind in WRITERS else "hypotheses"
        view = _view(site, number, kind, proposer, number_of(page) or 1)
        return site.page(
            request, "journal.html", view=view, campaigns=known, kinds=tuple(WRITERS), titles=TITLES,
            proposers=site.cached((number, "writers"), lambda s: list(s.scalars(_writers(number)))),
            here=Address(request.query_params),
        )  # fmt: skip

    return routes


def _writers(campaign: int) -> Select[str]:
    wrote = CANDIDATE.id.in_(select(models.Hypothesis.candidate_id)) | CANDIDATE.id.in_(
        select(models.Note.candidate_id)
    )
    name = CANDIDATE.proposer
    mine = CANDIDATE.campaign_id == campaign, wrote, func.length(name) <= MOST_TEXT
    return select(name).where(*mine).distinct().order_by(name).limit(MOST_PROPOSERS)


def _view(site: Site, campaign: int, kind: str, proposer: str, page: int) -> View:
    """Read one page, the newest steps first."""
    wrote = select(CANDIDATE.id).where(
        CANDIDATE.campaign_id == campaign, CANDIDATE.id.in_(select(WRITERS[kind].candidate_id))
    )
    if proposer:
        wrote = wrote.where(CANDIDATE.proposer == proposer)
    with site.reading() as session:
        total = session.scalar(select(func.count()).select_from(wrote.subquery())) or 0
        page = min(page, max(1, -(-total // PAGE_ROWS)))
        newest = wrote.order_by(CANDIDATE.step.desc()).offset((page - 1) * PAGE_ROWS).limit(PAGE_ROWS)
        ids = session.scalars(newest).all()
    records = [_seen(site, each) for each in sorted(ids)]
    written = journal_of([*_parents(site, campaign, records), *records])
    mine = set(ids)
    return View(
        campaign, kind, proposer, page, total,
        [each for each in written.hypotheses[::-1] if each.candidate in mine] if kind == "hypotheses" else [],
        [each for each in written.notes[::-1] if each.candidate in mine] if kind == "notes" else [],
    )  # fmt: skip


def _parents(site: Site, campaign: int, records: Sequence[Record]) -> list[Record]:
    """Give the first parents, with which predictions compare."""
    digests = {each.candidate.proposal.parents[0] for each in records if each.candidate.proposal.parents}
    query = select(func.min(CANDIDATE.id)).where(
        CANDIDATE.campaign_id == campaign, CANDIDATE.program_digest.in_(digests)
    )
    with site.reading() as session:
        ids = session.scalars(query.group_by(CANDIDATE.program_digest)).all()
    mine = {each.candidate.id for each in records}
    return [_seen(site, each) for each in ids if each not in mine]


def _seen(site: Site, candidate: int) -> Record:
    return Rule(site, site.ledger.candidate(candidate)).seen
