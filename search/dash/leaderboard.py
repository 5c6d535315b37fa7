"""The leaderboard: rows of one section, filtered, sorted and cut into pages by the database; a view is its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import func, select

from search.dash.campaigns import UNMOVED
from search.dash.choosing import MOST_TEXT, Address, Number, Readable, Word, choose, number_of
from search.dash.fronts import front
from search.dash.queries import rows
from search.dash.queries.answer import answer
from search.ranking import conditions
from search.ranking.leaderboard import cells_of, targets_of
from search.records import digest_of
from search.store import models
from search.store.derived.tally import PROPOSED

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.dash.choosing import Choices
    from search.dash.site import Site
    from search.ranking.standing import Standing

PAGE_ROWS = 50
ANSWER_S = 60.0  # for so long an answer holds while no row of its section comes or is judged
MOST_PROPOSERS, MOST_TAGS = 100, 100
Condition = Annotated[str, Query(max_length=conditions.MAX_CHARACTERS), Readable]
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
    """What the page shows: `page` is the number of it that its address tells, `total` None where rows are too many."""

    choices: Choices
    asked: rows.Asked
    page: int
    total: int | None
    found: rows.Page
    front: frozenset[int]
    error: str = ""

    @property
    def standings(self) -> tuple[Standing, ...]:
        """The rows."""
        return self.found.standings

    @property
    def counted(self) -> str:
        """How many rows there are, in words."""
        number = f"More than {rows.MOST_COUNTED:,}" if self.total is None else f"{self.total:,}"
        return f"{number} {'rule' if self.total == 1 else 'rules'}"

    @property
    def num_pages(self) -> int:
        """How many pages there are, 0 where rows were not counted to their end."""
        return 0 if self.total is None else max(1, -(-self.total // PAGE_ROWS))

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
        return cells_of(standing, is_on_front=False, targets=targets_of(self.standings))


def router(site: Site) -> APIRouter:
    """Give the page, whose address holds all that was asked, and the answer that pages of a section show first."""
    routes = APIRouter(default_response_class=HTMLResponse)
    _page(routes, site)
    _answer(routes, site)
    return routes


def _page(routes: APIRouter, site: Site) -> None:
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
        after: Number = "",
        before: Number = "",
    ) -> HTMLResponse:
        choices = choose(site, campaign, model, device, at)
        field, task = field if field in rows.FIELDS else "", task if task in rows.TASKS else ""
        asked = rows.Asked(choices.campaign, origin, field, task, tag, q.strip(), where.strip(), sort)
        where_from = {"after": number_of(after), "before": number_of(before)}
        view = _view(site, choices, asked, number_of(page) or 1, where_from)
        return site.page(
            request, "leaderboard.html", view=view, here=Address(_pinned(request, choices)),
            proposers=site.cached("who", _proposers), tags=site.cached("tags", _tags), fields=rows.FIELDS,
            tasks=rows.TASKS, status_code=422 if view.error else 200,
        )  # fmt: skip


def _answer(routes: APIRouter, site: Site) -> None:
    @routes.get("/answer")
    def answered(
        request: Request, campaign: Number = "", model: Word = "", device: Word = "", at: Word = "", seen: Word = ""
    ) -> Response:
        choices = choose(site, campaign, model, device, at)
        section, said = choices.section, None
        if section is not None:
            said = site.cached((section, choices.campaign), lambda _: answer(site, section, choices.campaign), ANSWER_S)
        stamp, is_part = digest_of(repr(said)), "hx-request" in request.headers
        if is_part and seen == stamp:
            return UNMOVED
        here = f"/answer{Address(_pinned(request, choices)).but(seen=stamp)}"
        ratio = section.ratio if section else 0.0
        return site.page(request, "answer.html" if is_part else "answer_page.html", answer=said, here=here, ratio=ratio)


def _view(site: Site, choices: Choices, asked: rows.Asked, page: int, where_from: dict[str, int | None]) -> View:
    section, nothing = choices.section, rows.Page(())
    if section is None:
        return View(choices, asked, 1, 0, nothing, frozenset())
    try:
        with site.reading() as session:
            found = rows.page(session, section, asked, PAGE_ROWS, **where_from)
        is_whole = found.previous is None and found.next is None
        counted = (section.key, asked, "n")
        total = (
            len(found.standings)
            if is_whole
            else site.cached(counted, lambda session: rows.count(session, section, asked))
        )
    except conditions.ConditionError as error:
        return View(choices, asked, 1, 0, nothing, frozenset(), str(error))
    return View(choices, asked, 1 if found.previous is None else page, total, found, _front_ids(site, choices))


def _pinned(request: Request, choices: Choices) -> dict[str, str]:
    """Give what the address asks for, with the section that it was found to mean: newer campaigns may change that."""
    at = {"at": choices.section.slug} if choices.section else {}
    return {**request.query_params, **at}


def _front_ids(site: Site, choices: Choices) -> frozenset[int]:
    """Give the candidates on the front of the section that is chosen, of the campaign if one is."""
    if choices.section is None:
        return frozenset()
    return frozenset(each.candidate_id for each in front(site, choices.section, choices.campaign))


def _has(standing: Standing, field: str) -> bool:
    return getattr(standing, field) is not None


def _proposers(session: Session) -> list[str]:
    """Give who has proposed what was admitted: others have no rows here."""
    kept = models.Tally
    mine = kept.kind == PROPOSED, func.length(kept.name) <= MOST_TEXT
    return list(session.scalars(select(kept.name).where(*mine).distinct().order_by(kept.name).limit(MOST_PROPOSERS)))


def _tags(session: Session) -> list[str]:
    mark = models.Remark
    query = select(mark.text).where(mark.kind == "tag").distinct().order_by(mark.text).limit(MOST_TAGS)
    return list(session.scalars(query))
