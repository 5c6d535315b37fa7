"""The committed model: it loads as any other, is small, and needs and uses its context."""

import copy
import json
import random
from itertools import pairwise

import pytest
import torch

from search.evaluator.probe import MODEL_FOLDER
from search.evaluator.probe.batches import draw_sequence
from search.evaluator.probe.chains import KINDS, make_problems
from search.evaluator.probe.initialise import NUM_LAYERS, make_config, make_model
from search.evaluator.probe.tasks import ProbeTasks
from search.evaluator.probe.tokenizer import make_tokenizer
from search.evaluator.probe.train import hop_loss
from search.evaluator.probe.vocabulary import ASK, FORMATS, JOINS, NAMES, SYMBOLS, VOCABULARY, token_ids


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, local_files_only=True).eval()


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL_FOLDER, local_files_only=True)


def emit(model, prompts, max_tokens):
    """Decode greedily, all prompts at once; they are of one length."""
    ids = torch.tensor([token_ids(prompt) for prompt in prompts])
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False)
    return [[VOCABULARY[token] for token in row] for row in out[:, ids.shape[1] :].tolist()]


def test_folder_is_small():
    assert sum(path.stat().st_size for path in MODEL_FOLDER.rglob("*")) < 12e6


def test_shape_is_what_serving_expects():
    config = json.loads((MODEL_FOLDER / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["hidden_size"] // config["num_attention_heads"] == 64
    assert config["num_attention_heads"] // config["num_key_value_heads"] == 2
    assert config["max_position_embeddings"] >= 32768
    assert config["num_hidden_layers"] == make_config().num_hidden_layers == NUM_LAYERS


def test_tokenizer_maps_words_one_to_one(tokenizer):
    (problem,) = make_problems("overwrite", 1, 256, seed=0, split="search")
    ids = tokenizer(problem.prompt).input_ids
    assert ids == token_ids(problem.prompt)
    assert tokenizer.decode(ids) == problem.prompt
    assert tokenizer.decode(list(range(len(VOCABULARY)))) == " ".join(VOCABULARY)
    assert len(tokenizer) == len(VOCABULARY)


def test_committed_tokenizer_is_the_one_in_the_code(tokenizer):
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab()


def answered(model, problems):
    return ProbeTasks(problems).run(lambda prompts, max_tokens: emit(model, prompts, max_tokens))


def test_model_answers_short_chains(model):
    """Greedy, dense, with the cache. Overwritten names need more length: what stands close is not told apart."""
    kinds = [kind for kind in KINDS if kind != "overwrite"]
    result = answered(model, [p for kind in kinds for p in make_problems(kind, 6, 256, 11, "search")])
    assert result.num_scored == 8 * 6 * len(kinds)
    assert min(accuracy for _, accuracy in result.by_kind) >= 0.9, result.by_kind


def test_model_answers_every_kind_at_the_length_it_is_probed_at(model):
    result = answered(model, [p for kind in KINDS for p in make_problems(kind, 3, 2032, seed=2, split="search")])
    assert min(accuracy for _, accuracy in result.by_kind) >= 0.85, result.by_kind


def test_model_answers_in_every_format(model):
    """The held-out one too: it is held out from whoever writes rules, not from the model."""
    problems = [p for kind in ("many", "indirect") for p in make_problems(kind, 16, 512, 0, "held_out")]
    result = answered(model, problems)
    for form in FORMATS:
        hops = [hop for p, hops in zip(problems, result.hops, strict=True) if p.form == form for hop in hops]
        assert sum(hops) / len(hops) >= 0.9, form


@pytest.mark.parametrize(("layer", "left"), [(1, 0.0), (2, 1.0)])
def test_both_later_layers_retrieve(model, layer, left):
    """Without layer 2 only hops that lead through no alias are answered, without layer 1 none."""
    (problem,) = make_problems("indirect", 1, 512, seed=3, split="search")
    words = problem.prompt.split(" ")
    straight = {a for a, b in pairwise(w for w in words if w != ">") if problem.following.get(a) == b}
    lame = copy.deepcopy(model)
    torch.nn.init.zeros_(lame.model.layers[layer].self_attn.o_proj.weight)
    asked = [key for key in problem.following if key in straight][:12]
    aliased = [key for key in problem.following if key not in straight][:12]

    def share(model, keys):
        prompts = [" ".join([*words[:-1], key]) for key in keys]
        return sum(a == [problem.following[k]] for a, k in zip(emit(model, prompts, 1), keys, strict=True)) / len(keys)

    assert min(share(model, asked), share(model, aliased)) >= 0.9
    assert share(lame, asked) == pytest.approx(left, abs=0.2)
    assert share(lame, aliased) <= 0.2


def test_model_needs_its_context(model):
    """With every value replaced, the answers follow the prompt, so they are nowhere in the weights."""
    (problem,) = make_problems("many", 1, 256, seed=4, split="search")
    renamed = dict(zip(SYMBOLS, [*SYMBOLS[7:], *SYMBOLS[:7]], strict=True))
    words = " ".join(renamed.get(word, word) for word in problem.prompt.split(" "))
    emitted = emit(model, [words], problem.num_hops)[0]
    assert sum(a == renamed[b] for a, b in zip(emitted, problem.chain, strict=True)) >= 8


def test_training_sequences_ask_for_what_stands_in_their_context():
    """A hop leads to what followed when its name last stood in a record, or through one alias to that."""
    rng = random.Random(0)
    for num_tokens in (128, 256, 2048):
        ids, is_hop = draw_sequence(rng, num_tokens)
        words = [VOCABULARY[i] for i in ids]
        assert len(ids) == len(is_hop) == num_tokens
        context = [word for word in words[: words.index(ASK)] if word not in JOINS]
        after = {a: b for a, b in pairwise(context) if a in NAMES and b in NAMES}
        hops = [i for i in range(num_tokens) if is_hop[i]]
        assert hops
        assert all(words[i] in {after[words[i - 1]], after.get(after[words[i - 1]])} for i in hops)
        assert words[hops[0] - 2] == ASK


def test_a_few_steps_of_training_lower_the_loss():
    rng, model = random.Random(0), make_model(seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def loss_of_next():
        sequences = [draw_sequence(rng, 128) for _ in range(16)]
        return hop_loss(model, *map(torch.tensor, zip(*sequences, strict=True)))[0]

    losses = []
    for _ in range(24):
        loss = loss_of_next()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
