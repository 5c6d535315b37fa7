"""What is derived from evaluations and written anew with each: rows of the leaderboard, and counts."""
