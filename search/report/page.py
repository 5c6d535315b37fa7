"""The report as one HTML page that needs nothing else: no network, no scripts, pictures inside."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from search.plots import within
from search.report.blocks import Grid, Items, Listing, Part, Picture, Words
from search.report.wording import title_case

if TYPE_CHECKING:
    from jinja2 import Template

    from search.report.blocks import Block, Report

KINDS = {Words: "words", Items: "items", Grid: "grid", Picture: "picture", Listing: "listing", Part: "part"}


def page(report: Report) -> str:
    """Write a report as HTML. Every text is escaped by the template engine, pictures by the tree that they are."""
    return _template().render(report=report) + "\n"


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("search.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source, _, _ = PackageLoader("search.report", "").get_source(environment, "style.css")
    environment.globals["style"] = Markup(source)  # noqa: S704 - a file of ours
    environment.filters["kind"] = _kind
    environment.filters["anchor"] = _anchor
    environment.filters["title_case"] = title_case
    environment.filters["drawn"] = lambda picture: Markup(_drawn(picture))  # noqa: S704 - a tree, escaped as it is written
    return environment.get_template("page.html")


def _kind(block: Block) -> str:
    return KINDS[type(block)]


def _drawn(picture: Picture) -> str:
    return within(picture.svg, picture.name)


def _anchor(title: str) -> str:
    """Make of a title what a link may end in."""
    letters = (c.lower() if c.isascii() and c.isalnum() else "-" for c in title[:60])
    return "-".join(filter(None, "".join(letters).split("-"))) or "part"
