"""Rows have places, campaigns counts and evaluations commits: what is asked of a million rows an index answers.

Places and counts are derived: whoever upgrades writes them anew. Of older evaluations no commit is known. On PostgreSQL
digests are ordered by bytes from here on, as on SQLite all along, so that an index helps to find one by its beginning.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Double, ForeignKey, LargeBinary, PrimaryKeyConstraint, Text

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SORTED = ("kl", "retrieval_loss", "accuracy", "recall", "speedup", "modelled_speedup")
BY_BEGINNING = ("candidate", "evaluation")


def upgrade() -> None:
    """Make room for them, with indexes."""
    for table in BY_BEGINNING:
        _order(table, "C")
    op.create_table(
        "tally",
        Column("campaign_id", ID, ForeignKey("campaign.id", name="fk_tally_campaign_id"), nullable=False),
        Column("kind", Text(), nullable=False),
        Column("name", Text(), nullable=False),
        Column("number", Double(), nullable=False),
        PrimaryKeyConstraint("campaign_id", "kind", "name", name="pk_tally"),
    )
    op.add_column("evaluation", Column("commit", Text(), nullable=False, server_default=""))
    op.add_column("standing", Column("place", LargeBinary(), nullable=False, server_default=sa.text("''")))
    op.drop_index("ix_standing_campaign_id_ratio_kl", "standing")
    op.drop_index("ix_standing_ratio_kl", "standing")
    op.create_index("ix_standing_place", "standing", ["place"])
    op.create_index("ix_standing_campaign_id_place", "standing", ["campaign_id", "place"])
    for name in SORTED:
        for columns in _columns(name):
            _index(f"ix_standing_{'_'.join(columns)}", "standing", columns, f"{name} IS NOT NULL")
    _index("ix_evaluation_lease_until", "evaluation", ["lease_until"], "lease_until IS NOT NULL")


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_evaluation_lease_until", "evaluation")
    for columns in (each for name in SORTED for each in _columns(name)):
        op.drop_index(f"ix_standing_{'_'.join(columns)}", "standing")
    op.drop_index("ix_standing_campaign_id_place", "standing")
    op.drop_index("ix_standing_place", "standing")
    op.create_index("ix_standing_ratio_kl", "standing", ["ratio", "kl"])
    op.create_index("ix_standing_campaign_id_ratio_kl", "standing", ["campaign_id", "ratio", "kl"])
    op.drop_column("standing", "place")
    op.drop_column("evaluation", "commit")
    op.drop_table("tally")
    for table in BY_BEGINNING:
        _order(table, "default")


def _order(table: str, collation: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f'ALTER TABLE {table} ALTER COLUMN program_digest TYPE text COLLATE "{collation}"')


def _columns(figure: str) -> list[list[str]]:
    return [[*within, figure, "place"] for within in ((), ("ratio",), ("campaign_id",))]


def _index(name: str, table: str, columns: list[str], condition: str) -> None:
    which: Any = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=which, postgresql_where=which)
