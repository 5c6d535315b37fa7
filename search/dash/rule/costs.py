"""What a decode step of a rule costs by the cost model: bytes by field, and by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.fit import at_ratio, traced
from vortex_dsl import ProgramError, Shape
from vortex_dsl.analysis.cost import cost_of
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.frontend.trace import field_names, gone_fields

if TYPE_CHECKING:
    from search.dash.rule.gathering import Rule
    from search.fit import Values
    from vortex_dsl.analysis.cost import Cost


class UncountedError(LookupError):
    """A rule's cost cannot be told. The message says why."""


@dataclass(frozen=True)
class FieldCost:
    """A field's bytes in each page."""

    name: str
    type: str
    storage: str
    num_bytes: int


@dataclass(frozen=True)
class Spending:
    """A cost with its circumstances: at which length, in a model of how many layers, with which values.

    `fields` have the names that the text gives them; `gone`: names of those that no field is called by any more.
    """

    cost: Cost
    fields: tuple[FieldCost, ...]
    gone: tuple[str, ...]
    num_layers: int
    values: Values


def fitted(rule: Rule, ratio: float) -> Values:
    """Give a rule's values with the budget of a cost ratio. Raises UncountedError."""
    try:
        return at_ratio(rule.record, ratio).candidate.proposal.values
    except (LookupError, ProgramError) as error:
        raise UncountedError(str(error)) from error


def shape_of(rule: Rule) -> Shape:
    """Give the shape of the model's attention. Raises UncountedError."""
    if rule.config is None:
        raise UncountedError("this version cannot read the settings of the rule's campaign, so its model is not known")
    return Shape(rule.config.group, rule.config.head_dim)


def spending(rule: Rule, ratio: float) -> Spending:
    """Tell what a rule costs at a cost ratio, at the longest judged length. Raises UncountedError."""
    shape, values = shape_of(rule), fitted(rule, ratio)
    assert rule.config is not None
    checked = rule.check(ratio)
    assert checked is not None
    tokens = max(rule.known.workloads[checked.key.workload_digest].all_lengths)
    try:
        program, graph = traced(rule.proposal.text, values, shape)
        cost = cost_of(graph, tokens, rule.config.num_layers)
    except ProgramError as error:
        raise UncountedError(str(error)) from error
    names = field_names(program, graph)
    fields = tuple(
        FieldCost(names.get(f.name, f.name), str(f.field.type), f.kind, f.num_bytes) for f in Layout(graph).fields
    )
    return Spending(cost, fields, tuple(gone_fields(program, graph)), rule.config.num_layers, values)
