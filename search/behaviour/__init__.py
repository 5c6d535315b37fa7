"""Behaviour, a rule's second identity: what it attends to on recorded queries, and which other rule does the same."""

from search.behaviour.alike import Nearest, Sketched, nearest_earlier, sketched
from search.behaviour.signatures import UNIT, Behaviours, likeness, sketch

__all__ = ["UNIT", "Behaviours", "Nearest", "Sketched", "likeness", "nearest_earlier", "sketch", "sketched"]
