"""The probe's tokenizer: one token a word, words separated by single spaces, nothing added.

For a folder with a Qwen2 model, transformers and vLLM build Qwen2's byte-pair tokenizer whatever class the folder
names, and take from the file its vocabulary and its added tokens. Added tokens are split off before byte pairs are
looked at, so every word is one, with the space before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.probe.initialise import MAX_TOKENS
from search.evaluator.probe.vocabulary import START, VOCABULARY

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer


def make_tokenizer() -> Qwen2Tokenizer:
    """Give a fast tokenizer whose ids are the places in `VOCABULARY`."""
    from transformers import AddedToken, Qwen2Tokenizer

    words = [START, *(f" {word}" for word in VOCABULARY[1:])]
    tokenizer = Qwen2Tokenizer(
        vocab={word: i for i, word in enumerate(words)},
        merges=[],
        bos_token=START,
        eos_token=START,  # never emitted; without one, the class adds tokens that the model does not have
        unk_token=START,
        pad_token=START,
        model_max_length=MAX_TOKENS,
    )
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words[1:]])
    return tokenizer
