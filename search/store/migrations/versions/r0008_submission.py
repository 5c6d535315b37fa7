"""Agents from outside bring proposals, which wait here for a step."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, ForeignKey, PrimaryKeyConstraint, Text, UniqueConstraint

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "submission",
        _required("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        _required("campaign_id", sa.BigInteger(), ForeignKey("campaign.id", name="fk_submission_campaign_id")),
        Column("step", sa.BigInteger()),
        _required("source_digest", Text(), ForeignKey("source.digest", name="fk_submission_source_digest")),
        _required("values", sa.JSON()),
        _required("proposer", Text()),
        _required("operator", Text()),
        _required("parents", sa.JSON()),
        _required("rationale", Text()),
        _required("hypotheses", sa.JSON()),
        _required("notes", sa.JSON()),
        _required("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
        PrimaryKeyConstraint("id", name="pk_submission"),
        UniqueConstraint("campaign_id", "step", name="uq_submission_campaign_id"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("submission")


def _required(name: str, kind: Any, *arguments: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, *arguments, nullable=False, **options)
