"""The fidelity stage: dense and sparse decode the same text, and are compared token by token."""
