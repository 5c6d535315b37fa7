"""The retrieval stage: questions about a long text, answered in the model's own tokens and scored from text."""
