"""Keeps the place of conversations, which comes with a branch of its own: whoever merges replaces this file."""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing."""


def downgrade() -> None:
    """Change nothing."""
