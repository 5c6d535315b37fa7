"""After a search: leaders without what they do not need. A part is left out where the same pages are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.breed import baked, quoted
from search.agents.changing.simplify import Shorter, shorter, tidy
from search.behaviour.alike import attend_alike
from search.parents import leaders
from search.ranking.simpler import SIMPLER
from search.records import Proposal
from search.stages import NOT_INVENTED

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from search.config import CampaignConfig
    from search.records import Record

SIMPLIFIER = "simplifier"  # the proposer
TOLD = 80  # characters of each part that a rationale names


class Simplifier:
    """Proposes leaders with a part less, one program for each at a time, at most `config.simplify_trials` for each.

    A part stays out where the program attends to the same tokens in the screen, at every cost ratio at which the leader
    leads. A function of the search's records and of what came of the proposals: whoever resumes a campaign is given the
    same ones. What was given is left as it is, and who was screened nowhere.

    `records`: those of the search.
    """

    def __init__(self, records: Sequence[Record], config: CampaignConfig) -> None:
        ratios: dict[int, list[float]] = {}
        for each in leaders(records, steered_on=config.steered_on):
            ratios.setdefault(each.record.candidate.step, []).append(each.ratio)
        ours = [(records[step], tuple(ratios[step])) for step in sorted(ratios)] if config.simplify_trials else []
        trials = (_Trials.of(record, at, config) for record, at in ours if _may_be_shorter(record, at))
        self._trials = [each for each in trials if each.now is not None]
        self._at_once, self._tried = config.lag, list[_Trials]()

    def proposals(self, step: int) -> list[Proposal]:
        """Give what is tried next, beginning with this step; nothing once no leader has anything to leave out."""
        self._tried = [each for each in self._trials if each.now is not None][: self._at_once]
        return [each.proposal(number) for number, each in enumerate(self._tried, step)]

    def take(self, records: Sequence[Record]) -> None:
        """Take what came of these proposals, one by one."""
        for each, record in zip(self._tried, records, strict=True):
            each.take(record)

    @property
    def found(self) -> list[int]:
        """The steps of the shortest forms that leaders have so far."""
        return [each.shortest.candidate.step for each in self._trials if each.shortest is not None]


@dataclass
class _Trials:
    """A leader, the cost ratios at which it leads, and what is tried of it: `now`, and once it is known what then."""

    leader: Record
    ratios: tuple[float, ...]
    following: Generator[Shorter, bool, None]
    num_left: int
    now: Shorter | None
    shortest: Record | None = None
    text: str = ""  # of what is proposed

    @classmethod
    def of(cls, leader: Record, ratios: tuple[float, ...], config: CampaignConfig) -> _Trials:
        source = baked(leader, config.head_dim)
        tidy(source)
        following = shorter(source, config.terms.shape)
        return cls(leader, ratios, following, config.simplify_trials, next(following, None))

    def proposal(self, step: int) -> Proposal:
        assert self.now is not None, "all has been tried"
        source, leader = self.now.source, self.leader.candidate
        words = "; ".join(map(_told, self.now.without))
        source.describe(f"{source.stem}{step}", source.idea, f"Without a part: {quoted(words)}.")
        self.text = source.text()
        why = f"{leader.name} with {words}"
        return Proposal(self.text, SIMPLIFIER, SIMPLER, (leader.program_digest,), why)

    def take(self, record: Record) -> None:
        """Go on from what came of the proposal if it attends as its leader does, from the one before if not."""
        is_ours = record.candidate.proposal.text == self.text  # where it is measured anew elsewhere, others may lead
        alike = is_ours and all(attend_alike(record, self.leader, ratio) for ratio in self.ratios)
        self.shortest = record if alike else self.shortest
        self.num_left -= 1
        try:
            self.now = self.following.send(alike) if self.num_left else None
        except StopIteration:
            self.now = None


def _may_be_shorter(record: Record, ratios: tuple[float, ...]) -> bool:
    """Say whether a leader was invented, and what it attends to is known."""
    is_invented = record.candidate.proposal.operator not in NOT_INVENTED
    return is_invented and all(attend_alike(record, record, ratio) for ratio in ratios)


def _told(words: str) -> str:
    """Tell in short what stands in place of what."""
    return " in place of ".join(
        each if len(each) <= TOLD else f"{each[:TOLD]}…" for each in words.split(" in place of ", 1)
    )
