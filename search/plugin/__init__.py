"""A discovered program as a vLLM plugin: built as a wheel, and tried in a fresh environment."""
