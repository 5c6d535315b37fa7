"""The commands that tell what agents thought."""
