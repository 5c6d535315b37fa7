"""Whether a source holds all the texts that a campaign cuts from it, those of its end among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.fidelity.given import TextError
from search.evaluator.fidelity.texts import NUM_DECODED, encoder, first_tokens, text_of, texts_of
from search.records import Stage
from search.workloads import held_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from search.records import Workload

AMPLE = 5  # characters for each token that is asked for: nobody needs to count these


def require_texts(workloads: Sequence[Workload], model: Path, scratch: Path) -> None:
    """Raise TextError unless the texts of fidelity can be cut, held-out ones too, by the tokenizer in a model's folder.

    Said before anything starts: the last ones are asked for when all else is measured.
    """
    scarce = [each for each in _cut(workloads) if len(text_of(each, scratch)) < AMPLE * _num_tokens(each)]
    if not scarce:
        return
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError) as error:
        raise TextError(f"the model in {model} has no tokenizer, by which texts are cut: add its files") from error
    for each in scarce:
        texts_of(each, encoder(tokenizer), 0, first_tokens(tokenizer), scratch)


def _cut(workloads: Sequence[Workload]) -> Iterator[Workload]:
    for each in workloads:
        if each.stage is Stage.FIDELITY:
            yield each
            yield held_out(each, 1)


def _num_tokens(workload: Workload) -> int:
    num_documents = -(-workload.num_sequences // len(workload.all_lengths))
    return num_documents * (max(workload.all_lengths) + (workload.num_decoded or NUM_DECODED))
