"""How large a KV cache has to be for what stages ask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.engine import EngineSettings
    from search.evaluator.models import ModelFacts
    from search.records import Workload


def cache_bytes(
    model: ModelFacts, workloads: Sequence[Workload], bytes_per_value: int, settings: EngineSettings
) -> int:
    """Give the KV cache that holds every workload's prompts and answers at once, so that each is prefilled once."""
    served = [workload for workload in workloads if workload.stage is not Stage.CHECK]
    num_tokens = sum(_cached_tokens(workload) for workload in served)
    token_bytes = 2 * model.head_dim * bytes_per_value + settings.field_bytes / settings.page_size
    return math.ceil(num_tokens * model.num_layers * model.num_kv_heads * token_bytes)


def _cached_tokens(workload: Workload) -> int:
    """Give the tokens of one workload's prompts and answers; texts of one document begin alike and share pages."""
    from search.config import ANSWER_TOKENS
    from search.evaluator.fidelity.texts import cached_tokens

    if workload.lengths and workload.stage in (Stage.RECALL, Stage.FIDELITY):
        return cached_tokens(workload)
    return workload.num_sequences * (workload.num_tokens + ANSWER_TOKENS)
