"""What is known of one rule, read from the ledger: bounded, however large its campaign is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Text, cast, select

from search.config import CampaignConfig, ConfigError
from search.journal.journal import journal_of
from search.ranking.comparison import Circumstances
from search.records import Stage, Status
from search.store import models
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from search.dash.site import Site
    from search.journal.journal import Judged
    from search.records import Evaluation, Record, StoredCampaign

MAX_RELATIVES = 40  # ancestors, and as many children


@dataclass(frozen=True)
class Relative:
    """A rule beside or before another one, as a graph names it. `parents`: digests."""

    id: int
    digest: str
    name: str
    origin: str
    parents: tuple[str, ...]


class Rule:
    """A candidate with its campaign, and what its digests stand for. Raises LookupError where there is none."""

    def __init__(self, site: Site, record: Record) -> None:
        self.site, self.record = site, record
        self.candidate, self.proposal = record.candidate, record.candidate.proposal
        self.id = record.candidate.id

    @cached_property
    def campaign(self) -> StoredCampaign:
        """The search that it belongs to."""
        return self.site.ledger.campaign(self.candidate.campaign_id)

    @cached_property
    def config(self) -> CampaignConfig | None:
        """What was asked of it; None where this version cannot read the settings."""
        try:
            return CampaignConfig.from_json(self.campaign.settings)
        except ConfigError:
            return None

    @cached_property
    def known(self) -> Circumstances:
        """What the digests of its evaluations stand for, without places that never gave a result."""
        ledger, keys = self.site.ledger, [each.key for each in self.record.evaluations]
        return Circumstances(
            {digest: ledger.workload(digest) for digest in {key.workload_digest for key in keys}},
            {digest: ledger.environment(digest) for digest in self.record.environments},
        )

    @property
    def ratios(self) -> tuple[float, ...]:
        """The cost ratios at which anything was measured; 0, for the program as written, last."""
        return tuple(sorted({each.ratio for each in self.record.evaluations}, key=lambda ratio: (not ratio, ratio)))

    def is_held_out(self, evaluation: Evaluation) -> bool:
        """Say whether no proposer was shown it."""
        return self.known.workloads[evaluation.key.workload_digest].split == HELD_OUT

    @cached_property
    def seen(self) -> Record:
        """The record as proposers see it."""
        return replace(
            self.record, evaluations=tuple(each for each in self.record.evaluations if not self.is_held_out(each))
        )

    @cached_property
    def hypotheses(self) -> tuple[Judged, ...]:
        """What was predicted of it, judged by what proposers see of it and of its first parent."""
        if not self.proposal.hypotheses:
            return ()
        parents = [each.seen for each in self.parents[:1]]
        judged = journal_of([*parents, self.seen]).hypotheses
        return tuple(each for each in judged if each.candidate == self.id)

    @cached_property
    def parents(self) -> list[Rule]:
        """Its parents, as far as its campaign holds them."""
        found = {each.digest: each.id for each in self.ancestors}
        ids = [found[digest] for digest in dict.fromkeys(self.proposal.parents) if digest in found]
        return [Rule(self.site, self.site.ledger.candidate(each)) for each in ids]

    @cached_property
    def ancestors(self) -> tuple[Relative, ...]:
        """Whom it comes from, nearest first."""
        found: dict[str, Relative] = {}
        wanted = list(dict.fromkeys(self.proposal.parents))
        while wanted and len(found) < MAX_RELATIVES:
            where = models.Candidate.program_digest.in_(wanted[: MAX_RELATIVES - len(found)])
            more = self._relatives(where & (models.Candidate.status == Status.OK.value))
            fresh = {each.digest: each for each in more if each.digest not in found and each.id != self.id}
            found |= fresh
            wanted = [p for each in fresh.values() for p in each.parents if p not in found]
            wanted = list(dict.fromkeys(p for p in wanted if p != self.candidate.program_digest))
        return tuple(found.values())

    @cached_property
    def children(self) -> tuple[Relative, ...]:
        """Who names it as a parent, the oldest first."""
        digest = self.candidate.program_digest
        if not digest:
            return ()
        return self._relatives(cast(models.Candidate.parents, Text).contains(digest, autoescape=True))

    def _relatives(self, where: object) -> tuple[Relative, ...]:
        row = models.Candidate
        query = (
            select(row.id, row.program_digest, row.name, row.proposer, row.operator, row.parents)
            .where(row.campaign_id == self.candidate.campaign_id, where)  # type: ignore[arg-type]
            .order_by(row.id)
            .limit(MAX_RELATIVES)
        )
        with self.site.reading() as session:
            return tuple(
                Relative(r.id, r.program_digest or "", r.name, f"{r.proposer}/{r.operator}", tuple(r.parents))
                for r in session.execute(query)
            )

    def check(self, ratio: float) -> Evaluation | None:
        """Give its check at a cost ratio: it tells the budget."""
        return next((e for e in self.record.evaluations if e.key.stage is Stage.CHECK and e.ratio == ratio), None)


def rule(site: Site, number: int) -> Rule:
    """Give one rule by its candidate's id. Raises LookupError."""
    return Rule(site, site.ledger.candidate(number))
