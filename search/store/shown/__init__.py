"""What people read of the ledger: the leaderboard, how far campaigns are, and candidates by what people type."""
