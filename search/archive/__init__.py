"""What a campaign has found so far, step by step, and what each step may know of it."""
