"""The search: proposers, an evaluator, a ledger and the loop that joins them; and the command line.

`from search import Campaign` is the way in from Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.campaigns.api import Campaign as Campaign


def __getattr__(name: str) -> Any:
    """Load the way in when it is first asked for: most of what is here is used without it."""
    if name != "Campaign":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from search.campaigns.api import Campaign

    return Campaign
