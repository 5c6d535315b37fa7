"""The zoo as the first candidates of every campaign: published rules, and yardsticks beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.parents import GIVEN, REFERENCE, SEED
from search.records import Proposal
from vortex_dsl import load_program, zoo
from vortex_dsl.tunables import BUDGET

if TYPE_CHECKING:
    from search.config import CampaignConfig
    from search.records import Context
    from vortex_dsl.frontend.program import Program

CEILING = "oracle_mass"
ORACLES = (CEILING, "oracle_max")  # they read every key to choose, so that no budget makes them cheap
REFERENCES = ("dense", *ORACLES)


def seed_proposals(config: CampaignConfig) -> tuple[Proposal, ...]:
    """Give a proposal for each seed.

    Where a campaign has cost ratios, dense attention and the oracles are yardsticks, these with as many pages as each
    ratio would buy if choosing cost nothing. Where it has none, every seed has the small budget, and the oracle stands
    there once more with the large one. The programs that a person gave follow, as they are written. Raises LookupError
    for a seed that the zoo does not have, ProgramError for a text that is no program.
    """
    return (*_published(config), *(given(load_program(each.text)) for each in config.seed_programs))


def given(program: Program) -> Proposal:
    """Propose what a person gives. Like a seed it goes through every stage, whatever its numbers."""
    return Proposal(program.text, GIVEN, SEED, rationale=program.doc, values=tuple(sorted(program.overrides)))


def _published(config: CampaignConfig) -> tuple[Proposal, ...]:
    if config.ratios:
        return tuple(proposal for name in config.seeds for proposal in _at_ratios(name, config))
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


def _at_ratios(name: str, config: CampaignConfig) -> list[Proposal]:
    if name not in REFERENCES:
        return [_seed(name)]
    if name not in ORACLES:
        return [_seed(name, operator=REFERENCE)]
    program = load_program(zoo.text(name))
    page_size, sink, window = (int(program.values[each]) for each in ("page_size", "sink", "window"))
    num_pages = min(config.terms.lengths) / page_size
    bought = {max(1, int(num_pages / ratio) - sink - window) for ratio in config.ratios}
    return [_seed(name, pages, REFERENCE) for pages in sorted(bought, reverse=True)]


def _seed(name: str, pages: int | None = None, operator: str = SEED) -> Proposal:
    text = zoo.text(name)
    program = load_program(text)
    budget = ((BUDGET, pages),) if pages is not None and BUDGET in program.tunables else ()
    values = tuple(sorted((*budget, ("dense_layers", 0))))  # on a small model a dense layer hides the rule
    return Proposal(text, Seeds.name, operator, rationale=program.doc, values=values)
