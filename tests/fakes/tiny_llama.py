"""A tiny Llama with random weights that shares little with the probe: another tokenizer, a group of 3, 2,048 tokens.

Its tokenizer is a byte-level BPE, trained here, that puts a first token before a whole text, and the model's vocabulary
is padded beyond it.
"""

from pathlib import Path

FIRST, LAST = "<|first|>", "<|last|>"
NUM_LAYERS, NUM_Q_HEADS, NUM_KV_HEADS, HEAD_DIM = 3, 6, 2, 32
MAX_TOKENS, VOCABULARY, PADDED_VOCABULARY = 2048, 400, 448


def write(folder: Path, seed: int = 0) -> Path:
    """Write the model as transformers saves it and give the folder, made if need be."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(), bos_token=FIRST, eos_token=LAST, model_max_length=MAX_TOKENS
    )
    config = LlamaConfig(
        vocab_size=PADDED_VOCABULARY, hidden_size=NUM_Q_HEADS * HEAD_DIM, intermediate_size=128,
        num_hidden_layers=NUM_LAYERS, num_attention_heads=NUM_Q_HEADS, num_key_value_heads=NUM_KV_HEADS,
        head_dim=HEAD_DIM, max_position_embeddings=MAX_TOKENS, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, dtype="float32",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    from search.evaluator.models.smollm2 import PROSE

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[FIRST, LAST], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([PROSE], trainer)
    first = tokenizer.token_to_id(FIRST)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{FIRST} $A", special_tokens=[(FIRST, first)])
    return tokenizer
