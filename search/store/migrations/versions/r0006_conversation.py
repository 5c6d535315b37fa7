"""What a language model was asked and what it answered, kept beside the candidate that came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nothing was kept of candidates before it."""
    op.add_column("candidate", sa.Column("conversation", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Take the column away again, and what was kept with it."""
    op.drop_column("candidate", "conversation")
