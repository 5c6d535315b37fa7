"""A scheduler that keeps prompt pages only in the prefix cache, so that programs can take turns in one engine."""

from __future__ import annotations

from typing import Any

from vllm.v1.core.sched.scheduler import Scheduler


class PromptCacheScheduler(Scheduler):
    """Generated tokens depend on the program that generated them: their pages are never shared."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        coordinator = self.kv_cache_manager.coordinator
        cache_all = coordinator.cache_blocks

        def cache_prompt(request: Any, num_computed_tokens: int) -> None:
            cache_all(request, min(num_computed_tokens, request.num_prompt_tokens))

        coordinator.cache_blocks = cache_prompt  # type: ignore[method-assign]
