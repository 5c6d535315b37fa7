"""What numbers were measured with."""

from importlib import metadata

from search.evaluator.identity import environment
from search.records import Environment, digest_of


def test_the_environment_names_machine_and_versions():
    here = environment("float32")
    assert here.device
    assert here.torch == metadata.version("torch")
    assert here.vllm.startswith("vllm")
    assert here == environment("float32")
    assert len(here.digest) == 16


def test_figures_of_two_dtypes_are_of_two_places():
    float32, bfloat16 = environment("float32"), environment("bfloat16")
    assert (float32.dtype, bfloat16.dtype) == ("float32", "bfloat16")
    assert float32.digest != bfloat16.digest


def test_a_place_of_an_older_database_keeps_its_identity():
    """Its dtype was not noted; its digest is the one that evaluations there name."""
    known = {"device": "Xeon", "driver": "6", "python": "3.11", "torch": "2.13", "vllm": "0.32"}
    assert Environment(**known).digest == Environment(**known, commit="abc").digest == digest_of(known)
