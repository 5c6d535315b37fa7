"""A database that is away comes back: whatever it was asked is asked again, for as long as patience lasts."""

from __future__ import annotations

import math
import random
import threading
import time
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from search.store.errors import AwayError

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

PATIENCE_S = 30.0  # of whoever does not say
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
TOLD_S = 5.0  # an absence that is shorter is nobody's business


class Patience:
    """Tries again what a database that is away, locked or full did not answer, less and less often.

    `told` hears once of each long absence, and when it has ended. `give_up` ends all waiting, from any thread or signal
    handler: from then on everything is tried once.
    """

    def __init__(self, patience_s: float = PATIENCE_S, told: Callable[[str], None] | None = None) -> None:
        self.patience_s = patience_s
        self._told = told or (lambda _: None)
        self._is_over = threading.Event()
        self._is_spent = False  # whoever has waited in vain does not wait as long again to give leases back
        self._away_at = -math.inf

    @property
    def back_s(self) -> float:
        """Seconds since it was last away, infinity where it never was."""
        return time.monotonic() - self._away_at

    def give_up(self) -> None:
        """Let whoever waits fail now."""
        self._is_over.set()

    def call(self, attempt: Callable[[], Answer]) -> Answer:
        """Give what an attempt gives once it comes through. Raises AwayError when patience ends."""
        began, pause_s, is_told = time.monotonic(), FIRST_PAUSE_S, False
        while True:
            try:
                answer = attempt()
            except AwayError as error:
                self._away_at = time.monotonic()
                away_s = self._away_at - began
                if away_s >= self.patience_s or self._is_spent or self._is_over.is_set():
                    self._is_spent = True
                    raise
                if away_s >= TOLD_S and not is_told:
                    self._told(f"{error} Trying again for up to {self.patience_s:,.0f} s.")
                    is_told = True
                # Drawn, so that those who wait together do not come back together.
                self._is_over.wait(min(pause_s * random.uniform(0.5, 1.0), self.patience_s - away_s))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._is_spent = False
                if is_told:
                    self._told(f"The database is back after {time.monotonic() - began:,.0f} s.")
                return answer


class HasPatience(Protocol):
    """Whoever has patience."""

    _patience: Patience


Self = TypeVar("Self", bound=HasPatience)


def patient(method: Callable[Concatenate[Self, Given], Answer]) -> Callable[Concatenate[Self, Given], Answer]:
    """Let a method that is one transaction be tried again. What it did before it failed has been rolled back.

    A connection that breaks while it commits leaves open whether it did: such a method must then come to the same.
    """

    @wraps(method)
    def tried(self: Self, *args: Any, **named: Any) -> Answer:
        return self._patience.call(lambda: method(self, *args, **named))

    return tried
