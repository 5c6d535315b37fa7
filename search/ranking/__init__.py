"""Standings compared: what a person asks of them, who stands on the front, and candidates in pairs."""
