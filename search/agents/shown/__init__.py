"""What a language model is shown: the language, what it is judged by, and what the campaign has found so far."""

from search.agents.shown.language import language, operations, platform_tunables

__all__ = ["language", "operations", "platform_tunables"]
