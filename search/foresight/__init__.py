"""What fidelity will say of a candidate, foretold from what recall measured; whom to promote; how often it erred."""
