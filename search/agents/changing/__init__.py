"""Edits of programs: small ones, larger ones, and crosses of two."""
