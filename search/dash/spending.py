"""What operators and models earned, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from search.dash.charts import Axis, Chart, Point, Series
from search.dash.choosing import Address, Choices, Number, Word, choose
from search.dash.queries import campaigns, rows, spending

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.dash.queries.spending import Earned
    from search.dash.site import Site


def router(site: Site) -> APIRouter:
    """Give both pages."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/earnings")
    def earnings(request: Request, campaign: Number = "", at: Word = "") -> HTMLResponse:
        choices = choose(site, campaign, at=at)
        number = _campaign(choices)
        proposers, moves = _earned(site, choices, number) if number else ([], [])
        return site.page(
            request, "earnings.html", choices=choices, number=number, here=Address(request.query_params),
            groups=(("By proposer", "proposer", proposers), ("By move", "move", moves)),
        )  # fmt: skip

    @routes.get("/money")
    def money(request: Request, campaign: Number = "") -> HTMLResponse:
        choices = choose(site, campaign)
        number = _campaign(choices)
        proposers = _earned(site, choices, number)[0] if number else []
        curve = site.cached((number, "money"), lambda session: spending.money_curve(session, number)) if number else []
        return site.page(
            request, "money.html", choices=choices, number=number, proposers=proposers,
            chart=_curve(curve) if any(dollars for _, dollars in curve) else None,
            overviews=site.cached("campaigns", campaigns.overviews),
        )  # fmt: skip

    return routes


def _campaign(choices: Choices) -> int:
    """Give the campaign that is asked for, else the newest that has rows in the section; 0 where there is none."""
    if choices.campaign is not None or choices.section is None:
        return choices.campaign or 0
    return max(each for each, *_ in choices.section.campaigns)


def _earned(site: Site, choices: Choices, number: int) -> tuple[list[Earned], list[Earned]]:
    found = choices.ratios

    def ask(session: Session) -> tuple[list[Earned], list[Earned]]:
        front = {each.candidate_id for section in found for each in rows.front(session, section, number)}
        return spending.earned(session, number, found, front)

    return site.cached((number, tuple(s.key for s in found), "earned"), ask)


def _curve(curve: list[tuple[int, float]]) -> Chart:
    points = tuple(Point(step, dollars, f"step {step}") for step, dollars in curve)
    alt = f"{points[-1].y:.4f} dollars after step {points[-1].x:.0f}."
    series = (Series("dollars", "found", points, is_line=True),)
    return Chart("Dollars by step", alt, Axis("step"), Axis("dollars so far"), series)
