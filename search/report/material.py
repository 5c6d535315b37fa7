"""What a report is made of: everything that the ledger holds of one campaign, read once, divided by place."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from search.ranking.comparison import MEASURED, Circumstances
from search.ranking.front import sections
from search.records import digest_of
from search.report.merit import MERITS
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from search.asking.owing import Owing
    from search.contracts import Ledger
    from search.ranking.front import Section
    from search.ranking.standing import Standing
    from search.records import Candidate, Environment, Evaluation, Record, StoredCampaign
    from search.store.spent import Spending, Spent


@dataclass(frozen=True)
class Place:
    """All of a campaign that was measured with one model, in one environment and by one evaluator's version.

    `at`: the section of each cost ratio that is told of (0 for programs as written), the one in which most rows have a
    figure; `seen`: by its id every candidate, in step order, with what proposers see; `confirming`: likewise, of those
    that have it, what was measured on the held-out split.
    """

    model_digest: str
    environment: Environment
    evaluator_version: str
    at: Mapping[float, Section]
    seen: Mapping[int, Record]
    confirming: Mapping[int, Record]
    spendings: tuple[Spending, ...]

    @property
    def slug(self) -> str:
        """A short name for files and ids: no other place of the campaign has it."""
        return digest_of([self.model_digest, self.environment.digest, self.evaluator_version])[:6]

    @property
    def ratios(self) -> tuple[float, ...]:
        """The cost ratios, ascending; programs as written last."""
        return tuple(sorted(self.at, key=lambda ratio: (not ratio, ratio)))


@dataclass(frozen=True)
class Material:
    """One campaign as the ledger holds it. `settings` are its JSON as they are: a newer version may have written it."""

    campaign: StoredCampaign
    settings: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    standings: tuple[Standing, ...]
    spent: Spent
    known: Circumstances
    num_running: int
    owing: tuple[Owing, ...]
    places: tuple[Place, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that the campaign asks for, in order."""
        return tuple(each.get("stage", "") for each in self.settings.get("workloads", ()))


def gather(ledger: Ledger, campaign: StoredCampaign) -> Material:
    """Read a campaign. Whoever is confirmed comes with what was measured on the held-out split."""
    standings = ledger.standings(campaign.id)
    held_out = {s.id for s in standings if s.confirmed}
    records = tuple(
        ledger.candidate(r.candidate.id) if r.candidate.id in held_out else r for r in ledger.records(campaign.id)
    )
    known = known_of(ledger, records)
    spent, progress = ledger.spent(campaign.id), ledger.progress(campaign.id)
    return Material(
        campaign,
        _settings(campaign),
        tuple(record.candidate for record in records),
        tuple(standings),
        spent,
        known,
        progress.num_running,
        progress.owing,
        tuple(_places(standings, records, known, spent)),
    )


def _settings(campaign: StoredCampaign) -> dict[str, Any]:
    try:
        found = json.loads(campaign.settings)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def known_of(ledger: Ledger, records: Iterable[Record]) -> Circumstances:
    """Read what the keys of all evaluations stand for; environments of those alone that have figures."""
    keys = [e.key for record in records for e in record.evaluations]
    measured = [e.key for record in records for e in record.evaluations if e.status in MEASURED]
    return Circumstances(
        {digest: ledger.workload(digest) for digest in {key.workload_digest for key in keys}},
        {digest: ledger.environment(digest) for digest in {key.environment_digest for key in measured}},
    )


def _places(
    standings: Sequence[Standing], records: Sequence[Record], known: Circumstances, spent: Spent
) -> Iterable[Place]:
    """Divide what was measured, the place with most rows first."""
    divided: dict[tuple[str, str, str], list[Standing]] = defaultdict(list)
    for s in standings:
        if s.environment in known.environments:
            divided[s.model_digest, s.environment, s.evaluator_version].append(s)
    for where, rows in sorted(divided.items(), key=lambda each: (-len(each[1]), each[0])):
        mine = (s for s in spent.spendings if (s.model_digest, s.environment, s.evaluator_version) == where)
        yield place_of(rows, records, known, mine)


def place_of(
    rows: Sequence[Standing], records: Sequence[Record], known: Circumstances, spendings: Iterable[Spending] = ()
) -> Place:
    """Put together what was measured at one place: its rows, and the records of candidates of any."""
    model, environment, version = where = (rows[0].model_digest, rows[0].environment, rows[0].evaluator_version)
    divided = {record.candidate.id: _divided(record, where, known) for record in records}
    return Place(
        model,
        known.environments[environment],
        version,
        _main(sections(rows)),
        {each: seen for each, (seen, _) in divided.items()},
        {each: hidden for each, (_, hidden) in divided.items() if hidden.evaluations},
        tuple(spendings),
    )


def _main(divided: Iterable[Section]) -> dict[float, Section]:
    """Choose one section for each cost ratio: lengths of another stage stand in one of their own, with less in it."""
    best: dict[float, Section] = {}
    for section in divided:
        ratio = section.rows[0].ratio
        if ratio not in best or _weight(section) > _weight(best[ratio]):
            best[ratio] = section
    return best


def _weight(section: Section) -> tuple[int, ...]:
    figures = (sum(merit.value(s) is not None for s in section.rows) for merit in MERITS)
    return (*figures, len(section.rows))


def _divided(record: Record, where: tuple[str, str, str], known: Circumstances) -> tuple[Record, Record]:
    """Give what was measured of a record at one place: what proposers see, and what is held out."""
    parts: tuple[list[Evaluation], list[Evaluation]] = [], []
    for each in record.evaluations:
        if each.key.place == where:
            parts[known.workloads[each.key.workload_digest].split == HELD_OUT].append(each)
    seen, hidden = (replace(record, evaluations=tuple(part)) for part in parts)
    return seen, hidden
