"""Figures as bytes and as files."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

from search.evaluator.scratch.files import write_atomically
from search.plots.errors import PlotError
from search.plots.style import DARK, styled

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

Format = Literal["svg", "png"]

FORMATS: dict[str, Format] = {".svg": "svg", ".png": "png"}
DOTS_PER_INCH = 160
NAMESPACE = "http://www.w3.org/2000/svg"


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all, as PNG or SVG by the file's suffix. Raises PlotError."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise PlotError(f"{path} is neither .svg nor .png: give a figure one of these suffixes")
    content = encoded(figure, kind)
    try:
        write_atomically(path, lambda part: part.write_bytes(content))
        path.chmod(0o644)
    except OSError as error:
        raise PlotError(f"{path} was not written: {error.strerror or error}") from error


def encoded(figure: Figure, kind: Format) -> bytes:
    """Give a figure's bytes; the same figure gives the same ones. SVG turns dark where the screen is."""
    written = io.BytesIO()
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # in SVG browsers have it
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(written, format=kind, dpi=DOTS_PER_INCH if kind == "png" else "figure", metadata=metadata)
    return written.getvalue() if kind == "png" else _adapting(written.getvalue(), figure)


def _adapting(svg: bytes, figure: Figure) -> bytes:
    """Let a figure follow the screen's colours, fill the width it is given, and say what it is when read aloud."""
    ElementTree.register_namespace("", NAMESPACE)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)  # noqa: S314 - matplotlib wrote it
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    style = ElementTree.Element(f"{{{NAMESPACE}}}style")
    style.text = _dark()
    title = ElementTree.Element(f"{{{NAMESPACE}}}title")
    title.text = figure.get_suptitle()
    root[:0] = [title, style]
    return ElementTree.tostring(root, encoding="utf-8")


def _dark() -> str:
    """Give the style that replaces every colour on a dark screen: who knows no such style keeps the light ones."""
    rules = (
        f'[style*="{use}: {light}"] {{ {use}: {dark} !important }}'
        for light, dark in DARK.items()
        for use in ("fill", "stroke")
    )
    return "@media (prefers-color-scheme: dark) { " + " ".join(rules) + " }"
