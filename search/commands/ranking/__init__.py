"""The commands that rank and compare."""
