"""A driver of a cluster: known to its head, by way of one of its nodes. Either may die."""

from __future__ import annotations

import time
from contextlib import ExitStack

from search.evaluator.cluster.errors import PoolError
from search.evaluator.cluster.joining import answers, connected, ends

AGAIN_S = 1.0  # after which a machine that did not answer is asked again


class Membership:
    """Joined, lost and joined anew as often as need be. Use from one thread."""

    def __init__(self, address: str, num_cpus: int) -> None:
        """Say where: see `connected`. Nothing is joined yet."""
        self._address, self._num_cpus = address, num_cpus
        self._way = ExitStack()
        self._ends: tuple[str, ...] = ()  # where head and node listen, while we take them to be there
        self._away_until = 0.0  # whoever did not answer is not asked before

    def join(self) -> None:
        """Leave what is left of the last cluster and join, or start, what is there now. Raises PoolError."""
        from ray.exceptions import RayError

        self.leave()
        try:
            self._way.enter_context(connected(self._address, self._num_cpus))
            self._ends, self._away_until = ends(), 0.0
        except RayError as error:
            self.leave()
            raise PoolError(f"Ray at {self._address} is gone as soon as it is joined: {error}") from error

    def lasts(self) -> bool:
        """Say whether head and node listen. Where one did not a moment ago, it is not asked again."""
        if not self._ends or time.monotonic() < self._away_until:
            return False
        if all(map(answers, self._ends)):
            return True
        self._away_until = time.monotonic() + AGAIN_S
        return False

    def lose(self) -> None:
        """Take the cluster to be gone, whoever still listens."""
        self._ends = ()

    def leave(self) -> None:
        """End it, and with it a cluster that was started for us alone. Idempotent."""
        self._ends = ()
        self._way.close()
