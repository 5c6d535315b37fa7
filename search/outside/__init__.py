"""Agents from outside: what they are told, what they bring, and how it takes its steps in a campaign."""
