"""Behaviour, a rule's second identity: what it attends to on recorded queries, and which other rule does the same."""

from search.behaviour.alike import Nearest, nearest_earlier
from search.behaviour.signatures import UNIT, Behaviours, likeness, sketch

__all__ = ["UNIT", "Behaviours", "Nearest", "likeness", "nearest_earlier", "sketch"]
