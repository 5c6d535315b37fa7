"""Experience from the ledger: what operators earned in earlier campaigns on a model."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from search.archive.archivist import archive_of
from search.archive.experience import Experience
from search.config import PROPOSERS, CampaignConfig, ConfigError
from search.parents import SEED

if TYPE_CHECKING:
    from search.contracts import Ledger
    from search.records import StoredCampaign

MAX_CAMPAIGNS = 8  # the newest ones
DIGITS = 4


def experience_with(model: str, ledger: Ledger) -> tuple[Experience, ...]:
    """Sum up what operators earned in the newest campaigns on a model, each by its rate relative to its campaign's.

    Gains of different campaigns are no equals, as their ratios and problems differ; these rates are. Campaigns that
    gained nothing, and those whose settings only a newer version reads, tell nothing.
    """
    theirs = [campaign for campaign in ledger.campaigns() if campaign.model == model][-MAX_CAMPAIGNS:]
    earned, numbers = defaultdict[str, float](float), Counter[str]()
    for campaign in theirs:
        for each in _of(campaign, ledger):
            earned[each.name] += each.rate * each.num_candidates
            numbers[each.name] += each.num_candidates
    return tuple(Experience(name, _rounded(earned[name] / numbers[name]), numbers[name]) for name in sorted(numbers))


def _of(campaign: StoredCampaign, ledger: Ledger) -> list[Experience]:
    try:
        config = CampaignConfig.from_json(campaign.settings)
    except ConfigError:
        return []
    archive = archive_of(ledger.records(campaign.id), config)
    operators = {name: each for name, each in archive.operators_of(PROPOSERS).items() if name != SEED}
    gain = math.fsum(each.gain for each in operators.values())
    seconds = math.fsum(each.typical_s for each in operators.values())
    if gain <= 0:
        return []
    return [
        Experience(name, each.gain / each.typical_s * seconds / gain, each.num_candidates)
        for name, each in operators.items()
        if each.typical_s > 0
    ]


def _rounded(rate: float) -> float:
    return float(f"{rate:.{DIGITS}g}")
