"""What a page's address asks for, checked; and which section of the ledger it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import Path, Query
from pydantic import AfterValidator

from search.campaigns.bounds import LARGEST
from search.ranking import conditions
from search.report.wording import UNSEEN_SIGN, shown
from search.store.shown import sections

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from search.dash.site import Site
    from search.store.shown.sections import Section

PLACE = ("page", "after", "before")  # within a list: any other choice begins at its first page again
MOST_TEXT = 200  # characters of a filter
MOST_SECTIONS = 500  # of one campaign each


def readable(text: str) -> str:
    """Put a space for what nobody sees: pages write it into their forms again, and PostgreSQL takes no NUL."""
    return shown(text, len(text)).replace(UNSEEN_SIGN, " ").replace("\n", " ")


# An empty field of a form is sent as an empty text, which means that nothing was asked.
Number = Annotated[str, Query(max_length=18, pattern=r"^\d*$")]
Readable = AfterValidator(readable)
Word = Annotated[str, Query(max_length=MOST_TEXT), Readable]
Id = Annotated[int, Path(ge=1, le=LARGEST)]


@dataclass(frozen=True)
class Choices:
    """What may be chosen on a page of one section, and what is: None while there are no rows at all."""

    campaigns: tuple[int, ...]
    models: tuple[str, ...]
    devices: tuple[str, ...]
    places: tuple[Section, ...]
    ratios: tuple[Section, ...]
    section: Section | None
    campaign: int | None = None
    model: str = ""
    device: str = ""


def number_of(text: str) -> int | None:
    """Read an id; None for an empty text, and for one that no row can have."""
    return min(int(text), LARGEST) if text else None


def known_sections(site: Site) -> list[Section]:
    """Give the sections of the ledger."""
    return site.lasting("sections", lambda session: sections.sections(session, MOST_SECTIONS))


def choose(site: Site, campaign: str = "", model: str = "", device: str = "", at: str = "") -> Choices:
    """Find the section that is asked for by its slug; else the first of the campaign, the model and the device."""
    known = known_sections(site)
    mine = number_of(campaign)
    found = [
        s
        for s in sections.of_campaign(known, mine)
        if (not model or s.model == model) and (not device or s.device == device)
    ]
    section = next((s for s in found if s.slug == at), None) or _near(known, found, at)
    return Choices(
        tuple(sorted({each for s in known for each, *_ in s.campaigns})),
        _offered(s.model for s in known),
        _offered(s.device for s in known),
        tuple({s.place: s for s in reversed(found)}.values())[::-1],
        tuple(sections.beside(found, section)) if section else (),
        section,
        mine,
        model,
        device,
    )


def _offered(names: Iterable[str]) -> tuple[str, ...]:
    """Give what a form offers: names that an address can hold."""
    return tuple(sorted({name for name in names if 0 < len(name) <= MOST_TEXT}))


def _near(known: Sequence[Section], found: Sequence[Section], at: str) -> Section | None:
    """Give the first that is left, of the cost ratio that was asked for if there is one."""
    asked = next((s.ratio for s in known if s.slug == at), None)
    return next((s for s in found if s.ratio == asked), next(iter(found), None))


class Address:
    """The address of this view with some of it changed."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._kept = {k: v for k, v in given.items() if v and k not in PLACE}

    def but(self, **changed: Any) -> str:
        """Give the query with these values; what is empty is left out."""
        return f"?{urlencode({k: v for k, v in {**self._kept, **changed}.items() if v})}"

    def sorted_by(self, field: str) -> str:
        """Give the view sorted by a field, best first, or worst first where it is so already."""
        return self.but(sort=f"-{field}" if self._kept.get("sort") == field else field)

    def order(self, field: str) -> str:
        """Say how a column is sorted, as screen readers are told."""
        sort = self._kept.get("sort", "")
        if sort.removeprefix("-") != field:
            return "none"
        return "descending" if conditions.order_of(sort)[1] else "ascending"
