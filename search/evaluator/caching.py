"""How large a KV cache has to be for what stages ask, and may be in the memory of a machine."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from search.records import Stage
from search.workloads import held_out, recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.engine import EngineSettings
    from search.evaluator.models import ModelFacts
    from search.evaluator.models.weights import Weights
    from search.records import Workload

GIB = 1 << 30
USED_SHARE = 0.92  # of a machine's memory; Ray kills workers when 95 % are used
CAMPAIGN_BYTES = 1.5 * GIB  # the driver and Ray's own processes
WORKER_BYTES = 0.85 * GIB  # of a worker's process, and of its one without an engine
ENGINE_BYTES = 1.4 * GIB  # of an engine without weights and cache: torch and vLLM
WEIGHT_BYTES = 4  # of a value: engines on a CPU compute in float32
CARD_SHARE = 0.46  # of a GPU's memory for each of two engines
CARD_WEIGHT_BYTES = 2  # of a value: on GPUs they compute in bfloat16
CARD_ENGINE_BYTES = 3 * GIB  # of an engine without weights and cache, taken for granted: CUDA, workspaces, activations
LEAST_CARD_CACHE_BYTES = GIB
ON_TEXTS = (Stage.RECALL, Stage.FIDELITY, Stage.SERVE)  # on the same documents


def cache_bytes(
    model: ModelFacts, workloads: Sequence[Workload], bytes_per_value: int, settings: EngineSettings
) -> int:
    """Give the KV cache that holds every workload's prompts and answers at once, so that each is prefilled once."""
    on_texts, others = _asked(workloads)
    num_tokens = max(map(_of_texts, on_texts), default=0) + sum(map(_of_prompts, others))
    return math.ceil(num_tokens * _token_bytes(model, bytes_per_value, settings))


def least_cache_bytes(
    model: ModelFacts, workloads: Sequence[Workload], bytes_per_value: int, settings: EngineSettings
) -> int:
    """Give the KV cache without which a workload cannot be run.

    Texts are decoded side by side; of other prompts, those that do not fit at once take turns.
    """
    on_texts, others = _asked(workloads)
    num_tokens = max([0, *map(_of_texts, on_texts), *(_of_prompts(replace(each, num_sequences=1)) for each in others)])
    return math.ceil(num_tokens * _token_bytes(model, bytes_per_value, settings))


def dense_cache_bytes(model: ModelFacts, bytes_per_value: int, settings: EngineSettings) -> int:
    """Give the KV cache of as many tokens as `settings` have bytes for, without a program's fields."""
    fields = settings.field_bytes / settings.page_size
    share = 1 - fields * model.num_layers * model.num_kv_heads / _token_bytes(model, bytes_per_value, settings)
    return math.ceil(share * settings.kv_cache_bytes)


def room_for_caches(weights: Weights, num_workers: int) -> int:
    """Give the bytes left for both KV caches, sparse and dense, of each of so many workers on this machine."""
    each = (USED_SHARE * machine_bytes() - CAMPAIGN_BYTES) / num_workers - WORKER_BYTES
    loaded = WEIGHT_BYTES * weights.num_values or 2 * weights.size_bytes
    return max(0, int(each - 2 * (ENGINE_BYTES + loaded)))


def on_card(settings: EngineSettings, weights: Weights, card_bytes: int) -> EngineSettings:
    """Give the settings with no larger KV cache than an engine's share of a GPU's memory has room for.

    Raises ValueError where it has none for weights and `LEAST_CARD_CACHE_BYTES`.
    """
    loaded = CARD_WEIGHT_BYTES * weights.num_values or weights.size_bytes
    share = settings.card_share * card_bytes
    room = int(share - loaded - CARD_ENGINE_BYTES)
    if room < LEAST_CARD_CACHE_BYTES:
        raise ValueError(
            f"an engine's share of this GPU's {card_bytes / GIB:.0f} GiB is {share / GIB:.0f}, and the weights of "
            f"{settings.model} take {loaded / GIB:.0f}, which leaves no room for a KV cache: two engines stand on one "
            "GPU, so take a larger GPU or a smaller model"
        )
    return replace(settings, kv_cache_bytes=min(settings.kv_cache_bytes, room))


def machine_bytes() -> int:
    """Give the machine's memory, or the control group's limit where that is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text("utf-8").strip()).isdigit():
        limits.append(int(text))
    return min(limits)


def _asked(workloads: Sequence[Workload]) -> tuple[list[Workload], list[Workload]]:
    """Give the workloads that share documents, those of confirmation among them, and the others."""
    asked = {recorded(each) if each.stage is Stage.SCREEN else each for each in workloads}
    asked |= {held_out(each, 0) for each in asked if each.stage is Stage.FIDELITY}
    on_texts = [workload for workload in asked if workload.lengths and workload.stage in ON_TEXTS]
    others = [workload for workload in asked if workload not in on_texts and workload.stage is not Stage.CHECK]
    return on_texts, others


def _token_bytes(model: ModelFacts, bytes_per_value: int, settings: EngineSettings) -> float:
    """Give what a token takes in all layers, with its part of its page's fields."""
    own = 2 * model.head_dim * bytes_per_value + settings.field_bytes / settings.page_size
    return model.num_layers * model.num_kv_heads * own


def _of_texts(workload: Workload) -> int:
    """Give the tokens of prompts and answers where stages share documents, and texts of one document their pages."""
    from search.evaluator.fidelity.texts import cached_tokens

    return _of_prompts(workload) if workload.stage is Stage.SERVE else cached_tokens(workload)


def _of_prompts(workload: Workload) -> int:
    """Give the tokens of prompts and answers that share nothing."""
    from search.config import ANSWER_TOKENS

    return workload.num_sequences * (workload.num_tokens + ANSWER_TOKENS)
