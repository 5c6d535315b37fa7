"""Records with the figures that a test gives them."""

import pytest

from search.records import (
    Candidate,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
)


@pytest.fixture
def recorded():
    """Make a record: figures by stage, each (name, value) or (name, value, low, high), at one cost ratio or several."""

    def make(step=0, figures=None, ratios=(8.0,), ended=Status.OK, refused="", where="w", **proposed):
        proposed = {"proposer": "llm", "operator": "mutate", **proposed}
        status = Status.PROGRAM_ERROR if refused else Status.OK
        digest = "" if refused else f"p{step}"
        proposal = Proposal(f"text {step}", **proposed)
        candidate = Candidate(1, step, proposal, status, refused, digest, "" if refused else f"Rule{step}", step + 100)
        evaluations = tuple(
            Evaluation(
                EvaluationKey(digest, stage, f"{where}{ratio}", "m", "e", "1", 0),
                Status.OK if stage is Stage.CHECK else ended,
                "" if ended is Status.OK else "made to end",
                tuple(Measurement(*each) for each in taken),
                ratio=ratio,
            )
            for stage, taken in (figures or {}).items()
            for ratio in ratios
        )
        return Record(candidate, evaluations)

    return make
