"""What agents predicted before it was measured, what the numbers said, and what they noted of it."""
