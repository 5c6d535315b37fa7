"""What cannot be drawn."""

from __future__ import annotations


class PlotError(ValueError):
    """There is nothing to draw, or nowhere to put it. The message says why and what to do."""
