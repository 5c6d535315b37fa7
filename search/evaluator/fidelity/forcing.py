"""Dictation: a request emits a given text whatever the model would say, and what it would say is heard.

A logits processor of vLLM sees the raw logits of each step before it forces the token. vLLM has two model runners with
an interface each (`vllm.v1.sample.logits_processor`, and `vllm.v1.worker.gpu.sample.logits_processor` of the second,
which is the default on CUDA); one class serves both. It runs in the process of the engine, so a request carries the
object that listens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as SecondLogitsProcessor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm import SamplingParams

KEY = "dictation"  # in `SamplingParams.extra_args`


@dataclass(frozen=True)
class Dictation:
    """What one request is told to say.

    `forced`: the tokens that it emits in turn; after them, or where there are none, it speaks for itself. `hear` is
    called in each step with its number, from 0 (which comes from prefill), and the log-probabilities of the whole
    vocabulary before anything was forced, [vocabulary] in float32. `num_prompt`: tokens of the prompt.
    """

    num_prompt: int
    forced: Sequence[int]
    hear: Callable[[int, torch.Tensor], None]

    def __deepcopy__(self, memo: dict[int, Any]) -> Dictation:
        """Stay the same: vLLM copies what a request carries."""
        return self


@dataclass(frozen=True)
class _Row:
    """One row of this step's logits that is dictated to; `step` tokens were emitted before."""

    row: int
    step: int
    dictation: Dictation


class Dictating(LogitsProcessor, SecondLogitsProcessor):
    """Leaves requests without a dictation as they are."""

    def __init__(self, *_of_the_runner: Any) -> None:
        """Either runner's arguments: all that is needed comes with the requests."""
        self._dictated: dict[int, Any] = {}  # by row (and output so far) in the first runner, by slot in the second

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Take any request."""

    def is_argmax_invariant(self) -> bool:
        """Say that forcing changes the first choice."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow requests through the batch of the first runner."""
        process_dict_updates(self._dictated, batch_update, _started)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Take over a slot of the second runner, and say whether its request is dictated to."""
        self._dictated.pop(req_idx, None)
        dictation = _dictation_of(sampling_params)
        if dictation is not None:
            self._dictated[req_idx] = dictation
        return dictation is not None

    def apply(self, logits: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        """Let listeners hear the rows at hand, then leave only the forced token possible.

        logits: [num_rows, vocabulary]; ctx: the second runner's batch.
        """
        rows = self._rows() if ctx is None else self._rows_in(ctx)
        if not rows:
            return logits
        index = torch.tensor([each.row for each in rows], device=logits.device)
        said = logits[index].float().log_softmax(-1)
        for each, heard in zip(rows, said, strict=True):
            each.dictation.hear(each.step, heard)
        for each in rows:
            if each.step < len(each.dictation.forced):
                logits[each.row].fill_(-torch.inf)
                logits[each.row, each.dictation.forced[each.step]] = 0.0
        return logits

    def _rows(self) -> list[_Row]:
        """Give the rows of the first runner, where rows are requests and outputs are known as they grow."""
        return [_Row(row, len(output), dictation) for row, (dictation, output) in sorted(self._dictated.items())]

    def _rows_in(self, ctx: Any) -> list[_Row]:
        """Give the rows of the second runner's batch; a prompt that is prefilled in part says nothing yet."""
        found = []
        for row, slot in enumerate(ctx.idx_mapping_np):
            dictation, length = self._dictated.get(int(slot)), int(ctx.seq_lens_upper_bound_np[row])
            if dictation is not None and length >= dictation.num_prompt:
                found.append(_Row(row, length - dictation.num_prompt, dictation))
        return found


def _dictation_of(params: SamplingParams) -> Dictation | None:
    return (params.extra_args or {}).get(KEY)


def _started(
    params: SamplingParams, _prompt: list[int] | None, output: list[int]
) -> tuple[Dictation, list[int]] | None:
    """Keep the list to which the first runner appends what a request emits."""
    dictation = _dictation_of(params)
    return None if dictation is None else (dictation, output)
