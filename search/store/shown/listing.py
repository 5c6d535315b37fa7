"""All rows of the leaderboard that are chosen, one after the other: of a million of them few are held at a time."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from search.ranking.front import front_of
from search.store.shown import board, sections
from search.store.shown.fronts import HAS_LOSS, IS_RULE, RANKED, Ranked, of_sections

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from search.ranking.standing import Standing
    from search.records import Choice

Row = TypeVar("Row")
BATCH = 500  # rows that are fetched at a time


def listing(session: Session, campaign_id: int | None, choice: Choice) -> Iterator[tuple[Standing, bool]]:
    """Give each row in the order of `board.page`, and whether it is on the front of those that are chosen.

    Raises `search.ranking.conditions.ConditionError`.
    """
    leading = {each.id for rules in _ranked(session, campaign_id, choice) for each in front_of(rules)}
    environments: dict[str, board.Versions] = {}
    for part in board.parts(session, campaign_id, choice):
        read = session.execute(part.add_columns(board.ROW.id.label("own_id")), execution_options={"yield_per": BATCH})
        for rows in read.partitions():
            new = {row.environment_digest for row in rows} - environments.keys()
            environments |= board.environments(session, new) if new else {}
            yield from ((board.standing(row, environments), row.own_id in leading) for row in rows)


def begun(rows: Iterator[Row]) -> Iterator[Row]:
    """Read the first row now, so that what cannot be asked, or a database that is away, is known at once."""
    return itertools.chain(list(itertools.islice(rows, 1)), rows)


def _ranked(session: Session, campaign_id: int | None, choice: Choice) -> Iterable[list[Ranked]]:
    """Give by section the rules that have a loss and were not stopped, in the order of the rows."""
    if not (choice.where or choice.sort):
        return (found for _, found in of_sections(session, campaign_id, choice))
    divided: dict[tuple[Any, ...], list[Ranked]] = defaultdict(list)
    for part in board.parts(session, campaign_id, choice):
        for row in session.execute(_slim(part), execution_options={"yield_per": BATCH}):
            divided[tuple(row[len(RANKED) :])].append(Ranked(*row[: len(RANKED)]))
    return divided.values()


def _slim(part: Select[Any]) -> Select[Any]:
    columns = part.with_only_columns(*RANKED, *sections.COLUMNS, maintain_column_froms=True)
    return columns.where(HAS_LOSS, IS_RULE)
