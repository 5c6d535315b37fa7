"""Standings say in which dtype engines ran. Where it was not noted nobody can say, so it stays empty."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what was measured before, the dtype is not known."""
    op.add_column("standing", sa.Column("dtype", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Take the column away again."""
    op.drop_column("standing", "dtype")
