"""What may be told: passwords are not, and what was odd about an answer is told to people alone."""
