"""What can be wrong with a model."""

from __future__ import annotations


class ModelError(ValueError):
    """The model cannot be used. The message says which, why, and what to do."""
