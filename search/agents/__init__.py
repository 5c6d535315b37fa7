"""Proposers: who suggests programs. Each is a pure function of its context, an LLM's answers aside."""
