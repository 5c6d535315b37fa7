"""A machine joins a cluster by `vortex worker` only if it is as the head is."""

from dataclasses import replace

import pytest

from search.evaluator.cluster import PoolError
from search.evaluator.cluster.machine import this_machine
from search.evaluator.cluster.node import check
from search.evaluator.models import ModelError


def test_a_machine_that_is_as_the_head_may_join(head):
    assert check(head).kind == this_machine().kind


def test_a_difference_is_refused_by_its_name(head, model, monkeypatch):
    ours = this_machine((str(model),))
    changes = {
        "commit": "the commit", "python": "Python", "vllm": "vLLM", "driver": "driver", "torch": "torch",
    }  # fmt: skip
    for field, name in changes.items():
        other = replace(ours, **{field: "another"})
        monkeypatch.setattr("search.evaluator.cluster.node.this_machine", lambda _models=(), other=other: other)
        with pytest.raises(PoolError, match=rf"beside the head at .*: {name} is another here and "):
            check(head)
    monkeypatch.undo()
    config = model / "config.json"
    before = config.read_text()
    config.write_text(before + " ")
    try:
        with pytest.raises(PoolError, match=rf"the model {model} is \w+ here and \w+ there"):
            check(head)
        config.unlink()
        with pytest.raises(ModelError):
            check(head)
    finally:
        config.write_text(before)
