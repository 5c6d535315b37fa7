"""Alembic's scripts, run by `search.store.schema`."""
