"""Who is asked for each step of a campaign, what is asked at a time, and which candidates come of it."""
