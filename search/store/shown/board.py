"""Reading the leaderboard: which rows, in which order, decided by the database."""

from __future__ import annotations

import ast
import json
import operator
from dataclasses import dataclass, fields
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, case, func, literal, not_, or_, select
from sqlalchemy.orm import aliased

from search.parents import LEAST_RATIO
from search.ranking import conditions
from search.ranking.conditions import ConditionError
from search.ranking.standing import Standing
from search.store import models, rows
from search.store.derived.place import BEYOND, at, is_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

    from search.records import Choice

Expression = SQLColumnExpression[Any]
Versions = tuple[tuple[str, str], ...]
ROW = models.Standing
NAMED = aliased(models.Campaign)  # those of a model, beside the one that a row is of
COLUMNS = {column.key: column for column in ROW.__table__.columns}
# Texts of which a million rows have few.
SHARED = ("device", "dtype", "evaluator_version", "model", "model_digest", "status", "target", "workload")
# Fields that are columns of the same name. Lists are kept as text, and an id is the candidate's.
PLAIN = tuple(
    f.name
    for f in fields(Standing)
    if f.name in COLUMNS.keys() - {"id", *SHARED} and not str(f.type).startswith("tuple")
)
LENGTHS = ("lengths", "retrieval_lengths", "accuracy_lengths")
REFERENCE = func.coalesce(ROW.cost_ratio < LEAST_RATIO, False)
# Who asks an endpoint is charged tokens, also where they cost nothing.
IS_ASKED = or_(models.Candidate.prompt_tokens > 0, models.Candidate.dollars > 0)
DOLLARS = case((IS_ASKED, models.Candidate.dollars))
SHOWN = (
    *(getattr(ROW, name) for name in (*PLAIN, *LENGTHS, *SHARED) if name in COLUMNS),
    ROW.candidate_id,
    ROW.program_digest,
    ROW.environment_digest,
    ROW.place,
    models.Candidate.name,
    models.Candidate.proposer,
    models.Candidate.operator,
    models.Candidate.parents,
    DOLLARS.label("dollars"),
    models.Campaign.id.label("campaign"),
    models.Campaign.model,
)
# Built once: building it costs more than a database takes to answer.
ALL = (
    select(*SHOWN)
    .join(models.Candidate, models.Candidate.id == ROW.candidate_id)
    .join(models.Campaign, models.Campaign.id == ROW.campaign_id)
)
# What a condition or an order may speak of besides.
EXPRESSIONS: dict[str, Expression] = {
    "id": ROW.candidate_id,
    "name": models.Candidate.name,
    "digest": ROW.program_digest,
    "origin": models.Candidate.proposer + "/" + models.Candidate.operator,
    "model": models.Campaign.model,
    "campaign": ROW.campaign_id,
    "environment": ROW.environment_digest,
    "reference": REFERENCE,
    "dollars": DOLLARS,
}
NULLABLE = {"dollars", *(name for name, column in COLUMNS.items() if column.nullable)}
MOST_AT_ONCE = 1000  # ids in one question: databases take so many values, and no more
COMPARE = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Page:
    """Rows of the leaderboard in their order, and after what the next page begins: nothing where there is none."""

    standings: list[Standing]
    next: str = ""


def page(session: Session, campaign_id: int | None, limit: int | None, choice: Choice, after: str = "") -> Page:
    """Read the rows that `choice` chooses, best first or sorted by one field; `after` is what the page before told.

    A page costs the same wherever it begins. Raises `search.ranking.conditions.ConditionError`.
    """
    begins = _Mark.parse(after) if after else None
    with rows.UNCOLLECTED:
        return _page(session, campaign_id, limit, choice, begins)


def _page(session: Session, campaign_id: int | None, limit: int | None, choice: Choice, begins: _Mark | None) -> Page:
    found: list[Any] = []
    for part in parts(session, campaign_id, choice, begins):
        left = None if limit is None else limit + 1 - len(found)
        if left is None or left > 0:
            found += session.execute(part.limit(left)).all()
    shown = found if limit is None else found[:limit]
    known = environments(session, {row.environment_digest for row in shown})
    is_last = len(found) == len(shown) or not shown
    mark = "" if is_last else str(_Mark(shown[-1].place, getattr(shown[-1], "sorted_by", None)))
    return Page([standing(row, known) for row in shown], mark)


def of_ids(session: Session, ids: Sequence[int]) -> list[Standing]:
    """Give rows by their own ids (not their candidates'), in this order."""
    own = ALL.add_columns(ROW.id.label("own_id"))
    found: list[Any] = []
    for start in range(0, len(ids), MOST_AT_ONCE):
        found += session.execute(own.where(ROW.id.in_(ids[start : start + MOST_AT_ONCE]))).all()
    known = environments(session, {row.environment_digest for row in found})
    by_id = {row.own_id: standing(row, known) for row in found}
    return [by_id[each] for each in ids]


