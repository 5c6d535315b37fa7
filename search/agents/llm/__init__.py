"""A language model as proposer, behind any OpenAI-compatible endpoint."""
