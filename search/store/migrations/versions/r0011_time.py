"""Campaigns count what has ended by split and cost ratio too, and the seconds that workers took.

No column changes: counts are derived, and whoever upgrades writes them anew.
"""

from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TALLY = sa.table("tally", *map(sa.column, ("campaign_id", "kind", "name", "number")))
MEASURED = "measured"


def upgrade() -> None:
    """Nothing: see above."""


def downgrade() -> None:
    """Count by stage and status alone, what is held out aside."""
    connection, found = op.get_bind(), Counter[tuple[int, str]]()
    measured = sa.select(TALLY.c.campaign_id, TALLY.c.name, TALLY.c.number).where(TALLY.c.kind == MEASURED)
    for campaign_id, name, number in connection.execute(measured):
        stage, split, _, status = name.split("/")
        if split != "held_out":
            found[campaign_id, f"{stage}/{status}"] += number
    connection.execute(sa.delete(TALLY).where(TALLY.c.kind.in_((MEASURED, "ran", "took"))))
    kept = [
        {"campaign_id": campaign_id, "kind": MEASURED, "name": name, "number": number}
        for (campaign_id, name), number in found.items()
    ]
    if kept:
        connection.execute(sa.insert(TALLY), kept)