def order(sort: str) -> list[Expression]:
    """Order by one field, rows without it last, or best first. Raises ConditionError."""
    if not sort:
        return [ROW.place]
    name, falling = conditions.order_of(sort)
    column = _column(name)
    return [(column.desc() if falling else column.asc()).nulls_last(), ROW.place]


@dataclass(frozen=True)
class _Mark:
    """The last row of a page: where it stands, and the figure by which rows are sorted, if it has one."""

    place: bytes
    figure: Any = None

    @classmethod
    def parse(cls, written: str) -> _Mark:
        try:
            place, figure = json.loads(written)
            return cls(bytes.fromhex(place), figure)
        except (ValueError, TypeError) as error:
            raise ConditionError(f"{written[:80]!r} is not what a page of the leaderboard ends with") from error

    def __str__(self) -> str:
        return json.dumps([self.place.hex(), self.figure])


def parts(
    session: Session, campaign_id: int | None, choice: Choice, begins: _Mark | None = None
) -> Iterator[Select[Any]]:
    """Give the queries whose rows follow each other: of those sorted by a figure, first the rows that have it.

    So an index does for both, whatever a database holds of NULL.
    """
    asked = ALL.where(*chosen(campaign_id, choice))
    behind = [] if begins is None else [ROW.place > begins.place]
    if not choice.sort:
        yield asked.where(*behind).order_by(ROW.place)
        return
    if session.get_bind().dialect.name == "sqlite" and choice.ratio is not None:
        # It knows of no distribution: an index by campaign would lead it through the rows of all other ratios first.
        mine = [] if campaign_id is None else [ROW.campaign_id + 0 == campaign_id]
        asked = ALL.where(*mine, *chosen(None, choice))
    name, falling = conditions.order_of(choice.sort)
    column = _column(name)
    figure = column.label("sorted_by")
    is_among = begins is None or begins.figure is not None
    if is_among:
        further = [] if begins is None else [_further(column, begins, falling)]
        order = column.desc() if falling else column.asc()
        yield asked.add_columns(figure).where(column.is_not(None), *further).order_by(order, ROW.place)
    if name in NULLABLE:
        unknown = asked.add_columns(figure).where(column.is_(None), *([] if is_among else behind))
        yield unknown.order_by(ROW.place)


def _further(column: Expression, begins: _Mark, falling: bool) -> ColumnElement[bool]:
    beyond = column < begins.figure if falling else column > begins.figure
    return or_(beyond, and_(column == begins.figure, ROW.place > begins.place))


def environments(session: Session, digests: set[str]) -> dict[str, Versions]:
    """Read the versions of what is in a few environments, each once."""
    row = models.Environment
    found = session.execute(select(row.digest, row.definition).where(row.digest.in_(digests)))
    return {digest: _versions(definition) for digest, definition in found.tuples()}


def _versions(definition: dict[str, str]) -> Versions:
    return tuple(sorted((k, v) for k, v in definition.items() if k not in ("device", "dtype", "commit") and v))


def standing(row: Any, known: dict[str, Versions]) -> Standing:
    """Read a row of `ALL`; `known`: the versions of environments by their digests."""
    plain = dict(zip(PLAIN, row, strict=False))  # `SHOWN` begins with them: by name they would take thrice as long
    lengths: dict[str, Any] = {name: _numbers(getattr(row, name)) for name in LENGTHS}
    shared: dict[str, Any] = {name: intern(getattr(row, name)) for name in SHARED}
    return Standing(
        id=row.candidate_id,
        name=row.name,
        digest=row.program_digest,
        origin=intern(f"{row.proposer}/{row.operator}"),
        parents=tuple(row.parents),
        campaign=row.campaign,
        environment=intern(row.environment_digest),
        dollars=row.dollars,
        reference=is_reference(row.cost_ratio),
        versions=known.get(row.environment_digest, ()),
        **lengths,
        **shared,
        **plain,
    )


@lru_cache(maxsize=1024)
def _numbers(written: str) -> tuple[int, ...]:
    return tuple(int(number) for number in written.split(",") if number)


def chosen(campaign_id: int | None, choice: Choice) -> list[ColumnElement[bool]]:
    """Give the conditions of a choice. Raises ConditionError."""
    row = ROW
    found: list[ColumnElement[bool]] = []
    if campaign_id is not None:
        found.append(row.campaign_id == campaign_id)
    if choice.ratio is not None:
        found.append(row.ratio == choice.ratio)
        if not choice.sort:  # then the rows of a ratio lie together
            found.append(row.place.between(at(choice.ratio), at(choice.ratio) + BEYOND))
    if choice.model:
        digest = row.model_digest.startswith(choice.model, autoescape=True)
        found.append(or_(row.campaign_id.in_(select(NAMED.id).where(NAMED.model == choice.model)), digest))
    if choice.device:
        found.append(func.lower(row.device).contains(choice.device.lower(), autoescape=True))
    if choice.where:
        found.append(_condition(conditions.parse(choice.where)))
    return found


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
    return EXPRESSIONS[name] if name in EXPRESSIONS else getattr(ROW, name)
