"""An engine serves a model that shares little with the probe: another tokenizer, a group of 3, padded vocabulary."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("engine_script.py")
TEXT = "The harbour had been quiet, and 43 ships came; Grüße."


@pytest.fixture(scope="module")
def found(tiny_llama, warm):
    done = warm.run(SCRIPT, tiny_llama, VLLM_PLUGINS="vortex")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_whole_prompt_begins_as_the_tokenizer_wants(found):
    assert found["prompt"] == [0, *found["bare"]]
    assert 0 not in found["bare"]


def test_the_text_of_tokens_is_the_text_that_was_taken(found):
    assert found["text"] == TEXT
    assert found["words"] == ["The", "ha", "rbou"]  # one a token, without the space before "harbour"


def test_with_every_page_it_answers_as_transformers_does(found, tiny_llama):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, local_files_only=True, dtype=torch.float32)
    prompt = torch.tensor([found["prompt"] * 9])
    with torch.inference_mode():
        answer = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, min_new_tokens=16, do_sample=False
        )
    assert found["covering"] == answer[0, prompt.shape[1] :].tolist()


def test_with_few_pages_every_decode_is_sparse(found):
    served = found["round"]
    assert served["num_tokens"] == 8 * 3
    assert 0 < served["pages_attended"] < served["pages_dense"] / 2


def test_an_answer_beyond_the_limit_is_refused(found):
    assert found["refusal"].startswith("1 of 1 answers ended before 13 tokens, one of them at 12: the engine takes 512")
