"""The leaderboard: rows of one section, filtered, sorted and cut into pages by the database; a view is its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select

from search.dash.choosing import MOST_TEXT, Address, Number, Word, choose, number_of
from search.dash.queries import rows
from search.ranking import conditions
from search.ranking.leaderboard import cells_of
from search.store import models

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.dash.choosing import Choices
    from search.dash.site import Site
    from search.ranking.standing import Standing

PAGE_ROWS = 50
MOST_PAGES = 100_000
MOST_PROPOSERS, MOST_TAGS = 100, 100
Condition = Annotated[str, Query(max_length=conditions.MAX_CHARACTERS)]
# Heading, field to sort by, whether it is a number, and what it means.
COLUMNS = (
    ("id", "id", True, "the candidate's number"),
    ("name", "name", False, "the rule"),
    ("kl", "kl", True, "KL to dense attention, nats per token, on the same text; less is better"),
    ("agree", "agreement", True, "share of tokens on which the best guess is dense attention's"),
    ("loss", "retrieval_loss", True, "share of answers lost in retrieval against dense attention; less is better"),
    ("recall", "recall", True, "share of dense attention's mass that is kept"),
    ("accuracy", "accuracy", True, "share of hops answered on the probe"),
    ("speed-up", "speedup", True, "measured, over dense attention"),
    ("modelled", "modelled_speedup", True, "by bytes and launches, not measured"),
    ("bytes/page", "bytes_per_page", True, "that the rule reads to judge a page"),
    ("origin", "origin", False, "who proposed it, and by which move"),
    ("confirmed", "confirmed_kl", True, "KL on held-out texts, in a fresh engine"),
)
ALWAYS = ("id", "name", "origin")


@dataclass(frozen=True)
class View:
    """What the page shows."""

    choices: Choices
    asked: rows.Asked
    page: int
    total: int
    standings: tuple[Standing, ...]
    front: frozenset[int]
    error: str = ""

    @property
    def num_pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.total // PAGE_ROWS))

    @property
    def columns(self) -> list[tuple[str, str, bool, str]]:
        """The columns in which a row of this page has a figure."""
        kept = [c for c in COLUMNS if c[0] in ALWAYS or any(_has(s, c[1]) for s in self.standings)]
        return kept if self.standings else list(COLUMNS)

    @property
    def has_reasons(self) -> bool:
        """Say whether a row of this page stopped somewhere."""
        return any(s.reason for s in self.standings)

    def cells(self, standing: Standing) -> dict[str, str]:
        """Write a row's figures as the command line does."""
        return cells_of(standing, is_on_front=False)


def router(site: Site) -> APIRouter:
    """Give the page, whose address holds all that was asked."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/leaderboard")
    def leaderboard(
        request: Request,
        campaign: Number = "",
        model: Word = "",
        device: Word = "",
        at: Word = "",
        origin: Word = "",
        field: Word = "",
        task: Word = "",
        tag: Word = "",
        q: Word = "",
        where: Condition = "",
        sort: Word = "",
        page: Number = "",
    ) -> HTMLResponse:
        choices = choose(site, campaign, model, device, at)
        field, task = field if field in rows.FIELDS else "", task if task in rows.TASKS else ""
        asked = rows.Asked(choices.campaign, origin, field, task, tag, q.strip(), where.strip(), sort)
        view = _view(site, choices, asked, min(number_of(page) or 1, MOST_PAGES))
        return site.page(
            request, "leaderboard.html", view=view, here=Address(_pinned(request, choices)),
            proposers=site.cached("who", _proposers), tags=site.cached("tags", _tags), fields=rows.FIELDS,
            tasks=rows.TASKS, status_code=422 if view.error else 200,
        )  # fmt: skip

    return routes


def _view(site: Site, choices: Choices, asked: rows.Asked, page: int) -> View:
    section = choices.section
    if section is None:
        return View(choices, asked, 1, 0, (), frozenset())
    try:
        total = site.cached((section.key, asked, "n"), lambda session: rows.count(session, section, asked))
        page = min(page, max(1, -(-total // PAGE_ROWS)))
        with site.reading() as session:
            found = rows.page(session, section, asked, (page - 1) * PAGE_ROWS, PAGE_ROWS)
    except conditions.ConditionError as error:
        return View(choices, asked, 1, 0, (), frozenset(), str(error))
    front = front_ids(site, choices)
    return View(choices, asked, page, total, tuple(found), front)


def _pinned(request: Request, choices: Choices) -> dict[str, str]:
    """Give what the address asks for, with the section that it was found to mean: newer campaigns may change that."""
    at = {"at": choices.section.slug} if choices.section else {}
    return {**request.query_params, **at}


def front_ids(site: Site, choices: Choices) -> frozenset[int]:
    """Give the candidates on the front of the section that is chosen, of the campaign if one is."""
    section, campaign = choices.section, choices.campaign
    if section is None:
        return frozenset()
    front = site.cached((section.key, campaign, "front"), lambda session: rows.front(session, section, campaign))
    return frozenset(each.candidate_id for each in front)


def _has(standing: Standing, field: str) -> bool:
    return getattr(standing, field) is not None


def _proposers(session: Session) -> list[str]:
    name = models.Candidate.proposer
    query = select(name).where(func.length(name) <= MOST_TEXT).distinct().order_by(name).limit(MOST_PROPOSERS)
    return list(session.scalars(query))


def _tags(session: Session) -> list[str]:
    mark = models.Remark
    query = select(mark.text).where(mark.kind == "tag").distinct().order_by(mark.text).limit(MOST_TAGS)
    return list(session.scalars(query))
