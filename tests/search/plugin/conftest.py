"""A wheel of the zoo's Quest, with figures that nobody measured."""

from dataclasses import replace

import pytest

from search.behaviour.signatures import SIZE
from search.fit import Terms
from search.plugin.card import Circumstances
from search.plugin.export import export_wheel
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
    Workload,
)
from vortex_dsl import Shape, load_program, trace, zoo

TEXT, VALUES = zoo.text("quest"), (("page_size", 32), ("pages", 8))
SHAPE = Shape(group=2, head_dim=64)
DIGEST = trace(load_program(TEXT).with_values(**dict(VALUES)), SHAPE).digest
PACKAGE = f"vortex_{DIGEST[:12]}"
WORKLOAD = Workload(Stage.PROBE, 500, 8, ratio=4.0)
HELD_OUT = replace(WORKLOAD, split="held_out")
HERE = Circumstances(
    WORKLOAD, "probe", Environment("a <b>CPU</b>", "6", "3.11", "2.13", "0.32", dtype="float32"),
    Terms(SHAPE, 3, (500,)), {each.digest: each for each in (WORKLOAD, HELD_OUT)},
)  # fmt: skip
READS = (
    Measurement("pages_attended", 11.0),
    Measurement("pages_dense", 110.0),
    Measurement("accuracy", 0.5, 0.4, 0.6, 384),
)


def record(status=Status.OK, name="Quest"):
    def done(workload, *measurements, stage=Stage.PROBE, answers="a" * 16):
        key = EvaluationKey(DIGEST, stage, workload.digest, "m", "e", "1", 7)
        return Evaluation(key, status, measurements=measurements, answers=answers, ratio=4.0)

    confirmed = Measurement("accuracy", 0.45, 0.35, 0.55, 384)
    proposal = Proposal(TEXT, "zoo", "seed", values=VALUES)
    candidate = Candidate(1, 0, proposal, Status.OK, "", DIGEST, name, 1)
    screened = done(WORKLOAD, stage=Stage.SCREEN, answers="5" * 2 * SIZE)
    return Record(candidate, (done(WORKLOAD, *READS), done(HELD_OUT, confirmed), screened))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    return export_wheel(record(), HERE, tmp_path_factory.mktemp("dist"))
