"""Candidates come with hypotheses and notes. Of older ones nothing was predicted or noted."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make both tables, empty."""
    _create("hypothesis", "text", "prediction")
    _create("note", "kind", "text")


def _create(name: str, *texts: str) -> None:
    """Make a table of a candidate's entries, numbered from 0."""
    op.create_table(
        name,
        sa.Column("candidate_id", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        *(sa.Column(each, sa.Text(), nullable=False) for each in texts),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidate.id"], name=f"fk_{name}_candidate_id"),
        sa.PrimaryKeyConstraint("candidate_id", "position", name=f"pk_{name}"),
    )


def downgrade() -> None:
    """Take both away again."""
    op.drop_table("note")
    op.drop_table("hypothesis")
