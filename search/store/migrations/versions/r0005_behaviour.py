"""Programs that choose the same pages are found by what the screen noted of their choices."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index that finds them."""
    op.create_index("ix_evaluation_answers", "evaluation", ["answers"])


def downgrade() -> None:
    """Take the index away again."""
    op.drop_index("ix_evaluation_answers", "evaluation")
