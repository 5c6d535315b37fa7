"""What fidelity will say of a candidate, foretold from what recall measured, and whom to promote."""
