"""What is kept back for a question to a language model stands in the ledger until a candidate has paid for it.

Of what older versions asked and never recorded nothing is known.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, ForeignKey, PrimaryKeyConstraint, Text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "question",
        Column("id", Text(), nullable=False),
        Column("campaign_id", ID, ForeignKey("campaign.id", name="fk_question_campaign_id"), nullable=False),
        Column("step", BigInteger(), nullable=False),
        Column("proposer", Text(), nullable=False),
        Column("model", Text(), nullable=False),
        Column("dollars", Double(), nullable=False),
        Column("heard", Boolean(), nullable=False, server_default=sa.false()),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        PrimaryKeyConstraint("id", name="pk_question"),
    )
    op.create_index("ix_question_campaign_id", "question", ["campaign_id"])


def downgrade() -> None:
    """Drop it, and what it counted."""
    op.drop_table("question")
