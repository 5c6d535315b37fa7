"""The front at each cost ratio: fidelity and retrieval over speed, modelled and measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from search.dash.charts import Axis, Chart, Series, point
from search.dash.choosing import Address, Number, Word, choose
from search.dash.queries import rows
from search.ranking.front import has_figure
from search.ranking.leaderboard import cells_of, columns_of, most_modelled_on, targets_of, verdict
from search.report.merit import LEAST_DRAWN, is_published
from search.store.shown import board

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from search.dash.choosing import Choices
    from search.dash.site import Site
    from search.ranking.standing import Standing
    from search.store.shown.fronts import Ranked
    from search.store.shown.sections import Section

MODELLED = "modelled_speedup"
MOST_FRONT, MOST_BEHIND, MOST_REFERENCES = 60, 150, 12
LOSSES = (
    ("kl", Axis("KL (nats per token)", is_log=True)),
    ("retrieval_loss", Axis("answers lost (share)", one=0.0)),
)


@dataclass(frozen=True)
class Shown:
    """A section as the page shows it: members of the front, some behind it, and references."""

    front: tuple[Standing, ...]
    num_front: int
    behind: tuple[Standing, ...]
    references: tuple[Standing, ...]

    @property
    def listed(self) -> tuple[Standing, ...]:
        """What the table holds: the front, published rules behind it, and references."""
        return (*self.front, *filter(is_published, self.behind), *self.references)

    @property
    def headings(self) -> list[str]:
        """The table's columns."""
        return columns_of(self.listed)

    def cells(self, standing: Standing) -> dict[str, str]:
        """Write a row's figures as the command line does."""
        return cells_of(standing, is_on_front=False, targets=targets_of(self.listed))

    @property
    def verdict(self) -> str:
        """Say who leads."""
        said = verdict(self.front)
        return said.partition(": ")[2]


def router(site: Site) -> APIRouter:
    """Give the page."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/fronts")
    def fronts(
        request: Request, campaign: Number = "", model: Word = "", device: Word = "", at: Word = ""
    ) -> HTMLResponse:
        choices = choose(site, campaign, model, device, at)
        shown = _shown(site, choices)
        charts = list(filter(None, (_chart(shown, *each) for each in _pairs(shown)))) if shown else []
        return site.page(
            request, "fronts.html", choices=choices, shown=shown, charts=charts, here=Address(request.query_params)
        )

    return routes


def _shown(site: Site, choices: Choices) -> Shown | None:
    section, campaign = choices.section, choices.campaign
    if section is None:
        return None
    ids = [each.id for each in front(site, section, campaign)]
    return site.cached((section.key, campaign, "fronts"), lambda session: _read(session, section, campaign, ids))


def front(site: Site, section: Section, campaign: int | None) -> list[Ranked]:
    """Give the rows on the front of a section, of one campaign's or of all, by KL."""
    return site.lasting((section.key, campaign, "front"), lambda session: rows.front(session, section, campaign))


def _read(session: Session, section: Section, campaign: int | None, front: Sequence[int]) -> Shown:
    members = board.of_ids(session, front[:MOST_FRONT])
    ids = {s.id for s in members}
    field = "kl" if section.num_judged else "retrieval_loss"
    asked = rows.Asked(campaign)
    near = rows.best(session, section, field, asked, MOST_BEHIND)
    published = rows.best(session, section, field, rows.Asked(campaign, rows.PUBLISHED), MOST_BEHIND)
    behind = {s.id: s for s in (*published, *near) if s.id not in ids}
    references = rows.page(session, section, rows.Asked(campaign, rows.REFERENCE), MOST_REFERENCES).standings
    return Shown(tuple(members), len(front), tuple(behind.values()), tuple(filter(has_figure, references)))


def _pairs(shown: Shown) -> list[tuple[str, Axis, str, Axis]]:
    """Give what is drawn over what: each loss over each kind of speed."""
    target = most_modelled_on((*shown.front, *shown.behind))  # what is modelled for others is another figure
    speeds = (
        (MODELLED, Axis(f"modelled speed-up{f' on {target}' if target else ''}", one=1.0)),
        ("speedup", Axis("measured speed-up over dense attention", one=1.0)),
    )
    return [(x, x_axis, y, y_axis) for y, y_axis in LOSSES for x, x_axis in speeds]


def _chart(shown: Shown, x: str, x_axis: Axis, y: str, y_axis: Axis) -> Chart | None:
    """Draw one loss over one speed; None where no rule has both."""
    target = most_modelled_on((*shown.front, *shown.behind)) if x == MODELLED else ""
    series = tuple(
        each
        for name, role, standings, is_faint in (
            ("found, behind", "found", [s for s in shown.behind if not is_published(s)], True),
            ("published, behind", "published", [s for s in shown.behind if is_published(s)], True),
            ("references", "reference", shown.references, False),
            ("found", "found", [s for s in shown.front if not is_published(s)], False),
            ("published", "published", [s for s in shown.front if is_published(s)], False),
        )
        if (each := Series(name, role, _points(standings, x, y, y_axis, target), is_faint=is_faint)).points  # type: ignore[arg-type]
    )
    if not any(each.role != "reference" for each in series):
        return None
    title = f"{'Fidelity' if y == 'kl' else 'Retrieval'} over {'modelled' if x != 'speedup' else 'measured'} speed"
    best = ", ".join(f"{s.name} at {getattr(s, y):.3g}" for s in shown.front[:3] if getattr(s, y) is not None)
    number = sum(len(each.points) for each in series)
    return Chart(
        title, f"{number} rules by {y_axis.title} and {x_axis.title}. On the front: {best}.", x_axis, y_axis, series
    )


def _points(standings: Sequence[Standing], x: str, y: str, y_axis: Axis, target: str) -> tuple:
    found = (point(s, x, y) for s in standings if target in ("", s.target))
    return tuple(each for each in found if each and not (y_axis.is_log and each.y < LEAST_DRAWN))
