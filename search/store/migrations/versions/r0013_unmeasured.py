"""What a step was settled without by our own fault is kept, so that a replay can tell what later steps knew of it.

Of older campaigns nothing is known: what was measured of them later counts as if it had been measured at once.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, PrimaryKeyConstraint, Text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "unmeasured",
        Column("candidate_id", ID, ForeignKey("candidate.id", name="fk_unmeasured_candidate_id"), nullable=False),
        Column("evaluation_id", ID, ForeignKey("evaluation.id", name="fk_unmeasured_evaluation_id"), nullable=False),
        Column("status", Text(), nullable=False),
        Column("message", Text(), nullable=False),
        Column("until", BigInteger(), nullable=True),
        Column("resumed", BigInteger(), nullable=True),
        PrimaryKeyConstraint("candidate_id", "evaluation_id", name="pk_unmeasured"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("unmeasured")
