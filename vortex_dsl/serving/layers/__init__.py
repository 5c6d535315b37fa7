"""One attention layer in an engine: what it is told, chooses, remembers and reads."""
