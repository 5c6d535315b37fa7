"""The search: proposers, an evaluator, a ledger and the loop that joins them; and the command line.

`from vortex_search import Campaign` is the way in from Python: so this package is called where it is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.campaigns.api import Campaign as Campaign


_HOMES = {"Campaign": "campaigns.api", "main": "cli"}


def __getattr__(name: str) -> Any:
    """Load the ways in when they are first asked for: most of what is here is used without them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
