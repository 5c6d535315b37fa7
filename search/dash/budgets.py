"""Curves over budgets: what the best found and the best published rule lose at each cost ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from search.dash.charts import Axis, Chart, Point, Series, point
from search.dash.choosing import Address, Number, Word, choose
from search.dash.queries import rows
from search.report.merit import ACCURACY, KL, RETRIEVAL, Merit
from search.report.wording import title_case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from search.dash.choosing import Choices
    from search.dash.site import Site
    from search.ranking.standing import Standing
    from search.store.shown.sections import Section

MOST_OTHERS = 60
RECALL = Merit("recall", "recall", "recall", "recall", "share of attention kept", is_loss=False)  # type: ignore[arg-type]
FIGURES = (KL, RETRIEVAL, ACCURACY, RECALL)


@dataclass(frozen=True)
class Best:
    """The best rules at one cost ratio by one figure, best first."""

    section: Section
    found: tuple[Standing, ...]
    published: tuple[Standing, ...]


@dataclass(frozen=True)
class Curve:
    """One figure over the cost ratios."""

    merit: Merit
    bests: tuple[Best, ...]

    def chart(self) -> Chart:
        """Draw it: the best as lines with their intervals, others faint behind them."""
        field = self.merit.field
        series = (
            Series("other found", "found", self._others("found", 0.985), is_faint=True),
            Series("other published", "published", self._others("published", 1.015), is_faint=True),
            Series("best found", "found", self._line("found"), is_line=True),
            Series("best published", "published", self._line("published"), is_line=True),
        )
        alt = "; ".join(
            f"at {b.section.ratio:g}x best found {self.told(b.found)}, best published {self.told(b.published)}"
            for b in self.bests
        )
        kept = tuple(each for each in series if each.points)
        y = Axis(f"{'KL, ' if field == 'kl' else ''}{self.merit.unit}", is_log=field == "kl")
        return Chart(title_case(self.merit.title), alt, Axis("cost ratio", is_log=True), y, kept)

    def told(self, standings: Sequence[Standing]) -> str:
        """Write the figure of the best."""
        if not standings:
            return "unknown"
        if self.merit.field == "recall":
            return f"{standings[0].recall:.3f}"
        return self.merit.told(standings[0])

    def _line(self, kind: str) -> tuple[Point, ...]:
        return tuple(
            each
            for b in self.bests
            if (mine := getattr(b, kind)) and (each := point(mine[0], "ratio", self.merit.field))
        )

    def _others(self, kind: str, shift: float) -> tuple[Point, ...]:
        found = (point(s, "ratio", self.merit.field) for b in self.bests for s in getattr(b, kind)[1:])
        return tuple(Point(each.x * shift, each.y, each.label, each.url) for each in found if each)


def router(site: Site) -> APIRouter:
    """Give the page."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/budgets")
    def budgets(
        request: Request, campaign: Number = "", model: Word = "", device: Word = "", at: Word = ""
    ) -> HTMLResponse:
        choices = choose(site, campaign, model, device, at)
        curves = _curves(site, choices) if choices.section else []
        return site.page(request, "budgets.html", choices=choices, curves=curves, here=Address(request.query_params))

    return routes


def _curves(site: Site, choices: Choices) -> list[Curve]:
    ratios = [section for section in choices.ratios if section.ratio]
    key = tuple(section.key for section in ratios)
    return site.lasting((key, choices.campaign, "curves"), lambda session: _read(session, ratios, choices.campaign))


def _read(session: Session, ratios: Sequence[Section], campaign: int | None) -> list[Curve]:
    found = []
    for merit in FIGURES:
        bests = tuple(
            Best(
                section,
                *(
                    tuple(rows.best(session, section, merit.field, rows.Asked(campaign, origin), MOST_OTHERS))
                    for origin in (rows.FOUND, rows.PUBLISHED)
                ),
            )
            for section in ratios
        )
        if any(each.found or each.published for each in bests):
            found.append(Curve(merit, bests))
    return found
