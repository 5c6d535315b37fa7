"""What is known where nothing has been through an engine yet: rules by recall, which ranks nobody."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from search.ranking.front import circumstance
from search.records import Choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.contracts import Ledger
    from search.ranking.front import Front
    from search.ranking.standing import Standing

MOST = 10  # rules of a section


def recalled(ledger: Ledger, campaign: int | None, front: Front, most: int | None = None) -> Sequence[Standing]:
    """Give the best rules by recall of a section on whose front nobody is; nothing of any other."""
    if front.members or not front.num_unranked:
        return ()
    first = front.first
    names = ("workload", "model_digest", "environment", "evaluator_version")
    same = (f"{name} == {getattr(first, name)!r}" for name in names)
    where = " and ".join(("recall >= 0", "status == 'ok'", "not reference", *same))
    found = ledger.listed(campaign, Choice(ratio=first.ratio, where=where, sort="recall"))
    mine = (row for row, _ in found if circumstance(row) == circumstance(first))
    return tuple(islice(mine, most or MOST))
