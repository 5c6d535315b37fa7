"""From a graph as it was traced to the one that every backend runs."""
