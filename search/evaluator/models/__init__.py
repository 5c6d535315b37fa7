"""Models by name: their folders, what they have, and the one that comes with a package."""

from search.evaluator.models.cache import cache_folder
from search.evaluator.models.errors import ModelError
from search.evaluator.models.facts import ModelFacts, model_facts
from search.evaluator.models.folders import is_own, model_digest, model_folder, model_outline

__all__ = [
    "ModelError",
    "ModelFacts",
    "cache_folder",
    "is_own",
    "model_digest",
    "model_facts",
    "model_folder",
    "model_outline",
]
