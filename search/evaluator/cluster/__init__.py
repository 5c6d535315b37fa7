"""The Ray cluster that workers run on: started or joined, its nodes, where workers go, and what they say they do."""

from search.evaluator.cluster.errors import PoolError
from search.evaluator.cluster.joining import LOCAL
from search.evaluator.cluster.placement import Placement

__all__ = ["LOCAL", "Placement", "PoolError"]
