"""Evaluations say whether they had begun: only then does a lost owner count against the program.

Deaths that were counted before did not tell what ran from what waited, so those of unfinished rows start anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nothing has begun."""
    op.add_column("evaluation", sa.Column("begun", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE evaluation SET num_deaths = 0 WHERE status IS NULL")


def downgrade() -> None:
    """Take the column away again."""
    op.drop_column("evaluation", "begun")
