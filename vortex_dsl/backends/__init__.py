"""What runs a graph: the reference, and what is judged by it."""
