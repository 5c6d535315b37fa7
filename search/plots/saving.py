"""Figures as bytes and as files."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

from search.evaluator.scratch.files import publish
from search.plots.errors import PlotError
from search.plots.style import DARK, styled
from search.report.wording import shown

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

Format = Literal["svg", "png"]

FORMATS: dict[str, Format] = {".svg": "svg", ".png": "png"}
DOTS_PER_INCH = 160
PIXELS_PER_POINT = 1.4  # of a figure in a page, so that its small letters are read
NAMESPACE = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
UNWRITTEN = {"svg": ("Date", "Creator", "Format", "Type"), "png": ("Software",)}  # so that the same figure is the same


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all, as PNG or SVG by the file's suffix. Raises PlotError."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise PlotError(f"{path} is neither .svg nor .png: give a figure one of these suffixes")
    content = encoded(figure, kind)
    try:
        publish(path, content)
    except OSError as error:
        raise PlotError(f"{path} was not written: {error.strerror or error}") from error


def encoded(figure: Figure, kind: Format, alt: str = "") -> bytes:
    """Give a figure's bytes; the same figure gives the same ones.

    SVG turns dark where the screen is, and `alt` is what it says to who cannot see it.
    """
    written = io.BytesIO()
    with styled():
        metadata = dict.fromkeys(UNWRITTEN[kind])
        figure.savefig(written, format=kind, dpi=DOTS_PER_INCH if kind == "png" else "figure", metadata=metadata)
    return written.getvalue() if kind == "png" else _adapting(written.getvalue(), figure, alt)


def within(svg: bytes, name: str) -> str:
    """Give a figure as an element of a page of HTML; `name` makes its ids its own there."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - we wrote it
    root.set("width", f"{PIXELS_PER_POINT * float(root.attrib['viewBox'].split()[2]):.0f}")
    for each in root.iter():
        if LINK in each.attrib:
            each.set("href", f"#{name}-{each.attrib.pop(LINK).removeprefix('#')}")
        if "id" in each.attrib:
            each.set("id", f"{name}-{each.get('id')}")
        for key in {*each.keys()} & {"clip-path", "style"}:
            each.set(key, re.sub(r"url\(#", f"url(#{name}-", each.attrib[key]))
    return ElementTree.tostring(root, encoding="unicode")


def _adapting(svg: bytes, figure: Figure, alt: str) -> bytes:
    """Let a figure follow the screen's colours, fill the width it is given, and say what it is when read aloud."""
    ElementTree.register_namespace("", NAMESPACE)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(_readable(svg.decode()))  # noqa: S314 - matplotlib wrote it
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    style = ElementTree.Element(f"{{{NAMESPACE}}}style")
    style.text = _dark()
    title = ElementTree.Element(f"{{{NAMESPACE}}}title")
    title.text = _readable(figure.get_suptitle())
    described = ElementTree.Element(f"{{{NAMESPACE}}}desc")
    described.text = _readable(alt)
    root[:0] = [title, *([described] if alt else []), style]
    return ElementTree.tostring(root, encoding="utf-8")


def _readable(text: str) -> str:
    """Give a text in which names of others stand without what XML does not know: matplotlib leaves it as it is."""
    return shown(text, len(text))


def _dark() -> str:
    """Give the style that replaces every colour on a dark screen: who knows no such style keeps the light ones."""
    rules = (
        f'[style*="{use}: {light}"] {{ {use}: {dark} !important }}'
        for light, dark in DARK.items()
        for use in ("fill", "stroke")
    )
    return "@media (prefers-color-scheme: dark) { " + " ".join(rules) + " }"
