"""Prompts that every program starts from: prefilled once by dense attention, kept, and written into any engine's cache.

Prefill is dense whatever a program does, and it is most of what a CPU has to do: 12,000 tokens of SmolLM2 take a core
a minute, and their keys and values are read from a file in a second.
"""
