"""What numbers were measured with."""

from importlib import metadata

from search.evaluator.identity import environment


def test_the_environment_names_machine_and_versions():
    here = environment()
    assert here.device
    assert here.torch == metadata.version("torch")
    assert here.vllm.startswith("vllm")
    assert here == environment()
    assert len(here.digest) == 16
