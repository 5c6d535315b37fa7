"""Quick looks for whoever asks about several campaigns: what looks is made at the first look, and kept."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.config import CampaignConfig
    from search.contracts import Looker


class Lookers:
    """Gives each campaign's looker, made by `make` when it is first asked for. Safe from several threads."""

    def __init__(self, make: Callable[[CampaignConfig], Looker]) -> None:
        self._make, self._lock = make, Lock()
        self._made: dict[str, Looker] = {}

    def of(self, config: CampaignConfig) -> Looker:
        """Give the looker of a campaign's settings."""
        key = config.to_json()
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(config)
            return self._made[key]

    def close(self) -> None:
        """Let go of whatever looks. Idempotent."""
        with self._lock:
            for looker in self._made.values():
                looker.close()
            self._made.clear()
