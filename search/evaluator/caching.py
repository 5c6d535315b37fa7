"""How large a KV cache has to be for what stages ask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from search.records import Stage
from search.workloads import held_out, recorded, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.engine import EngineSettings
    from search.evaluator.models import ModelFacts
    from search.records import Workload

ON_TEXTS = (Stage.RECALL, Stage.FIDELITY, Stage.SERVE)  # on the same documents


def cache_bytes(
    model: ModelFacts, workloads: Sequence[Workload], bytes_per_value: int, settings: EngineSettings
) -> int:
    """Give the KV cache that holds every workload's prompts and answers at once, so that each is prefilled once."""
    parts = {Stage.SCREEN: recorded, Stage.RACE: whole}  # stages that judge a part of what another one does
    asked = {parts[each.stage](each) if each.stage in parts else each for each in workloads}
    asked |= {held_out(each, 0) for each in asked if each.stage is Stage.FIDELITY}
    on_texts = [workload for workload in asked if workload.lengths and workload.stage in ON_TEXTS]
    others = [workload for workload in asked if workload not in on_texts and workload.stage is not Stage.CHECK]
    num_tokens = max(map(_of_texts, on_texts), default=0) + sum(map(_of_prompts, others))
    token_bytes = 2 * model.head_dim * bytes_per_value + settings.field_bytes / settings.page_size
    return math.ceil(num_tokens * model.num_layers * model.num_kv_heads * token_bytes)


def _of_texts(workload: Workload) -> int:
    """Give the tokens of prompts and answers where stages share documents, and texts of one document their pages."""
    from search.evaluator.fidelity.texts import cached_tokens

    return _of_prompts(workload) if workload.stage is Stage.SERVE else cached_tokens(workload)


def _of_prompts(workload: Workload) -> int:
    """Give the tokens of prompts and answers that share nothing."""
    from search.config import ANSWER_TOKENS

    return workload.num_sequences * (workload.num_tokens + ANSWER_TOKENS)
