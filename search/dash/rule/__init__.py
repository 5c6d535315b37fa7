"""The page of one rule, and the one that compares two."""

from search.dash.rule.routes import router

__all__ = ["router"]
