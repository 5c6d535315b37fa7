"""A quick look at a program: the attention that it keeps on recorded queries, beside programs that are known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.bounds import terms_of
from search.contracts import LookError
from search.fit import fit, traced
from search.parents import BEFORE_ENGINES, SEED, is_sparse
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.contracts import Looker
    from search.fit import Fitted
    from search.records import Context, Measurement, Proposal, Record

NUM_LAYERS = 6  # that are named: those in which most is lost
PARENT, PUBLISHED = "the parent", "the best published rule"
NOTHING_RECORDED = "there is no look yet: no program of this campaign has been compared on the model's attention so far"


@dataclass(frozen=True)
class Seen:
    """What one program keeps of dense attention at a cost ratio, 0 for as written.

    figures: by name, shares of the attention weights, averaged over rows of a text, a KV head and a layer each. `mass`
    is what is kept and `oracle_mass` what as many best pages would keep; with `_layer_<i>` and `_kind_<kind>` those
    of one layer and one kind of text.
    """

    name: str
    figures: Mapping[str, float]
    role: str = ""

    @property
    def mass(self) -> float:
        """Give the share of the attention that is kept."""
        return self.figures["mass"]

    def pairs(self, part: str) -> dict[str, tuple[float, float]]:
        """Give what is kept and what could be, by the names of parts: "layer" or "kind"."""
        names = [re.fullmatch(f"mass_{part}_(.+)", name) for name in self.figures]
        found = [match[1] for match in names if match]
        return {
            name: (self.figures[f"mass_{part}_{name}"], self.figures[f"oracle_mass_{part}_{name}"]) for name in found
        }


@dataclass(frozen=True)
class Look:
    """One program at a cost ratio beside others: its parents and the best published rule, as far as there are any."""

    ratio: float
    budget: str
    own: Seen
    others: tuple[Seen, ...]

    @property
    def is_best(self) -> bool:
        """Whether it keeps more than everything that it is compared with."""
        return all(self.own.mass > other.mass for other in self.others)

    def told(self) -> str:
        """Say it in Markdown, a few lines."""
        lines = [self._whole(), *(self._beside(other) for other in self.others), self._by_kind(), self._by_layer()]
        return "\n".join(line for line in lines if line)

    def _whole(self) -> str:
        own = self.own.figures
        at = f"at a cost ratio of {self.ratio:g}" if self.ratio else "as written"
        return (
            f"{self.own.name} {at}{self.budget} keeps {own['mass']:.3f} of the model's attention on recorded queries; "
            f"as many pages would keep {own['oracle_mass']:.3f} if they were the best, {own['random_mass']:.3f} by lot."
        )

    def _beside(self, other: Seen) -> str:
        return f"* {other.role}, {other.name}, keeps {other.mass:.3f} ({self.own.mass - other.mass:+.3f} for yours)"

    def _by_kind(self) -> str:
        kinds = self.own.pairs("kind")
        if len(kinds) < 2:
            return ""
        parts = (f"{name} {kept:.3f} of {best:.3f}{self._theirs('kind', name)}" for name, (kept, best) in kinds.items())
        return f"By kind of text, kept of what the best pages hold: {'; '.join(parts)}"

    def _by_layer(self) -> str:
        layers = sorted(self.own.pairs("layer").items(), key=lambda each: each[1][0] - each[1][1])
        worst = sorted(layers[:NUM_LAYERS], key=lambda each: int(each[0]))
        parts = (f"layer {name} {kept:.3f} of {best:.3f}{self._theirs('layer', name)}" for name, (kept, best) in worst)
        return f"It loses most in these, kept of what the best pages hold: {'; '.join(parts)}" if worst else ""

    def _theirs(self, part: str, name: str) -> str:
        known = ((other.name, other.pairs(part).get(name)) for other in self.others)
        told = ", ".join(f"{other} {pair[0]:.3f}" for other, pair in known if pair)
        return f" ({told})" if told else ""


def look(proposal: Proposal, ratio: float, context: Context, looker: Looker, parents: Sequence[Record] = ()) -> Look:
    """Look at a proposal with the budget that a cost ratio leaves it (0: as written), and at others beside it.

    Raises LookError where there is nothing to look at or the proposal does not reach the ratio, and ProgramError.
    """
    if not is_recorded(context):
        raise LookError(NOTHING_RECORDED)
    program, _ = traced(proposal.text, proposal.values, terms_of(context).shape)
    fitted = fit(proposal.text, proposal.values, terms_of(context), ratio)
    if fitted.refusal:
        raise LookError(fitted.refusal)
    own = Seen(program.name, _figures(proposal, fitted, looker))
    best = published(context, ratio)
    roles = {record.candidate.step: (PARENT, record) for record in parents}
    if best is not None:
        roles.setdefault(best.candidate.step, (PUBLISHED, best))
    others = (_known(record, role, ratio, context, looker) for role, record in roles.values())
    budget = "" if fitted.budget is None else f", with a budget of {fitted.budget:g},"
    return Look(ratio, budget, own, tuple(each for each in others if each))


def is_recorded(context: Context) -> bool:
    """Whether the model's attention has been recorded, as far as the context tells: by a stage that needs it."""
    return any(
        evaluation.key.stage in BEFORE_ENGINES and evaluation.status in (Status.OK, Status.BELOW_GATE)
        for record in reversed(context.records)
        for evaluation in record.evaluations
    )


def statistics_of(looker: Looker | None, context: Context) -> tuple[Measurement, ...]:
    """Describe the model's queries and keys; nothing where they are not recorded, or not here."""
    if looker is None or not is_recorded(context):
        return ()
    try:
        return looker.statistics()
    except LookError:
        return ()


def published(context: Context, ratio: float) -> Record | None:
    """Give the published rule that keeps most of the attention at a cost ratio, by what was measured of all."""
    known = [r for r in context.records if r.candidate.proposal.operator == SEED and is_sparse(r, ratio)]
    masses = [(each, -r.candidate.step, r) for r in known if (each := _measured(r, ratio)) is not None]
    return max(masses, key=lambda each: each[:2])[2] if masses else None


def _measured(record: Record, ratio: float) -> float | None:
    found = (record.value(stage, "mass", ratio) for stage in (Stage.RECALL, Stage.SCREEN))
    return next((each for each in found if each is not None), None)


def _known(record: Record, role: str, ratio: float, context: Context, looker: Looker) -> Seen | None:
    """Look at a program that was admitted, None where it does not reach the ratio."""
    proposal = record.candidate.proposal
    fitted = fit(proposal.text, proposal.values, terms_of(context), ratio)
    return None if fitted.refusal else Seen(record.candidate.name, _figures(proposal, fitted, looker), role)


def _figures(proposal: Proposal, fitted: Fitted, looker: Looker) -> dict[str, float]:
    return {each.name: each.value for each in looker.look(proposal.text, fitted.values)}
