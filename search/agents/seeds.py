"""The zoo as the first candidates of every campaign, at one small budget so that they can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.records import Proposal
from search.stages import SEED
from vortex_dsl import load_program, zoo

if TYPE_CHECKING:
    from search.config import CampaignConfig
    from search.records import Context

BUDGET = "pages"  # the tunable that says how many pages are chosen
CEILING = "oracle_mass"


def seed_proposals(config: CampaignConfig) -> tuple[Proposal, ...]:
    """Give a proposal for each seed at the small budget, then the oracle once more at the large one.

    Raises LookupError for a seed that the zoo does not have.
    """
    small = tuple(_seed(name, config.seed_pages) for name in config.seeds)
    return (*small, _seed(CEILING, config.ceiling_pages)) if CEILING in config.seeds else small


class Seeds:
    """The proposer of the first steps: step s is seed s."""

    name = "zoo"

    def __init__(self, config: CampaignConfig) -> None:
        self._proposals = seed_proposals(config)

    @property
    def num(self) -> int:
        """How many steps the seeds take."""
        return len(self._proposals)

    def propose(self, context: Context) -> Proposal:
        """Give the seed of this step."""
        return self._proposals[context.step]


def _seed(name: str, pages: int) -> Proposal:
    text = zoo.text(name)
    program = load_program(text)
    budget = ((BUDGET, pages),) if BUDGET in program.tunables else ()
    values = tuple(sorted((*budget, ("dense_layers", 0))))  # on a small model a dense layer hides the rule
    return Proposal(text, Seeds.name, SEED, rationale=program.doc, values=values)
