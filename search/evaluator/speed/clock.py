"""How much processor time attention layers take, measured around vLLM's own calls of them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALLED = ("do_kv_cache_update", "forward", "forward_mqa", "forward_mha")  # what vLLM calls of an implementation


class AttentionClock:
    """Within it, calls of these layers' implementations are timed; they are left as they were afterwards.

    Processor time of all of the process's threads: on a CPU, where nothing runs after a call has returned.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = layers
        self._spent_s = 0.0
        self._inside = False
        self._undo = ExitStack()

    def read(self) -> float:
        """Give the seconds so far."""
        return self._spent_s

    def __enter__(self) -> AttentionClock:
        for layer in self._layers:
            for name in CALLED:
                if hasattr(layer.impl, name):
                    setattr(layer.impl, name, self._timed(getattr(layer.impl, name)))
                    self._undo.callback(delattr, layer.impl, name)  # the class's own shows again
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:  # one call within another is part of it
                return call(*args, **kwargs)
            self._inside, start = True, time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                self._spent_s += time.process_time() - start
                self._inside = False

        return timed
