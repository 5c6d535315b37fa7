"""Campaigns: how far they are, live, and where their time goes by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from search.dash.charts import Bars
from search.dash.choosing import Id, Word, known_sections
from search.dash.queries import campaigns, rows
from search.records import digest_of
from search.report.merit import MERITS
from search.store.shown import sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from search.dash.queries.campaigns import Overview
    from search.dash.site import Site
    from search.ranking.standing import Standing
    from search.records import Took
    from search.report.merit import Merit
    from search.store.shown.sections import Section

UNMOVED = Response(status_code=204)  # htmx leaves the page as it is, so nothing is read out again


def router(site: Site) -> APIRouter:
    """Give the pages, and their parts that are asked for again and again."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/")
    def listed(request: Request) -> HTMLResponse:
        return site.page(request, "campaigns.html", **_all(site))

    @routes.get("/live")
    def live(request: Request, seen: Word = "") -> Response:
        told = _all(site)
        return UNMOVED if seen == told["stamp"] else site.page(request, "campaigns_live.html", **told)

    @routes.get("/campaigns/{number}")
    def campaign(request: Request, number: Id) -> HTMLResponse:
        found = _found(site, number)
        mine = sections.of_campaign(known_sections(site), number)
        leaders = site.cached((number, "leaders"), lambda session: [_leaders(session, s, number) for s in mine])
        return site.page(request, "campaign.html", each=found, leaders=leaders)

    @routes.get("/campaigns/{number}/live")
    def campaign_live(request: Request, number: Id, seen: Word = "") -> Response:
        found = _found(site, number)
        return UNMOVED if seen == found.stamp else site.page(request, "campaign_live.html", each=found)

    @routes.get("/campaigns/{number}/time")
    def time(request: Request, number: Id) -> HTMLResponse:
        took = _found(site, number).progress.took
        return site.page(request, "campaign_time.html", took=took, chart=_bars(took), number=number)

    return routes


def _all(site: Site) -> dict[str, Any]:
    found = site.cached("campaigns", campaigns.overviews)
    return {"overviews": found, "stamp": digest_of([each.stamp for each in found])}


def _found(site: Site, number: int) -> Overview:
    found = site.cached((number, "overview"), lambda session: campaigns.overview(session, number))
    if found is None:
        raise HTTPException(404, f"There is no campaign {number}.")
    return found


@dataclass(frozen=True)
class Leaders:
    """Who leads a section by the first figure that tells rules apart, None while nothing has one."""

    section: Section
    merit: Merit | None = None
    found: Standing | None = None
    published: Standing | None = None


def _leaders(session: Session, section: Section, campaign: int) -> Leaders:
    for merit in MERITS if section.is_measured else ():
        found, published = (
            next(iter(rows.best(session, section, merit.field, rows.Asked(campaign, origin), 1)), None)
            for origin in (rows.FOUND, rows.PUBLISHED)
        )
        if found or published:
            return Leaders(section, merit, found, published)
    return Leaders(section)


def _bars(took: Sequence[Took]) -> Bars:
    """Draw the seconds of workers by stage, and within each by cost ratio."""
    names = tuple(dict.fromkeys(each.name for each in took))
    ratios = sorted({each.ratio for each in took}, key=lambda ratio: (not ratio, ratio))
    minutes = {(each.name, each.ratio): each.seconds / 60 for each in took}
    series = tuple(
        (f"{ratio:g}x" if ratio else "as written", tuple(minutes.get((name, ratio), 0.0) for name in names))
        for ratio in ratios
    )
    alt = ", ".join(f"{name} {sum(each.seconds for each in took if each.name == name):,.0f} s" for name in names)
    return Bars(
        "Minutes of workers by stage", f"Seconds of workers by stage: {alt}.", "minutes of workers", names, series
    )
