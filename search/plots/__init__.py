"""Figures drawn by matplotlib, from rows of the ledger and from pictures of attention, as SVG or PNG."""

from search.plots.attention import attention
from search.plots.errors import PlotError
from search.plots.losses import curve, front, standings
from search.plots.saving import encoded, save, within

__all__ = ["PlotError", "attention", "curve", "encoded", "front", "save", "standings", "within"]
