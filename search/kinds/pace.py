"""How long evaluations take on a kind of machines: by what is on record, else by what was measured once."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from search.kinds.wished import is_gpu, is_of
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.campaigns.setup import Setup
    from search.records import Environment, Record

# Mean seconds of one evaluation where none is on record: SmolLM2 at 4,000 tokens on two cores of a server
# (docs/evaluator.md), which does not tell of those that are guessed.
MEASURED_ONCE_S = {
    Stage.CHECK: 0.01,
    Stage.SCREEN: 0.18,
    Stage.RECALL: 0.83,
    Stage.ORACLE: 1.29,
    Stage.FIDELITY: 11.3,
    Stage.RETRIEVAL: 4.84,
    Stage.SERVE: 49.9,
    Stage.PROBE: 5.0,
    Stage.TASK: 60.0,
}
GUESSED = (Stage.PROBE, Stage.TASK)
FROM_PAGE, A_GUESS, ELSEWHERE = "docs/evaluator.md", "a guess", "of another kind"
MAX_CAMPAIGNS = 8  # the newest of a model, from which seconds and tokens are read


@dataclass(frozen=True)
class OnRecord:
    """What a database holds of a model's newest campaigns, the newest first, and the places it names, by digest."""

    records: tuple[Record, ...] = ()
    places: Mapping[str, Environment] = field(default_factory=dict)

    def seconds(self, stage: Stage, kind: str) -> tuple[float, str]:
        """Give the mean seconds of a stage on a kind, and whence they are known: if need be, of another kind."""
        found = self.seconds_on(stage, kind)
        if found is not None:
            return found
        elsewhere = self.seconds_on(stage)
        if elsewhere is not None:
            return elsewhere[0], f"{elsewhere[1]}, {ELSEWHERE}"
        typical = f"{FROM_PAGE}, {ELSEWHERE}" if is_gpu(kind) else FROM_PAGE
        return MEASURED_ONCE_S[stage], A_GUESS if stage in GUESSED else typical

    def seconds_on(self, stage: Stage, kind: str | None = None) -> tuple[float, str] | None:
        """Give those of one place of this kind, or of whichever, that was measured on last; None where none was."""
        evaluations = (e for record in self.records for e in record.evaluations if e.key.stage is stage)
        taken = [(e.key.environment_digest, e.elapsed_s) for e in evaluations if e.elapsed_s > 0]
        there = [each for each in taken if kind is None or is_of(self.places[each[0]], kind)]
        here = [seconds for place, seconds in there if place == there[0][0]]
        return (fmean(here), f"{len(here):,} on record") if here else None


def on_record(setup: Setup) -> OnRecord:
    """Read what the database holds of this model's newest campaigns, if there is one."""
    from search.store.database import file_of
    from search.store.ledger import SqlLedger

    file = file_of(setup.db)
    if file is not None and not file.is_file():
        return OnRecord()
    ledger = SqlLedger(setup.db)
    try:
        theirs = [each for each in ledger.campaigns() if each.model == setup.model][-MAX_CAMPAIGNS:]
        records = tuple(record for campaign in reversed(theirs) for record in ledger.records(campaign.id))
        places = {digest for record in records for digest in record.environments}
        return OnRecord(records, {digest: ledger.environment(digest) for digest in places})
    finally:
        ledger.close()
