"""Keeps the place of the journal, which comes with a branch of its own: whoever merges replaces this file."""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing."""


def downgrade() -> None:
    """Change nothing."""
