"""What a host may ask of the worker while the engine runs: `llm.collective_rpc("vortex_swap", args=(...))`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from vortex_dsl.serving.config import ServingError, from_mapping
from vortex_dsl.serving.layers.layer import ProgramLayer
from vortex_dsl.serving.metrics import Counters


class VortexExtension:
    """Mixed into vLLM's worker by `worker_extension_cls`. Arguments and results are plain JSON."""

    vllm_config: Any

    def _vortex_layers(self) -> list[ProgramLayer]:
        layers = self.vllm_config.compilation_config.static_forward_context.values()
        impls = [layer.impl for layer in layers if hasattr(layer, "impl")]
        strangers = [type(impl).__name__ for impl in impls if not isinstance(impl, ProgramLayer)]
        if strangers or not impls:
            raise ServingError(
                f"the engine runs {', '.join(sorted(set(strangers))) or 'no attention'}, not this plugin"
            )
        return impls

    def vortex_swap(self, config: dict[str, Any]) -> int:
        """Serve another program from now on; gives the number of layers. Nothing must be running."""
        program = from_mapping(config).load()
        impls = self._vortex_layers()
        with torch.inference_mode():  # the cache is an inference tensor
            for impl in impls:
                impl.use(program)
        self.vortex_reset()
        return len(impls)

    def vortex_reset(self) -> None:
        """Set all counters to zero."""
        for impl in self._vortex_layers():
            impl.meter.counters = Counters()

    def vortex_counters(self) -> list[dict[str, int]]:
        """Give the counters of every layer, in layer order."""
        return [asdict(impl.meter.counters) for impl in self._vortex_layers()]

    def vortex_record(self, on: bool, newest: bool = False) -> list[list[dict[str, Any]]]:
        """Start or end recording decode steps; ending gives what each layer saw, in this process only.

        With `newest`, k and v are kept of each layer's newest step alone: those of one request's last step hold what
        its earlier ones saw.
        """
        impls = self._vortex_layers()
        recorded = [impl.recorder or [] for impl in impls]
        for impl in impls:
            impl.recorder = (Newest() if newest else []) if on else None
        return recorded


class Newest(list[dict[str, Any]]):
    """Recorded steps, of which only the newest keeps its k and v."""

    def append(self, seen: dict[str, Any]) -> None:
        """Add a step."""
        for name in ("k", "v") if self else ():
            del self[-1][name]
        super().append(seen)
