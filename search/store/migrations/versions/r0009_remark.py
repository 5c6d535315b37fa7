"""People write tags and notes beside candidates, and the rows of one section are found at once."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import CheckConstraint, Column, ForeignKey, PrimaryKeyConstraint, Text, UniqueConstraint

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SECTION = (
    "workload", "model_digest", "environment_digest", "evaluator_version", "lengths", "ratio", "campaign_id", "kl",
)  # fmt: skip


def upgrade() -> None:
    """Make the table and the index."""
    op.create_table(
        "remark",
        _required("id", ID),
        _required("candidate_id", ID, ForeignKey("candidate.id", name="fk_remark_candidate_id")),
        _required("kind", Text()),
        _required("text", Text()),
        _required("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
        PrimaryKeyConstraint("id", name="pk_remark"),
        UniqueConstraint("candidate_id", "kind", "text", name="uq_remark_candidate_id"),
        CheckConstraint("kind IN ('tag', 'note')", name="ck_remark_kind"),
    )
    op.create_index("ix_remark_kind_text", "remark", ["kind", "text"])
    op.create_index("ix_standing_section", "standing", list(SECTION))


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_standing_section", "standing")
    op.drop_table("remark")


def _required(name: str, kind: Any, *arguments: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, *arguments, nullable=False, **options)
