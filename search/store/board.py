"""Reading the leaderboard: which rows, in which order, decided by the database."""

from __future__ import annotations

import ast
import operator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, case, func, literal, not_, or_, select

from search.parents import LEAST_RATIO
from search.ranking import conditions
from search.ranking.standing import Standing
from search.store import models

if TYPE_CHECKING:
    from search.records import Choice

Expression = SQLColumnExpression[Any]
COLUMNS = {column.key for column in models.Standing.__table__.columns}
# Fields that are columns of the same name. Lists are kept as text, and an id is the candidate's.
PLAIN = tuple(f.name for f in fields(Standing) if f.name in COLUMNS - {"id"} and not str(f.type).startswith("tuple"))
LENGTHS = ("lengths", "retrieval_lengths", "accuracy_lengths")
REFERENCE = func.coalesce(models.Standing.cost_ratio < LEAST_RATIO, False)
# Who asks an endpoint is charged tokens, also where they cost nothing.
IS_ASKED = or_(models.Candidate.prompt_tokens > 0, models.Candidate.dollars > 0)
# What a condition or an order may speak of besides.
EXPRESSIONS: dict[str, Expression] = {
    "id": models.Standing.candidate_id,
    "name": models.Candidate.name,
    "digest": models.Standing.program_digest,
    "origin": models.Candidate.proposer + "/" + models.Candidate.operator,
    "model": models.Campaign.model,
    "campaign": models.Standing.campaign_id,
    "environment": models.Standing.environment_digest,
    "reference": REFERENCE,
    "dollars": case((IS_ASKED, models.Candidate.dollars)),
}
COMPARE = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def query(campaign_id: int | None, limit: int | None, choice: Choice) -> Select[Any]:
    """Give the query for the chosen rows, each with its candidate, its campaign and its environment."""
    row = models.Standing
    found = (
        select(row, models.Candidate, models.Campaign, models.Environment.definition)
        .join(models.Candidate, models.Candidate.id == row.candidate_id)
        .join(models.Campaign, models.Campaign.id == row.campaign_id)
        .outerjoin(models.Environment, models.Environment.digest == row.environment_digest)
        .where(*chosen(campaign_id, choice))
        .order_by(*order(choice.sort))
    )
    return found.limit(limit)


def standing(
    row: models.Standing, candidate: models.Candidate, campaign: models.Campaign, environment: dict[str, str] | None
) -> Standing:
    """Read a row of the leaderboard."""
    versions = {k: v for k, v in (environment or {}).items() if k not in ("device", "dtype", "commit") and v}
    plain = {name: getattr(row, name) for name in PLAIN}
    lengths: dict[str, Any] = {name: _numbers(getattr(row, name)) for name in LENGTHS}
    return Standing(
        id=row.candidate_id,
        name=candidate.name,
        digest=row.program_digest,
        origin=f"{candidate.proposer}/{candidate.operator}",
        parents=tuple(candidate.parents),
        model=campaign.model,
        campaign=campaign.id,
        environment=row.environment_digest,
        dollars=candidate.dollars if candidate.prompt_tokens or candidate.dollars else None,
        reference=row.cost_ratio is not None and row.cost_ratio < LEAST_RATIO,
        versions=tuple(sorted(versions.items())),
        **lengths,
        **plain,
    )


def _numbers(written: str) -> tuple[int, ...]:
    return tuple(int(number) for number in written.split(",") if number)


def chosen(campaign_id: int | None, choice: Choice) -> list[ColumnElement[bool]]:
    """Give the conditions of a choice. Raises ConditionError."""
    row = models.Standing
    found: list[ColumnElement[bool]] = []
    if campaign_id is not None:
        found.append(row.campaign_id == campaign_id)
    if choice.ratio is not None:
        found.append(row.ratio == choice.ratio)
    if choice.model:
        digest = row.model_digest.startswith(choice.model, autoescape=True)
        found.append(or_(models.Campaign.model == choice.model, digest))
    if choice.device:
        found.append(func.lower(row.device).contains(choice.device.lower(), autoescape=True))
    if choice.where:
        found.append(_condition(conditions.parse(choice.where)))
    return found


def order(sort: str) -> list[Expression]:
    """Order by one field, or best first; ratios stand apart, and references last. Raises ConditionError."""
    row = models.Standing
    asked: list[Expression] = []
    if sort:
        name, falling = conditions.order_of(sort)
        column = _column(name)
        asked = [(column.desc() if falling else column.asc()).nulls_last()]
    return [
        *asked,
        row.ratio == literal(0.0),
        row.ratio,
        REFERENCE,
        row.kl.asc().nulls_last(),
        row.retrieval_loss.asc().nulls_last(),
        row.accuracy.desc().nulls_last(),
        row.speedup.desc().nulls_last(),
        row.bytes_per_page.asc().nulls_last(),
        row.candidate_id,
        row.environment_digest,
        row.id,
    ]


def _condition(node: ast.expr) -> ColumnElement[bool]:
    """Translate a checked condition."""
    if isinstance(node, ast.BoolOp):
        return (and_ if isinstance(node.op, ast.And) else or_)(*map(_condition, node.values))
    if isinstance(node, ast.UnaryOp):
        return not_(_condition(node.operand))
    if isinstance(node, ast.Compare):
        sides = [_value(each) for each in (node.left, *node.comparators)]
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        return and_(*(COMPARE[type(sign)](left, right) for left, sign, right in pairs))
    return _value(node)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return _column(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        return _constant(-node.operand.value)  # type: ignore[operator]
    assert isinstance(node, ast.Constant), "conditions.parse lets nothing else pass"
    return _constant(node.value)


def _constant(value: Any) -> Any:
    """Give a number or text to compare with; whole numbers of databases have 64 bits, others compare as fractions."""
    return literal(float(value) if isinstance(value, int) and abs(value) >= 2**63 else value)


def _column(name: str) -> Any:
    return EXPRESSIONS[name] if name in EXPRESSIONS else getattr(models.Standing, name)
