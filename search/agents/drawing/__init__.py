"""New programs, drawn from the grammar."""
