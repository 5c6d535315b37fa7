"""Larger changes: those that who knows the subject makes, each in one step."""
